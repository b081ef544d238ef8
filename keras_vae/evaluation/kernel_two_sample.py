"""Whether two sets of examples come from one distribution, by the distances of their kernels."""

import numbers
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.arguments import generator, is_real
from keras_vae.evaluation.features import Features, pair_of_features
from keras_vae.evaluation.rows import MEMORY, Rows
from keras_vae.evaluation.two_sample import TwoSampleTest, require_rows

PAIRED = 1_000  # rows whose distances the median is taken of
ROUNDING = 1e-12  # of MMD^2, which is between -2 and 2


def kernel_two_sample_test(
    real: Any,
    generated: Any,
    features: Features = None,
    width: float | None = None,
    num_permutations: int = 999,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> TwoSampleTest:
    """The unbiased squared maximum mean discrepancy, and its p-value by permutations.

    `MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)`,
    `k(x, y) = exp(-|x - y|^2 / 2 width^2)`, has mean 0 where the distributions are equal, and
    either sign. The p-value, `(1 + the number of permutations of the pooled rows with an MMD^2
    as large) / (1 + num_permutations)`, is exact for any sizes. Time grows with
    `(N + M)^2 (F + num_permutations)`; the matrix is never in memory as a whole.

    Beside the features, twice, and a byte for each of the pooled rows in each permutation,
    `(N + M) (1 + num_permutations)`, what is computed at once takes no more than `memory`, or
    8 MB for the median.

    Args:
        real: `[N, *E]`, or a source.
        generated: `[M, *E]`, or a source, such as `vae.sample(1000, draw=True)`.
        features: see `features_of`; None for the values themselves.
        width: of the kernel; None for the median distance of two of (at most 1,000 of) the
            pooled rows.
        num_permutations: the smallest p-value is 1 over one more.
        seed: of the permutations, and of those rows.
        memory: bytes that one chunk of rows may take: of x see `features_of`; of the matrix of
            kernels as many rows, and as many permutations, are computed at once as fit.
        progress: whether a bar is shown, on a terminal.
        checkpoint: files for finished features, `NAME.real.npz` and `NAME.generated.npz` of
            `NAME.npz`: a run that was stopped goes on from them. Kernels are computed anew.

    Raises:
        ValueError: if a set has fewer than two examples, `width` is not positive, or all rows
            are equal, or see `features_of`.

    Example: `print(evaluation.kernel_two_sample_test(x_test, vae.sample(1000, draw=True)))`

    References: A. Gretton, K. M. Borgwardt, M. J. Rasch, B. Scholkopf and A. Smola, A Kernel
    Two-Sample Test, JMLR 2012.
    """
    rows = Rows(memory, progress, checkpoint)
    x, y = pair_of_features(real, generated, features, rows)
    require_rows(2, real=len(x), generated=len(y))
    permutations = _permutations(num_permutations)
    random = generator(seed)
    pooled = np.concatenate([x, y])
    pooled -= pooled.mean(axis=0)  # from here distances lose the fewest digits
    sigma = _median_distance(pooled, random) if width is None else _positive(width)
    # A column for each choice of which N rows are called real; the first is the true one.
    chosen = np.zeros((len(pooled), 1 + permutations), bool)
    chosen[: len(x)] = True
    random.permuted(chosen[:, 1:], axis=0, out=chosen[:, 1:])
    found = _mmd_squared(pooled, chosen, len(x), len(y), sigma, rows)
    as_large = np.sum(found >= found[0] - ROUNDING)  # the true one included
    return TwoSampleTest(float(found[0]), float(as_large / len(found)))


def _mmd_squared(
    pooled: np.ndarray, chosen: np.ndarray, n: int, m: int, width: float, rows: Rows
) -> np.ndarray:
    """MMD^2 for each column of `chosen`, True where a row is of the first set."""
    within = np.zeros(chosen.shape[1])  # sum_{i != j} k of the first set
    of_chosen = np.zeros(chosen.shape[1])  # sum_{i != j} k, i of the first set, j of either
    total = 0.0
    # Half of the memory is for rows of k, half for the columns that they are multiplied with.
    for some in rows.blocks(len(pooled), 2 * 8 * len(pooled), "kernels"):
        within_some, of_some, total_some = _sums(pooled, some, chosen, width, rows)
        within += within_some
        of_chosen += of_some
        total += total_some
    across = of_chosen - within
    of_others = total - 2 * across - within
    return within / (n * (n - 1)) + of_others / (m * (m - 1)) - 2 * across / (n * m)


def _sums(
    pooled: np.ndarray, some: slice, chosen: np.ndarray, width: float, rows: Rows
) -> tuple[np.ndarray, np.ndarray, float]:
    """The three sums, i only of some of the rows."""
    kernels = _kernels(pooled, some, width)
    of_rows = kernels.sum(axis=1)
    size = rows.at_once(2 * 8 * (len(pooled) + len(kernels)))
    parts = [
        _sums_of_chosen(kernels, of_rows, some, chosen[:, start : start + size])
        for start in range(0, chosen.shape[1], size)
    ]
    within, of_chosen = (np.concatenate(sums) for sums in zip(*parts, strict=True))
    return within, of_chosen, float(of_rows.sum())


def _sums_of_chosen(
    kernels: np.ndarray, of_rows: np.ndarray, some: slice, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first two, of some columns: a function, so that what is made is freed before the next."""
    ones = chosen.astype("float64")
    return np.einsum("ic,ic->c", ones[some], kernels @ ones), of_rows @ ones[some]


def _kernels(pooled: np.ndarray, some: slice, width: float) -> np.ndarray:
    """Some rows of k, 0 where a row meets itself."""
    from sklearn.metrics.pairwise import rbf_kernel  # a second to import, and for this alone

    kernels = rbf_kernel(pooled[some], pooled, 1 / (2 * width**2))
    kernels[np.arange(len(kernels)), np.arange(some.start, some.stop)] = 0.0
    return kernels


def _median_distance(pooled: np.ndarray, generator: np.random.Generator) -> float:
    from scipy.spatial.distance import pdist

    some = generator.permutation(len(pooled))[:PAIRED]
    median = float(np.median(pdist(pooled[np.sort(some)])))
    if median == 0:
        raise ValueError(
            "The median distance of two rows is no width for a kernel where most rows are equal. "
            "Expected: a median > 0. Received: 0. Pass width."
        )
    return median


def _positive(width: object) -> float:
    if not is_real(width) or width <= 0:  # type: ignore[operator]  # a number here
        raise ValueError(
            "`width` is that of the kernel. Expected: a positive number, or None for the median "
            f"distance. Received: {width!r}."
        )
    return float(width)  # type: ignore[arg-type]


def _permutations(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, numbers.Integral) or number < 1:
        raise ValueError(
            "`num_permutations` is how often the rows are called real at random. Expected: a "
            f"positive integer. Received: {number!r}. With 999 the smallest p-value is 0.001."
        )
    return int(number)
