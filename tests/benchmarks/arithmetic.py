"""How much arithmetic a step is, and how much a machine can do: `python arithmetic.py THREADS`."""

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from peers.protocol import Work

PIXELS = 784


def products(work: Work) -> int:
    """Multiplications of the matrix products and convolutions of one image, forwards.

    Encoder once, decoder once for each of K draws.
    """
    parameters = 1 if work.likelihood == "bernoulli" else 3 * work.components
    if work.network == "conv":
        encoder, decoder = _convolutions(work.latent, parameters)
    else:
        encoder = _chain((PIXELS, *work.hidden, 2 * work.latent))
        decoder = _chain((work.latent, *work.hidden[::-1], PIXELS * parameters))
    draws = work.draws if work.task == "log_likelihood" else work.samples
    return encoder + (0 if work.task == "encode" else draws * decoder)


def flop(work: Work) -> int:
    """Floating point operations of the products of one image.

    A multiplication and an addition each; trained, twice more for the gradients of weights
    and of inputs, but for the gradient of x, which nobody asks for.
    """
    forwards = 2 * products(work)
    if work.task != "fit":
        return forwards
    first = 16 * 32 * 14**2 if work.network == "conv" else PIXELS * work.hidden[0]
    return 3 * forwards - 2 * first


def bytes_moved(work: Work, weights: int) -> int:
    """Bytes that a training step moves between memory and cores, if all but these stay there.

    Adam reads and writes a weight and two moments of each, in float32; of an image its bytes
    are read.
    """
    return 6 * 4 * weights + PIXELS * work.batch


def least_seconds(work: Work, weights: int, rates: dict[str, float]) -> float:
    """Of one image: of the products, or of the bytes, which may pass at the same time."""
    products_ = flop(work) / rates[work.precision]
    if work.task != "fit":
        return products_
    return max(products_, bytes_moved(work, weights) / work.batch / rates["bytes"])


def product_rate(precision: str, size: int, count: int = 1, runs: int = 7) -> float:
    """Floating point operations per second of square products, the median of `runs`.

    TensorFlow's, whose library is the one that the package's networks run on.

    Args:
        precision: of the factors.
        size: of a side.
        count: of the products in one call, so that a call costs nothing beside them.
        runs: calls that are timed.
    """
    import tensorflow as tf

    factor = np.random.default_rng(0).normal(size=(size, size)) / size**0.5
    factor = tf.cast(factor.astype("float32"), precision)

    @tf.function
    def product() -> tf.Tensor:
        found = factor
        for _ in tf.range(count):
            found = tf.matmul(factor, found)
        return tf.reduce_sum(found)

    return 2 * count * size**3 / _median_seconds(lambda: float(product()), runs)


def byte_rate(size: int = 2**25, runs: int = 7) -> float:
    """Bytes per second of adding one large array to another in place: two reads and a write."""
    import tensorflow as tf

    total, added = tf.Variable(tf.zeros(size)), tf.ones(size)

    @tf.function
    def add() -> tf.Tensor:
        total.assign_add(added)
        return total[0]

    return 3 * 4 * size / _median_seconds(lambda: float(add()), runs)


def _median_seconds(call: Callable[[], float], runs: int) -> float:
    call()
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def _chain(widths: tuple[int, ...]) -> int:
    return sum(a * b for a, b in itertools.pairwise(widths))


def _convolutions(latent: int, parameters: int) -> tuple[int, int]:
    """Of the two networks of 4x4 kernels: one kernel for each place of the smaller map."""
    between = 7 * 7 * 64
    smaller, larger = 16 * 64 * 7**2, 16 * 32 * 14**2
    encoder = larger + 32 * smaller + 2 * latent * between
    decoder = latent * between + 64 * smaller + 64 * larger + 32 * parameters * PIXELS
    return encoder, decoder


def rates(threads: int) -> dict[str, float]:
    """What this machine can do with so many cores, or its GPU."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import tensorflow as tf

    size, count = (8192, 20) if tf.config.list_physical_devices("GPU") else (2048, 1)
    found = {name: product_rate(name, size, count) for name in ("float32", "bfloat16")}
    return found | {"bytes": byte_rate()}


if __name__ == "__main__":
    print(json.dumps(rates(int(sys.argv[1]))))
