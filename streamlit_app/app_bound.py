"""The bound of one x as a sum of terms, and what importance weights add to it."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import app_state
import numpy as np
import streamlit as st
from app_model import Answer, Shown

from keras_vae.divergences import kl_per_dimension

DIGITS = 3  # behind the point, of what is shown
DRAWS = 4096  # of z, for the bound and the weights of one x
VALUES = 1024  # of one x, above which a quarter of the draws must do
ROWS_OF_SERVER = 64  # each of as many draws as the server takes
VALUES_AT_ONCE = 2**22  # of x, that are sent in one request: 16 MB
KL_DRAWS = 256  # for a KL that has no closed form


class Terms(NamedTuple):
    """`log p(x|z) - KL = bound`, rounded so that the digits add up.

    Attributes:
        log_likelihood: the mean of log p(x|z) over draws from q(z|x), in nats.
        kl: what is taken from it, by name, in nats.
    """

    log_likelihood: Decimal
    kl: dict[str, Decimal]

    @property
    def total_kl(self) -> Decimal:
        """The sum of the terms of the KL."""
        return sum(self.kl.values(), Decimal(0))

    @property
    def bound(self) -> Decimal:
        """The sum of all terms as they are shown."""
        return self.log_likelihood - self.total_kl


class Estimate(NamedTuple):
    """`E log 1/K sum_k w_k`, from several groups of K weights.

    Attributes:
        size: K.
        value: the mean over the groups, in nats.
        error: its standard error; None of a single group.
        groups: how many.
    """

    size: int
    value: float
    error: float | None
    groups: int


def terms(log_likelihood: float, kl: Mapping[str, float]) -> Terms:
    """The terms of a bound, rounded one by one.

    Raises:
        ValueError: if one is not finite.
    """
    return Terms(rounded(log_likelihood), {name: rounded(value) for name, value in kl.items()})


def rounded(value: float) -> Decimal:
    """A number of nats as it is shown."""
    if not math.isfinite(value):
        raise ValueError(
            f"The bound of this x is no number. Expected: finite terms. Received: {value}. The "
            "model has diverged, or gives this x no density."
        )
    return Decimal(float(value)).quantize(Decimal(1).scaleb(-DIGITS))


def estimates(log_weights: np.ndarray) -> list[Estimate]:
    """The importance-weighted bound of K = 1, 2, 4, ..., from the same weights each time.

    `log_weights` are split into groups of K, and their log-mean-exp is averaged. The groups of
    2 K are pairs of the groups of K, so by Jensen's inequality no value is below the one before.

    Args:
        log_weights: `log p(x|z_k) p(z_k) / q(z_k|x)`, `z_k ~ q(z|x)`, or estimates that are
            themselves the log of a mean of as many weights each: `[2^n]`.

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders, ICLR
    2016.
    """
    means = np.asarray(log_weights, dtype=np.float64)
    found = [_estimate(1, means)]
    while len(means) > 1:
        means = np.logaddexp(means[::2], means[1::2]) - math.log(2)
        found.append(_estimate(2 * found[-1].size, means))
    return found


def _estimate(size: int, means: np.ndarray) -> Estimate:
    count = len(means)
    error = float(means.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    return Estimate(size, float(means.mean()), error, count)


def rows_of(shown: Shown) -> int:
    """How many rows of `score` are asked for one x."""
    if shown.vae is None:
        return ROWS_OF_SERVER
    return DRAWS if math.prod(shown.event_shape) <= VALUES else DRAWS // 4


@st.cache_data(max_entries=64, show_spinner="Drawing from q(z|x) ...")
def scores(key: str, _shown: Shown, x: np.ndarray) -> Answer:
    """What `score` answers for one x with the seeds 0, 1, 2, ..., by the names of its outputs."""
    seeds = np.arange(rows_of(_shown))
    parts = math.ceil(len(seeds) / max(1, VALUES_AT_ONCE // x.size))
    answers = [
        app_state.ask(_shown, "score", x=np.repeat(x[None], len(part), 0), seed=part)
        for part in np.array_split(seeds, parts)
    ]
    return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}


@st.cache_data(max_entries=64, show_spinner=False)
def kl_terms(key: str, _shown: Shown, x: np.ndarray, kl: float) -> tuple[dict[str, float], str]:
    """The KL by dimension where it is a sum over them, else as one term; and a sentence on that."""
    if _shown.vae is None:
        return {"KL": kl}, "The server answers the KL as one number."
    q, p = _shown.vae.latents(x[None])
    try:
        each = kl_per_dimension(q, p, q.sample(KL_DRAWS, seed=np.zeros(2, np.int32))).numpy()[0]
    except NotImplementedError:
        return {"KL": kl}, "The dimensions of z depend on each other here: the KL is one number."
    return {f"KL of z{d}": float(value) for d, value in enumerate(each)}, (
        "The dimensions of z are independent in q(z|x) and in p(z): the KL is a sum over them."
    )
