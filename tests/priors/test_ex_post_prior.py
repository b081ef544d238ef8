"""The mixture that is fitted after training."""

import sys

import keras
import numpy as np
import pytest
from parts import make_vae, round_trip
from scipy import special, stats

from keras_vae import priors

MODES = np.array([[4.0, 0.0], [-4.0, 1.0]])
COVARIANCES = np.array([[[1.0, 0.8], [0.8, 1.0]], [[0.5, 0.0], [0.0, 2.0]]])


def draws(n=4000):
    """Of a mixture with weights 0.25 and 0.75."""
    random = np.random.default_rng(0)
    second = random.random(n) < 0.75
    each = [
        random.multivariate_normal(m, c, size=n) for m, c in zip(MODES, COVARIANCES, strict=True)
    ]
    return np.where(second[:, None], each[1], each[0]).astype("float32")


def example(components=2):
    prior = priors.ExPost(2, components)
    prior.build((None, 4))
    return prior


def test_it_is_the_standard_normal_before_the_fit():
    z = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    expected = stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(example().distribution().log_prob(z), expected, rtol=1e-5)


def test_the_fit_finds_the_mixture_that_the_draws_are_of():
    prior = example()
    prior.fit(draws())
    p = prior.distribution()
    order = np.argsort(-prior.loc.numpy()[:, 0])
    weights = p.mixture_distribution.probs_parameter().numpy()[order]
    np.testing.assert_allclose(weights, [0.25, 0.75], atol=0.03)
    np.testing.assert_allclose(prior.loc.numpy()[order], MODES, atol=0.15)
    covariance = p.components_distribution.covariance().numpy()[order]
    np.testing.assert_allclose(covariance, COVARIANCES, atol=0.15)


def test_its_density_is_scipys_after_the_fit():
    prior = example()
    prior.fit(draws())
    tril = prior.scale_tril.numpy().astype("float64")
    log_weights = special.log_softmax(prior.logits.numpy())
    z = draws(50)
    each = [
        log_weights[k]
        + stats.multivariate_normal(prior.loc.numpy()[k], tril[k] @ tril[k].T).logpdf(z)
        for k in range(2)
    ]
    expected = special.logsumexp(each, axis=0)
    np.testing.assert_allclose(prior.distribution().log_prob(z), expected, rtol=1e-4)


def test_the_fit_is_that_of_maximum_likelihood():
    """For one component: the mean and the covariance of the draws."""
    prior = example(components=1)
    z = draws()
    prior.fit(z)
    np.testing.assert_allclose(prior.loc.numpy()[0], z.mean(0), rtol=1e-4)
    tril = prior.scale_tril.numpy()[0]
    np.testing.assert_allclose(tril @ tril.T, np.cov(z.T, bias=True), rtol=1e-4)


def test_the_fit_is_the_same_for_the_same_seed():
    first, second = example(components=4), example(components=4)
    first.fit(draws(), seed=3)
    second.fit(draws(), seed=3)
    np.testing.assert_array_equal(first.loc, second.loc)


def test_training_does_not_move_it():
    prior = example()
    assert prior.trainable_weights == []
    assert [weight.name for weight in prior.non_trainable_weights] == [
        "logits",
        "loc",
        "scale_tril",
    ]


@pytest.mark.parametrize("shape", [(100, 3), (100,), (1, 2), (5, 100, 2)])
def test_draws_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(ValueError, match="`z` of fit is draws") as error:
        example().fit(np.zeros(shape))
    assert "Expected: [N, 2] with N >= components=2." in str(error.value)
    assert f"Received: {list(shape)}." in str(error.value)


@pytest.mark.parametrize("components", [0, -1, 2.5, "2", True, None])
def test_the_number_of_components_is_a_positive_integer(components):
    with pytest.raises(ValueError, match="`components` of ExPost is the number") as error:
        priors.ExPost(2, components)
    assert f"Received: components={components!r}." in str(error.value)


def test_the_number_of_components_is_saved():
    assert round_trip(priors.ExPost(2, 7)).components == 7


def test_the_fit_is_saved_with_the_model(tmp_path, monkeypatch):
    """And loaded without scikit-learn."""
    vae = make_vae(prior=lambda: priors.ExPost(2, 2))
    vae.prior.fit(draws())
    vae.save(tmp_path / "vae.keras")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    z = draws(10)
    np.testing.assert_array_equal(
        loaded.prior.distribution().log_prob(z), vae.prior.distribution().log_prob(z)
    )
