"""How much arithmetic a step is, and how much this machine can do: `python arithmetic.py`."""

import itertools
import json
import statistics
import time

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
    """Bytes that a training step must move at least, float32, if only products stay in cache.

    Weights are read forwards and backwards and their gradients written; Adam reads weight,
    gradient and two moments and writes three: ten times the weights. The parameters of
    p(x|z) are written and read by the product, the density and their gradients: four times.
    """
    outputs = PIXELS if work.likelihood == "bernoulli" else 3 * PIXELS * work.components
    return 4 * (10 * weights + 4 * work.batch * work.samples * outputs)


def product_rate(precision: str, size: int = 2048, runs: int = 7) -> float:
    """Floating point operations per second of a square product, the median of `runs`.

    TensorFlow's, whose library is the one that the package's networks run on.
    """
    import tensorflow as tf

    factor = tf.cast(np.random.default_rng(0).normal(size=(size, size)), precision)
    product = tf.function(lambda a: tf.reduce_sum(tf.matmul(a, a)))
    product(factor)
    rates = []
    for _ in range(runs):
        begun = time.perf_counter()
        float(product(factor))
        rates.append(2 * size**3 / (time.perf_counter() - begun))
    return statistics.median(rates)


def _chain(widths: tuple[int, ...]) -> int:
    return sum(a * b for a, b in itertools.pairwise(widths))


def _convolutions(latent: int, parameters: int) -> tuple[int, int]:
    """Of the two networks of 4x4 kernels: one kernel for each place of the smaller map."""
    between = 7 * 7 * 64
    smaller, larger = 16 * 64 * 7**2, 16 * 32 * 14**2
    encoder = larger + 32 * smaller + 2 * latent * between
    decoder = latent * between + 64 * smaller + 64 * larger + 32 * parameters * PIXELS
    return encoder, decoder


if __name__ == "__main__":
    print(json.dumps({name: product_rate(name) for name in ("float32", "bfloat16")}))
