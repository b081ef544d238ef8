"""The densities of a model at one batch: q(z|x), p(z), p(x|z), given what goes with x."""

import abc
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.beside import Beside
from keras_vae.conditions import Cases, Condition, Given
from keras_vae.conditions.condition import join
from keras_vae.data.source import Source, every
from keras_vae.feed import check_source
from keras_vae.likelihoods import Likelihood
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior
from keras_vae.randomness import draw_seed

EXAMPLES = 500  # what a prior may start from


class Densities(keras.Model, abc.ABC):
    """Two networks, three distributions and what they are given, put together."""

    encoder: keras.layers.Layer
    decoder: keras.layers.Layer
    posterior: Posterior
    prior: Prior
    likelihood: Likelihood
    condition: Condition | None
    beside: Beside
    seed_generator: keras.random.SeedGenerator

    # What the equation is made of

    def _posterior(self, x: tf.Tensor, given: Given, training: bool = False) -> tfd.Distribution:
        return self.posterior.distribution(self._posterior_parameters(x, given, training))

    def _posterior_parameters(
        self, x: tf.Tensor, given: Given, training: bool = False
    ) -> dict[str, tf.Tensor]:
        inputs = join(self.likelihood.encoder_input(x), given.condition)
        return self.posterior(self.encoder(inputs, training=training))

    def _encode_inputs(self, inputs: tf.Tensor) -> tfd.Distribution:
        return self.posterior.distribution(self.posterior(self.encoder(inputs, training=False)))

    def _prior(self, given: Given) -> tfd.Distribution:
        return self.prior.distribution(given.condition, self._encode_inputs)

    def _likelihood(self, z: tf.Tensor, given: Given, training: bool = False) -> tfd.Distribution:
        return self.likelihood.distribution(self._likelihood_parameters(z, given, training))

    def _likelihood_parameters(
        self, z: tf.Tensor, given: Given, training: bool = False
    ) -> dict[str, tf.Tensor]:
        folded = tf.reshape(z, (-1, z.shape[-1]))  # networks know one batch axis: [K * B, D]
        condition = given.condition
        samples = 1 if z.shape.rank == 2 else z.shape[0] or tf.shape(z)[0]
        if condition is not None and z.shape.rank == 3:
            condition = tf.tile(condition, (samples, 1))
        features = self.decoder(join(folded, condition), training=training)
        parameters = self.likelihood(features)
        if z.shape.rank == 3:
            parameters = {
                name: tf.reshape(value, (samples, -1, *value.shape[1:]))
                for name, value in parameters.items()
            }
        return self.likelihood.observed(parameters, given.size_factor)

    def _centre(self, x: tf.Tensor, given: Given, training: bool = False) -> tf.Tensor:
        z = self.posterior.centre(self._posterior(x, given, training))
        return self.likelihood.centre(self._likelihood(z, given, training))

    def _cases(
        self,
        x: tf.Tensor,
        given: Given,
        sample_weight: tf.Tensor | None = None,
        training: bool = False,
    ) -> Cases:
        """The rows that the equation is computed for: x, once for each class it may have."""
        if self.condition is None:
            return Cases(x, given, sample_weight)
        inputs = self.likelihood.encoder_input(x)
        return self.condition.cases(x, inputs, given, sample_weight, training)

    def _start_from(self, source: Source) -> None:
        """The likelihood from the moments of the data, the prior from some of its examples."""
        dtype = self.likelihood.density_dtype
        if self.likelihood.trainable:
            mean, variance = (tf.cast(m, dtype) for m in source.moments())
            factor = 1.0 if source.size_factor is None else float(np.mean(source.size_factor))
            self.likelihood.start_from(mean, variance, factor)
        some = source[every(len(source), EXAMPLES)]
        x = tf.constant(some.array(dtype=dtype))
        given = self._known(x, Given(**self.beside(some.beside(), len(some))))
        self.prior.start_from(join(self.likelihood.encoder_input(x), given.condition))

    # What is given

    def _checked(
        self,
        x: Any,
        condition: Any = None,
        size_factor: Any = None,
        optional: tuple[str, ...] = (),
    ) -> tuple[tf.Tensor, Given]:
        """x as a float tensor, and what goes with it, checked; a tensor stays on its tape."""
        dtype = self.likelihood.density_dtype
        own: dict[str, Any] = {}
        if tf.is_tensor(x) or isinstance(x, keras.KerasTensor):
            if not tf.is_symbolic_tensor(x) and not isinstance(x, keras.KerasTensor):
                self.likelihood.check(np.asarray(x))
        else:
            source = self.likelihood.as_source(x)
            check_source(self.likelihood, source)
            x, own = source.array(dtype=dtype), source.beside()
        values = {**own, **_present(condition=condition, size_factor=size_factor)}
        values = self.beside.repeated(values, x.shape[0])
        return keras.ops.cast(x, dtype), self._as_given(
            self.beside(values, x.shape[0], optional=optional)
        )

    def _known(self, x: tf.Tensor, given: Given) -> Given:
        """`given` with the condition as the networks take it."""
        if self.condition is None:
            return given
        inputs = self.likelihood.encoder_input(x)
        values = self.condition.inferred(given.condition, inputs)
        return given._replace(condition=self.condition(values))

    def _given(self, rows: int | None, condition: Any, size_factor: Any) -> Given:
        """What goes with z, checked; one value stands for all rows."""
        values = _present(condition=condition, size_factor=size_factor)
        values = self.beside.repeated(values, rows)
        given = self._as_given(self.beside(values, rows, "z", optional=("size_factor",)))
        if self.condition is None:
            return given
        if given.condition is None:
            raise ValueError(self.condition.missing())
        self.condition.check_known(values["condition"])
        return given._replace(condition=self.condition(given.condition))

    def _as_given(self, values: dict[str, Any]) -> Given:
        given = Given(**{name: tf.convert_to_tensor(value) for name, value in values.items()})
        if given.size_factor is None:
            return given
        return given._replace(size_factor=tf.cast(given.size_factor, self.likelihood.density_dtype))

    def _seed(self, seed: int | None = None) -> tf.Tensor:
        return draw_seed(self.seed_generator, seed)


def _present(**values: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in values.items() if value is not None}
