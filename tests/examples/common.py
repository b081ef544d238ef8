"""Where the examples' data lies, and how a model is made and trained in all of them."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_vae
from keras_vae.networks import mlp


def data_file(name: str) -> Path:
    """A file of the folder `KERAS_VAE_DATA`."""
    return Path(os.environ.get("KERAS_VAE_DATA", "")) / name


def read(name: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file of that folder."""
    with np.load(data_file(name), allow_pickle=False) as arrays:
        return dict(arrays)


def split(rows: int, block: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Row numbers for training (70 %), validation (10 %) and the test (20 %), at random.

    Blocks of rows that follow each other stay together: rows of one person, say.
    """
    blocks = np.array_split(np.arange(rows), max(3, rows // block))
    order = np.random.default_rng(seed).permutation(len(blocks))
    cuts = np.round(np.array([0.7, 0.8]) * len(blocks)).astype(int)
    return [np.concatenate([blocks[i] for i in sorted(part)]) for part in np.split(order, cuts)]


def model(
    likelihood: keras_vae.likelihoods.Likelihood,
    latent_size: int = 8,
    units: tuple[int, ...] = (64,),
    objective: keras_vae.objectives.Objective | None = None,
    condition: keras_vae.conditions.Condition | None = None,
    decoder: keras.layers.Layer | None = None,
    learning_rate: float = 1e-3,
) -> keras_vae.VAE:
    """A VAE with a diagonal Normal posterior, compiled; what differs is in the arguments."""
    keras.utils.set_random_seed(0)
    vae = keras_vae.VAE(
        encoder=mlp(units),
        decoder=decoder or mlp(units[::-1]),
        posterior=keras_vae.posteriors.DiagonalNormal(latent_size),
        prior=keras_vae.priors.StandardNormal(latent_size),
        likelihood=likelihood,
        objective=objective or keras_vae.objectives.ELBO(),
        condition=condition,
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(learning_rate))
    return vae


def train(
    vae: keras_vae.VAE,
    x: Any,
    validation: Any,
    epochs: int,
    batch_size: int = 128,
    patience: int = 10,
) -> None:
    """Until the bound of the validation rows has not grown for `patience` epochs."""
    stop = keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)
    vae.fit(
        x,
        validation_data=validation,
        epochs=epochs,
        batch_size=batch_size,
        callbacks=[stop],
        verbose=0,
    )


def show(title: str, numbers: dict[str, float]) -> None:
    """Prints the numbers of an example, a line each."""
    print(title)
    for name, value in numbers.items():
        print(f"  {name:42} {value:10.3f}")
