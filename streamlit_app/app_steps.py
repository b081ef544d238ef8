"""What the steps of the derivation are shown for, and how they show formulas, numbers and lines."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from app_live import Asked, Known
from app_source import Excerpt

from keras_vae.assumptions import Assumptions
from keras_vae.vae import VAE

Rows = dict[str, Any]  # TeX, and a number


@dataclasses.dataclass(frozen=True)
class Case:
    """What the steps are shown for. What is None is not known, and left out.

    Attributes:
        vae: the model, unless it is served.
        stated: what it assumes.
        asked: what it answers by the contract.
        known: what only the model itself tells.
    """

    vae: VAE | None
    stated: Assumptions | None
    asked: Asked | None
    known: Known | None


def rows(found: Rows, caption: str) -> None:
    """Formulas and their values."""
    values = [number(value) for value in found.values()]
    st.table(
        pd.DataFrame({"what": [f"${tex}$" for tex in found], "value": values}),
        hide_index=True,
        hide_header=True,
        border="horizontal",
        alt=caption,
    )
    st.caption(caption)


def code(lines: Excerpt) -> None:
    """Lines of a package, and where they stand."""
    st.caption(f":material/code: `{lines.file}`, lines {lines.first} to {lines.last}")
    st.code(lines.code, language="python")


def note(sentence: str) -> None:
    """What is other than in the text, or not known."""
    st.info(sentence, icon=":material/info:")


def number(value: Any) -> str:
    """To four decimals; large ones with separators, tiny ones with an exponent."""
    small = 0 < abs(value) < 1e-3
    return f"{value:.3g}" if small else f"{value:,.4f}"


def log_mean_exp(values: np.ndarray) -> float:
    """`log mean exp`, without overflow."""
    return float(np.logaddexp.reduce(values) - np.log(len(values)))
