"""A mixture fitted to q(z|x) after training: draws come from it, the bound does not."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae
from keras_vae import evaluation
from keras_vae.likelihoods import Normal, Poisson
from keras_vae.networks import mlp
from keras_vae.posteriors import DiagonalNormal, PowerSpherical
from keras_vae.priors import StandardNormal, UniformSphere

ROOT = pathlib.Path(__file__).parents[1]
MODES = np.array([[4.0, 0.0], [-4.0, 1.0]])
COVARIANCES = np.array([[[1.0, 0.8], [0.8, 1.0]], [[0.5, 0.0], [0.0, 2.0]]])
WEIGHTS = np.array([0.25, 0.75])


def mixture(rows=1500, seed=0):
    """Draws of the mixture above, and which of the two each is of."""
    random = np.random.default_rng(seed)
    which = (random.random(rows) < WEIGHTS[1]).astype(int)
    each = [random.multivariate_normal(m, c, rows) for m, c in zip(MODES, COVARIANCES, strict=True)]
    return np.stack(each)[which, np.arange(rows)].astype("float32"), which


def model(scale=1e-6, likelihood=None):
    """q(z|x) = N(x, scale^2): the aggregate posterior is the data; p(x|z) = N(z, 1)."""
    vae = keras_vae.VAE(
        encoder=mlp([]),
        decoder=mlp([]),
        posterior=DiagonalNormal(2),
        prior=StandardNormal(2),
        likelihood=likelihood or Normal((2,), scale=1.0),
        seed=0,
    )
    loc, raw = (vae.posterior.projections[name] for name in ("loc", "scale_diag"))
    loc.kernel.assign(np.eye(2))
    raw.kernel.assign(np.zeros((2, 2)))
    raw.bias.assign(np.full(2, np.log(np.expm1(scale)) if scale > 1e-6 else -100.0))
    if likelihood is None:
        vae.likelihood.projections["loc"].kernel.assign(np.eye(2))
    return vae


def found_in(vae):
    """Weights, means and covariances of the mixture, the first component on the right."""
    order = np.argsort(-vae.ex_post.loc.numpy()[:, 0])
    weights = np.exp(vae.ex_post.logits.numpy())[order]
    tril = vae.ex_post.scale_tril.numpy()[order]
    return weights / weights.sum(), vae.ex_post.loc.numpy()[order], tril @ np.swapaxes(tril, 1, 2)


@pytest.fixture
def fitted():
    vae = model()
    vae.fit_prior(mixture()[0], num_components=2, seed=0)
    return vae


def test_the_fit_finds_the_aggregate_posterior(fitted):
    weights, means, covariances = found_in(fitted)
    np.testing.assert_allclose(weights, WEIGHTS, atol=0.05)
    np.testing.assert_allclose(means, MODES, atol=0.25)
    np.testing.assert_allclose(covariances, COVARIANCES, atol=0.25)


def test_the_noise_of_q_is_part_of_the_aggregate_posterior():
    vae = model(scale=1.5)
    vae.fit_prior(mixture()[0], num_components=2, seed=0)
    np.testing.assert_allclose(found_in(vae)[2], COVARIANCES + 2.25 * np.eye(2), atol=0.8)
    one = model(scale=1.5)
    one.fit_prior(np.zeros((1500, 2), "float32"), num_components=1, seed=0)
    np.testing.assert_allclose(found_in(one)[2][0], 2.25 * np.eye(2), atol=0.3)


def test_rows_beyond_a_batch_are_other_draws():
    """1,200 equal rows have 1,200 draws: a seed that came back every 500 rows would repeat them."""
    vae, seen = model(scale=1.0), []
    original = keras_vae.priors.ExPost.fit
    keras_vae.priors.ExPost.fit = lambda self, z, seed=0: seen.append(np.asarray(z))
    try:
        vae.fit_prior(np.zeros((1200, 2), "float32"), num_components=1, seed=0)
    finally:
        keras_vae.priors.ExPost.fit = original
    assert seen[0].shape == (1200, 2)
    assert len(np.unique(seen[0][:, 0])) > 1190


def test_samples_come_from_the_mixture(fitted):
    x = fitted.sample(2000, seed=1).numpy()  # the mean of p(x|z) is z
    near = ((x[:, None] - MODES) ** 2).sum(-1).argmin(1)
    assert abs((near == 1).mean() - 0.75) < 0.05
    np.testing.assert_allclose(x[near == 0].mean(0), MODES[0], atol=0.3)
    drawn = fitted.sample(2000, draw=True, seed=1).numpy()
    assert (drawn - x).std() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(fitted.sample(5, seed=1), fitted.sample(5, seed=1))
    assert not np.array_equal(fitted.sample(5), fitted.sample(5))


def test_the_bound_keeps_the_prior(fitted):
    plain, x = model(), mixture()[0][:20]
    np.testing.assert_array_equal(fitted.elbo(x, 3, seed=0), plain.elbo(x, 3, seed=0))
    assert evaluation.elbo(fitted, x) == evaluation.elbo(plain, x)
    for vae in (fitted, plain):
        vae.compile("sgd", run_eagerly=True)
    logs, expected = (vae.evaluate(x, verbose=0, return_dict=True) for vae in (fitted, plain))
    assert logs == pytest.approx(expected, rel=1e-5)
    assert isinstance(fitted.prior, StandardNormal)
    z = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(fitted.prior_given().log_prob(z), plain.prior_given().log_prob(z))


def test_training_goes_on_and_leaves_the_mixture(fitted):
    before = fitted.ex_post.loc.numpy()
    fitted.compile("adam", run_eagerly=True)
    fitted.fit(mixture()[0][:40], verbose=0)
    np.testing.assert_array_equal(fitted.ex_post.loc, before)
    assert not {id(w) for w in fitted.ex_post.weights} & {id(w) for w in fitted.trainable_weights}


def test_a_model_that_is_being_trained_may_be_given_a_mixture():
    x = mixture()[0][:60]
    vae = model()
    vae.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    vae.fit(x, verbose=0)
    vae.fit_prior(x, num_components=2)
    vae.fit(x, verbose=0)
    assert np.isfinite(vae.sample(3)).all()


def test_a_second_fit_takes_the_place_of_the_first(fitted):
    fitted.fit_prior(mixture()[0], num_components=5, seed=0)
    assert fitted.ex_post.loc.shape == (5, 2)
    assert len(fitted.ex_post.weights) == 3
    assert sum("loc" in w.path and "ex_post" in w.path for w in fitted.weights) == 1


def test_the_fit_is_the_same_for_the_same_seed():
    first, second, third = model(scale=1.0), model(scale=1.0), model(scale=1.0)
    x = mixture(200)[0]
    for vae, seed in ((first, 3), (second, 3), (third, 4)):
        vae.fit_prior(x, num_components=2, seed=seed)
    np.testing.assert_array_equal(first.ex_post.loc, second.ex_post.loc)
    assert not np.array_equal(first.ex_post.loc, third.ex_post.loc)


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1, 2**31, 2**40, -1, None])
def test_any_seed_will_do(seed):
    vae = model()
    vae.fit_prior(mixture(60)[0], num_components=2, seed=seed)
    assert np.isfinite(vae.ex_post.loc).all()


@pytest.mark.parametrize("kind", ["source", "divided", "tensor", "list"])
def test_it_takes_what_encode_takes(kind):
    x = mixture(60)[0]
    given = {
        "source": keras_vae.data.Source(x),
        "divided": keras_vae.data.Source(2 * x, divisor=2.0),
        "tensor": tf.constant(x),
        "list": x.tolist(),
    }[kind]
    one, other = model(), model()
    one.fit_prior(given, num_components=2, seed=0)
    other.fit_prior(x, num_components=2, seed=0)
    np.testing.assert_allclose(one.ex_post.loc, other.ex_post.loc, rtol=1e-5)


def test_counts_with_a_size_factor():
    vae = model(likelihood=Poisson((2,), size_factor=True))
    x = np.random.default_rng(0).poisson(3, (60, 2)).astype("float32")
    vae.fit_prior(keras_vae.data.Source(x, size_factor=np.ones(60)), num_components=1)
    np.testing.assert_allclose(vae.ex_post.loc.numpy()[0], np.log1p(x).mean(0), rtol=1e-4)
    assert vae.sample(4, size_factor=2.0).shape == (4, 2)


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_another_precision(policy):
    keras.config.set_dtype_policy(policy)
    vae = model()
    vae.fit_prior(mixture(100)[0], num_components=2, seed=0)
    assert vae.ex_post.distribution().dtype == vae.density_dtype
    assert vae.sample(3).dtype == vae.density_dtype


def test_the_statement_has_the_prior_of_the_bound_and_that_of_the_draws(fitted):
    stated = fitted.assumptions()
    assert stated.prior.family == "StandardNormal"
    assert stated.ex_post.family == "ExPost"
    assert stated.bound.kl == "exact"
    page = str(stated)
    assert "## p(z), the prior: StandardNormal" in page
    assert "## What `sample` draws z from: ExPost" in page
    assert "fitted after training" in page
    assert page.index("the prior: StandardNormal") < page.index("draws z from")
    assert stated.as_dict()["ex_post"]["family"] == "ExPost"
    plain = model().assumptions()
    assert plain.ex_post is None
    assert "draws z from" not in str(plain)


# Saved


LOAD = """
import sys
import numpy as np
import keras, keras_vae
sys.modules["sklearn"] = None
vae = keras.saving.load_model(sys.argv[1] + "/vae.keras")
x = np.load(sys.argv[1] + "/x.npy")
np.savez(
    sys.argv[1] + "/found.npz",
    sample=vae.sample(5, seed=1),
    elbo=vae.elbo(x, 3, seed=2),
    family=vae.assumptions().ex_post.family,
    train=vae.train_on_batch(x, return_dict=True)["loss"],
)
"""


def test_another_process_draws_the_same(fitted, tmp_path):
    x = mixture()[0][:20]
    fitted.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    fitted.fit(x, verbose=0)
    fitted.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", x)
    ended = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", LOAD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["sample"], fitted.sample(5, seed=1), rtol=1e-5)
        np.testing.assert_allclose(found["elbo"], fitted.elbo(x, 3, seed=2), rtol=1e-5)
        assert str(found["family"]) == "ExPost"
        expected = fitted.train_on_batch(x, return_dict=True)["loss"]
        assert float(found["train"]) == pytest.approx(expected, rel=1e-5)


def test_a_model_of_its_configuration_has_a_mixture_too(fitted):
    again = keras_vae.VAE.from_config(fitted.get_config())
    assert again.ex_post.components == 2
    again.set_weights(fitted.get_weights())
    np.testing.assert_allclose(again.sample(4, seed=0), fitted.sample(4, seed=0), rtol=1e-6)
    clone = keras.models.clone_model(fitted)
    assert [w.shape for w in clone.weights] == [w.shape for w in fitted.weights]


def test_weights_alone_can_be_saved_and_loaded(fitted, tmp_path):
    fitted.save_weights(tmp_path / "vae.weights.h5")
    other = model()
    other.fit_prior(mixture(60, seed=1)[0], num_components=2)
    other.load_weights(tmp_path / "vae.weights.h5")
    np.testing.assert_array_equal(other.sample(4, seed=0), fitted.sample(4, seed=0))


# Refused


def test_a_sphere_has_no_mixture_of_normals():
    vae = keras_vae.VAE(
        mlp([]), mlp([]), PowerSpherical(2), UniformSphere(2), Normal((2,), scale=1.0)
    )
    with pytest.raises(ValueError, match=r"`fit_prior`.*Expected: z in all real.*unit vectors"):
        vae.fit_prior(mixture(60)[0])
    assert vae.ex_post is None


def test_a_conditional_model_has_no_mixture():
    vae = keras_vae.VAE(
        mlp([]),
        mlp([]),
        DiagonalNormal(2),
        StandardNormal(2),
        Normal((2,), scale=1.0),
        condition=keras_vae.conditions.OneHot(3),
    )
    with pytest.raises(ValueError, match=r"`fit_prior`.*no condition.*Received.*OneHot"):
        vae.fit_prior(mixture(60)[0])


def test_bad_data_or_too_few_rows_leave_the_model_as_it_was(fitted):
    before = fitted.sample(4, seed=0)
    with pytest.raises(ValueError, match=r"support of Normal.*nan"):
        fitted.fit_prior(np.full((20, 2), np.nan))
    with pytest.raises(ValueError, match=r"N >= components=10"):
        fitted.fit_prior(mixture(5)[0])
    for wrong in (0, -1, 2.5, "2"):
        with pytest.raises(ValueError, match=r"`num_components` of VAE"):
            fitted.fit_prior(mixture(60)[0], num_components=wrong)
    np.testing.assert_array_equal(fitted.sample(4, seed=0), before)
