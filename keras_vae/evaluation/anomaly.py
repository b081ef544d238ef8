"""How unlike the training data an example is."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.arguments import generator, is_real
from keras_vae.data.source import Source, as_source
from keras_vae.data.sparse import dense
from keras_vae.evaluation.asked import require_model
from keras_vae.evaluation.log_likelihood import log_likelihood
from keras_vae.evaluation.rows import MEMORY, Rows
from keras_vae.vae import VAE


def anomaly_scores(
    vae: VAE,
    x: Any,
    background: VAE | None = None,
    num_samples: int = 500,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> np.ndarray:
    """`-log p(x)`, or with a background model `-(log p(x) - log p_0(x))`: `[N]`, in nats.

    Larger is more anomalous. Plain `-log p(x)` often fails one way round: a density is also
    high where x is simple (mostly black, say), whatever the model was trained on. So a model of
    clothes (Fashion-MNIST) finds digits (MNIST) likelier than clothes, an AUROC of 0.1 in
    `tests/examples/anomalies_of_fashion.py`. The background model p_0 is trained on what has the
    same values and little of the meaning, see `perturbed`: the ratio keeps what the two do not
    share. It helps by no means always, and depends on how p_0 was trained.

    Where x is unlike the training data, q(z|x) is seldom near p(z|x), and `log_likelihood`
    warns of it: log p(x) is then too low and the plain score too large, on the side where it
    should be. Where the background's own encoder misses x the ratio is too small, on the other.

    Args:
        vae: the model of the data.
        x: `[N, *E]`, or a source, with its condition and size factor where there are such.
        background: p_0, of the same event shape, or None.
        num_samples: draws of z for each x, and of each model.
        seed: of the draws.
        memory: bytes that the tensors of one chunk may take.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it. That
            of the background lies beside it: of `scores.npz` it is `scores.background.npz`.

    Warns:
        UserWarning: see `log_likelihood`.

    Raises:
        ValueError: if x is not what the models take, or their densities are of different things, or
            `checkpoint` is of another run.

    Example:
        background.fit(keras_vae.evaluation.perturbed(x_train, rate=0.2))
        scores = keras_vae.evaluation.anomaly_scores(vae, x, background)

    References: E. Nalisnick, A. Matsukawa, Y. W. Teh, D. Gorur and B. Lakshminarayanan, Do Deep
    Generative Models Know What They Don't Know?, ICLR 2019. J. Ren, P. J. Liu, E. Fertig,
    J. Snoek, R. Poplin, M. A. DePristo, J. V. Dillon and B. Lakshminarayanan, Likelihood
    Ratios for Out-of-Distribution Detection, NeurIPS 2019.
    """
    if background is not None:
        require_model(vae)
        require_model(background, "background")
        _require_comparable(vae, background)
    log_p = log_likelihood(vae, x, num_samples, seed, memory, progress, checkpoint).per_example
    if background is None:
        return -log_p
    beside = Rows(checkpoint=checkpoint).part("background").checkpoint
    found = log_likelihood(background, x, num_samples, seed, memory, progress, beside)
    return found.per_example - log_p


def perturbed(x: Any, rate: float, seed: int = 0) -> Source:
    """x with each value replaced, with probability `rate`, by another at random: for a background.

    The new value is equally likely each other one between the smallest and the largest of x:
    of whole numbers where x is all whole, else of real numbers. What goes with x stays.

    Args:
        x: `[N, *E]`, or a source, all of whose values are of one kind.
        rate: in [0, 1]; Ren et al. choose it between 0.1 and 0.3.
        seed: of what is replaced, and by what.

    Returns:
        A source, which `fit` takes wherever it takes an array. Of a missing value, NaN stays.

    Raises:
        ValueError: if `rate` is no such number, or x has no values to choose from.

    References: J. Ren et al., Likelihood Ratios for Out-of-Distribution Detection, NeurIPS 2019.
    """
    if not (is_real(rate) and 0 <= rate <= 1):
        raise ValueError(
            "`rate` of perturbed is the share of the values that are replaced. Expected: a "
            f"number in [0, 1]. Received: rate={rate!r}."
        )
    source = as_source(x)
    values = dense(source.values)
    if values.dtype.kind not in "fiub":
        raise ValueError(
            "`x` of perturbed is numbers. Expected: an array [N, *E] or a source. Received: dtype "
            f"{values.dtype}."
        )
    random = generator(seed)
    replaced = random.random(values.shape, dtype="float32") < rate
    found = values.copy()
    found[replaced] = _others(values, values[replaced], random)
    return dataclasses.replace(source, values=found)


def _others(values: np.ndarray, old: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """For each old value another one from the range of all values; NaN stays."""
    low, high = _range(values)
    if np.array_equal(values, np.round(values), equal_nan=True):
        drawn = random.integers(int(low), int(high), len(old))
        new: np.ndarray = drawn + (drawn >= old)  # uniform on the others
    else:
        new = random.uniform(low, high, len(old))
    return np.where(np.isnan(old), old, new).astype(values.dtype)


def _range(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() == finite.max():
        raise ValueError(
            "`x` of perturbed has no other value to put in place of one. Expected: two different "
            f"numbers at least. Received: shape {list(values.shape)}, "
            + (f"all of them {finite.min()}." if finite.size else "without a number.")
        )
    return finite.min(), finite.max()


def _require_comparable(vae: VAE, background: VAE) -> None:
    """Raises a ValueError if the two densities are not of the same values."""
    kinds = [
        (model.likelihood.event_shape, model.likelihood.support.discrete)
        for model in (vae, background)
    ]
    if kinds[0] != kinds[1]:
        words = [
            f"{'probabilities' if discrete else 'densities'} of {list(shape)}"
            for shape, discrete in kinds
        ]
        raise ValueError(
            "A ratio of likelihoods is one of the same x. Expected: a background with "
            f"{words[0]}, as `vae`. Received: {words[1]}. Give both models the same likelihood."
        )
