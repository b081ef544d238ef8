"""Draws from the prior, what a temperature does to them, and the data that lies nearest."""

from typing import NamedTuple

import altair as alt
import app_state
import numpy as np
import pandas as pd
import streamlit as st
from app_model import Shown

from keras_vae import latents
from keras_vae.data import DataSet, Source

ROWS = 20_000  # of the training set, that samples are compared with
HELD_OUT = 1000  # of the test set, whose distances are the yardstick
AT_ONCE = 250  # rows of distances
MOST = 100  # samples


def row_seeds(seed: int) -> np.ndarray:
    """The seeds of the rows of a request, `[MOST]`; those of two seeds are disjoint."""
    return MOST * seed + np.arange(MOST, dtype="int64")


def prior_z(shown: Shown, ex_post: bool, seed: int, count: int) -> np.ndarray:
    """The first draws of a seed, `[count, D]`; a larger count changes none of them.

    Of a model with an ex-post prior the contract's `generate` draws from that, and the prior
    itself is asked here.
    """
    if shown.vae is not None and shown.vae.ex_post is not None and not ex_post:
        halves = np.array([seed], "int64").view("int32")
        return shown.vae.prior_given().sample(MOST, seed=halves).numpy()[:count]
    return app_state.ask(shown, "generate", seed=row_seeds(seed)[:count])["z"]


def tempered(z: np.ndarray, centre: np.ndarray, temperature: float) -> np.ndarray:
    """`centre + t (z - centre)`, written so that t = 1 gives z to the last bit.

    Args:
        z: draws, `[N, D]`.
        centre: the mean of many draws, `[D]`.
        temperature: t.
    """
    return (z + (temperature - 1) * (z - centre)).astype(z.dtype)


def no_temperature(support: str) -> str | None:
    """Why z has no temperature on a set of `keras_vae.latents`; None if it has."""
    if support == latents.REALS:
        return None
    if support == latents.SPHERE:
        return (
            "There is no temperature: z lies on a sphere, and a draw moved to or from the centre "
            "leaves it."
        )
    return (
        f"There is no temperature: z is of {support}, and a draw moved from there has no density."
    )


def decoded(shown: Shown, z: np.ndarray, draw: bool, seed: int) -> np.ndarray:
    """The mean of p(x|z) of each z, or a draw from it, `[N, *E]`."""
    if not draw:
        return app_state.ask(shown, "decode", z=z)["mean"]
    return app_state.ask(shown, "decode_sample", z=z, seed=row_seeds(seed)[: len(z)])["x"]


# What lies nearest


class Nearest(NamedTuple):
    """The nearest row for each x: its number and its squared distance, `[N]` each."""

    rows: np.ndarray
    distances: np.ndarray


@st.cache_resource(max_entries=2, show_spinner="Reading the training set ...")
def training_values(key: str, _data: DataSet) -> np.ndarray:
    """The values of the training set, `[at most ROWS, d]`, float32; all visitors share them."""
    values = _flat(_data.train, ROWS)
    values.flags.writeable = False
    return values


@st.cache_data(max_entries=8, show_spinner="Comparing the test set with the training set ...")
def yardstick(key: str, _data: DataSet) -> np.ndarray:
    """How far test examples are from their nearest training example, squared, `[N]`."""
    return nearest(_flat(_data.test, HELD_OUT), training_values(key, _data)).distances


def nearest(x: np.ndarray, rows: np.ndarray) -> Nearest:
    """For each x the row of least `|x - row|^2`.

    The search is by `|row|^2 - 2 x . row`, a matrix product; the distance is then computed
    from the differences, since the product's rounding is that of the squares.

    Args:
        x: `[N, d]`.
        rows: `[M, d]`.
    """
    squares = np.einsum("md,md->m", rows, rows)
    found = [
        (squares - 2 * x[start : start + AT_ONCE] @ rows.T).argmin(axis=1)
        for start in range(0, len(x), AT_ONCE)
    ]
    numbers = np.concatenate(found)
    differences = x.astype("float64") - rows[numbers]
    return Nearest(numbers, (differences**2).sum(axis=1))


def _flat(source: Source, limit: int) -> np.ndarray:
    """Rows as vectors; of bits that are drawn at each visit, one draw."""
    values = source.array(limit, dtype="float32")
    return values.reshape(len(values), -1)


def in_words(samples: np.ndarray, held_out: np.ndarray) -> str:
    """What the squared distances of samples and of test examples say."""
    nearer = int((samples < held_out.min()).sum())
    return (
        "Beside each sample is the training example nearest to it, and below them the squared "
        "distance between the two; a copy has 0. The yardstick is how near test examples, which "
        "nobody could copy, come to a training example: half of them within "
        f"**{np.median(held_out):.3g}**, the nearest within {held_out.min():.3g}. Of these samples "
        f"half are within **{np.median(samples):.3g}**, the nearest within {samples.min():.3g}; "
        f"{nearer} of {len(samples)} are nearer than any test example."
    )


def pair(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures side by side, with a line between them."""
    line = np.full_like(left[:, :2], 128)
    return np.concatenate([left, line, right], axis=1)


def comparison(samples: np.ndarray, held_out: np.ndarray) -> alt.Chart:
    """A tick for each squared distance to the nearest training example, one line each."""
    lines = {"samples": samples, "test examples": held_out}
    ticks = pd.concat([pd.DataFrame({"of": name, "distance": d}) for name, d in lines.items()])
    return (
        alt.Chart(ticks)
        .mark_tick(opacity=0.6, thickness=2)
        .encode(
            x=alt.X("distance:Q", title="squared distance"),
            y=alt.Y("of:N", title=None),
            color=alt.Color("of:N", legend=None),
            tooltip=[alt.Tooltip("distance:Q", format=".3g")],
        )
        .properties(height=130)
    )
