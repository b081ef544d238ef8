"""Which distribution do gene counts have? Poisson, negative binomial, zero-inflated.

1,408 cells of five experiments; a cell's total count is its size factor and the experiment a
condition, so that z need say neither. The held-out bound says which likelihood fits: counts
vary more than a Poisson allows, and a negative binomial of few molecules has its zeros
already, so that zero inflation adds little (Svensson, Nature Biotechnology 2020).

Run: KERAS_VAE_DATA=... python tests/examples/counts_of_single_cells.py
"""

import numpy as np
from common import model, read, show, split, train

from keras_vae import conditions, data, evaluation
from keras_vae.likelihoods import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial


def cells_of(genes: int) -> list[data.Source]:
    """Cells for training, validation and test, of the genes that vary most in training."""
    arrays = read("sc_mixology_counts.npz")
    counts, total = arrays["x"].astype("float32"), arrays["x"].sum(axis=1)
    parts = split(len(counts))
    variance = np.log1p(counts[parts[0]]).var(axis=0)
    source = data.Source(
        counts[:, np.sort(np.argsort(variance)[-genes:])],
        condition=arrays["batch"],
        size_factor=total / total.mean(),
    )
    return [source.take(part) for part in parts]


def run(genes: int = 500, epochs: int = 300) -> dict[str, float]:
    """The held-out bound of each likelihood, nats per cell."""
    first, validation, test = cells_of(genes)
    found = {}
    for family in (Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial):
        vae = model(family((genes,), size_factor=True), condition=conditions.OneHot(5))
        train(vae, first, validation, epochs)
        found[family.__name__] = evaluation.elbo(vae, test).mean
    return found


if __name__ == "__main__":
    show("Held-out bound, nats per cell", run())
