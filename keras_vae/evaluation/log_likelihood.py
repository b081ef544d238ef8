"""Held-out log p(x), by importance sampling from q(z|x)."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

from keras_vae.arguments import generator, integer_seed, is_real, positive_integer
from keras_vae.conditions import Given
from keras_vae.data.source import Source
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.bits import bits_per_dimension
from keras_vae.evaluation.bound import Estimate, estimate
from keras_vae.evaluation.draws import blocks, draws, seeds_of_rows
from keras_vae.evaluation.rows import MEMORY, Rows, bytes_of, identity_of
from keras_vae.evaluation.weights import effective_sample_sizes, standard_errors, warn_of_few
from keras_vae.vae import VAE

FEW_SAMPLES = 10  # effective samples: below them the standard error is not to be trusted either
TOO_FEW_SAMPLES = (
    "q(z|x) misses where p(z|x) is, and their log p(x) is too low by an unknown amount. Take more "
    "samples, or evaluation.annealed_importance_sampling."
)
RESAMPLES = 2_000


@dataclasses.dataclass(frozen=True, eq=False)
class LogLikelihood:
    """log p(x) of each example, in nats, estimated from K draws of z.

    Attributes:
        per_example: `[N]`. Each is too low in the mean, by about half its squared standard error.
        standard_errors: of each, over the draws of z, `[N]`.
        effective_sample_sizes: `(sum_k w_k)^2 / sum_k w_k^2` of each, `[N]`, from 1 to K.
        num_samples: K.
        code_size: of how many values a code for x tells; None if x has no code.
    """

    per_example: np.ndarray
    standard_errors: np.ndarray
    effective_sample_sizes: np.ndarray
    num_samples: int
    code_size: int | None

    @property
    def mean(self) -> Estimate:
        """The mean over the examples; its standard error is over them and the draws of z."""
        return estimate(self.per_example)

    @property
    def standard_error_of_draws(self) -> float:
        """Of the mean, over the draws of z alone: for these very examples."""
        size = len(self.per_example)
        return float(np.sqrt(np.sum(np.square(self.standard_errors))) / size)

    @property
    def bits_per_dimension(self) -> float | None:
        """The code length of a value of x, of discrete data without missing values; else None."""
        size = self.code_size
        return None if size is None else bits_per_dimension(self.mean.mean, (size,))

    def interval(self, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """A bootstrap interval, over the examples, for the mean (Efron's percentiles)."""
        if not is_real(confidence) or not 0 < confidence < 1:
            raise ValueError(
                "`confidence` is the probability that an interval holds the mean. Expected: a "
                f"number between 0 and 1, such as 0.95. Received: {confidence!r}."
            )
        if len(self.per_example) < 2:
            return (math.nan, math.nan)
        found = stats.bootstrap(
            (self.per_example,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=max(1, 2**22 // len(self.per_example)),
            vectorized=True,
            confidence_level=confidence,
            method="percentile",
            rng=generator(seed),
        ).confidence_interval
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval()
        bits = self.bits_per_dimension
        return (
            f"{self.mean.mean:.3f} nats (95 % {low:.3f} to {high:.3f} over the examples, "
            f"+- {self.standard_error_of_draws:.3f} of {self.num_samples} draws; effective "
            f"samples: median {np.median(self.effective_sample_sizes):.0f}, least "
            f"{self.effective_sample_sizes.min():.0f})"
            + ("" if bits is None else f"; {bits:.4f} bits per dimension")
        )


def log_likelihood(
    vae: VAE,
    x: Any,
    num_samples: int = 5_000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> LogLikelihood:
    """`log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)`, `z_k ~ q(z|x)`, of each x, in nats.

    A lower bound on log p(x) in the mean, which rises to it with K (Burda et al. 2016). The
    draws of a row follow from the seed and its number, so that the estimate does not depend
    on the chunks that it is computed in, but for the rounding of float32. The sum runs over
    blocks of draws: memory does not grow with K.

    Where a label is a latent variable, too, it is summed over, not drawn.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source, with its condition and size factor where there are such. Bits
            that are drawn at each visit are drawn once.
        num_samples: K, draws of z for each x.
        seed: of the draws.
        memory: bytes that the tensors of one chunk may take; a row and 250 draws is the least.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Warns:
        UserWarning: if the effective sample size of an example is below 10: q(z|x) misses
            where p(z|x) is, and neither the estimate nor its standard error is to be trusted.

    Raises:
        ValueError: if x is not what the model takes, or `checkpoint` is of another run.

    Example: `print(keras_vae.evaluation.log_likelihood(vae, mnist.test))`

    References: D. J. Rezende, S. Mohamed and D. Wierstra, ICML 2014, appendix. Y. Burda,
    R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders, ICLR 2016.
    """
    source, seed = data_of(vae, x), integer_seed(seed)
    positive_integer(num_samples, "num_samples", vae, "the number of draws of z")
    sampler = _Sampler(vae, num_samples, seed)
    found = Rows(memory, progress, checkpoint)(
        sampler,
        source,
        sampler.bytes_of_row(source),
        "log p(x)",
        functools.partial(identity_of, vae, source, num_samples=num_samples, seed=seed),
    )
    log_sum, log_sum_of_squares = found["log_sum"], found["log_sum_of_squares"]
    sizes = effective_sample_sizes(log_sum, log_sum_of_squares, num_samples)
    warn_of_few(sizes, num_samples, FEW_SAMPLES, "samples", TOO_FEW_SAMPLES)
    return LogLikelihood(
        per_example=log_sum - math.log(num_samples),
        standard_errors=standard_errors(sizes, num_samples),
        effective_sample_sizes=sizes,
        num_samples=num_samples,
        code_size=vae.likelihood.code_size,
    )


class _Sampler:
    """The sums of the weights, and of their squares, of some rows: logarithms, `[n]` each."""

    def __init__(self, vae: VAE, num_samples: int, seed: int) -> None:
        self.vae = vae
        self.seed = seed
        self.sizes = blocks(num_samples)

    def __call__(self, source: Source, numbers: tf.Tensor) -> dict[str, np.ndarray]:
        x, given = self.vae._checked(source)
        sums = [self._sums(x, given, numbers, tf.constant(i), k) for i, k in enumerate(self.sizes)]
        ones, squares = (np.stack(s).astype("float64") for s in zip(*sums, strict=True))
        add = functools.partial(np.logaddexp.reduce, axis=0)
        return {"log_sum": add(ones), "log_sum_of_squares": add(squares)}

    def bytes_of_row(self, source: Source) -> int:
        """Of the tensors of one row and one block of draws."""
        x, given = self.vae._checked(source[:1])
        numbers = tf.zeros(1, tf.int64)
        return bytes_of(self._sums, x, given, numbers, tf.constant(0), max(self.sizes))

    @tf.function
    def _sums(
        self, x: tf.Tensor, given: Given, numbers: tf.Tensor, block: tf.Tensor, size: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seeds = seeds_of_rows(self.seed, numbers, block)
        weights = log_weights(self.vae, x, given, size, seeds)  # [K, B]
        return tf.reduce_logsumexp(weights, 0), tf.reduce_logsumexp(2 * weights, 0)


def log_weights(vae: VAE, x: tf.Tensor, given: Given, count: int, seeds: tf.Tensor) -> tf.Tensor:
    """`log p(x|z) + log p(z) - log q(z|x)`, `[K, B]`, of K draws z ~ q(z|x), row by row.

    Args:
        vae: the model.
        x: `[B, *E]`.
        given: what goes with x, as it was given.
        count: K.
        seeds: of each row, `[B, 2]`.
    """
    cases = vae._cases(x, given)
    parameters = vae._posterior_parameters(cases.x, cases.given)
    q = vae.posterior.distribution(parameters)  # q(z|x): batch [B], event [D]
    z = draws(vae, parameters, count, seeds, cases.copies)  # z ~ q(z|x): [K, B, D]
    weights = (
        vae._likelihood(z, cases.given).log_prob(cases.x)  # log p(x|z)
        + (vae._prior(cases.given).log_prob(z) + cases.given.log_prior)  # log p(z)
        - (q.log_prob(z) + cases.given.log_posterior)  # log q(z|x)
    )
    return tf.reshape(cases.folded_exponentials(weights), (count, -1))
