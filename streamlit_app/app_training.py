"""Training in front of a visitor: in a process of its own, whose history the page follows.

A process can be stopped, cannot take the page with it, and leaves the page's TensorFlow as it
was: building a model in the page would set the seeds of everyone.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import altair as alt
import app_state
import pandas as pd
import streamlit as st

from keras_vae.runs import Run

AT_ONCE = 2  # trainings of all visitors together: each takes about one core
STEP = 0.5  # seconds between two looks at a training
CURVES = {"elbo": "ELBO", "log_likelihood": "log p(x|z)", "kl": "KL(q(z|x) || p(z))"}


class Busy(ValueError):
    """As many trainings run as this machine takes."""


class Training:
    """`keras-vae train`, from the outside.

    Args:
        words: the command's options, without `--run`.
        folder: the run folder; by default one that is deleted with this object.

    Raises:
        Busy: if `AT_ONCE` others run.
    """

    _running: ClassVar[weakref.WeakSet["Training"]] = weakref.WeakSet()
    _starting = threading.Lock()

    def __init__(self, words: Sequence[str], folder: Path | None = None) -> None:
        with self._starting:
            if sum(not other.ended for other in self._running) >= AT_ONCE:
                raise Busy(
                    f"{AT_ONCE} models are being trained on this machine already. Try again when "
                    "one has ended."
                )
            temporary = Path(tempfile.mkdtemp(prefix="keras-vae-"))
            self._processes: list[subprocess.Popen] = []
            weakref.finalize(self, _discard, self._processes, temporary)
            self.run = Run(folder or temporary / "run")
            self._said = temporary / "said"
            resumed = (self.run.folder / "recipe.json").exists()
            self.stopped = False
            place = str(self.run.folder)
            self._start(["--resume", place] if resumed else ["--run", place, *words])
            self._running.add(self)

    def _start(self, words: list[str]) -> None:
        command = [sys.executable, "-m", "keras_vae.cli", "train", *words]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with self._said.open("wb") as said:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C in the page's terminal is not for it
            )
        self._processes.append(process)

    @property
    def _process(self) -> subprocess.Popen:
        return self._processes[-1]

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self._process.poll() is not None

    @property
    def trained(self) -> bool:
        """Whether it ended with a model."""
        return self.ended and self._process.returncode == 0 and self.run.model_path.exists()

    def history(self) -> dict[str, list[float]]:
        """What was logged after each epoch until now."""
        return self.run.history()

    def fraction(self) -> float:
        """How much of the epochs is done, 0 to 1."""
        history = self.history()
        if not history:
            return 0.0
        return min(1.0, len(history["epoch"]) / (self.run.recipe.epochs or 1))

    def stop(self) -> None:
        """Ends the training after the epoch that its checkpoint has, and makes the model of it."""
        if self.ended or self.stopped:
            return
        self.stopped = True
        _end(self._process)
        done = len(self.history().get("epoch", ()))
        if done:
            self._start(["--resume", str(self.run.folder), "--epochs", str(done)])

    def abandon(self) -> None:
        """Ends it at once; what is in a temporary folder goes with this object."""
        self.stopped = True
        _end(self._process)

    def reason(self) -> str:
        """Why there is no model, in a sentence."""
        if self.stopped and len(self._processes) == 1:
            return "The training was stopped before its first epoch had ended: there is no model."
        lines = self._said.read_text(errors="replace").strip().splitlines()
        said = next((line for line in lines[::-1] if line.startswith("keras-vae: ")), None)
        if said is None:
            return f"The training ended without a model (exit code {self._process.returncode})."
        return said.removeprefix("keras-vae: ")


def _end(process: subprocess.Popen) -> None:
    """Asks a training to end, as Ctrl-C does, and insists."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _discard(processes: Sequence[subprocess.Popen], folder: Path) -> None:
    for process in processes:  # nothing is kept, so nothing is waited for
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def curve(history: dict[str, list[float]], name: str) -> alt.Chart:
    """The bound, or a term of it, after each epoch, in nats per example."""
    rows = [
        (epoch, data, value)
        for prefix, data in (("", "training"), ("val_", "validation"))
        for epoch, value in zip(history["epoch"], history.get(prefix + name, ()), strict=False)
    ]
    frame = pd.DataFrame(rows, columns=["epoch", "data", "nats"])
    return (
        alt.Chart(frame, title=CURVES[name], height=220)
        .mark_line(point=len(history["epoch"]) < 10)
        .encode(
            alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)),
            alt.Y("nats:Q", title="nats per example", scale=alt.Scale(zero=False)),
            alt.Color("data:N", title=None, legend=alt.Legend(orient="bottom")),
            tooltip=["epoch", "data", alt.Tooltip("nats", format=".3f")],
        )
    )


def follow(training: Training) -> None:
    """Progress and curves; when the training ends, the whole page is run again."""
    if training.ended:
        _show(training)
    else:
        st.fragment(_watch, run_every=STEP)(training)


def _watch(training: Training) -> None:
    with app_state.sentences("training_again"):
        _show(training)
    if training.ended:
        st.rerun()


def _show(training: Training) -> None:
    history = training.history()
    if not training.ended:
        st.progress(training.fraction(), _doing(training, len(history.get("epoch", ()))))
    if history:
        for column, (name, title) in zip(st.columns(3), CURVES.items(), strict=True):
            with column:
                st.metric(f"{title}, validation", f"{history[f'val_{name}'][-1]:.2f} nats")
                st.altair_chart(curve(history, name), alt=f"{title} after each epoch")


def _doing(training: Training, done: int) -> str:
    if not done:
        return "Starting TensorFlow ..."
    epochs = training.run.recipe.epochs
    if training.stopped or done == epochs:
        return "Writing the model, its numbers and its pictures ..."
    return f"Epoch {done} of {epochs}"


@st.cache_resource(show_spinner=False)
def _first(folder: Path) -> Training:
    """One training for all visitors who come before there is a run."""
    return Training(["--data", "digits"], folder)


def first_model() -> None:
    """Trains the digits model, live, where there is no run yet."""
    st.title("A first model")
    st.write(
        "There is no trained run yet, so one is being trained here: 1,258 images of handwritten "
        "digits, 8 x 8 pixels each. The **ELBO** is the lower bound on log p(x) that is maximised; "
        "it is what the two terms beside it add up to: log p(x|z), how well x is explained, minus "
        "the KL, what z costs."
    )
    training = _first(app_state.runs_folder() / "digits")
    if training.trained:
        _first.clear()
        st.rerun()
    if training.ended:
        st.error(app_state.literal(training.reason()))
        st.button("Try again", on_click=_first_again, args=(training,))
    follow(training)


def _first_again(failed: Training) -> None:
    """Another one, unless another visitor has begun it."""
    if _first(failed.run.folder) is failed:
        _first.clear()
