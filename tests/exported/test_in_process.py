"""The served contract without a server."""

import concurrent.futures

import numpy as np
import pytest

import keras_vae
from keras_vae import likelihoods, networks, posteriors, priors
from keras_vae.exported import InProcess


@pytest.fixture(scope="module")
def vae():
    return keras_vae.VAE(
        encoder=networks.mlp([8]),
        decoder=networks.mlp([8]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli((4, 4, 1)),
    )


@pytest.fixture(scope="module")
def served(vae):
    return InProcess(vae)


X = np.random.default_rng(0).integers(0, 2, (5, 4, 4, 1)).astype("float32")


def test_it_answers_with_the_models_own_numbers(vae, served):
    answer = served.predict("encode", {"x": X})
    q = vae.encode(X)
    np.testing.assert_allclose(answer["loc"], q.mean(), rtol=1e-6)
    np.testing.assert_allclose(answer["scale_diag"], q.stddev(), rtol=1e-6)
    z = answer["mean"]
    np.testing.assert_allclose(
        served.predict("decode", {"z": z})["mean"], vae.decode(z).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(
        served.predict("reconstruct", {"x": X})["mean"], vae.reconstruct(X), rtol=1e-5
    )


def test_with_one_draw_the_log_likelihood_is_one_log_weight(vae, served):
    """log w = log p(x|z) + log p(z) - log q(z|x), at the z that the row's seed draws."""
    seed = np.arange(5)
    z = served.predict("encode_sample", {"x": X, "seed": seed})["z"]
    q, p = vae.encode(X), vae.prior_given()
    log_weight = vae.decode(z).log_prob(X) + p.log_prob(z) - q.log_prob(z)
    score = served.predict("score", {"x": X, "seed": seed})
    np.testing.assert_allclose(score["log_likelihood"], log_weight, rtol=1e-5)


def test_equal_requests_have_equal_answers_from_many_threads(served):
    def ask(seed):
        return served.predict("generate", {"seed": [seed, 7]})["x"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = list(pool.map(ask, range(16)))
    for seed, x in enumerate(first):
        np.testing.assert_array_equal(x, ask(seed))
        np.testing.assert_array_equal(x[1], first[0][1])
    assert any((x[0] != first[0][0]).any() for x in first)


@pytest.mark.parametrize(
    ("signature", "inputs", "said"),
    [
        ("decoed", {"z": np.zeros((1, 2))}, "There is no such signature"),
        ("decode", {"x": X}, "Expected: z. Received: x"),
        ("encode", {"x": np.full((1, 4, 4, 1), 0.5)}, "outside the support of Bernoulli"),
        ("decode", {"z": [[np.nan, 0]]}, "`z` is not finite"),
        ("encode_sample", {"x": X, "seed": [1]}, "another number of rows"),
        ("decode", {"z": np.zeros((3, 5))}, "`z` has the wrong shape"),
        ("decode", {"z": [["a", "b"]]}, "`z` is no array of numbers"),
    ],
)
def test_a_bad_request_is_one_clear_error(served, signature, inputs, said):
    with pytest.raises(ValueError, match=said) as raised:
        served.predict(signature, inputs)
    assert "\n" not in str(raised.value)
