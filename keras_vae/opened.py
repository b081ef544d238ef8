"""Runs and models as the command line names them; what is none is one clear line."""

from pathlib import Path

import click
import keras

from keras_vae.data import DataSet
from keras_vae.runs import Run
from keras_vae.vae import VAE


def started_run(folder: Path) -> Run:
    """The run in a folder."""
    run = Run(folder)
    if not (folder / "recipe.json").exists():
        raise click.UsageError(f"{folder} is no run folder: it has no recipe.json.")
    return run


def trained_model(path: Path) -> VAE:
    """The model of a run that has ended, or of a file."""
    file = path if path.is_file() else started_run(path).model_path
    if not file.exists():
        raise click.UsageError(
            f"{path} has no model yet. Finish its training: keras-vae train --resume {path}"
        )
    model = keras.saving.load_model(file)
    if not isinstance(model, VAE):
        raise click.UsageError(f"{file} is no VAE of this package, but a {type(model).__name__}.")
    return model


def trained_run(folder: Path) -> tuple[VAE, DataSet]:
    """The model of a run and the data that it was trained on."""
    vae = trained_model(folder)
    return vae, started_run(folder).recipe.load_data()
