"""keras_vae, as its README tells a user to write it."""

import contextlib
import os
import time

import keras
import numpy as np
import tensorflow as tf
from protocol import Peer, Work, serve

import keras_vae
from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.data import Source
from keras_vae.devices import has_gpu

EVENT = (28, 28, 1)


def model(work: Work) -> keras_vae.VAE:
    """The three distributions and the bound."""
    if work.network == "mlp":
        encoder = networks.mlp(work.hidden, work.activation)
        decoder = networks.mlp(work.hidden[::-1], work.activation)
    else:
        encoder = networks.conv([32, 64])
        decoder = networks.conv_transpose([64, 32], shape=EVENT)
    if work.likelihood == "bernoulli":
        likelihood = likelihoods.Bernoulli(EVENT)
    else:
        likelihood = likelihoods.DiscretisedLogisticMixture(EVENT, components=work.components)
    iwae, samples = work.objective == "iwae", work.samples
    return keras_vae.VAE(
        encoder=encoder,
        decoder=decoder,
        posterior=posteriors.DiagonalNormal(work.latent),
        prior=priors.StandardNormal(work.latent),
        likelihood=likelihood,
        objective=objectives.IWAE(samples) if iwae else objectives.ELBO(num_samples=samples),
        seed=work.seed,
    )


def sources(work: Work, train: np.ndarray, test: np.ndarray) -> tuple[Source, Source]:
    """The arrays as `fit` takes them."""
    dynamic = work.values == "dynamic"
    divisor = 255.0 if dynamic else 1.0
    return Source(train[..., None], divisor=divisor, dynamic=dynamic), Source(test[..., None])


class Targets(keras.callbacks.Callback):
    """Seconds of training until the test bound passes each target; the test is off the clock."""

    def __init__(self, work: Work, test: Source, begun: float) -> None:
        super().__init__()
        self.work, self.test = work, test
        self.begun, self.paused = begun, 0.0
        self.seconds_to: dict[str, float | None] = {f"{t:g}": None for t in work.targets}
        self.epochs, self.bound = 0, float("-inf")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        stopped = time.perf_counter()
        elapsed = stopped - self.begun - self.paused
        # A model of its own would compile anew: `evaluate` shares the weights of `fit`.
        logged = self.model.evaluate(self.test, batch_size=1000, verbose=0, return_dict=True)
        self.epochs, self.bound = epoch + 1, logged["elbo"]
        for target in self.work.targets:
            if self.bound > target and self.seconds_to[f"{target:g}"] is None:
                self.seconds_to[f"{target:g}"] = elapsed
        self.paused += time.perf_counter() - stopped
        done = None not in self.seconds_to.values()
        self.model.stop_training = done or elapsed > self.work.limit


class Ours(Peer):
    """`fit`, `evaluation.log_likelihood`, `evaluation.latent_means`."""

    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        begun = time.perf_counter()
        with contextlib.suppress(AttributeError):  # no other system than Linux has it
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: work.threads])
        keras.utils.set_random_seed(work.seed)
        precision = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[work.precision]
        keras.config.set_dtype_policy(precision)
        self.work = work
        self.train, self.test = sources(work, train, test)
        self.vae = model(work)
        jit_compile = True if work.xla else "auto"
        self.vae.compile(keras.optimizers.Adam(work.learning_rate), jit_compile=jit_compile)
        if work.alike:  # once there has been a step, `fit` does not start from x's mean
            self.vae.fit(tf.data.Dataset.from_tensors(self.train[:1].array()), verbose=0)
        if work.task == "log_likelihood":
            self._fit()
        self.prepared = time.perf_counter() - begun
        return sum(int(np.prod(w.shape)) for w in self.vae.trainable_weights)

    def device(self) -> str:
        return "gpu" if has_gpu() else "cpu"

    def run(self) -> dict | None:
        tasks = {
            "fit": self._fit,
            "log_likelihood": self._log_likelihood,
            "encode": self._encode,
            "until": self._until,
        }
        return tasks[self.work.task]()

    def bound(self) -> float:
        logged = self.vae.evaluate(self.test, batch_size=100, verbose=0, return_dict=True)
        return -logged["loss"]

    def _fit(self) -> dict:
        batch, epochs = self.work.batch, self.work.epochs
        seen = self.vae.fit(self.train, batch_size=batch, epochs=epochs, verbose=0)
        return {"loss": seen.history["loss"][-1]}

    def _log_likelihood(self) -> dict:
        found = keras_vae.evaluation.log_likelihood(self.vae, self.test, self.work.draws)
        return {"log_likelihood": found.mean.mean}

    def _encode(self) -> None:
        keras_vae.evaluation.latent_means(self.vae, self.train)

    def _until(self) -> dict:
        # What others prepare in between is not on this clock.
        watch = Targets(self.work, self.test, time.perf_counter() - self.prepared)
        self.vae.fit(
            self.train, batch_size=self.work.batch, epochs=10_000, callbacks=[watch], verbose=0
        )
        return {"seconds_to": watch.seconds_to, "epochs": watch.epochs, "bound": watch.bound}


if __name__ == "__main__":
    serve(Ours())
