"""Networks of fewer bits are served where the scores hardly change, and refused elsewhere."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae
from keras_vae import conditions, likelihoods, networks, objectives, posteriors, priors
from keras_vae.exported.precision import PRECISIONS, in_precision

E = (12,)
pytestmark = pytest.mark.usefixtures("checked_here")


def model(scale=0.1):
    vae = keras_vae.VAE(
        encoder=networks.mlp([64, 64]),
        decoder=networks.mlp([64, 64]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Normal(E, scale=scale),
        seed=0,
    )
    vae.compile("adam")
    vae.fit(grey(), epochs=3, verbose=0)
    return vae


def grey(rows=200):
    return np.random.default_rng(0).random((rows, *E)).astype("float32")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_variant_scores_within_a_tenth_of_a_nat(precision, tmp_path):
    vae = model()
    version = keras_vae.export(vae, tmp_path, ["score", "encode"], precision=precision)
    x, seeds = grey(50), np.arange(50)
    score = tf.saved_model.load(str(version)).signatures["score"]
    found = score(x=tf.constant(x), seed=tf.constant(seeds))["elbo"].numpy()
    one_by_one = [vae.elbo(x[i : i + 1], 50, seed=i)[0] for i in range(50)]
    moved = np.abs(found - one_by_one).mean()
    assert 0 < moved < 0.1


def test_the_weights_of_int8_are_bytes(tmp_path):
    vae = model()
    copy = in_precision(vae, "int8", None, 0)
    kernels = {w.dtype for w in copy.encoder.weights if w.path.endswith("kernel")}
    assert kernels == {"int8"}
    plain = keras_vae.export(vae, tmp_path / "plain", "encode")
    small = keras_vae.export(vae, tmp_path / "small", "encode", precision="int8")
    size = lambda v: os.path.getsize(v / "variables" / "variables.data-00000-of-00001")  # noqa: E731
    assert size(small) < 0.6 * size(plain)


def test_half_precision_is_of_the_networks_and_not_of_the_densities():
    copy = in_precision(model(), "mixed_bfloat16", None, 0)
    assert {layer.compute_dtype for layer in copy.encoder.layers} == {"bfloat16"}
    assert copy.density_dtype == "float32"


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "int8"])
@pytest.mark.parametrize("kind", ["OneHot", "Vector", "counts"])
def test_a_model_of_more_than_x_needs_no_examples(kind, precision):
    made = {
        "OneHot": {"condition": conditions.OneHot(3)},
        "Vector": {"condition": conditions.Vector(2)},
        "counts": {"likelihood": likelihoods.Poisson(E, size_factor=True)},
    }
    parts = {"likelihood": likelihoods.Normal(E), **made[kind]}
    vae = keras_vae.VAE(
        encoder=networks.mlp([8]),
        decoder=networks.mlp([8]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        seed=0,
        **parts,
    )
    assert in_precision(vae, precision, None, 0) is not vae


@pytest.mark.parametrize("trained", [True, False])
def test_every_signature_is_served_in_bfloat16(trained, tmp_path):
    """A graph rounds once where operations one by one round twice: by up to 0.01 of a mean."""
    keras.config.set_dtype_policy("mixed_bfloat16" if trained else "float32")
    vae = model()
    version = keras_vae.export(vae, tmp_path, precision=None if trained else "mixed_bfloat16")
    score = tf.saved_model.load(str(version)).signatures["score"]
    x, seeds = grey(50), np.arange(50)
    found = score(x=tf.constant(x), seed=tf.constant(seeds))["elbo"].numpy()
    one_by_one = [vae.elbo(x[i : i + 1], 50, seed=i)[0] for i in range(50)]
    assert np.abs(found - one_by_one).mean() < 0.1


def test_the_statement_is_that_of_the_trained_model(tmp_path):
    vae = model()
    vae.objective = objectives.ELBO(beta=objectives.LinearWarmUp(2))
    version = keras_vae.export(vae, tmp_path, "encode", precision="mixed_bfloat16")
    stated = (version / "assets.extra" / "assumptions.md").read_text(encoding="utf-8")
    assert stated.startswith(vae.assumptions().as_markdown())
    assert "served in mixed_bfloat16" in stated


def test_the_model_itself_stays_as_it_was():
    vae = model()
    before = [np.array(w) for w in vae.weights]
    for precision in PRECISIONS:
        in_precision(vae, precision, grey(), 0)
    assert {layer.compute_dtype for layer in vae.encoder.layers} == {"float32"}
    for weight, value in zip(vae.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_variant_that_moves_the_scores_is_refused(precision, tmp_path):
    """At so small a scale the rounding of the means is many nats."""
    vae = model(scale=0.002)
    with pytest.raises(ValueError, match=r"moves the score of an x by .* Expected: less than 0.1"):
        keras_vae.export(vae, tmp_path / "vae", precision=precision, examples=grey())
    assert not (tmp_path / "vae").exists()
