"""q(z|x) with independent latent dimensions and heavier tails than a Normal's."""

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.networks.projection import positive
from keras_vae.posteriors.posterior import Posterior
from keras_vae.randomness import uniform_noise
from keras_vae.statement import Statement


# Registered under its slot: `likelihoods.Laplace` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class Laplace(Posterior):
    """`q(z|x) = prod_d exp(-|z_d - loc_d(x)| / scale_d(x)) / (2 scale_d(x))`.

    Its KL to a Normal with diagonal covariance is exact; to a standard one it is
    `sum_d [scale_d^2 + loc_d^2 / 2 - log scale_d + 1/2 log(pi / 2) - 1]` nats. The density
    has a kink at `loc`: its gradient is a sign, of the same size however far out z is.

    Args:
        latent_size: D.

    Parameters: `loc` `[B, D]`; `scale` `[B, D]`, `softplus` of a projection.

    Raises:
        ValueError: if `latent_size` is not a positive integer.

    Example: `keras_vae.posteriors.Laplace(20)`

    References: S. Kotz, T. J. Kozubowski and K. Podgorski, The Laplace Distribution and
    Generalizations, Birkhaeuser 2001.
    """

    def projected(self) -> dict[str, tuple[int, ...]]:
        return {"loc": (self.latent_size,), "scale": (self.latent_size,)}

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loc": raw["loc"], "scale": positive(raw["scale"])}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return _IndependentLaplace(parameters["loc"], parameters["scale"])

    def statement(self) -> Statement:
        return self.stated(
            equation=r"q(z|x) = \prod_{d} \mathrm{Laplace}(z_d;\ \mathrm{loc}_d(x),\ \mathrm{scale}_d(x))",
            parameters={
                "loc": "linear in the encoder's features",
                "scale": "softplus of a linear function of the encoder's features",
            },
            learned=("loc(x)", "scale(x)"),
            fixed=("no correlation between latent dimensions given x",),
        )


class _Laplace(tfd.Laplace):
    """`tfd.Laplace`, whose draws are from `randomness.uniform_noise`."""

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        axes = tf.concat([[n], self.batch_shape_tensor()], 0)
        low = np.nextafter(self.dtype.as_numpy_dtype(-1.0), self.dtype.as_numpy_dtype(0.0))
        uniform = uniform_noise(axes, tfp.random.sanitize_seed(seed), self.dtype, low=low)
        return self.loc - self.scale * tf.sign(uniform) * tf.math.log1p(-tf.abs(uniform))


class _IndependentLaplace(tfd.Independent):
    """A vector of Laplace values: a class of its own, for which a KL can be registered.

    Registered for `tfd.Independent` it would answer for every other family inside one.
    """

    def __init__(self, loc: tf.Tensor, scale: tf.Tensor, name: str = "IndependentLaplace") -> None:
        super().__init__(_Laplace(loc, scale), reinterpreted_batch_ndims=1, name=name)
        # What TFP makes a copy from, of a slice of the batch for instance.
        self._parameters = {"loc": loc, "scale": scale, "name": name}

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: None = None) -> dict:
        vector = tfp.util.ParameterProperties(event_ndims=1)
        return {"loc": vector, "scale": vector}


@tfd.RegisterKL(_IndependentLaplace, tfd.MultivariateNormalDiag)
def _kl_laplace_normal(
    q: _IndependentLaplace, p: tfd.MultivariateNormalDiag, name: str | None = None
) -> tf.Tensor:
    """`sum_d [log(s_d / b_d) + 1/2 log(pi / 2) - 1 + (2 b_d^2 + (loc_q - loc_p)^2) / 2 s_d^2]`, `[B]`.

    b and s are the scales of q and of p. The first terms are minus the entropy
    `1 + log 2b`, the last the mean of the square under q.
    """
    with tf.name_scope(name or "kl_laplace_normal"):
        ratio = q.distribution.scale / p.stddev()
        distance = (q.distribution.loc - p.mean()) / p.stddev()
        constant = math.log(math.pi / 2) / 2 - 1
        terms = ratio**2 + distance**2 / 2 - tf.math.log(ratio) + constant
        return tf.reduce_sum(terms, axis=-1)
