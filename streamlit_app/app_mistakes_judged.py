"""What the versions of `app_mistakes` come to: trained alike, judged as the models that they are."""

import dataclasses
import functools
import math
import threading
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from app_mistakes import EQUIVALENT, EVENT, VERSIONS, build

import keras_vae
from keras_vae import evaluation, likelihoods, objectives
from keras_vae.data import DataSet

EPOCHS = 40
BATCH = 64
RATE = 3e-3
DRAWS = 10  # of z for each x
WEIGHTED_DRAWS = 50
PICTURES = 16
TRAINING = threading.Lock()  # one model at a time, however many visitors


@dataclasses.dataclass(frozen=True)
class Result:
    """What a version comes to, on held-out digits, in nats per example.

    Attributes:
        loss: what its own log says at the end of training, on the training data.
        variance: sigma^2 that its gradient weighs squared errors by, the mean over pixels.
        assumed: the bound, if p(x|z) has that variance; of a Bernoulli on grey values, if
            p(x|z) is the density of that shape, a continuous Bernoulli.
        best_variance: the mean squared error of its means on the training data.
        best: the bound, if p(x|z) is a Normal of that variance around the same means.
        weighted: the importance-weighted bound of that model.
        kl: KL(q(z_d|x) || p(z_d)), `[D]`.
        spread: the variance over x of the mean of q(z_d|x), `[D]`.
        log_weights: log w of draws of z for some x, by its own p(x|z), `[K, n]`.
        advice: what the package says of the right model with the same gradient, before it
            is trained.
        x: some held-out digits, `[n, *E]`.
        reconstructions: the means of p(x|z) at the means of q(z|x).
        samples: the means of p(x|z) at draws of z from the prior.
        draws: draws from the assumed p(x|z) at the same z.
    """

    loss: float
    variance: float
    assumed: evaluation.Estimate
    best_variance: float
    best: evaluation.Estimate
    weighted: float
    kl: np.ndarray
    spread: np.ndarray
    log_weights: np.ndarray
    advice: str
    x: np.ndarray
    reconstructions: np.ndarray
    samples: np.ndarray
    draws: np.ndarray

    @property
    def active(self) -> int:
        """How many latent dimensions are in use (Burda et al. 2016)."""
        return evaluation.ActiveUnits(self.spread).count


@functools.cache
def digits() -> DataSet:
    """The data of all versions."""
    return keras_vae.data.load("digits")


def result(name: str, seed: int, report: Callable[[float], None]) -> Result:
    """Trains a version and judges it.

    Args:
        name: one of `VERSIONS`.
        seed: of the first weights, the draws and the order of the data.
        report: is told the fraction that is done; what it raises ends the training.
    """
    with TRAINING:
        report(0.0)
        vae, loss = trained(name, seed, report)
        return judged(name, vae, loss, seed)


def trained(name: str, seed: int, report: Callable[[float], None]) -> tuple[keras_vae.VAE, float]:
    """A version after training, and the last loss of its log."""
    vae = build(VERSIONS[name], seed)
    vae.compile(keras.optimizers.Adam(RATE))
    reporting = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report((epoch + 1) / EPOCHS)
    )
    log = vae.fit(digits().train, None, BATCH, EPOCHS, verbose=0, callbacks=[reporting])
    return vae, log.history["loss"][-1]


def judged(name: str, vae: keras_vae.VAE, loss: float, seed: int) -> Result:
    """What a trained version comes to."""
    test = digits().test
    some = test[:PICTURES].array()
    variance = VERSIONS[name].factor * own_variance(vae, test.array())
    best_variance = mean_squared_error(vae, digits().train.array())
    assumed, best = as_assumed(vae, variance), with_variance(vae, best_variance)
    return Result(
        loss=float(loss),
        variance=variance,
        assumed=evaluation.elbo(assumed, test),
        best_variance=best_variance,
        best=evaluation.elbo(best, test),
        weighted=-float(best.compute_loss(tf.constant(test.array()), training=False)),
        kl=evaluation.kl_per_dimension(vae, test),
        spread=evaluation.latent_means(vae, test).var(axis=0),
        log_weights=log_weights(vae, some),
        advice=advice(name),
        x=some,
        reconstructions=assumed.reconstruct(some).numpy(),
        samples=assumed.sample(PICTURES, seed=seed).numpy(),
        draws=assumed.sample(PICTURES, draw=True, seed=seed).numpy(),
    )


def advice(name: str) -> str:
    """What `VAE.check` says of the model that has a mistake's gradient, if there is one."""
    version = EQUIVALENT.get(name)
    return "" if version is None else str(build(version, 0).check(digits().train))


# The model that the networks amount to


class Means(keras.layers.Layer):
    """The means of p(x|z) of a model, as the features of another: `[B, D] -> [B, *E]`."""

    def __init__(self, vae: keras_vae.VAE) -> None:
        super().__init__()
        self.decoder, self.head = vae.decoder, vae.likelihood

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """The means at z."""
        return self.head.centre(self.head.distribution(self.head(self.decoder(z))))


def with_variance(vae: keras_vae.VAE, variance: float) -> keras_vae.VAE:
    """The model with the same q(z|x) and the same means, and with N(mean, variance) around them."""
    likelihood = likelihoods.Normal(EVENT, scale=math.sqrt(variance))
    model = _model(vae, Means(vae), likelihood)
    likelihood.projections["loc"].kernel.assign([[1.0]])  # the features are the means already
    return model


def as_assumed(vae: keras_vae.VAE, variance: float) -> keras_vae.VAE:
    """The model with the same networks whose p(x|z) is the density that the training implies."""
    if isinstance(vae.likelihood, likelihoods.Normal):
        return with_variance(vae, variance)
    likelihood = likelihoods.ContinuousBernoulli(EVENT)
    model = _model(vae, vae.decoder, likelihood)
    likelihood.set_weights(vae.likelihood.get_weights())
    return model


def _model(
    vae: keras_vae.VAE, decoder: keras.layers.Layer, likelihood: likelihoods.Likelihood
) -> keras_vae.VAE:
    objective = objectives.IWAE(WEIGHTED_DRAWS)
    return keras_vae.VAE(
        vae.encoder, decoder, vae.posterior, vae.prior, likelihood, objective, seed=0
    )


def _draws_of_z(vae: keras_vae.VAE, x: np.ndarray) -> tf.Tensor:
    return vae.encode(x).sample(DRAWS, seed=tf.constant([0, 0]))


def own_variance(vae: keras_vae.VAE, x: np.ndarray) -> float:
    """The mean over pixels of the variance of p(x|z), at draws of z.

    The gradient of log p(x|z) is `(x - mean) / sigma^2` by a Normal's mean, and `x - mean` by
    a Bernoulli's logits, by which the mean moves with the variance: sigma^2 is the variance.
    """
    return float(tf.reduce_mean(vae.decode(_draws_of_z(vae, x)).variance()))


def mean_squared_error(vae: keras_vae.VAE, x: np.ndarray) -> float:
    """Of the means, over pixels and draws: sigma^2 that maximises `E_q log N(x; mean, sigma^2)`."""
    means = vae.likelihood.centre(vae.decode(_draws_of_z(vae, x)))
    return float(tf.reduce_mean((x - means) ** 2))


def log_weights(vae: keras_vae.VAE, x: np.ndarray) -> np.ndarray:
    """`log p(x|z) + log p(z) - log q(z|x)` of draws of z, `[K, B]`."""
    z = _draws_of_z(vae, x)
    ratio = vae.prior_given().log_prob(z) - vae.encode(x).log_prob(z)
    return (vae.decode(z).log_prob(x) + ratio).numpy()
