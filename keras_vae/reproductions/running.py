"""Trains one variant of a study, measures it, and writes one result.

Training and the held-out log p(x), which take the time, are resumable.
"""

import dataclasses
import json
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_vae.data import DataSet
from keras_vae.data.source import Source
from keras_vae.measurement import versions
from keras_vae.reproductions.study import Plan, Study, Trained, Variant
from keras_vae.runs import Recorder, Run

SECONDS = 15.0  # between two checkpoints of a training
POINTS = 60  # of a curve

Say = Callable[[str], object]


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be run.

    Attributes:
        study: which.
        variant: which of its rows.
        epochs: the budget.
        num_samples: K of the held-out log-likelihood.
        seed: of weights, draws and order.
        data_dir: where the data lies, or None for the environment's.
    """

    study: Study
    variant: Variant
    epochs: int
    num_samples: int = 5_000
    seed: int = 0
    data_dir: str | None = None

    @property
    def training(self) -> str:
        """The name of what is trained, and of its folder."""
        return f"{self.study.name}-{self.variant.name}-epochs{self.epochs}-seed{self.seed}"

    @property
    def name(self) -> str:
        """That of its result: of one training there may be several, of other numbers of draws."""
        return f"{self.training}-draws{self.num_samples}" if self.study.draws else self.training


def run(job: Job, folder: Path, results: Path, say: Say) -> Path:
    """Trains from the newest checkpoint, measures, and writes `results/NAME.json`.

    Args:
        job: what is run.
        folder: of checkpoints, one folder a job.
        results: a folder.
        say: what is told of the progress.

    Returns:
        The result's path. One that is there already is left as it is.
    """
    path = results / f"{job.name}.json"
    if path.exists():
        say(f"{job.name}: there already")
        return path
    checkpoints = Run(folder / job.training)
    checkpoints.folder.mkdir(parents=True, exist_ok=True)
    data = job.variant.data(job.data_dir)
    origin = _origin(job, data, checkpoints)
    plan = Plan(job.epochs, -(-len(data.train) // job.variant.batch_size), job.seed)
    keras.utils.set_random_seed(job.seed)
    model = job.variant.build(data, plan)
    seconds = _train(job, model, data, checkpoints, say)
    say(f"{job.name}: measured on {len(data.test)} test examples")
    trained = Trained(model, data, job.num_samples, job.seed, checkpoints.folder)
    figures = job.study.measure(trained)
    results.mkdir(parents=True, exist_ok=True)
    found = {**_result(job, model, data, checkpoints, seconds, figures), **origin}
    Run(results).write_json(path.name, found)
    return path


def _train(job: Job, model: keras.Model, data: DataSet, run: Run, say: Say) -> float:
    """Seconds of training, of all sittings."""
    done = run.load_checkpoint(model)
    if done < job.epochs:
        fed = job.variant.feed(data.train)
        model.fit(
            fed,
            shuffle=isinstance(fed, Source),
            validation_data=data.test if job.variant.follows else None,
            batch_size=job.variant.batch_size,
            epochs=job.epochs,
            initial_epoch=done,
            verbose=0,
            callbacks=[Clock(say, job.name), Recorder(run, done, SECONDS)],
        )
    return sum(run.history().get("seconds", [0.0]))


class Clock(keras.callbacks.Callback):
    """Logs the seconds of each epoch, and tells the progress."""

    def __init__(self, say: Say, name: str) -> None:
        super().__init__()
        self.say, self.name = say, name
        self.began = self.told = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds to the logs, which later callbacks see, and says a line a minute and at the end."""
        logs, now, epochs = {} if logs is None else logs, time.monotonic(), self.params["epochs"]
        logs["seconds"] = round(now - self.began, 3)
        if epoch + 1 == epochs or now - self.told > 60:
            self.told = now
            self.say(f"{self.name}: epoch {epoch + 1}/{epochs}, loss {logs['loss']:.2f}")


def _result(
    job: Job, model: keras.Model, data: DataSet, run: Run, seconds: float, figures: dict[str, Any]
) -> dict[str, Any]:
    """What the result's file holds."""
    variant = job.variant
    return {
        "study": job.study.name,
        "variant": variant.name,
        "model": variant.model,
        "optimiser": variant.optimiser,
        "batch_size": variant.batch_size,
        "epochs": job.epochs,
        "seed": job.seed,
        "num_samples": job.num_samples if job.study.draws else None,
        "protocol": dataclasses.asdict(data.protocol),
        "figures": {
            name: {
                **dataclasses.asdict(figure),
                "published": dataclasses.asdict(variant.published[name])
                if name in variant.published
                else None,
            }
            for name, figure in figures.items()
        },
        "curve": _curve(run, len(data.train)) if variant.follows else None,
        "parameters": model.count_params(),
        "training_seconds": round(seconds, 1),
    }


def _origin(job: Job, data: DataSet, run: Run) -> dict[str, Any]:
    """What trains the model, kept beside its checkpoints: all that a run which goes on has had.

    Raises:
        ValueError: if they are of another model or data than what is now asked for.
    """
    path, variant = run.folder / "origin.json", job.variant
    words = {
        "model": variant.model,
        "optimiser": variant.optimiser,
        "batch_size": variant.batch_size,
        "protocol": dataclasses.asdict(data.protocol),
    }
    found: dict[str, Any] = {"processor": None, "commit": None, "versions": {}, **words}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    if {name: found.pop(name, None) for name in words} != words:
        raise ValueError(
            f"{run.folder} holds the training of another model by this name. Expected: {words}. "
            "Delete the folder, or name another with --run."
        )
    had = found["versions"]
    found = {
        "processor": _all(found["processor"], _processor()),
        "commit": _all(found["commit"], _commit()),
        "versions": {name: _all(had.get(name), value) for name, value in versions().items()},
    }
    run.write_json(path.name, {**words, **found})
    return found


def _all(before: str | None, now: str | None) -> str | None:
    """What has been, and what is, once each: `1.0, 1.1`."""
    known = before.split(", ") if before else []
    return ", ".join(dict.fromkeys([*known, *([now] if now else [])])) or None


def _curve(run: Run, size: int) -> dict[str, list[float]]:
    """The bounds after some of the epochs, about evenly spaced on a logarithmic axis."""
    history = run.history()
    last = len(history["epoch"])
    rows = sorted({round(last ** (i / POINTS)) - 1 for i in range(POINTS + 1)})
    return {
        "examples_seen": [history["epoch"][row] * size for row in rows],
        "training_elbo": [history["elbo"][row] for row in rows],
        "test_elbo": [history["val_elbo"][row] for row in rows],
    }


def _processor() -> str:
    """Its name where the system tells it."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """That of the checkout the package lies in, with a + if it was changed; None outside of one."""
    at = Path(__file__).parent
    try:
        words = ["git", "describe", "--always", "--abbrev=12", "--dirty=+"]
        found = subprocess.run(words, cwd=at, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
