"""Rybkin, Daniilidis and Levine 2021: the scale of p(x|z), fixed or learned."""

import functools

import keras
import numpy as np

from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.data import DataSet
from keras_vae.reproductions.measures import bound
from keras_vae.reproductions.sets import grey_mnist
from keras_vae.reproductions.study import Figure, Plan, Study, Trained, Variant
from keras_vae.vae import VAE

LATENT = 20
ROWS = 500


def model(scale: float | str, data: DataSet, plan: Plan) -> VAE:
    """784-400-20, relu, and back."""
    vae = VAE(
        encoder=networks.mlp([400]),
        decoder=networks.mlp([400]),
        posterior=posteriors.DiagonalNormal(LATENT),
        prior=priors.StandardNormal(LATENT),
        likelihood=likelihoods.Normal(data.event_shape, scale=scale),
        seed=plan.seed,
    )
    vae.compile(keras.optimizers.Adam(1e-3), steps_per_execution=10, jit_compile=False)
    return vae


def measure(trained: Trained) -> dict[str, Figure]:
    """The bound, and the root mean squared error of the means, which no scale enters."""
    test, squares = trained.data.test, []
    for start in range(0, len(test), ROWS):
        some = test[start : start + ROWS]
        mean = trained.model.reconstruct(some).numpy()
        squares.append(np.square(mean - some.array()).mean(axis=(1, 2, 3)))
    error = float(np.sqrt(np.concatenate(squares).mean()))
    how = f"p(x|z)'s means at q(z|x)'s, {len(test)} test examples"
    return {**bound(trained), "error of the mean": Figure(error, "grey values in [0, 1]", how)}


def _variant(name: str, words: str, scale: float | str) -> Variant:
    return Variant(
        name=name,
        model=f"MLP 784-400-20, relu; ELBO; Normal, {words}",
        optimiser="Adam, 1e-3",
        data=grey_mnist,
        build=functools.partial(model, scale),
        epochs=20,
        batch_size=128,
    )


STUDY = Study(
    name="sigma-vae",
    title="The scale of a Normal likelihood on grey MNIST",
    reference=(
        "O. Rybkin, K. Daniilidis and S. Levine, Simple and Effective VAE Training with "
        "Calibrated Decoders, ICML 2021"
    ),
    variants=(
        _variant("fixed", "scale 1", 1.0),
        _variant("per-value", "a scale for each pixel, of z", "per_value"),
        _variant("shared", "one learned scale", "shared"),
        _variant("optimal", "the optimal scale of each batch", "optimal"),
    ),
    measure=measure,
    reading=(
        "As the paper argues: a fixed scale of 1 keeps fewest latents and has by far the worst "
        "bound, and the analytic scale does what the learned one does. A scale of each pixel has the "
        "largest density and the worst means: pixels that are always 0 are given a scale near 0, "
        "where a density has no upper limit. The paper has no table of grey MNIST."
    ),
)
