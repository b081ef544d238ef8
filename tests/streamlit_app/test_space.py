"""Moving in latent space, against closed forms and the families' own words."""

import app_space
import numpy as np
import pytest
from app_space import Space

from keras_vae import latents, priors

PRIORS = {
    "reals": priors.StandardNormal(4),
    "one real": priors.StandardNormal(1),
    "sphere": priors.UniformSphere(3),
    "one-hots": priors.UniformCategorical(6, classes=3),
    "simplices": priors.UniformCategorical(6, classes=3, temperature=0.5),
    "bits": priors.UniformBernoulli(5),
    "cube": priors.UniformBernoulli(5, temperature=0.5),
}


@pytest.mark.parametrize("name", PRIORS)
def test_the_set_of_z_is_found_from_its_draws(name):
    prior = PRIORS[name]
    prior.build((None, 8))
    draws = prior.distribution().sample(1000, seed=np.array([0, 1], "int32")).numpy()
    assert app_space.support_of(draws) == prior.support
    np.testing.assert_allclose(Space(prior.support).nearest(draws), draws, atol=2e-6)


@pytest.mark.parametrize("degrees", [1e-3, 40, 90, 179])
def test_the_way_on_a_sphere_is_the_great_circle(degrees):
    angle = np.deg2rad(degrees)
    start, end = np.array([1.0, 0, 0]), np.array([np.cos(angle), np.sin(angle), 0])
    found = Space(latents.SPHERE).path(start, end, 5)
    turns = angle * np.linspace(0, 1, 5)
    expected = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_between_opposite_points_the_way_stays_on_the_sphere():
    start = np.array([0.6, 0.8, 0.0], "float32")
    found = Space(latents.SPHERE).path(start, -start, 4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((found[1:] * found[:-1]).sum(1), np.cos(np.pi / 3), atol=1e-6)
    np.testing.assert_allclose(found[[0, -1]], [start, -start], atol=1e-6)


def test_the_way_on_the_reals_is_a_line():
    found = Space(latents.REALS).path(np.array([0.0, 2.0]), np.array([1.0, -2.0]), 5)
    np.testing.assert_allclose(found, [[0, 2], [0.25, 1], [0.5, 0], [0.75, -1], [1, -2]])


def test_the_way_between_codes_is_of_codes():
    start, end = np.eye(3)[[0, 1]].reshape(-1), np.eye(3)[[0, 2]].reshape(-1)
    found = Space(latents.one_hots(3)).path(start, end, 4)
    np.testing.assert_array_equal(found, [start, start, end, end])
    bits = Space(latents.BITS).path(np.array([0.0, 1]), np.array([1.0, 1]), 4)
    np.testing.assert_array_equal(bits, [[0, 1], [0, 1], [1, 1], [1, 1]])


def test_what_is_outside_is_brought_back():
    assert Space(latents.REALS).nearest(np.array([[7.0]])) == 7
    np.testing.assert_allclose(Space(latents.SPHERE).nearest(np.array([[3.0, 4]])), [[0.6, 0.8]])
    np.testing.assert_array_equal(
        Space(latents.BITS).nearest(np.array([[-1, 0.6, 2]])), [[0, 1, 1]]
    )
    np.testing.assert_array_equal(
        Space(latents.CUBE).nearest(np.array([[-1, 0.6, 2]])), [[0, 0.6, 1]]
    )
    shares = Space(latents.simplices(2)).nearest(np.array([[1.0, 3, 0, 0]]))
    np.testing.assert_allclose(shares, [[0.25, 0.75, 0.5, 0.5]])
    one_hots = Space(latents.one_hots(2)).nearest(np.array([[1.0, 3, 2, 0]]))
    np.testing.assert_array_equal(one_hots, [[0, 1, 1, 0]])


def test_the_middle_of_a_sphere_has_no_direction():
    with pytest.raises(ValueError, match="no direction"):
        Space(latents.SPHERE).nearest(np.zeros((1, 3)))
