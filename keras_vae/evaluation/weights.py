"""What importance weights say of themselves: how many count, and how far their mean is off."""

import math
import warnings

import numpy as np
from scipy import special


def summary(log_weights: np.ndarray) -> dict[str, np.ndarray]:
    """The logarithm of the mean of weights `[K, B]`, and their effective number, `[B]` each."""
    total = special.logsumexp(log_weights, axis=0)
    squares = special.logsumexp(2 * log_weights, axis=0)
    count = len(log_weights)
    return {
        "log_mean": total - np.log(count),
        "effective_sample_sizes": effective_sample_sizes(total, squares, count),
    }


def effective_sample_sizes(
    log_sum: np.ndarray, log_sum_of_squares: np.ndarray, count: int
) -> np.ndarray:
    """`(sum_k w_k)^2 / sum_k w_k^2`, from 1 to K (Kish 1965)."""
    return np.exp(2 * log_sum - log_sum_of_squares).clip(1, count)


def standard_errors(sizes: np.ndarray, count: int) -> np.ndarray:
    """Of the logarithm of the mean of K weights, from their effective number (delta method)."""
    if count == 1:
        return np.full(len(sizes), math.nan)
    return np.sqrt((1 / sizes - 1 / count) * count / (count - 1))


def warn_of_few(sizes: np.ndarray, count: int, fewest: int, kind: str, consequence: str) -> None:
    """Warns, in the name of the caller's caller, where fewer than `fewest` weights are effective."""
    few = int(np.sum(~(sizes >= fewest)))  # NaN, of weights that are all 0, is few, too
    if few:
        warnings.warn(
            f"{few} of {len(sizes)} examples have fewer than {fewest} effective {kind} of {count} "
            f"(least {sizes.min():.1f}): {consequence}",
            stacklevel=3,
        )
