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
import math

import keras
import numpy as np
import tensorflow as tf

from keras_vae.data.source import Source, every
from keras_vae.data.sparse import dense
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import Objective

END = 10**9  # a step that no schedule outlasts: what beta it ends with
MAX_ROWS = 10_000
MAX_VALUES = 2_048


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


def linear_directions(
    source: Source, likelihood: Likelihood, latent_size: int, beta: float
) -> Advice:
    """Compares the covariance of the data with what the likelihood leaves to x given z.

    Args:
        source: the data, in the likelihood's support. At most 10,000 rows are used.
        likelihood: p(x|z).
        latent_size: D.
        beta: the weight of the KL.
    """
    if len(source) < 2:
        raise ValueError("A covariance needs at least 2 examples. Received: 1. Pass more of x.")
    try:
        noise = likelihood.noise_variance(*map(tf.constant, source.moments(MAX_ROWS)))
    except NotImplementedError as error:
        raise ValueError(
            f"There is no linear theory for {type(likelihood).__name__} as it is. Expected: a "
            'Normal with a fixed, "shared" or "per_value" scale, a Bernoulli or a '
            "ContinuousBernoulli. Train, and look at the KL instead."
        ) from error
    rows = dense(source.values[every(len(source), MAX_ROWS)])
    x = rows.reshape(len(rows), -1).astype("float64") / source.divisor
    # Bits that are drawn from grey values vary by m(1 - m) more, each on its own.
    drawn = (x * (1 - x)).mean(axis=0) if source.dynamic else np.zeros(x.shape[1])
    if noise is None:
        return _learned_scale(_eigenvalues(x, drawn), latent_size, beta)
    return _fixed_variance(x, drawn, noise.numpy().reshape(-1), latent_size, beta)


def _eigenvalues(x: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Those of the covariance of the rows plus `diag(drawn)`, largest first.

    Of more than 2,048 values in a row the Gram matrix of 2,048 rows is taken, which has the
    same eigenvalues but cannot hold `drawn`: its mean is added, which is exact for equal ones.
    """
    count, values = x.shape
    gram = values > MAX_VALUES
    x = x[every(count, MAX_VALUES)] if gram else x
    x = (x - x.mean(axis=0)) / math.sqrt(len(x))
    product = x @ x.T if gram else x.T @ x + np.diag(drawn)
    found = np.maximum(np.linalg.eigvalsh(product)[::-1], 0.0)[:values]
    return np.pad(found, (0, values - len(found))) + (drawn.mean() if gram else 0.0)


def _fixed_variance(
    x: np.ndarray, drawn: np.ndarray, noise: np.ndarray, latent_size: int, beta: float
) -> Advice:
    varies = noise > 0
    same = bool(varies.all() and np.ptp(noise) <= 1e-12 * noise.max())
    unit = float(noise[0]) if same else 1.0
    if not same:
        x, drawn = x[:, varies] / np.sqrt(noise[varies]), drawn[varies] / noise[varies]
    eigenvalues = _eigenvalues(x, drawn)
    largest = eigenvalues[0] if eigenvalues.size else 0.0
    threshold = beta * unit
    survivors = int((eigenvalues > threshold * (1 + 1e-6)).sum())  # not by rounding alone
    directions = min(latent_size, survivors)
    of = "covariance" if same else "correlation"
    against = f"beta sigma^2 = {threshold:.4g}" if same else f"beta = {threshold:.4g}"
    explanation = (
        f"{survivors} eigenvalues of the data's {of} exceed {against}, "
        f"and the largest is {largest:.4g}."
    )
    if directions == 0:
        explanation += (
            " Training will probably end with q(z|x) = p(z): lower the likelihood's scale "
            '(or learn it, scale="shared"), or lower beta.'
        )
    return Advice(directions, latent_size, threshold, eigenvalues, explanation)


def _learned_scale(eigenvalues: np.ndarray, latent_size: int, beta: float) -> Advice:
    """With q directions kept, the best scale has `sigma^2 = R / (d - beta q)`, R what is left."""
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


def refuse_early_stop(
    objective: Objective,
    callbacks: list[keras.callbacks.Callback],
    initial_epoch: int,
    epochs: int,
    steps: int | None,
    done: int,
) -> None:
    """Raises a ValueError if training may stop early while a schedule still moves the bound.

    A bound whose beta still rises looks best at its start; a run that stops there was
    trained on another bound than the one that was asked for.

    Args:
        objective: the bound.
        callbacks: of `fit`.
        initial_epoch: the first epoch.
        epochs: after which one training ends.
        steps: of an epoch, or None where that is not known.
        done: the optimizer's iterations before.
    """
    stops = [c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping)]
    if steps is None or not stops:
        return

    def after(epoch: int) -> dict[str, float]:
        return objective.scheduled(done + max(0, epoch - initial_epoch) * steps)

    last = after(epochs)
    for callback in stops:
        for epoch in range(callback.start_from_epoch, epochs):
            for name, value in after(epoch).items():
                if not math.isclose(value, last[name]):
                    raise ValueError(
                        f"EarlyStopping may end training before the schedule of {name} does. "
                        f"Expected: {name} = {last[name]:.4g}, its value after {epochs} epochs of "
                        f"{steps} steps, from the first epoch that may stop. Received: "
                        f"start_from_epoch={callback.start_from_epoch}; after {epoch} epochs "
                        f"{name} = {value:.4g}. Raise it."
                    )
