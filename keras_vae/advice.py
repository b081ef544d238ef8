"""Advice before training: what a linear model with the same likelihood would keep.

Around the solution that ignores z, the bound of `p(x|z) = p(x; W z + b)` grows with W along
a direction if and only if the eigenvalue there of `V^-1/2 C V^-1/2` exceeds beta, where C is
the covariance of x and V the variance that the likelihood leaves to x given z. For a Normal,
V = sigma^2 I, and this is the threshold of probabilistic PCA: an eigenvalue of C survives if
it exceeds beta sigma^2. Where none does, a linear model collapses to q(z|x) = p(z), and a
deep one usually follows.

References: M. E. Tipping and C. M. Bishop, Probabilistic Principal Component Analysis, JRSS B
1999. J. Lucas et al., Don't Blame the ELBO!, NeurIPS 2019.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.source import as_source
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import Objective

MAX_ROWS = 10_000
MAX_VALUES = 4_096


@dataclasses.dataclass(frozen=True)
class Advice:
    """How many latent directions a linear model would keep.

    Attributes:
        directions: how many, at most D.
        latent_size: D.
        threshold: what an eigenvalue must exceed.
        eigenvalues: of the covariance of x, in units of the threshold's, largest first.
        explanation: the comparison in words.
    """

    directions: int
    latent_size: int
    threshold: float
    eigenvalues: np.ndarray
    explanation: str

    def __str__(self) -> str:
        return (
            f"A linear model would keep {self.directions} of {self.latent_size} latent "
            f"directions: {self.explanation}"
        )


def linear_directions(x: Any, likelihood: Likelihood, latent_size: int, beta: float) -> Advice:
    """Compares the covariance of `x` with what the likelihood leaves to x given z.

    Args:
        x: `[N, *E]`, or a source. At most 10,000 rows and 4,096 values of a row are used.
        likelihood: p(x|z).
        latent_size: D.
        beta: the weight of the KL.
    """
    source = as_source(x)
    likelihood.check(source.array(limit=1))
    rows = source.values[:: max(1, len(source) // MAX_ROWS)]
    rows = rows.reshape(len(rows), -1).astype("float64") / source.divisor
    variance = source.moments(MAX_ROWS)[1].reshape(-1)
    noise = likelihood.fixed_variance(tf.constant(variance.reshape(likelihood.event_shape)))
    kept = np.linspace(0, rows.shape[1] - 1, min(rows.shape[1], MAX_VALUES)).astype(int)
    covariance = np.atleast_2d(np.cov(rows[:, kept], rowvar=False))
    if source.dynamic:  # drawing bits adds the variance of each bit, and no covariance
        np.fill_diagonal(covariance, variance[kept])
    if noise is None:
        return _learned_scale(covariance, latent_size, beta)
    return _fixed_variance(covariance, noise.numpy().reshape(-1)[kept], latent_size, beta)


def _fixed_variance(
    covariance: np.ndarray, noise: np.ndarray, latent_size: int, beta: float
) -> Advice:
    varies = noise > 0
    scale = np.sqrt(noise[varies])
    covariance = covariance[np.ix_(varies, varies)]
    same = varies.all() and np.ptp(noise) <= 1e-12 * noise.max()
    unit = float(noise.max()) if same else 1.0
    whitened = covariance if same else covariance / np.outer(scale, scale)
    eigenvalues = np.linalg.eigvalsh(whitened)[::-1] if whitened.size else np.zeros(1)
    threshold = beta * unit
    directions = int(min(latent_size, (eigenvalues > threshold).sum()))
    of = "covariance" if same else "correlation"
    against = f"beta sigma^2 = {threshold:.4g}" if same else f"beta = {threshold:.4g}"
    explanation = (
        f"{(eigenvalues > threshold).sum()} eigenvalues of the data's {of} exceed {against}, "
        f"and the largest is {eigenvalues[0]:.4g}."
    )
    if directions == 0:
        explanation += (
            " Training will probably end with q(z|x) = p(z): lower the likelihood's scale "
            '(or learn it, scale="shared"), or lower beta.'
        )
    return Advice(directions, latent_size, threshold, eigenvalues, explanation)


def _learned_scale(covariance: np.ndarray, latent_size: int, beta: float) -> Advice:
    """With q directions kept, the best scale has `sigma^2 = R / (d - beta q)`, R what is left."""
    eigenvalues = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)
    values = len(eigenvalues)
    directions, threshold = 0, beta * eigenvalues.mean()
    for kept in range(1, min(latent_size, values - 1) + 1):
        if beta * kept >= values:
            break
        noise = beta * eigenvalues[kept:].sum() / (values - beta * kept)
        if eigenvalues[kept - 1] <= noise:
            break
        directions, threshold = kept, noise
    explanation = (
        f"with the scale learned, sigma^2 settles where beta sigma^2 = {threshold:.4g}, and "
        f"{directions} eigenvalues of the data's covariance exceed it; the largest is "
        f"{eigenvalues[0]:.4g}."
    )
    return Advice(directions, latent_size, float(threshold), eigenvalues, explanation)


def refuse_early_stop(objective: Objective, callbacks: Any, epochs: int, steps: int | None) -> None:
    """Raises a ValueError if training may stop early while beta has not reached its last value.

    A bound whose beta still rises looks best at its start; a run that stops there was
    trained on another bound than the one that was asked for.
    """
    if steps is None or not isinstance(callbacks, Iterable):
        return
    last = float(objective.beta_at(epochs * steps))
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.EarlyStopping):
            first = float(objective.beta_at(callback.start_from_epoch * steps))
            if not np.isclose(first, last):
                raise ValueError(
                    "EarlyStopping may end training before the schedule of beta does. Expected: "
                    f"beta = {last:.4g}, its value after {epochs} epochs of {steps} steps, from "
                    f"the first epoch that may stop. Received: start_from_epoch="
                    f"{callback.start_from_epoch}, where beta = {first:.4g}. Raise it."
                )
