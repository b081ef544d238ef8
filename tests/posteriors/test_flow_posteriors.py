"""The posteriors that are normalising flows: coupling, inverse autoregressive and planar."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    POSTERIORS,
    PRIORS,
    assert_close_to_mean,
    assert_finite,
    built,
    data_for,
    every,
    features,
    make_vae,
)
from tensorflow_probability import distributions as tfd

from keras_vae import posteriors
from keras_vae.distributions.affine_flows import AffineAutoregressive
from keras_vae.distributions.planar import Planar
from keras_vae.divergences import is_exact, kl_divergence
from keras_vae.networks.conditioner import LOG_SCALE_BOUND, Conditioner

D = 4
FLOWS = {
    "CouplingFlow": lambda size=D, **k: posteriors.CouplingFlow(size, 3, 8, **k),
    "InverseAutoregressiveFlow": lambda size=D, **k: posteriors.InverseAutoregressiveFlow(
        size, 2, 8, **k
    ),
    "PlanarFlow": lambda size=D, **k: posteriors.PlanarFlow(size, 3, **k),
}
all_flows = pytest.mark.parametrize("make", every(FLOWS))


def example(make, dtype="float64"):
    """A flow whose layers are far from the identity."""
    head = built(make(dtype=dtype))
    random = np.random.default_rng(5)
    for weight in head.weights:
        weight.assign(0.7 * random.normal(size=weight.shape))
    parameters = head(features().astype(dtype))
    if "u" in parameters:
        parameters["u"] *= 100  # undoes the small start
    return head, parameters, head.distribution(parameters)


def points(*shape, dtype="float64"):
    return tf.constant(np.random.default_rng(6).normal(size=shape), dtype)


@all_flows
def test_the_log_density_is_the_bases_less_the_log_determinant_of_the_jacobian(make):
    """The determinant by automatic differentiation of the map from the Normal to z."""
    _, parameters, q = example(make)
    base = tfd.MultivariateNormalDiag(parameters["loc"], parameters["scale_diag"])
    u = base.sample(seed=0)
    with tf.GradientTape() as tape:
        tape.watch(u)
        z = q.bijector.forward(u)
    _, log_determinant = np.linalg.slogdet(tape.batch_jacobian(z, u))
    assert np.abs(log_determinant).max() > 0.3
    expected = base.log_prob(u) - log_determinant
    np.testing.assert_allclose(q.log_prob(tf.identity(z)), expected, rtol=1e-6)
    np.testing.assert_allclose(q.log_prob(z), expected, rtol=1e-6)


@all_flows
def test_the_inverse_undoes_the_map(make):
    _, _, q = example(make)
    z = 3 * points(7, 3, D)
    u = q.bijector.inverse(z)
    assert np.abs(u - z).max() > 0.5
    np.testing.assert_allclose(q.bijector.forward(tf.identity(u)), z, rtol=1e-6, atol=1e-6)


@all_flows
def test_the_gradient_of_the_log_density_of_any_z_is_that_of_differences(make):
    _, _, q = example(make)
    z, direction, step = points(3, D), points(3, D), 1e-5
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_prob = q.log_prob(z)
    slope = tf.reduce_sum(tape.gradient(log_prob, z) * direction, -1)
    difference = q.log_prob(z + step * direction) - q.log_prob(z - step * direction)
    np.testing.assert_allclose(slope, difference / (2 * step), rtol=1e-5, atol=1e-6)


@all_flows
def test_the_gradient_in_the_weights_of_the_density_of_any_z_is_that_of_differences(make):
    head, _, _ = example(make)
    z, step = points(3, D), 1e-5
    x = features().astype("float64")

    def value():
        return tf.reduce_sum(head.distribution(head(x)).log_prob(z))

    with tf.GradientTape() as tape:
        at = value()
    assert np.isfinite(at)
    for weight, gradient in zip(
        head.trainable_weights, tape.gradient(at, head.trainable_weights), strict=True
    ):
        start, direction = weight.numpy(), np.random.default_rng(7).normal(size=weight.shape)
        ends = []
        for sign in (1, -1):
            weight.assign(start + sign * step * direction)
            ends.append(value())
        weight.assign(start)
        expected = float(ends[0] - ends[1]) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@all_flows
def test_an_untrained_flow_is_nearly_its_normal(make):
    head = make()
    parameters = head(features())
    q = head.distribution(parameters)
    base = tfd.MultivariateNormalDiag(parameters["loc"], parameters["scale_diag"])
    z = base.sample(100, seed=0)
    assert np.abs(q.bijector.forward(z) - z).max() < 0.3
    assert np.abs(q.log_prob(z) - base.log_prob(z)).max() < 0.5


@all_flows
def test_the_density_of_a_draw_comes_with_it(make):
    _, _, q = example(make)
    z, log_prob = q.experimental_sample_and_log_prob(5, seed=0)
    np.testing.assert_allclose(log_prob, q.log_prob(tf.identity(z)), rtol=1e-5, atol=1e-5)


@all_flows
def test_the_layers_depend_on_x(make):
    head, parameters, _ = example(make)
    still = {"loc": tf.zeros_like, "scale_diag": tf.ones_like}
    same_base = {name: still.get(name, tf.identity)(v) for name, v in parameters.items()}
    log_prob = head.distribution(same_base).log_prob(tf.ones((3, D), "float64")).numpy()
    assert len(set(log_prob.round(6))) == 3


@all_flows
def test_a_slice_of_the_batch_has_its_own_x(make):
    _, _, q = example(make)
    z = points(5, 3, D)
    np.testing.assert_allclose(q[1:2].log_prob(z[:, 1:2]), q.log_prob(z)[:, 1:2])


@all_flows
def test_the_centre_is_the_image_of_the_normals_mean(make):
    head, parameters, q = example(make)
    np.testing.assert_allclose(
        q.bijector.inverse(tf.identity(head.centre(q))), parameters["loc"], atol=1e-6
    )
    with pytest.raises(NotImplementedError):
        q.mean()


@all_flows
def test_the_kl_is_sampled_and_that_of_the_normal_if_the_layers_do_nothing(make):
    head = make(dtype="float64")
    x = features().astype("float64")
    head(x)
    for weight in [w for w in head.weights if "projection" not in w.path]:
        weight.assign(tf.zeros_like(weight))
    parameters = head(x)
    if "u" in parameters:
        parameters["u"] = tf.zeros_like(parameters["u"])
    q = head.distribution(parameters)
    p = tfd.MultivariateNormalDiag(tf.zeros(D, "float64"), tf.ones(D, "float64"))
    assert not is_exact(q, p)
    base = tfd.MultivariateNormalDiag(parameters["loc"], parameters["scale_diag"])
    z = q.sample(4000, seed=0)
    np.testing.assert_allclose(q.log_prob(z), base.log_prob(z), rtol=1e-6, atol=1e-6)
    assert_close_to_mean(q.log_prob(z) - p.log_prob(z), base.kl_divergence(p).numpy())
    assert kl_divergence(q, p, z).shape == (3,)


@all_flows
def test_it_compiles_with_its_gradients(make):
    """The size of the batch is not known when a step of training is traced."""
    head, parameters, _ = example(make, "float32")
    z = points(2, 3, D, dtype="float32")
    signature = (
        tf.TensorSpec((2, None, D)),
        {name: tf.TensorSpec((None, *value.shape[1:])) for name, value in parameters.items()},
    )

    def terms(z, parameters):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            q = head.distribution(parameters)
            log_prob = q.log_prob(z)
            total = tf.reduce_sum(log_prob) + 0 * tf.reduce_sum(q.sample(seed=(0, 1)))
        return log_prob, tape.gradient(total, parameters)

    compiled = tf.function(terms, jit_compile=True, input_signature=signature)(z, parameters)
    for fast, slow in zip(
        tf.nest.flatten(compiled), tf.nest.flatten(terms(z, parameters)), strict=True
    ):
        np.testing.assert_allclose(fast, slow, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_a_saved_model_keeps_the_weights_of_the_layers(name, tmp_path):
    vae = make_vae(posterior=POSTERIORS[name])
    x = data_for(vae.likelihood, 3)
    random = np.random.default_rng(8)
    for weight in vae.posterior.weights:
        weight.assign(random.normal(size=weight.shape))
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    z = points(3, vae.posterior.latent_size, dtype="float32")
    np.testing.assert_array_equal(loaded.encode(x).log_prob(z), vae.encode(x).log_prob(z))


def test_posterior_and_prior_may_both_be_flows():
    vae = make_vae(posterior=POSTERIORS["CouplingFlow"], prior=PRIORS["CouplingFlow"])
    vae.compile(optimizer="sgd", run_eagerly=True)
    logs = vae.train_on_batch(data_for(vae.likelihood, 4), return_dict=True)
    assert_finite(*logs.values())
    vae.summary(expand_nested=True, print_fn=lambda *_, **__: None)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_networks_inside_are_in_single_precision(policy):
    """Or z would not come back from the inverse."""
    head = FLOWS["CouplingFlow"](dtype=policy)
    head(features())
    assert {network.compute_dtype for network in head.networks} == {"float32"}


@pytest.mark.parametrize("make", [FLOWS["InverseAutoregressiveFlow"], FLOWS["PlanarFlow"]])
def test_one_dimension_is_enough_where_nothing_is_split(make):
    _, parameters, q = example(lambda **k: make(1, **k))
    grid = np.linspace(-60, 60, 40_001).reshape(-1, 1, 1) * parameters["scale_diag"].numpy().max()
    total = np.exp(q.log_prob(grid)).sum(0) * (grid[1] - grid[0]).item()
    np.testing.assert_allclose(total, 1, atol=1e-3)


def test_a_coupling_needs_two_dimensions():
    with pytest.raises(ValueError, match=r"Expected: at least 2\. Received: latent_size=1"):
        posteriors.CouplingFlow(1)


@all_flows
@pytest.mark.parametrize("layers", [0, 1.5, "2", None])
def test_the_number_of_layers_is_a_positive_integer(make, layers):
    with pytest.raises(ValueError, match=r"`layers` of \w+ is the number of"):
        type(make())(3, layers=layers)


@pytest.mark.parametrize("kind", [posteriors.CouplingFlow, posteriors.InverseAutoregressiveFlow])
def test_the_width_is_a_positive_integer(kind):
    with pytest.raises(ValueError, match=r"`units` of \w+ is the width of each hidden layer"):
        kind(3, units=0)


# What the layers are made of


def conditioner(order, units=9):
    network = Conditioner(D, D, units, order=order, dtype="float64")
    network.build((None, D), (None, 2))
    random = np.random.default_rng(9)
    for weight in network.weights:
        weight.assign(random.normal(size=weight.shape))
    return network


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_a_masked_network_gives_each_dimension_what_comes_before_it_and_x(order):
    network, z, context = conditioner(order), points(1, D), points(1, 2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([z, context])
        shift, log_scale = network(z, context)
    before = np.asarray(order)[:, None] > np.asarray(order)[None, :]
    for output in (shift, log_scale):
        np.testing.assert_array_equal(tape.jacobian(output, z)[0, :, 0].numpy() != 0, before)
        assert np.all(tape.jacobian(output, context).numpy() != 0)


def test_fewer_units_than_dimensions_see_the_beginning_and_the_end():
    network = Conditioner(8, 8, 4, order=tuple(range(8)))
    first, _, last = network.masks
    assert first.sum(0).tolist() == [0, 2, 4, 6]
    assert last[:, :8].sum(0).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_the_log_scale_is_bounded():
    network = conditioner(None)
    _, log_scale = network(1e4 * points(50, D), 1e4 * points(50, 2))
    assert np.abs(log_scale).max() <= LOG_SCALE_BOUND
    assert np.abs(log_scale).max() > 0.9 * LOG_SCALE_BOUND


def test_context_and_z_broadcast():
    layer = AffineAutoregressive(conditioner((0, 1, 2, 3)), points(2, 3, 2))
    z = points(5, 1, 3, D)
    assert layer.forward(z).shape == (5, 2, 3, D)
    inverse = tf.function(layer.inverse)(z)
    assert inverse.shape == (5, 2, 3, D)
    np.testing.assert_allclose(layer.forward(tf.identity(inverse))[:, 1], z[:, 0], atol=1e-9)


@pytest.mark.parametrize("along", [-50.0, -3.0, 0.0, 3.0, 50.0])
def test_a_planar_layer_is_invertible_whatever_u_is(along):
    w = tf.constant([[[1.0, 2.0, -1.0, 0.5]]], tf.float64)
    u = w * along / tf.reduce_sum(w**2) + [[[1.0, -0.5, 0.0, 0.0]]]
    planar = Planar(w, u, tf.constant([[0.3]], tf.float64))
    z = points(50, 1, D)
    y = planar.forward(z)
    np.testing.assert_allclose(planar.inverse(tf.identity(y)), z, atol=1e-8)
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = planar.forward(tf.identity(z))[:, 0]  # not what was computed before the tape
    determinant = np.linalg.det(tape.batch_jacobian(y, z)[:, :, 0])
    assert determinant.min() > 0
    np.testing.assert_allclose(
        planar.forward_log_det_jacobian(z)[:, 0], np.log(determinant), atol=1e-6
    )


def test_u_across_w_is_left_as_it_is_and_along_w_is_only_bounded():
    """As in the paper: what moves is `w.u`, to `softplus(w.u + log(e - 1)) - 1`."""
    w = tf.constant([[[2.0, 0.0]]], tf.float64)
    u = tf.constant([[[-0.7, 1.3]]], tf.float64)
    planar = Planar(w, u, tf.constant([[1e3]], tf.float64))  # tanh is 1
    moved = planar.forward(tf.zeros((1, 2), tf.float64))[0].numpy()
    along = np.log1p(np.exp(-1.4 + np.log(np.e - 1))) - 1 + 1e-6
    np.testing.assert_allclose(moved, [along / 2, 1.3])


def test_a_plane_without_a_direction_has_finite_gradients():
    w, u, b = tf.zeros((1, 1, D)), tf.ones((1, 1, D)), tf.ones((1, 1))
    with tf.GradientTape() as tape:
        tape.watch([w, u, b])
        planar = Planar(w, u, b)
        y = planar.forward(tf.ones((1, D)))
        total = tf.reduce_sum(y) + tf.reduce_sum(planar.forward_log_det_jacobian(tf.ones((1, D))))
    np.testing.assert_allclose(y, 1 + np.tanh(np.ones((1, D))), rtol=1e-5)
    assert_finite(*tape.gradient(total, [w, u, b]))
