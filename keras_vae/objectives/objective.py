"""The interface of a bound, and the terms that it is made of."""

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeAlias

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior

Densities: TypeAlias = Callable[[], tuple[tfd.Distribution, tfd.Distribution]]
Schedule = keras.optimizers.schedules.LearningRateSchedule


class Terms(NamedTuple):
    """The terms of a bound on log p(x), in nats, K samples of z for each of B examples.

    Attributes:
        log_likelihood: log p(x|z), `[K, B]`.
        log_prior: log p(z), `[K, B]`.
        log_posterior: log q(z|x), `[K, B]`.
        kl: KL(q(z|x) || p(z)), `[B]`, exact where a closed form is known, else sampled.
        z: the draws, `[K, B, D]`.
        q: q(z|x), batch `[B]`.
        p: p(z), batch `[]` or `[B]`.
        seed: a stateless seed `[2]`, for what a bound draws itself.
        kl_of_condition: log q(c|x) - log p(c), `[B]`, of a condition that is itself a latent
            variable, else 0: its share in `kl`.
    """

    log_likelihood: tf.Tensor
    log_prior: tf.Tensor
    log_posterior: tf.Tensor
    kl: tf.Tensor
    z: tf.Tensor
    q: tfd.Distribution
    p: tfd.Distribution
    seed: tf.Tensor
    kl_of_condition: tf.Tensor | float = 0.0

    @property
    def log_weights(self) -> tf.Tensor:
        """`log p(x|z) + log p(z) - log q(z|x)`, `[K, B]`: their mean over q is the ELBO."""
        return self.log_likelihood + self.log_prior - self.log_posterior

    def score(self) -> tf.Tensor:
        """log q(z|x), `[K, B]`, as a function of the parameters alone, at draws that stand still.

        Its gradient has mean zero. Taking it off the gradient of log q(z|x) leaves the path
        through z: `log_posterior - score + stop_gradient(score)`.
        """
        return self.q.log_prob(tf.stop_gradient(self.z))

    def without_score(self) -> "Terms":
        """The same values, with the gradient of log q(z|x) that goes through z alone."""
        score = self.score()
        path = self.log_posterior - score + tf.stop_gradient(score)
        return self._replace(log_posterior=path)


class Objective(abc.ABC):
    """A frozen, registered value: from the terms of the bound to the bound.

    A new bound is one file with a frozen, registered dataclass, and one line in
    `keras_vae/objectives/__init__.py`.

    Attributes:
        num_samples: K.
        aggregates: whether the examples of a batch stand for the data, all alike: such a bound
            has no meaning where some rows are only cases, weighted by their probability.
    """

    num_samples: int
    aggregates: ClassVar[bool] = False

    @abc.abstractmethod
    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        """The bound on log p(x), `[B]`, in nats per example, larger is better.

        This is what is reported. A penalty that couples the examples of a batch is taken off
        each of them.

        Args:
            terms: the terms, K = `num_samples`.
            step: the optimizer's iterations, which schedules are read at.
        """

    @property
    def differentiates_bound(self) -> bool:
        """Whether the gradient is that of the value that is reported: no `surrogate`, no weight."""
        return True

    def surrogate(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        """What is differentiated in the bound's place, `[B]`; its value is never reported.

        The bound itself, or what has the gradient of a better estimator.
        """
        return self.bound(terms, step)

    def path_weight(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor | None:
        """What the gradient that reaches each draw of z is multiplied by, `[K, B]`; None for 1."""
        return None

    @abc.abstractmethod
    def beta_at(self, step: tf.Tensor | int) -> tf.Tensor | float:
        """The weight of the KL in this bound at a step."""

    def scheduled(self, step: int) -> dict[str, float]:
        """The arguments that are schedules, at a step."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # families are dataclasses
        values = {field.name: getattr(self, field.name) for field in fields}
        return {n: float(value(step)) for n, value in values.items() if isinstance(value, Schedule)}

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        """Whether its mean is at most log p(x), with its arguments at this step."""
        return float(self.beta_at(step)) >= 1

    @abc.abstractmethod
    def equation(self) -> str:
        """The bound, in Markdown mathematics."""

    def estimator(self) -> str:
        """How the gradient is estimated, in words."""
        return "reparameterisation: the gradient of the value that is reported, through z"

    def networks(self) -> tuple[keras.layers.Layer, ...]:
        """What the bound itself learns with, if anything."""
        return ()

    def require(self, posterior: Posterior, prior: Prior) -> None:
        """Raises a ValueError if the bound has no meaning for these distributions."""
        if not posterior.reparameterised:
            raise ValueError(
                f"`objective` differentiates through z, and a draw of {type(posterior).__name__} "
                "is no differentiable function of its parameters. Expected: a relaxed posterior, "
                'or objectives.ELBO(gradient="score", num_samples=2 or more). Received: '
                f"{self!r}."
            )

    def require_densities(self, densities: Densities) -> None:  # noqa: B027, most ask nothing
        """Raises a ValueError if the bound asks for what these densities have no formula for.

        Args:
            densities: makes q(z|x) and p(z); called only by a bound that asks.
        """

    def get_config(self) -> dict:
        """The arguments, JSON-able, as Keras saves them."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # families are dataclasses
        values = {field.name: getattr(self, field.name) for field in fields}
        return {name: keras.saving.serialize_keras_object(v) for name, v in values.items()}

    @classmethod
    def from_config(cls, config: dict) -> "Objective":
        """The objective of these arguments."""
        return cls(**{k: keras.saving.deserialize_keras_object(v) for k, v in config.items()})
