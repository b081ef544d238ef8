"""Figures that several studies report."""

import numpy as np

from keras_vae import evaluation
from keras_vae.evaluation import Estimate
from keras_vae.evaluation.log_likelihood import FEW_SAMPLES
from keras_vae.reproductions.study import Figure, Trained

NATS = "nats per example"


def held_out(trained: Trained) -> dict[str, Figure]:
    """-log p(x), and where it is not to be trusted, the bound and the active units on test images."""
    found = evaluation.log_likelihood(
        trained.model,
        trained.data.test,
        trained.num_samples,
        seed=trained.seed,
        checkpoint=trained.folder / f"log_likelihood-{trained.num_samples}.npz",
    )
    mean, few = found.mean, int(np.sum(found.effective_sample_sizes < FEW_SAMPLES))
    how = f"importance-weighted, {found.num_samples} draws, {mean.num_examples} test examples"
    missed = f"test examples with fewer than {FEW_SAMPLES} effective of {found.num_samples} draws"
    return {
        "-log p(x)": _of_estimate(mean, -1.0, how),
        "too few draws": Figure(float(few), f"of {mean.num_examples}", missed),
        **bound(trained),
    }


def bound(trained: Trained) -> dict[str, Figure]:
    """Minus the ELBO, and the active units on the test images."""
    elbo = evaluation.elbo(trained.model, trained.data.test, num_samples=10, seed=trained.seed)
    how = f"10 draws, {elbo.num_examples} test examples"
    return {"-ELBO": _of_estimate(elbo, -1.0, how), **active_units(trained)}


def active_units(trained: Trained) -> dict[str, Figure]:
    """How many latents the test images are told apart by (Burda et al. 2016)."""
    found = evaluation.active_units(trained.model, trained.data.test)
    return active_of(found, len(trained.data.test))


def active_of(found: evaluation.ActiveUnits, count: int) -> dict[str, Figure]:
    """The same, of what was found."""
    how = f"variance of E[z|x] above {found.threshold:g}, {count} test examples"
    return {"active units": Figure(float(found.count), f"of {len(found.variances)}", how)}


def _of_estimate(estimate: Estimate, sign: float, how: str) -> Figure:
    return Figure(sign * estimate.mean, NATS, how, estimate.standard_error)
