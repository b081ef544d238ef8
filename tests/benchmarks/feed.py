"""How fast `fit` is, and what the check of the data costs it: `make bench-feed`.

Runs are taken in turn in one process on one machine, so that what else the machine does
falls on all of them. Reported: images per second, and ratios of paired runs.
"""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import keras_vae
from keras_vae.feed import Feed

PAIRS = 7
BATCH = 128
SIZE = 25_600


def model(jit_compile: bool) -> keras_vae.VAE:
    """MLP 784-400-20-400-784."""
    vae = keras_vae.VAE(
        keras_vae.networks.mlp([400]),
        keras_vae.networks.mlp([400]),
        keras_vae.posteriors.DiagonalNormal(20),
        keras_vae.priors.StandardNormal(20),
        keras_vae.likelihoods.Bernoulli((28, 28, 1)),
        seed=0,
    )
    vae.compile("adam", jit_compile=jit_compile)
    return vae


def images() -> np.ndarray:
    """MNIST's training images, binarised once, where the files are; else noise of their shape."""
    try:
        return keras_vae.data.load("mnist", binarisation="static").train.values[:SIZE]
    except ValueError as error:
        print(f"Noise instead of MNIST: {error}")
        return np.random.default_rng(0).integers(0, 2, (SIZE, 28, 28, 1), dtype=np.uint8)


def seconds(run) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def paired(runs: dict) -> dict[str, list[float]]:
    """Times of each run, A B C A B C, after one round to compile."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(PAIRS):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times


def spread(values: list[float], form: str) -> str:
    """Median, smallest and largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def main() -> None:
    """Prints a table for XLA off and on."""
    x = images()
    floats = x.astype("float32")
    grey = keras_vae.data.Source(x * np.uint8(255), divisor=255.0, dynamic=True)
    dataset = tf.data.Dataset.from_tensor_slices(floats).batch(BATCH).prefetch(2)
    for jit_compile in (False, True):
        vae = model(jit_compile)
        times = paired(
            {
                "arrays (uint8)": lambda vae=vae: vae.fit(x, batch_size=BATCH, verbose=0),
                "dynamic bits": lambda vae=vae: vae.fit(grey, batch_size=BATCH, verbose=0),
                "tf.data": lambda vae=vae: vae.fit(dataset, verbose=0),
                "tf.data, unchecked": lambda vae=vae: keras.Model.fit(
                    vae, dataset, shuffle=False, verbose=0
                ),
                "Keras's own array path": lambda vae=vae: keras.Model.fit(
                    vae, floats, batch_size=BATCH, verbose=0
                ),
            }
        )
        print(f"\njit_compile={jit_compile}, images per second: median (min to max) of {PAIRS}")
        for name, values in times.items():
            print(f"  {name:24}{spread([SIZE / s for s in values], ',.0f')}")
        step = statistics.median(times["tf.data"]) / (SIZE / BATCH)
        cost = check_seconds(vae, dataset)
        print(
            f"  check of a batch, of the time of a step: {spread([c / step for c in cost], '.2%')}"
        )


def check_seconds(vae: keras_vae.VAE, dataset: tf.data.Dataset) -> list[float]:
    """What the check adds to making a batch, from paired passes over the data alone.

    Without a step to hide behind: beside training, it runs while the step does.
    """
    checked = Feed(vae.likelihood)(dataset)
    unchecked = dataset.prefetch(2)
    batches = SIZE / BATCH
    times = paired({"checked": lambda: drain(checked), "unchecked": lambda: drain(unchecked)})
    pairs = zip(times["checked"], times["unchecked"], strict=True)
    return [(with_check - without) / batches for with_check, without in pairs]


def drain(dataset: tf.data.Dataset) -> None:
    """Makes every batch."""
    for _ in dataset:
        pass


if __name__ == "__main__":
    main()
