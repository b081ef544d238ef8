"""The VAE of the Keras guide on subclassing, as it is published and with its assumptions stated."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.data import DataSet
from keras_vae.data.source import Source
from keras_vae.evaluation import ActiveUnits
from keras_vae.evaluation.bound import estimate
from keras_vae.reproductions import measures
from keras_vae.reproductions.measures import NATS
from keras_vae.reproductions.sets import grey_mnist
from keras_vae.reproductions.study import Figure, Plan, Study, Trained, Variant
from keras_vae.vae import VAE

HIDDEN, LATENT, PIXELS = 64, 32, 784
IMPLIED = PIXELS / (2 * LATENT)  # the variance of x given z that its two averages assume
DRAWS = 10


class GuideVAE(keras.Model):
    """Squared error averaged over pixels, KL averaged over latents: what the guide minimises.

    Plain Keras, as it is published. Stopped and resumed it is trained as long, on other noise.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(HIDDEN, activation="relu")
        self.mean = keras.layers.Dense(LATENT)
        self.log_var = keras.layers.Dense(LATENT)
        self.back = keras.layers.Dense(HIDDEN, activation="relu")
        self.out = keras.layers.Dense(PIXELS, activation="sigmoid")
        self.noise = keras.random.SeedGenerator(seed)

    def encode(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log variance of q(z|x)."""
        hidden = self.hidden(x)
        return self.mean(hidden), self.log_var(hidden)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """What is called the reconstruction: the mean of p(x|z)."""
        return self.out(self.back(z))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        mean, log_var = self.encode(x)
        epsilon = keras.random.normal(keras.ops.shape(mean), seed=self.noise)
        ratio = log_var - keras.ops.square(mean) - keras.ops.exp(log_var) + 1
        self.add_loss(-0.5 * keras.ops.mean(ratio))
        return self.decode(mean + keras.ops.exp(0.5 * log_var) * epsilon)


def guide(data: DataSet, plan: Plan) -> keras.Model:
    """As published."""
    model = GuideVAE(plan.seed)
    model.compile(keras.optimizers.Adam(1e-3), loss=keras.losses.MeanSquaredError())
    model(np.zeros((1, PIXELS), "float32"))
    return model


def pairs(source: Source) -> tf.data.Dataset:
    """x as its own target, shuffled by the global seed, as the guide has it."""
    x = _flat(source)
    dataset = tf.data.Dataset.from_tensor_slices((x, x))
    return dataset.shuffle(1024).batch(64)


def stated(data: DataSet, plan: Plan) -> VAE:
    """The same network with three distributions: a Normal p(x|z) whose scale is learned."""
    vae = VAE(
        encoder=networks.mlp([HIDDEN]),
        decoder=networks.mlp([HIDDEN]),
        posterior=posteriors.DiagonalNormal(LATENT),
        prior=priors.StandardNormal(LATENT),
        likelihood=likelihoods.Normal(data.event_shape, scale="shared"),
        seed=plan.seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return vae


def measure(trained: Trained) -> dict[str, Figure]:
    """Active units, and the bound with the scale that the model has or implies."""
    if isinstance(trained.model, VAE):
        return measures.bound(trained)
    return _of_guide(trained.model, _flat(trained.data.test), trained.seed)


def _of_guide(model: GuideVAE, x: np.ndarray, seed: int) -> dict[str, Figure]:
    mean, log_var = (value.numpy() for value in model.encode(tf.constant(x)))
    noise = np.random.default_rng(seed).normal(size=(DRAWS, *mean.shape))
    z = (mean + np.exp(log_var / 2) * noise).astype("float32")
    squared = np.mean([np.square(model.decode(some).numpy() - x).sum(axis=1) for some in z], axis=0)
    kl = 0.5 * (np.square(mean) + np.exp(log_var) - 1 - log_var).sum(axis=1)
    how = f"{DRAWS} draws, {len(x)} test examples"
    best = float(squared.mean() / PIXELS)
    figures = {}
    for name, variance in (("-ELBO", IMPLIED), ("-ELBO, best scale for its means", best)):
        constant = PIXELS / 2 * math.log(2 * math.pi * variance)
        nats = estimate(squared / (2 * variance) + constant + kl)
        figures[name] = Figure(nats.mean, NATS, how, nats.standard_error)
    figures["KL"] = Figure(float(kl.mean()), NATS, f"exact, {len(x)} test examples")
    units = ActiveUnits(mean.var(axis=0, ddof=1))
    return {**figures, **measures.active_of(units, len(x))}


def _flat(source: Source) -> np.ndarray:
    return source.array().reshape(len(source), -1)


def _variant(name: str, words: str, build: Any, feed: Any = lambda source: source) -> Variant:
    return Variant(
        name=name,
        model=f"MLP 784-64-32, relu; {words}",
        optimiser="Adam, 1e-3",
        data=grey_mnist,
        build=build,
        epochs=30,
        batch_size=64,
        feed=feed,
    )


STUDY = Study(
    name="keras-guide",
    title="The Keras guide's VAE, as published and with its assumptions stated",
    reference=(
        "F. Chollet, Making new layers and models via subclassing, keras.io/guides (end-to-end "
        "example)"
    ),
    variants=(
        _variant(
            "as-published",
            "mean squared error over pixels, mean KL over latents: scale^2 = 12.25",
            guide,
            pairs,
        ),
        _variant("stated", "ELBO; Normal, one learned scale", stated),
    ),
    measure=measure,
    reading=(
        "Averages over 784 pixels and 32 latents are an ELBO with scale^2 = 12.25, above the "
        "largest eigenvalue of the data (5.1): nothing is worth its KL, and no unit is active. The "
        "same network with its scale learned, and a linear last layer for the guide's sigmoid, uses all. The "
        "best scale for its means is that of the very test images. The guide trains for 2 epochs."
    ),
)
