"""What a visitor looks at, and how the pages ask it.

Models are shared by all visitors (`st.cache_resource`) and never changed; what one visitor
chose is in `st.session_state`. Every request carries its seed, so that no visitor's draws
depend on another's.
"""

import contextlib
import gc
import os
import re
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import keras
import streamlit as st
import tensorflow as tf
from app_model import Answer, Served, Shown, Trained, client

from keras_vae.assumptions import Assumptions
from keras_vae.data import Source
from keras_vae.vae import VAE

CALLS = 100  # of a visitor, whose latency is kept
ANSWERABLE = (
    click.ClickException,
    client.ServingError,
    tf.errors.OpError,
    zipfile.BadZipFile,
    ValueError,
    OSError,
)

# After each run Streamlit calls this, which would drop the kernels of every model (100 ms of the
# next request) and reset Keras under another visitor's training; and it collects garbage twice,
# which takes half a second among what TensorFlow's import leaves for good.
keras.backend.clear_session = lambda: None
gc.collect()
gc.freeze()


class Call(NamedTuple):
    """A request that was answered: by which model, of which signature, how many rows, how long."""

    model: str
    signature: str
    rows: int
    milliseconds: float


def runs_folder() -> Path:
    """Where runs are kept."""
    return Path(os.environ.get("KERAS_VAE_RUNS", "runs"))


def runs() -> list[Path]:
    """The folders of trained runs: the one that the page was started with, then the newest."""
    ended = runs_folder().glob("*/metrics.json")  # the last file that a training writes
    kept = sorted((path.parent for path in ended), key=_changed, reverse=True)
    named = os.environ.get("KERAS_VAE_RUN")
    found = [folder for folder in (*([Path(named)] if named else []), *kept) if _is_trained(folder)]
    return list({folder.resolve(): folder for folder in found}.values())


def model() -> Shown:
    """The model that this visitor looks at. A page that calls this needs one to go on."""
    if "served" in st.session_state:
        return served(*st.session_state["served"])
    folder = st.session_state.get("folder") or next(iter(runs()), None)
    if folder is None:
        from app_training import first_model  # it looks at models, too, once it has made one

        first_model()
        st.stop()
    return trained(Path(folder))


def trained(folder: Path) -> Trained:
    """The model of a run folder, loaded once for all visitors, and again when it changes."""
    return _trained(str(folder), _changed(folder / "model.keras"))


@st.cache_resource(max_entries=4, show_spinner="Loading the model ...")
def _trained(folder: str, changed: float) -> Trained:
    return Trained(Path(folder), key=f"{folder} {changed}")


@st.cache_resource(max_entries=8, ttl=600, show_spinner="Asking the server ...")
def served(address: str, name: str) -> Served:
    """The model of that name at a server."""
    return Served(address, name)


def ask(shown: Shown, signature: str, **inputs: Any) -> Answer:
    """The answer of a model; how long it took is kept for this visitor."""
    start = time.perf_counter()
    answer = shown.answer(signature, inputs)
    elapsed = 1000 * (time.perf_counter() - start)
    calls().append(Call(shown.title, signature, len(next(iter(inputs.values()))), elapsed))
    return answer


def calls() -> deque[Call]:
    """The latest requests of this visitor, the oldest first."""
    return st.session_state.setdefault("calls", deque(maxlen=CALLS))


def test_set(shown: Shown) -> Source:
    """Examples that the model was not trained on."""
    if shown.data is None:
        raise ValueError(
            f"There is no data at hand of the shape that this model takes, {shown.event_shape}. "
            "Draw or upload an x on the page One image, or open a run of such data beside it."
        )
    return shown.data.test


@st.cache_data(max_entries=16, show_spinner=False)
def statement(key: str, _vae: VAE) -> Assumptions:
    """What the model states of itself."""
    return _vae.assumptions()


@contextlib.contextmanager
def sentences(key: str = "try_again") -> Iterator[None]:
    """What goes wrong becomes a sentence and a button, never a traceback.

    Args:
        key: of the button; a fragment, which runs without its page, needs its own.
    """
    try:
        yield
    except ANSWERABLE as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        st.error(literal(message), icon=":material/error:")
        if isinstance(error, client.ServingError) and "served" in st.session_state:
            served.clear(*st.session_state["served"])  # connect anew; others keep their client
        if st.button("Try again", key=key):
            st.rerun()  # of the whole page: a fragment still holds the model that it began with


def literal(text: str) -> str:
    """Text as it is, where Streamlit reads Markdown: what a visitor sent is shown, not set."""
    return re.sub(r"([\\*_$])", r"\\\1", text)


def _is_trained(folder: Path) -> bool:
    return (folder / "model.keras").exists()


def _changed(path: Path) -> float:
    """When; of what has just been deleted, long ago."""
    return path.stat().st_mtime if path.exists() else 0.0
