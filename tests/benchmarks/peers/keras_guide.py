"""The VAE of the Keras example (keras.io/examples/generative/vae), as one would copy it.

Its sampling layer, its `train_step` with a sigmoid and `binary_crossentropy`, `compile` with
Adam and plain `fit` on float32 arrays; only the layers are those of the workload.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import math
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from protocol import Peer, Unsupported, Work, serve

_TINY = 1e-7  # as `binary_crossentropy` keeps probabilities away from 0 and 1


class Sampling(layers.Layer):
    """Uses (z_mean, z_log_var) to sample z, the vector encoding an image."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        epsilon = ops.cast(epsilon, z_mean.dtype)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class VAE(keras.Model):
    """The example's model, with bits drawn anew at each visit where `dynamic` asks for them."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model, dynamic: bool, seed: int):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.dynamic = dynamic
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.reconstruction_loss_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [
            self.total_loss_tracker,
            self.reconstruction_loss_tracker,
            self.kl_loss_tracker,
        ]

    def train_step(self, data):
        if self.dynamic:
            uniform = keras.random.uniform(ops.shape(data), seed=self.seed_generator)
            data = ops.cast(uniform < data, "float32")
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            reconstruction_loss = ops.mean(
                ops.sum(keras.losses.binary_crossentropy(data, reconstruction), axis=(1, 2))
            )
            kl_loss = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
            kl_loss = ops.mean(ops.sum(kl_loss, axis=1))
            total_loss = reconstruction_loss + kl_loss
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(total_loss)
        self.reconstruction_loss_tracker.update_state(reconstruction_loss)
        self.kl_loss_tracker.update_state(kl_loss)
        return {
            "loss": self.total_loss_tracker.result(),
            "reconstruction_loss": self.reconstruction_loss_tracker.result(),
            "kl_loss": self.kl_loss_tracker.result(),
        }


def make_encoder(work: Work) -> keras.Model:
    """From an image to z_mean, z_log_var and z, all float32."""
    images = keras.Input(shape=(28, 28, 1))
    x = images
    if work.network == "conv":
        x = layers.Conv2D(32, 4, strides=2, padding="same", activation="relu")(x)
        x = layers.Conv2D(64, 4, strides=2, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    if work.network == "mlp":
        for width in work.hidden:
            x = layers.Dense(width, activation=work.activation)(x)
    z_mean, z_log_var = (
        layers.Activation("linear", dtype="float32", name=name)(layers.Dense(work.latent)(x))
        for name in ("z_mean", "z_log_var")
    )
    z = Sampling(work.seed)([z_mean, z_log_var])
    return keras.Model(images, [z_mean, z_log_var, z], name="encoder")


def make_decoder(work: Work) -> keras.Model:
    """From z to the probability of each pixel, float32."""
    z = keras.Input(shape=(work.latent,))
    x = z
    if work.network == "conv":
        x = layers.Dense(7 * 7 * 64, activation="relu")(x)
        x = layers.Reshape((7, 7, 64))(x)
        x = layers.Conv2DTranspose(64, 4, strides=2, padding="same", activation="relu")(x)
        x = layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu")(x)
        x = layers.Conv2D(1, 1)(x)
    else:
        for width in reversed(work.hidden):
            x = layers.Dense(width, activation=work.activation)(x)
        x = layers.Reshape((28, 28, 1))(layers.Dense(28 * 28)(x))
    # In float32 whatever the policy, as the guide to mixed precision asks of the last layer.
    return keras.Model(z, layers.Activation("sigmoid", dtype="float32")(x), name="decoder")


def images(pixels: np.ndarray, values: str) -> np.ndarray:
    """Float32 arrays with a channel, in [0, 1], as the example makes them."""
    x = np.expand_dims(pixels, -1).astype("float32")
    return x if values == "bits" else x / 255


class KerasGuide(Peer):
    """Keras 3 on TensorFlow, with what its own example says."""

    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        began = time.perf_counter()
        _check(work)
        tf.config.threading.set_intra_op_parallelism_threads(work.threads)
        tf.config.threading.set_inter_op_parallelism_threads(work.threads)
        keras.utils.set_random_seed(work.seed)
        if work.precision == "bfloat16":
            keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
        self.work = work
        self.train = images(train, work.values)
        self.test = images(test, "grey" if work.values == "grey" else "bits")
        dynamic = work.values == "dynamic"
        self.vae = VAE(make_encoder(work), make_decoder(work), dynamic, work.seed)
        self.vae.compile(optimizer=keras.optimizers.Adam(work.learning_rate))
        if work.task == "encode":
            self._fit()
        self.prepared = time.perf_counter() - began
        return sum(math.prod(weight.shape) for weight in self.vae.trainable_weights)

    def device(self) -> str:
        return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"

    def run(self) -> dict[str, Any] | None:
        if self.work.task == "encode":
            self.vae.encoder.predict(self.train, batch_size=1000, verbose=0)
            return None
        if self.work.task == "fit":
            return self._fit(self.work.epochs)
        return self._until()

    def bound(self) -> float:
        mean, log_var, z = self.vae.encoder.predict(self.test, batch_size=1000, verbose=0)
        found = self.vae.decoder.predict(z, batch_size=1000, verbose=0)
        found = np.clip(found, _TINY, 1 - _TINY)
        likelihood = self.test * np.log(found) + (1 - self.test) * np.log1p(-found)
        kl = 0.5 * (np.exp(log_var) + mean**2 - 1 - log_var)
        return float((likelihood.sum() - kl.sum()) / len(self.test))

    def _fit(self, epochs: int = 1) -> dict[str, Any]:
        seen = self.vae.fit(self.train, epochs=epochs, batch_size=self.work.batch, verbose=0)
        return {"loss": seen.history["loss"][-1]}

    def _until(self) -> dict[str, Any]:
        """Trains until every target is passed; the clock stands while the bound is estimated."""
        seconds, epochs, last = self.prepared, 0, -math.inf
        passed: dict[str, float | None] = {f"{target:g}": None for target in self.work.targets}
        while None in passed.values() and seconds <= self.work.limit:
            began = time.perf_counter()
            self._fit()
            seconds += time.perf_counter() - began
            epochs, last = epochs + 1, self.bound()
            for target, when in passed.items():
                if when is None and last >= float(target):
                    passed[target] = seconds
        return {"seconds_to": passed, "epochs": epochs, "bound": last}


def _check(work: Work) -> None:
    """Refuses what the example does not have."""
    if work.task == "log_likelihood":
        raise Unsupported("the Keras example has no importance-weighted log p(x)")
    if work.objective != "elbo":
        raise Unsupported("the Keras example has no objective but the ELBO")
    if work.samples != 1:
        raise Unsupported("the Keras example draws one latent vector for each image")
    if work.likelihood != "bernoulli":
        raise Unsupported("the Keras example has no likelihood but binary cross-entropy")


if __name__ == "__main__":
    serve(KerasGuide())
