"""The interface of a bound, and the terms that it is made of."""

import abc
import dataclasses
from typing import NamedTuple

import keras
import tensorflow as tf

Schedule = keras.optimizers.schedules.LearningRateSchedule


class Terms(NamedTuple):
    """The terms of a bound on log p(x), in nats, K samples of z for each of B examples.

    Attributes:
        log_likelihood: log p(x|z), `[K, B]`.
        log_prior: log p(z), `[K, B]`.
        log_posterior: log q(z|x), `[K, B]`.
        kl: KL(q(z|x) || p(z)), `[B]`, exact where a closed form is known, else sampled.
    """

    log_likelihood: tf.Tensor
    log_prior: tf.Tensor
    log_posterior: tf.Tensor
    kl: tf.Tensor


class Objective(abc.ABC):
    """A frozen, registered value: from the terms of the bound to the bound.

    A new bound is one file with a frozen, registered dataclass, and one line in
    `keras_vae/objectives/__init__.py`.
    """

    num_samples: int

    @abc.abstractmethod
    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        """The bound on log p(x), `[B]`, in nats per example, larger is better.

        Args:
            terms: the terms, K = `num_samples`.
            step: the optimizer's iterations, which schedules are read at.
        """

    @abc.abstractmethod
    def beta_at(self, step: tf.Tensor | int) -> tf.Tensor | float:
        """The weight of the KL in this bound at a step."""

    @abc.abstractmethod
    def equation(self) -> str:
        """The bound, in Markdown mathematics."""

    def get_config(self) -> dict:
        """The arguments, JSON-able, as Keras saves them."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # families are dataclasses
        values = {field.name: getattr(self, field.name) for field in fields}
        return {name: keras.saving.serialize_keras_object(v) for name, v in values.items()}

    @classmethod
    def from_config(cls, config: dict) -> "Objective":
        """The objective of these arguments."""
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})
