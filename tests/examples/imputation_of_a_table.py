"""Half of a table hidden, and filled in: MIWAE.

Wine measurements, each hidden with probability one half. The bound counts what is observed; a
missing value is filled in with its mean under the model by importance sampling (Mattei and
Frellsen, ICML 2019). The error is the root mean square over the hidden values, in standard
deviations of what is observed of the column: the column mean has an error of about one.
scikit-learn's iterated ridge regressions of each column on the others stand beside it.

Run: KERAS_VAE_DATA=... python tests/examples/imputation_of_a_table.py
"""

import numpy as np
from common import model, read, show, split, train
from sklearn.experimental import enable_iterative_imputer  # noqa: F401, which it is behind
from sklearn.impute import IterativeImputer

from keras_vae.likelihoods import Missing, StudentT
from keras_vae.objectives import IWAE


def hide(table: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The table in units of what is observed of each column, and the same with half of it NaN."""
    hidden = np.random.default_rng(seed).random(table.shape) < 0.5
    seen = np.where(hidden, np.nan, table)
    mean, deviation = np.nanmean(seen, axis=0), np.nanstd(seen, axis=0)
    return (table - mean) / deviation, (seen - mean) / deviation


def run(epochs: int = 500, num_samples: int = 1_000) -> dict[str, float]:
    """The error of each imputation."""
    table, seen = hide(read("uci_tabular.npz")["wine_quality_red"].astype("float32"))
    first, validation, rest = split(len(table))
    likelihood = Missing(StudentT(table.shape[1:], scale="per_value"))
    vae = model(likelihood, latent_size=6, units=(128, 128), objective=IWAE(20))
    train(vae, seen[np.r_[first, rest]], seen[validation], epochs, batch_size=64, patience=30)
    starts = range(0, len(seen), 200)
    filled = [vae.impute(seen[i : i + 200], num_samples, seed=i) for i in starts]
    imputations = {
        "model": np.concatenate(filled),
        "ridge regressions": IterativeImputer(random_state=0).fit_transform(seen),
        "column mean": np.zeros(table.shape),
    }
    hidden = np.isnan(seen)
    return {
        name: float(np.sqrt(np.mean((filling - table)[hidden] ** 2)))
        for name, filling in imputations.items()
    }


if __name__ == "__main__":
    show("Error of the hidden half, standard deviations", run())
