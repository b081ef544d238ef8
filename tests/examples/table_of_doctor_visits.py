"""A table with columns of different kinds: doctor visits and what goes with them.

Counts, flags, categories and real numbers in one model: each column has its own likelihood,
all share z. Its held-out bound is compared with that of the same likelihoods without z (a
decoder that is told nothing of it), and a generated table with the observed one. A density of a
number that is often the same could grow without bound: few values are categories, and an
amount of dollars is a flag and, where there is any, a number, missing elsewhere.

Run: KERAS_VAE_DATA=... python tests/examples/table_of_doctor_visits.py
"""

import keras
import numpy as np
from common import model, read, show, split, train

from keras_vae import evaluation
from keras_vae.likelihoods import (
    Bernoulli,
    Categorical,
    Likelihood,
    Missing,
    NegativeBinomial,
    Normal,
    Table,
)


def columns_of(name: str, column: np.ndarray) -> dict[str, tuple[np.ndarray, Likelihood]]:
    """A column of the file as a column or two of the table, each with its likelihood."""
    values, indices = np.unique(column, return_inverse=True)
    if name == "mdvis":
        return {name: (column, NegativeBinomial())}
    if len(values) == 2:
        return {name: (indices, Bernoulli())}
    if len(values) < 50:
        return {name: (indices, Categorical(len(values)))}
    some = column != 0  # the logarithm of an amount, 0 where there is none
    number = np.where(some, (column - column[some].mean()) / column[some].std(), np.nan)
    return {f"any {name}": (some, Bernoulli()), name: (number, Normal(scale="shared"))}


def run(rows: int | None = None, epochs: int = 100) -> dict[str, float]:
    """The held-out bound, that without z, and the visits of a generated table."""
    arrays = read("counts_and_returns.npz")
    table = dict(zip(arrays["randhie_columns"].tolist(), arrays["randhie"][:rows].T, strict=True))
    made = {k: v for name, column in table.items() for k, v in columns_of(name, column).items()}
    kinds = {name: likelihood for name, (_, likelihood) in made.items()}
    parts = split(len(table["mdvis"]), block=100)  # the years of a person follow each other
    first, validation, test = ({n: c[part] for n, (c, _) in made.items()} for part in parts)
    vae = model(Missing(Table(kinds)), latent_size=6, learning_rate=3e-3)
    train(vae, first, validation, epochs, batch_size=256)
    nothing = keras.layers.Rescaling(0.0)
    without = model(Missing(Table(kinds)), decoder=nothing, learning_rate=1e-2)
    train(without, first, validation, epochs, batch_size=256)
    generated = vae.sample(len(test["mdvis"]), draw=True, seed=0)
    return {
        "bound, nats per person and year": evaluation.elbo(vae, test).mean,
        "the same without z": evaluation.elbo(without, test).mean,
        "mean visits, generated": float(np.mean(generated["mdvis"])),
        "mean visits, observed": float(np.mean(test["mdvis"])),
        "share without a visit, generated": float(np.mean(generated["mdvis"] == 0)),
        "share without a visit, observed": float(np.mean(test["mdvis"] == 0)),
    }


if __name__ == "__main__":
    show("Doctor visits, held out", run())
