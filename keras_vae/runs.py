"""A run folder: the recipe, the checkpoint, the history, and at the end model, numbers, pictures."""

import csv
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_vae import evaluation, plots
from keras_vae.data import DataSet
from keras_vae.measurement import measure
from keras_vae.recipe import Recipe
from keras_vae.vae import VAE

PICTURES = 10  # examples in a row of pictures
MAP = 2_000  # points in the latent map


FILES = (
    "recipe.json",
    "history.csv",
    "model.keras",
    "assumptions.md",
    "assumptions.json",
    "metrics.json",
    "learning_curves.png",
    "reconstructions.png",
    "samples.png",
    "kl_per_dimension.png",
    "latent_map.png",
)


class Run:
    """A folder that one training run writes, and can be continued from.

    Files: `recipe.json` from the start; `history.csv` and `checkpoint/` while it is trained;
    `model.keras`, `assumptions.md`, `assumptions.json`, `metrics.json` and the pictures at
    the end. Each appears whole: it is written beside its place and renamed.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def model_path(self) -> Path:
        """The trained model."""
        return self.folder / "model.keras"

    @property
    def recipe(self) -> Recipe:
        """The recipe that the run was started with."""
        words = json.loads((self.folder / "recipe.json").read_text())
        words["units"] = tuple(words["units"])
        return Recipe(**words)

    @property
    def metrics(self) -> dict[str, Any]:
        """The numbers of a finished run."""
        return json.loads((self.folder / "metrics.json").read_text())

    def start(self, recipe: Recipe) -> None:
        """Makes the folder and writes the recipe."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_json("recipe.json", dataclasses.asdict(recipe))

    def clear(self) -> None:
        """Deletes what a run writes, and nothing else in the folder."""
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob("checkpoint/*.weights.h5"):
            path.unlink()

    def history(self, epochs: int | None = None) -> dict[str, list[float]]:
        """What was logged after each of the first epochs."""
        path = self.folder / "history.csv"
        if not path.exists():
            return {}
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))[:epochs]
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}

    def write_history(self, history: dict[str, list[float]]) -> None:
        """Writes `history.csv`, an epoch a row."""
        beside = self._beside("history.csv")
        with beside.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(history)
            writer.writerows(zip(*history.values(), strict=True))
        beside.replace(self.folder / "history.csv")

    def save_checkpoint(self, vae: VAE, epochs: int) -> None:
        """Everything that the next epoch depends on, under the number of epochs done."""
        folder = self.folder / "checkpoint"
        folder.mkdir(exist_ok=True)
        beside = folder / "unfinished.weights.h5"
        vae.save_weights(beside)
        old = list(folder.glob("epochs-*.weights.h5"))
        beside.replace(folder / f"epochs-{epochs:06d}.weights.h5")
        for path in old:
            if path != folder / f"epochs-{epochs:06d}.weights.h5":
                path.unlink()

    @property
    def epochs_done(self) -> int:
        """How many epochs the newest checkpoint has."""
        return _epochs(self._newest_checkpoint())

    def load_checkpoint(self, vae: VAE) -> int:
        """Restores the newest checkpoint and gives the number of epochs done."""
        newest = self._newest_checkpoint()
        if newest is not None:
            vae.optimizer.build(vae.trainable_variables)
            vae.load_weights(newest)
        return _epochs(newest)

    def write_json(self, name: str, data: dict) -> None:
        """Writes a JSON file of the folder."""
        self.write_text(name, json.dumps(data, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file of the folder."""
        beside = self._beside(name)
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.folder / name)

    def write_figure(self, name: str, figure: Figure) -> None:
        """Writes a picture of the folder."""
        beside = self._beside(name)
        figure.savefig(beside, dpi=120)
        beside.replace(self.folder / name)

    def write_model(self, vae: VAE) -> None:
        """Writes the model and the statement of its assumptions."""
        beside = self._beside(self.model_path.name)
        vae.save(beside)
        beside.replace(self.model_path)
        assumptions = vae.assumptions()
        self.write_text("assumptions.md", assumptions.as_markdown())
        self.write_json("assumptions.json", assumptions.as_dict())

    def _newest_checkpoint(self) -> Path | None:
        return max(self.folder.glob("checkpoint/epochs-*.weights.h5"), default=None)

    def _beside(self, name: str) -> Path:
        return self.folder / f".unfinished-{os.getpid()}-{name}"


def _epochs(checkpoint: Path | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.name.split("-")[1].split(".")[0])


class Recorder(keras.callbacks.Callback):
    """Writes the history, then the checkpoint: after every epoch, or now and then.

    A run killed between the two has a row more than its checkpoint has epochs, and drops it.

    Args:
        run: where to.
        epochs: how many were done before.
        every: seconds that pass between two checkpoints; the end of training has one.
    """

    def __init__(self, run: Run, epochs: int, every: float = 0.0) -> None:
        super().__init__()
        self.run = run
        self.rows = run.history(epochs)
        self.every = every
        self.saved = time.monotonic()
        self.unsaved = 0  # epochs done, if no checkpoint has them

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds a row, and replaces the checkpoint if it is time."""
        for name, value in {"epoch": epoch + 1, **(logs or {})}.items():
            self.rows.setdefault(name, []).append(float(value))
        self.unsaved = epoch + 1
        if time.monotonic() - self.saved >= self.every:
            self._save()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Saves what no checkpoint has, wherever training ended."""
        if self.unsaved:
            self._save()

    def _save(self) -> None:
        self.run.write_history(self.rows)
        self.run.save_checkpoint(self.model, self.unsaved)
        self.saved, self.unsaved = time.monotonic(), 0


def train(
    run: Run,
    recipe: Recipe,
    data: DataSet,
    vae: VAE,
    callbacks: list[keras.callbacks.Callback],
) -> dict[str, Any]:
    """Trains, from the run's checkpoint if there is one, and writes the results.

    Args:
        run: the folder; `run.start(recipe)` has been called.
        recipe: with its defaults filled in.
        data: what the recipe names.
        vae: what the recipe builds.
        callbacks: further ones, of the caller's.

    Returns:
        What `metrics.json` holds.
    """
    done = run.load_checkpoint(vae)
    fit(recipe, data, vae, done, [Recorder(run, done), *callbacks])
    return write_results(run, recipe, data, vae)


def fit(
    recipe: Recipe,
    data: DataSet,
    vae: VAE,
    done: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """The epochs of the recipe that are not done yet."""
    epochs = recipe.epochs or 0
    if done < epochs:
        vae.fit(
            data.train,
            validation_data=data.validation,
            batch_size=recipe.batch_size,
            epochs=epochs,
            initial_epoch=done,
            verbose=0,
            callbacks=callbacks,
        )


def write_results(run: Run, recipe: Recipe, data: DataSet, vae: VAE) -> dict[str, Any]:
    """Writes the trained model, its pictures and its numbers, and gives the numbers."""
    run.write_model(vae)
    write_pictures(run, vae, data)
    metrics = measure(vae, data, recipe, epochs=run.epochs_done)
    run.write_json("metrics.json", metrics)
    return metrics


def write_pictures(run: Run, vae: VAE, data: DataSet) -> None:
    """The pictures of a finished run."""
    seed = vae.seed or 0
    x = data.test.array(PICTURES)
    kl = _kl_per_dimension(vae, data)
    run.write_figure("learning_curves.png", plots.learning_curves(run.history()))
    run.write_figure("reconstructions.png", reconstruction_figure(vae, x, seed))
    run.write_figure("samples.png", sample_figure(vae, x, 36, seed))
    if kl is not None:
        run.write_figure("kl_per_dimension.png", plots.kl_bars(kl))
    labels = None if data.test.labels is None else data.test.labels[:MAP]
    means = evaluation.latent_means(vae, data.test.array(MAP))
    run.write_figure("latent_map.png", plots.latent_map(means, labels, kl))


def _kl_per_dimension(vae: VAE, data: DataSet) -> np.ndarray | None:
    """None where the dimensions are not independent, so that none has a KL of its own."""
    try:
        return evaluation.kl_per_dimension(vae, data.test)
    except NotImplementedError:
        return None


def reconstruction_figure(vae: VAE, x: np.ndarray, seed: int) -> Figure:
    """x, the mean of p(x|z) and a draw from it."""
    mean, draw = vae.reconstruct(x), vae.reconstruct(x, draw=True, seed=seed)
    return plots.reconstructions(x, mean.numpy(), draw.numpy())


def sample_figure(vae: VAE, x: np.ndarray, count: int, seed: int) -> Figure:
    """Means of p(x|z) at draws of z from the prior, and draws from p(x|z) at the same z.

    In the shades of the data `x`.
    """
    mean, draw = (vae.sample(count, draw=draw, seed=seed).numpy() for draw in (False, True))
    return plots.samples(mean, draw, x)
