"""How much arithmetic a step is, and how much this machine can do."""

import itertools
import statistics
import time

import numpy as np
from peers.protocol import Work

PIXELS = 784


def products(work: Work) -> int:
    """Multiplications of the matrix products of one image, forwards: the MLPs only.

    Encoder once, decoder once for each of K draws.
    """
    outputs = PIXELS if work.likelihood == "bernoulli" else 3 * PIXELS * work.components
    encoder = _chain((PIXELS, *work.hidden, 2 * work.latent))
    decoder = _chain((work.latent, *work.hidden[::-1], outputs))
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
    return 3 * forwards - 2 * PIXELS * work.hidden[0]


def bytes_moved(work: Work, weights: int) -> int:
    """Bytes that a training step must move at least, float32, if only products stay in cache.

    Weights are read forwards and backwards and their gradients written; Adam reads weight,
    gradient and two moments and writes three: ten times the weights. The parameters of
    p(x|z) are written and read by the product, the density and their gradients: four times.
    """
    outputs = PIXELS if work.likelihood == "bernoulli" else 3 * PIXELS * work.components
    return 4 * (10 * weights + 4 * work.batch * work.samples * outputs)


def product_rate(size: int = 2048, runs: int = 7) -> float:
    """Floating point operations per second of a square float32 product, the median of `runs`.

    TensorFlow's, whose library is the one that the package's networks run on.
    """
    import tensorflow as tf

    factor = tf.constant(np.random.default_rng(0).normal(size=(size, size)).astype("float32"))
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
