"""The distributions that annealed chains go through, in parts that fit the memory."""

from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.conditions import Given
from keras_vae.vae import VAE


class AnnealedPath:
    """`(1 - beta) log p_0(z) + beta log p(x, z)` of the rows of a batch.

    Args:
        vae: the model.
        x: `[B, *E]`.
        given: what goes with x.
        start: what p_0 is.
        chains_at_once: of how many chains of each row a density is computed at once, at most.
    """

    def __init__(
        self, vae: VAE, x: tf.Tensor, given: Given, start: str, chains_at_once: int
    ) -> None:
        self.chains_at_once = chains_at_once
        self.vae = vae
        self.x = x
        self.given = vae._known(x, given)
        self.p = vae._prior(self.given)  # once: a VampPrior encodes its pseudo-inputs here
        self.q = vae._posterior(x, self.given) if start == "posterior" else None
        size = vae.prior.latent_size
        self.first_step = tf.constant(size**-0.25, vae.density_dtype)

    def drawn(self, num_chains: int, seed: tf.Tensor) -> tf.Tensor:
        """z ~ p_0, `[C, B, D]`."""
        start: tfd.Distribution = self.p if self.q is None else self.q
        shape = (num_chains,) if start.batch_shape.rank else (num_chains, tf.shape(self.x)[0])
        return start.sample(shape, seed=tf.random.fold_in(seed, 0))

    def gain(self, z: tf.Tensor) -> tf.Tensor:
        """log p(x, z) - log p_0(z), `[C, B]`."""
        return self._in_parts(self._terms, z)[1]

    def log_prob(self, z: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        """log pi_beta(z), not normalised, `[C, B]`; each part has its gradient at once."""

        def of_part(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tfp.math.value_and_gradient(lambda z: self._log_prob(z, beta), z)

        @tf.custom_gradient
        def density(z: tf.Tensor) -> tuple:
            value, slope = self._in_parts(of_part, z)

            def gradient(upstream: tf.Tensor, variables: tuple = ()) -> tuple:
                return upstream[..., None] * slope, [None] * len(variables)

            return value, gradient

        return density(z)

    def _in_parts(
        self, function: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], z: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Two values of z, `[C, B, ...]` each, of as many chains at once as divide C."""
        chains = z.shape[0]
        size = next(n for n in range(min(chains, self.chains_at_once), 0, -1) if chains % n == 0)
        if size == chains:
            return function(z)
        parts = tf.reshape(z, (-1, size, *z.shape[1:]))
        first, second = tf.map_fn(
            function, parts, fn_output_signature=(z.dtype, z.dtype), parallel_iterations=1
        )
        return _without_parts(first), _without_parts(second)

    def _terms(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """log p_0(z) and log p(x, z) - log p_0(z), `[C, B]`."""
        log_prior = self.p.log_prob(z)
        log_likelihood = self.vae._likelihood(z, self.given).log_prob(self.x)
        if self.q is None:
            return log_prior, log_likelihood
        log_posterior = self.q.log_prob(z)
        return log_posterior, log_likelihood + log_prior - log_posterior

    def _log_prob(self, z: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        at_zero, gain = self._terms(z)
        return at_zero + beta * gain


def _without_parts(values: tf.Tensor) -> tf.Tensor:
    """`[P, C / P, ...]` -> `[C, ...]`."""
    return tf.reshape(values, tf.concat([[-1], tf.shape(values)[2:]], 0))
