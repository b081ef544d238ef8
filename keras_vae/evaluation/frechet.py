"""The distance of two Normals that have the moments of real and of generated features."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from keras_vae.evaluation.features import Features, pair_of_features


def frechet_distance(
    real: Any, generated: Any, features: Features = None, batch_size: int = 500
) -> float:
    """`|m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^1/2)`, the squared 2-Wasserstein distance.

    m and S are mean and covariance of the features. With the features of an Inception network
    this is FID. From N examples it is too large in the mean, by about 1 / N times a constant
    that depends on the model, so compare numbers of one N only (Chong and Forsyth 2020).

    Args:
        real: `[N, *E]`, or a source.
        generated: `[M, *E]`, or a source, such as `vae.sample(5000, draw=True)`.
        features: see `features_of`; None for the values themselves.
        batch_size: how many x the features are computed of at once.

    Returns:
        A number >= 0, in squared units of the features.

    Warns:
        UserWarning: if a set has no more examples than features: its covariance does not
            have full rank, whatever the distribution, and the distance is far too large.

    Raises:
        ValueError: if a set has fewer than two examples, or see `features_of`.

    Example: `evaluation.frechet_distance(x_test, vae.sample(5000, draw=True), features=network)`

    References: M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter, GANs
    Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, NeurIPS 2017.
    D. C. Dowson and B. V. Landau, The Frechet Distance between Multivariate Normal
    Distributions, Journal of Multivariate Analysis 1982. M. J. Chong and D. Forsyth,
    Effectively Unbiased FID and Inception Score and Where to Find Them, CVPR 2020.
    """
    pair = pair_of_features(real, generated, features, batch_size)
    for name, rows in zip(("real", "generated"), pair, strict=True):
        _require_rank(name, *rows.shape)
    first, second = (_moments(rows) for rows in pair)
    return distance_of_normals(first, second)


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean `[F]` and covariance `[F, F]`."""

    mean: np.ndarray
    covariance: np.ndarray


def distance_of_normals(first: Moments, second: Moments) -> float:
    """The squared 2-Wasserstein distance of two Normals.

    `tr (S_1 S_2)^1/2 = tr (S_1^1/2 S_2 S_1^1/2)^1/2` is the sum of the singular values of
    `S_1^1/2 S_2^1/2`. These are real and lose no digits to a second square root, unlike the
    eigenvalues of the product, or a root of it that may come out complex.
    """
    overlap = np.linalg.svd(_root(first.covariance).T @ _root(second.covariance), compute_uv=False)
    offset = np.sum((first.mean - second.mean) ** 2)
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * overlap.sum()
    return float(max(offset + spread, 0.0))  # rounding may go below


def _root(covariance: np.ndarray) -> np.ndarray:
    """R with `R R^T = S`: which of them does not matter to the singular values."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(eigenvalues, 0))  # rounding may go below


def _moments(rows: np.ndarray) -> Moments:
    return Moments(rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False)))


def _require_rank(argument: str, rows: int, size: int) -> None:
    if rows < 2:
        raise ValueError(
            f"`{argument}` has no covariance. Expected: two examples at least, and better more "
            f"than its {size} features. Received: {rows}."
        )
    if rows <= size:
        warnings.warn(
            f"`{argument}` has {rows} examples of {size} features: its covariance does not have "
            "full rank, and the distance is too large. Take more examples, or fewer features.",
            stacklevel=3,
        )
