"""Products of blocks: posteriors and priors."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    assert_close_to_mean,
    assert_finite,
    built,
    data_for,
    features,
    make_vae,
    round_trip,
)

from keras_vae import posteriors, priors
from keras_vae.divergences import is_exact, kl_divergence

Decay = keras.optimizers.schedules.ExponentialDecay


def of_all_kinds(temperature=0.7, **k):
    return posteriors.Product(
        [
            posteriors.DiagonalNormal(2, dtype=k.get("dtype")),
            posteriors.PowerSpherical(3, dtype=k.get("dtype")),
            posteriors.RelaxedOneHot(4, 2, temperature, dtype=k.get("dtype")),
        ],
        **k,
    )


def prior_of_all_kinds(**k):
    return priors.Product(
        [
            priors.StandardNormal(2, dtype=k.get("dtype")),
            priors.UniformSphere(3, dtype=k.get("dtype")),
            priors.UniformCategorical(4, 2, 0.5, dtype=k.get("dtype")),
        ],
        **k,
    )


def exact():
    """A posterior and a prior all of whose blocks have a closed form."""
    q = posteriors.Product(
        [posteriors.FullCovarianceNormal(2), posteriors.VonMisesFisher(3), posteriors.OneHot(4, 2)]
    )
    p = priors.Product(
        [priors.StandardNormal(2), priors.UniformSphere(3), priors.UniformCategorical(4, 2)]
    )
    return q, p


def pieces(z, blocks):
    return tf.split(z, [block.latent_size for block in blocks], axis=-1)


def test_the_latent_size_is_the_sum_and_the_support_names_the_blocks():
    q, p = of_all_kinds(), prior_of_all_kinds()
    assert q.latent_size == p.latent_size == 9
    assert q.support == p.support
    assert q.support == (
        "all real vectors (2 values); unit vectors (3 values); "
        "groups of 2 positive numbers that sum to 1 (4 values)"
    )


def test_neighbours_on_one_set_are_one_block():
    halves = posteriors.Product([posteriors.DiagonalNormal(2), posteriors.DiagonalNormal(3)])
    assert halves.support == priors.StandardNormal(5).support


def test_parameters_are_those_of_the_blocks_led_by_their_number():
    head = built(of_all_kinds())
    parameters = head(features(3))
    assert set(parameters) == {
        "0/loc",
        "0/scale_diag",
        "1/mean_direction",
        "1/concentration",
        "2/logits",
        "2/temperature",
    }
    np.testing.assert_array_equal(parameters["0/loc"], head.blocks[0](features(3))["loc"])
    assert set(head.projected()) == set(parameters) - {"2/temperature"}


@pytest.mark.parametrize("leading", [(), (5,)])
def test_the_log_density_is_the_sum_of_those_of_the_blocks(leading):
    head = built(of_all_kinds())
    parameters = head(features(3))
    q = head.distribution(parameters)
    z = q.sample(leading, seed=0)
    assert z.shape == (*leading, 3, 9)
    expected = 0
    for block, piece in zip(head.blocks, pieces(z, head.blocks), strict=True):
        expected = expected + block.distribution(block(features(3))).log_prob(piece)
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-5)


def test_blocks_are_drawn_from_their_own_distributions_and_independently():
    head = built(of_all_kinds())
    parameters = {key: value[:1] for key, value in head(features(1)).items()}
    q = head.distribution(parameters)
    draws = pieces(q.sample(20_000, seed=0)[:, 0], head.blocks)
    normal, spherical, _ = q.blocks
    assert_close_to_mean(draws[0], normal.mean()[0].numpy())
    assert_close_to_mean(draws[1], spherical.mean()[0].numpy())
    centred = [(draw - tf.reduce_mean(draw, 0)).numpy() for draw in draws]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        products = centred[one][:, :, None] * centred[other][:, None, :]
        assert_close_to_mean(products, np.zeros(products.shape[1:]), errors=5)


def test_blocks_of_one_family_have_draws_of_their_own():
    p = priors.Product([priors.StandardNormal(2), priors.StandardNormal(2)]).distribution()
    z = p.sample(5, seed=0).numpy()
    assert not np.any(z[:, :2] == z[:, 2:])


def test_the_kl_is_exact_if_that_of_each_block_is():
    head, prior = exact()
    q = built(head).distribution(head(features(3)))
    p = prior.distribution()
    assert is_exact(q, p)
    expected = sum(a.kl_divergence(b) for a, b in zip(q.blocks, p.blocks, strict=True))
    kl = kl_divergence(q, p, None).numpy()
    np.testing.assert_allclose(kl, expected, rtol=1e-6)
    z = q.sample(20_000, seed=0)
    assert_close_to_mean(q.log_prob(z) - p.log_prob(z), kl)


def test_the_kl_is_sampled_if_a_block_has_no_closed_form():
    head = built(of_all_kinds())
    q, p = head.distribution(head(features(3))), prior_of_all_kinds().distribution()
    with pytest.raises(NotImplementedError):
        q.kl_divergence(p)
    z = q.sample(4, seed=0)
    expected = tf.reduce_mean(q.log_prob(z) - p.log_prob(z), 0)
    np.testing.assert_allclose(kl_divergence(q, p, z), expected)


def test_the_kl_between_blocks_of_other_sizes_is_sampled():
    one = priors.Product([priors.StandardNormal(1), priors.StandardNormal(2)]).distribution()
    other = priors.Product([priors.StandardNormal(2), priors.StandardNormal(1)]).distribution()
    assert not is_exact(one, other)
    z = one.sample(4, seed=0)
    np.testing.assert_allclose(kl_divergence(one, other, z[:, None]), [0], atol=1e-6)


def test_one_block_may_depend_on_the_condition_and_another_not():
    prior = priors.Product([priors.ConditionalNormal(2), priors.UniformSphere(3)])
    assert prior.conditional
    prior.build((None, 4), 5)
    prior.blocks[0].loc.kernel.assign(np.random.default_rng(0).normal(size=(5, 2)))
    condition = features(3)
    p = prior.distribution(condition)
    assert p.batch_shape == (3,)
    z = p.sample(6, seed=0)
    assert z.shape == (6, 3, 5)
    # Of the block without a batch each example has a draw of its own.
    assert len(np.unique(z.numpy()[..., 2])) == 18
    first = prior.blocks[0].distribution(condition).log_prob(z[..., :2])
    np.testing.assert_allclose(p.log_prob(z), first - np.log(4 * np.pi), rtol=1e-5)
    assert p.mean().shape == (3, 5)
    assert not prior_of_all_kinds().conditional


def test_the_centre_is_that_of_each_block():
    head = built(of_all_kinds())
    q = head.distribution(head(features(3)))
    centre = pieces(head.centre(q), head.blocks)
    for block, own, value in zip(head.blocks, q.blocks, centre, strict=True):
        np.testing.assert_array_equal(value, block.centre(own))
    np.testing.assert_allclose(np.linalg.norm(centre[1], axis=-1), 1, rtol=1e-6)


def test_every_block_is_annealed():
    head = built(of_all_kinds(temperature=Decay(1.0, 10, 0.5)))
    head.anneal(20)
    np.testing.assert_allclose(head(features())["2/temperature"], [0.25] * 3)


def test_a_draw_is_differentiable_if_that_of_every_block_is():
    assert of_all_kinds().reparameterised
    assert not exact()[0].reparameterised
    assert of_all_kinds().xla


def test_products_may_hold_products():
    inner = posteriors.Product([posteriors.DiagonalNormal(1), posteriors.PowerSpherical(2)])
    head = built(posteriors.Product([inner, posteriors.DiagonalNormal(1)]))
    parameters = head(features(3))
    assert "0/1/concentration" in parameters
    q = head.distribution(parameters)
    assert head.centre(q).shape == (3, 4)
    assert_finite(q.log_prob(q.sample(2, seed=0)))


@pytest.mark.parametrize("make", [of_all_kinds, prior_of_all_kinds])
def test_a_loaded_product_has_the_blocks_that_were_saved(make):
    part = make(name="part")
    loaded = round_trip(part)
    assert [type(block) for block in loaded.blocks] == [type(block) for block in part.blocks]
    assert json.dumps(loaded.get_config()) == json.dumps(part.get_config())
    assert "latent_size" not in part.get_config()


def test_a_model_of_all_kinds_of_latents_learns_and_is_saved(tmp_path):
    schedule = Decay(1.0, 40, 0.5)
    vae = make_vae(lambda: of_all_kinds(schedule), prior_of_all_kinds)
    vae.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    x = np.tile(data_for(vae.likelihood, 8), (8, 1, 1, 1))
    history = vae.fit(x, batch_size=16, epochs=10, verbose=0).history
    assert_finite(*history.values())
    assert history["elbo"][-1] > history["elbo"][0]
    temperature = float(vae.posterior.blocks[2].temperature_now)
    assert temperature == pytest.approx(0.5 ** (39 / 40), rel=1e-5)  # as of the 40th step
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    assert float(again.posterior.blocks[2].temperature_now) == temperature
    np.testing.assert_allclose(again.reconstruct(x[:2]), vae.reconstruct(x[:2]), rtol=1e-5)


def test_xla_compiles_the_gradients_of_all_kinds():
    head = posteriors.Product(
        [of_all_kinds(), posteriors.VonMisesFisher(3), posteriors.RelaxedBernoulli(2)]
    )
    head = built(head)

    @tf.function(jit_compile=True)
    def gradients(seed):
        with tf.GradientTape() as tape:
            q = head.distribution(head(features()))
            z = q.sample(2, seed=seed)
            total = tf.reduce_sum(q.log_prob(z)) + tf.reduce_sum(z**3)
        return tape.gradient(total, head.trainable_weights)

    found = gradients(tf.constant([0, 1]))
    assert_finite(*found)
    assert all(np.any(gradient.numpy() != 0) for gradient in found)


# Arguments


@pytest.mark.parametrize("make", [posteriors.Product, priors.Product])
@pytest.mark.parametrize("blocks", [[], None, 3, "DiagonalNormal", [1, 2], [keras.layers.Dense(2)]])
def test_blocks_are_a_list_of_parts(make, blocks):
    with pytest.raises(ValueError, match=r"`blocks` of Product .* Expected: a list of one or more"):
        make(blocks)


def test_blocks_of_one_slot_are_none_of_the_other():
    with pytest.raises(ValueError, match=r"from keras_vae\.priors"):
        priors.Product([posteriors.DiagonalNormal(2)])
    with pytest.raises(ValueError, match=r"from keras_vae\.posteriors"):
        posteriors.Product([priors.StandardNormal(2)])


def test_a_prior_that_is_made_of_posteriors_is_no_block():
    with pytest.raises(ValueError, match=r"Received: VampPrior at index 1"):
        priors.Product([priors.StandardNormal(2), priors.VampPrior(2)])


@pytest.mark.parametrize("make", [posteriors.Product, priors.Product])
def test_blocks_have_one_precision(make):
    block = posteriors.DiagonalNormal if make is posteriors.Product else priors.StandardNormal
    with pytest.raises(ValueError, match="Received: float32, float64"):
        make([block(2), block(2, dtype="float64")])
