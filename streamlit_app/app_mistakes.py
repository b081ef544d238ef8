"""The mistakes of popular implementations, wrong on purpose; they live here and nowhere else.

Each is an argument of `keras_vae.VAE`: an objective or a likelihood with one mistake in it.
None of the classes is registered with Keras, because none is ever saved.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import keras_vae
from keras_vae import likelihoods, objectives
from keras_vae.divergences import kl_per_dimension
from keras_vae.objectives import Terms
from keras_vae.randomness import draw_seed
from keras_vae.reproductions.continuous_bernoulli import GreyBernoulli

EVENT = (8, 8, 1)
PIXELS = math.prod(EVENT)  # d
LATENT = 8  # D
DRAWS = 10  # K, of the two importance-weighted versions
UNITS = 128
HALF = math.sqrt(0.5)  # the scale at which -log p(x|z) is the plain squared error


# Objectives


@dataclasses.dataclass(frozen=True)
class Averages(objectives.Objective):
    """`-||x - loc||^2 / values - KL / dimensions`: averages where there should be sums.

    Of a Normal with `scale^2 = 1/2`, whose log density is `-||x - loc||^2 - d/2 log pi`.
    Times `dimensions`, and up to a constant, it is the ELBO of a Normal with
    `scale^2 = values / (2 dimensions)`.

    Args:
        values: what the squared error is divided by; d for its mean over pixels.
        dimensions: what the KL is divided by; D for its mean over dimensions.
    """

    values: int
    dimensions: int = 1

    num_samples = 1

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        error = -terms.log_likelihood - PIXELS / 2 * math.log(math.pi)
        return -tf.reduce_mean(error, axis=0) / self.values - terms.kl / self.dimensions

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1 / self.dimensions

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        return False

    def equation(self) -> str:
        share = "" if self.dimensions == 1 else rf"\frac{{1}}{{{self.dimensions}}}\, "
        return (
            rf"-\frac{{1}}{{{self.values}}} \mathbb{{E}}_{{q(z|x)}}\left[\lVert x - \mu(z) "
            rf"\rVert^2\right] - {share}\mathrm{{KL}}(q(z|x)\,\|\,p(z))"
        )


@dataclasses.dataclass(frozen=True)
class MeanOfKL(objectives.Objective):
    """`E_q[log p(x|z)] - 1/D sum_d KL_d`: a mean over dimensions, so beta is `1/D`."""

    num_samples = 1

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        by_dimension = kl_per_dimension(terms.q, terms.p, terms.z)
        return tf.reduce_mean(terms.log_likelihood, 0) - tf.reduce_mean(by_dimension, axis=-1)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1 / LATENT

    def equation(self) -> str:
        return (
            rf"\mathbb{{E}}_{{q(z|x)}}[\log p(x|z)] - \frac{{1}}{{{LATENT}}} \sum_{{d=1}}^{{{LATENT}}} "
            r"\mathrm{KL}(q(z_d|x)\,\|\,p(z_d))"
        )


@dataclasses.dataclass(frozen=True)
class TwiceTheKL(objectives.Objective):
    """`E_q[log p(x|z)] - KL - KL`, as where a regulariser is called on two outputs: beta is 2."""

    num_samples = 1

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        return tf.reduce_mean(terms.log_likelihood, axis=0) - terms.kl - terms.kl

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 2.0

    def equation(self) -> str:
        kl = r"\mathrm{KL}(q(z|x)\,\|\,p(z))"
        return rf"\mathbb{{E}}_{{q(z|x)}}[\log p(x|z)] - {kl} - {kl}"


@dataclasses.dataclass(frozen=True)
class InvertedWeights(objectives.Objective):
    """`sum_k v_k log w_k`, `v = softmax(-log w)`: the softmax of the losses, not of minus them.

    The right gradient weighs draw k with `softmax(log w)_k`. Here the worst draw counts most
    and, as nothing is detached, draw k has the weight `v_k (1 - log w_k + sum_j v_j log w_j)`:
    less than nothing for a draw that is more than a nat better than that mean.
    """

    num_samples: int = DRAWS

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        weights = tf.nn.softmax(-terms.log_weights, axis=0)
        return tf.reduce_sum(weights * terms.log_weights, axis=0)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def equation(self) -> str:
        return (
            r"\mathbb{E}\left[\sum_k v_k \log w_k\right],\quad v_k = \frac{1 / w_k}{\sum_j 1 / w_j},"
            r"\quad w_k = \frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}"
        )


# Likelihoods


class AgainstDraw(likelihoods.Normal):
    """x is compared with a draw from p(x|z) in training, and not with its mean.

    The squared error of a draw is that of the mean plus `d scale^2`, in expectation.
    """

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        super().build(features_shape)
        self.generator = keras.random.SeedGenerator(0)

    def adapt(
        self, distribution: tfd.Distribution, x: tf.Tensor, weight: tf.Tensor | None = None
    ) -> tfd.Distribution:
        draw = distribution.sample(seed=draw_seed(self.generator))
        return self.distribution({"loc": draw, "scale": distribution.distribution.scale})


# The model with each of them, and without


@dataclasses.dataclass(frozen=True)
class Version:
    """How the small model is trained.

    Attributes:
        likelihood: makes it.
        objective: what is maximised.
        factor: what the variance of its likelihood is to be multiplied by, so that the
            networks get the gradient of an ELBO, up to a factor.
    """

    likelihood: Callable[[], likelihoods.Likelihood]
    objective: objectives.Objective
    factor: float = 1.0


def normal(scale: float | str = "shared") -> Callable[[], likelihoods.Likelihood]:
    """Makes a Normal on the digits."""
    return functools.partial(likelihoods.Normal, EVENT, scale)


def of_digits(family: type[likelihoods.Likelihood]) -> Callable[[], likelihoods.Likelihood]:
    """Makes another family on the digits."""
    return functools.partial(family, EVENT)


RIGHT = {
    "right": Version(normal(), objectives.ELBO()),
    "right, grey": Version(of_digits(likelihoods.ContinuousBernoulli), objectives.ELBO()),
    "right, weighted": Version(normal(), objectives.IWAE(DRAWS)),
}
WRONG = {
    "pixels": Version(normal(HALF), Averages(PIXELS), factor=PIXELS),
    "dimensions": Version(normal(), MeanOfKL(), factor=1 / LATENT),
    "both": Version(normal(HALF), Averages(PIXELS, LATENT), factor=PIXELS / LATENT),
    "twice": Version(normal(), TwiceTheKL(), factor=2.0),
    "grey": Version(of_digits(GreyBernoulli), objectives.ELBO()),
    "draw": Version(lambda: AgainstDraw(EVENT, "shared"), objectives.ELBO()),
    "inverted": Version(normal(), InvertedWeights()),
}
VERSIONS = {**RIGHT, **WRONG}
# Free of mistakes, and trained to the same weights: what the mistakes silently assume.
EQUIVALENT = {
    "pixels": Version(normal(math.sqrt(PIXELS / 2)), objectives.ELBO()),
    "dimensions": Version(normal(), objectives.ELBO(beta=1 / LATENT)),
    "both": Version(normal(math.sqrt(PIXELS / (2 * LATENT))), objectives.ELBO()),
    "twice": Version(normal(), objectives.ELBO(beta=2.0)),
}


def right_of(wrong: str) -> str:
    """The version that differs from a mistake by the mistake."""
    return {"grey": "right, grey", "inverted": "right, weighted"}.get(wrong, "right")


def build(version: Version, seed: int) -> keras_vae.VAE:
    """The small model, untrained: with the same first weights in every version of a seed."""
    vae = keras_vae.VAE(
        encoder=keras_vae.networks.mlp([UNITS]),
        decoder=keras_vae.networks.mlp([UNITS]),
        posterior=keras_vae.posteriors.DiagonalNormal(LATENT),
        prior=keras_vae.priors.StandardNormal(LATENT),
        likelihood=version.likelihood(),
        objective=version.objective,
        seed=seed,
    )
    # Keras's own first weights hang on a seed that all visitors' threads share.
    random = np.random.default_rng(seed)
    for kernel in (weight for weight in vae.trainable_weights if len(weight.shape) == 2):
        limit = math.sqrt(6 / sum(kernel.shape))
        kernel.assign(random.uniform(-limit, limit, kernel.shape))
    return vae
