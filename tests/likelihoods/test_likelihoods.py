"""What holds for every p(x|z).

What only one family has is tested in a file of its own, the masses of whole numbers in
`test_discrete_likelihoods.py`.
"""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    EVENT_SHAPE,
    LIKELIHOODS,
    SHAPED,
    assert_close_to_mean,
    assert_finite,
    built,
    data_for,
    density,
    every,
    features,
    numpy,
    round_trip,
)

from keras_vae import likelihoods

ONE_NUMBER = (1, 1, 1)
PARAMETERS = {
    "Bernoulli": {"logits": EVENT_SHAPE},
    "Normal-fixed": {"loc": EVENT_SHAPE, "scale": ONE_NUMBER},
    "Normal-shared": {"loc": EVENT_SHAPE, "scale": ONE_NUMBER},
    "Normal-per_value": {"loc": EVENT_SHAPE, "scale": EVENT_SHAPE},
    "Normal-per_channel": {"loc": EVENT_SHAPE, "scale": ONE_NUMBER},
    "Normal-optimal": {"loc": EVENT_SHAPE, "scale": ONE_NUMBER},
    "Laplace": {"loc": EVENT_SHAPE, "scale": ONE_NUMBER},
    "StudentT": {"loc": EVENT_SHAPE, "scale": EVENT_SHAPE, "df": ONE_NUMBER},
    "LogitNormal": {"loc": EVENT_SHAPE, "scale": EVENT_SHAPE},
    "TruncatedNormal": {"loc": EVENT_SHAPE, "scale": EVENT_SHAPE},
    "Beta": {"concentration1": EVENT_SHAPE, "concentration0": EVENT_SHAPE},
    "ContinuousBernoulli": {"logits": EVENT_SHAPE},
}
NORMALS = {name: make for name, make in LIKELIHOODS.items() if name.startswith("Normal")}
CONTINUOUS = {
    name: make
    for name, make in SHAPED.items()
    if not make().support.discrete and name != "Missing"  # in its own file
}
# Where the moments of data are all that maximum likelihood needs, and what is best is inside.
IN_CLOSED_FORM = {**NORMALS, **{n: LIKELIHOODS[n] for n in ("Bernoulli", "ContinuousBernoulli")}}
EXTREMES = (-1e4, -50.0, 50.0, 1e4)
SPATIAL = (4, 4, 3)

all_likelihoods = pytest.mark.parametrize("make", every(SHAPED))


def example(make, batch=3, shape=EVENT_SHAPE):
    head = built(make(shape))
    parameters = head(features(batch))
    return head, parameters, head.distribution(parameters)


@all_likelihoods
def test_every_parameter_leads_with_the_batch_and_is_stated(make):
    head = make()
    parameters = head(features(3))
    assert {value.shape[0] for value in parameters.values()} == {3}
    assert {value.dtype for value in parameters.values()} == {tf.float32}
    assert set(parameters) == set(head.statement().parameters)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("features_shape", [(5,), SPATIAL, (2, 2, 3)])
def test_parameters_have_their_names_and_lead_with_the_batch(name, features_shape):
    parameters = LIKELIHOODS[name]()(features(3, features_shape))
    shapes = {key: tuple(value.shape) for key, value in parameters.items()}
    assert shapes == {key: (3, *shape) for key, shape in PARAMETERS[name].items()}
    assert {value.dtype for value in parameters.values()} == {tf.float32}


@all_likelihoods
def test_the_event_is_all_of_one_x(make):
    head, parameters, p = example(make)
    assert p.batch_shape == (3,)
    assert p.event_shape == EVENT_SHAPE
    unfolded = {key: tf.stack([value] * 4) for key, value in parameters.items()}
    p = head.distribution(unfolded)
    assert p.batch_shape == (4, 3)
    assert p.event_shape == EVENT_SHAPE
    assert p.log_prob(data_for(head, 3)).shape == (4, 3)


@all_likelihoods
def test_no_one_is_warned_of_a_distribution(make, caplog):
    head, _, p = example(make)
    assert p[:2].batch_shape == (2,)
    assert np.isfinite(p.copy().log_prob(data_for(head, 3))).all()
    assert caplog.text == ""


@all_likelihoods
@pytest.mark.parametrize("shape", [EVENT_SHAPE, (7,), (2, 3)])
def test_the_log_density_is_scipys(make, shape):
    head, parameters, p = example(make, batch=6, shape=shape)
    x = data_for(head, 6)
    np.testing.assert_allclose(p.log_prob(x), density(head, parameters, x), rtol=1e-5)


def test_a_bernoulli_sums_to_one_over_all_binary_values():
    _, _, p = example(LIKELIHOODS["Bernoulli"], shape=(2, 3, 1))
    values = np.array(list(itertools.product([0, 1], repeat=6)), "float32")
    log_prob = p.log_prob(values.reshape(64, 1, 2, 3, 1))
    np.testing.assert_allclose(np.exp(log_prob).sum(0), np.ones(3), rtol=1e-5)


@pytest.mark.parametrize("make", every(NORMALS))
def test_a_normal_integrates_to_one(make):
    _, parameters, p = example(make, shape=(2,))
    loc = numpy(parameters)["loc"]
    scale = np.broadcast_to(numpy(parameters)["scale"], loc.shape)
    for b in range(3):
        axes = [m + s * np.linspace(-9, 9, 601) for m, s in zip(loc[b], scale[b], strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 1, 2)
        values = np.exp(p[b : b + 1].log_prob(grid.astype("float32"))).sum(dtype="float64")
        cell = np.prod([axis[1] - axis[0] for axis in axes])
        assert values * cell == pytest.approx(1, abs=1e-4)


def points(support):
    """Points of a support that are dense where densities are steep, and their weights."""
    t = np.linspace(-12, 12, 24_001)
    if support == "the real numbers":
        return np.sinh(t), np.cosh(t) * 1e-3
    x = 1 / (1 + np.exp(-t))
    return x, x * (1 - x) * 1e-3


@pytest.mark.parametrize("make", every(CONTINUOUS))
def test_a_density_integrates_to_one_and_to_its_mean(make):
    head, _, p = example(make, shape=(1,))
    x, weights = points(head.support.name)
    masses = np.exp(p.log_prob(x.astype("float32")[:, None, None]).numpy().astype("float64"))
    masses *= weights[:, None]
    np.testing.assert_allclose(masses.sum(0), 1, rtol=2e-4)
    mean = x @ masses
    np.testing.assert_allclose(p.mean()[:, 0], mean, atol=2e-4)
    np.testing.assert_array_equal(head.centre(p), p.mean())
    draws = p.sample(20_000, seed=0).numpy().astype("float64")[..., 0]
    assert_close_to_mean(draws, mean, errors=5)
    variance = ((x[:, None] - mean) ** 2 * masses).sum(0)
    assert_close_to_mean((draws - mean) ** 2, variance, errors=5)


@pytest.mark.parametrize("make", every({**NORMALS, "Bernoulli": LIKELIHOODS["Bernoulli"]}))
def test_draws_have_the_mean_and_the_variance_that_the_parameters_say(make):
    _, parameters, p = example(make)
    draws = p.sample(5_000, seed=0).numpy().astype("float64")
    parameters = numpy(parameters)
    if "logits" in parameters:
        mean = 1 / (1 + np.exp(-parameters["logits"]))
        variance = mean * (1 - mean)
    else:
        mean, variance = parameters["loc"], parameters["scale"] ** 2 + 0 * parameters["loc"]
    np.testing.assert_allclose(p.mean(), mean, rtol=1e-5)
    assert_close_to_mean(draws, mean, errors=5)
    assert_close_to_mean((draws - mean) ** 2, variance, errors=5)


@pytest.mark.parametrize("make", every(CONTINUOUS))
def test_a_density_is_the_same_however_it_is_compiled(make):
    head = built(make((3,)))
    inputs, x = tf.constant(features(4)), tf.constant(data_for(head, 4))

    def terms(inputs, x):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            p = head.distribution(head(inputs))
            log_prob = p.log_prob(x)
        return log_prob, head.centre(p), tape.gradient(log_prob, inputs)

    def draw(inputs):
        return head.distribution(head(inputs)).sample(3, seed=tf.constant([0, 1]))

    eager = terms(inputs, x)
    for jit_compile in (False, True):
        compiled = tf.function(terms, jit_compile=jit_compile)(inputs, x)
        for ours, theirs in zip(compiled, eager, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        draws = tf.function(draw, jit_compile=jit_compile)(inputs).numpy()
        assert draws.shape == (3, 4, 3)
        head.check(draws[0])


@all_likelihoods
def test_draws_are_in_the_support(make):
    head, _, p = example(make)
    draws = p.sample(100, seed=0).numpy()
    assert bool(head.contains(draws))
    head.check(draws[0])


def test_draws_of_values_are_independent():
    _, parameters, p = example(LIKELIHOODS["Normal-per_value"], batch=1, shape=(3,))
    noise = (p.sample(20_000, seed=0) - parameters["loc"]).numpy()[:, 0]
    for i, j in itertools.combinations(range(3), 2):
        assert_close_to_mean(noise[:, i] * noise[:, j], np.zeros(()))


@all_likelihoods
@pytest.mark.parametrize("raw", EXTREMES)
def test_values_and_gradients_are_finite_at_extreme_features(make, raw):
    head = built(make())
    for weight in head.trainable_weights:
        weight.assign(tf.fill(weight.shape, 0.0 if weight.path.endswith("kernel") else raw))
    x = data_for(head, 3)
    with tf.GradientTape() as tape:
        parameters = head(features())
        p = head.distribution(parameters)
        log_prob = p.log_prob(x)
    assert_finite(*parameters.values(), log_prob, p.mean(), p.sample(seed=0))
    assert_finite(*tape.gradient(log_prob, head.trainable_weights))


@all_likelihoods
@pytest.mark.parametrize("features_shape", [(5,), SPATIAL])
def test_a_loaded_head_is_the_saved_one(make, features_shape):
    head = built(make(name="p"), features_shape)
    loaded = built(round_trip(head), features_shape)
    assert type(loaded) is type(head)
    # By way of JSON, which has no tuples: parts in parts note the shapes they were built with.
    assert json.dumps(loaded.get_config()) == json.dumps(head.get_config())
    loaded.set_weights(head.get_weights())
    inputs = features(3, features_shape)
    for name, value in head(inputs).items():
        np.testing.assert_array_equal(loaded(inputs)[name], value)


@all_likelihoods
def test_heads_are_registered_under_the_packages_name(make):
    kind = type(make())
    assert keras.saving.get_registered_name(kind) == f"keras_vae>{kind.__name__}"


@all_likelihoods
def test_half_precision_networks_have_single_precision_densities(make):
    full, half = built(make()), built(make(dtype="mixed_float16"))
    half.set_weights(full.get_weights())
    parameters = half(features())
    assert {value.dtype for value in parameters.values()} == {tf.float32}
    assert half.distribution(parameters).log_prob(data_for(half, 3)).dtype == tf.float32
    for name, value in full(features()).items():
        np.testing.assert_allclose(parameters[name], value, atol=0.02)


@all_likelihoods
def test_double_precision_is_kept(make):
    head = built(make(dtype="float64"))
    parameters = head(features().astype("float64"))
    assert {value.dtype for value in parameters.values()} == {tf.float64}


@all_likelihoods
@pytest.mark.parametrize("shape", [784, (28, 0), (28, -1), (28, 1.0), None, ("28",)])
def test_the_event_shape_is_a_tuple_of_positive_integers(make, shape):
    with pytest.raises(ValueError, match=r"`event_shape` of \w+ is the shape of one x") as error:
        make(shape)
    assert "a tuple of positive integers" in str(error.value)
    assert f"Received: {shape!r}." in str(error.value)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "StudentT", "LogitNormal", "TruncatedNormal"]
)
@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "learned", None, True])
def test_a_scale_is_positive_or_says_how_it_is_learned(name, scale):
    with pytest.raises(ValueError, match=f"`scale` of {name} is the width of") as error:
        getattr(likelihoods, name)((3,), scale=scale)
    assert "a positive number or one of 'shared', 'per_value', 'per_channel'" in str(error.value)
    assert ("'optimal'" in str(error.value)) == (name == "Normal")
    assert f"Received: {scale!r}." in str(error.value)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "StudentT", "LogitNormal", "TruncatedNormal"]
)
def test_each_channel_has_a_scale_of_its_own(name):
    head = built(getattr(likelihoods, name)((4, 4, 3), scale="per_channel"))
    assert head(features(2))["scale"].shape == (2, 1, 1, 3)
    assert head.distribution(head(features(2))).sample(seed=0).shape == (2, 4, 4, 3)
    scale = 0.01 * np.array([1.0, 2.0, 3.0], "float32")
    mean = tf.fill((4, 4, 3), 0.5)
    head.start_from(mean, tf.broadcast_to(scale**2, (4, 4, 3)))
    started = head(np.zeros((1, 5), "float32"))["scale"].numpy().ravel()
    np.testing.assert_allclose(started / started[0], [1, 2, 3], rtol=5e-3)
    with pytest.raises(ValueError, match="x has no channels") as error:
        getattr(likelihoods, name)((), scale="per_channel")
    assert "Expected: an event_shape with an axis" in str(error.value)
    assert "Received: event_shape=()" in str(error.value)


@all_likelihoods
def test_spatial_features_are_projected_along_their_last_axis(make):
    head = built(make(EVENT_SHAPE), SPATIAL)
    inputs = features(2, SPATIAL)
    moved = inputs.copy()
    moved[:, 1, 2] += 1.0
    before, after = head(inputs), head(moved)
    elsewhere = np.ones(EVENT_SHAPE, bool)
    elsewhere[1, 2] = False
    name = next(iter(before))
    changed = np.asarray(before[name] - after[name]) != 0
    assert not changed[:, elsewhere].any()
    assert changed[:, 1, 2].all()
    kernels = [weight for weight in head.weights if weight.path.endswith("kernel")]
    assert {kernel.shape[0] for kernel in kernels} == {SPATIAL[-1]}


@all_likelihoods
@pytest.mark.parametrize("features_shape", [(5,), (2, 2, 3), (4, 5, 1)])
def test_other_features_are_flattened_so_that_each_reaches_every_value(make, features_shape):
    head = built(make(), features_shape)
    inputs = features(1, features_shape)
    moved = inputs.copy()
    moved.reshape(-1)[0] += 1.0
    before, after = head(inputs), head(moved)
    name = next(iter(before))
    assert (np.asarray(before[name]) != np.asarray(after[name])).all()


def moments(likelihood):
    x = data_for(likelihood, 200).astype("float64") * 0.5 + 0.25
    return tf.constant(x.mean(0), tf.float32), tf.constant(x.var(0), tf.float32)


@all_likelihoods
def test_a_head_starts_from_the_best_independent_parameters(make):
    head = built(make())
    mean, variance = moments(head)
    head.start_from(mean, variance)
    start = head.independent(mean, variance)
    for name, value in head(np.zeros((3, 5), "float32")).items():
        found, expected = np.broadcast_arrays(value, start[name])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", every(IN_CLOSED_FORM))
def test_a_bias_that_serves_every_position_starts_from_the_moments_of_all_of_them(make):
    """As if all positions were examples of one value: moving it lowers the likelihood."""
    head = built(make(), (*EVENT_SHAPE[:-1], 5))
    x = data_for(head, 200) * np.linspace(0, 1, EVENT_SHAPE[0]).round()[:, None, None]
    head.start_from(tf.constant(x.mean(0), tf.float32), tf.constant(x.var(0), tf.float32))
    zeros = np.zeros((1, *EVENT_SHAPE[:-1], 5), "float32")
    best = numpy(head(zeros))
    value = density(head, best, x).mean()
    learned = [name for name in best if not (name == "scale" and head.scale == 0.5)]
    for name, step in itertools.product(learned, (-0.01, 0.01)):
        assert density(head, {**best, name: best[name] + step}, x).mean() < value


@pytest.mark.parametrize("make", every(IN_CLOSED_FORM))
def test_independent_parameters_are_those_of_maximum_likelihood(make):
    """Moving any of them by a little lowers the likelihood of the data of those moments."""
    head = make()
    x = data_for(head, 200)
    mean, variance = (tf.constant(m) for m in (x.mean(0), x.var(0)))
    best = numpy(head.independent(mean, variance))
    value = density(head, {name: v[None] for name, v in best.items()}, x).mean()
    learned = [name for name in best if not (name == "scale" and head.scale == 0.5)]
    for name, step in itertools.product(learned, (-0.01, 0.01)):
        moved = {**best, name: best[name] + step}
        assert density(head, {key: v[None] for key, v in moved.items()}, x).mean() < value


def test_a_pixel_that_is_never_on_keeps_a_finite_log_odds():
    head = likelihoods.Bernoulli((2,))
    logits = head.independent(tf.constant([0.0, 1.0]), tf.zeros(2))["logits"]
    np.testing.assert_allclose(logits, [-np.log(999), np.log(999)], rtol=1e-4)


def test_a_value_that_is_constant_keeps_a_positive_scale():
    head = likelihoods.Normal((2,), scale="per_value")
    scale = head.independent(tf.zeros(2), tf.constant([0.0, 2.0]))["scale"]
    np.testing.assert_allclose(scale, [0.01, np.sqrt(2)], rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (0.5, 0.5),
        (3, 3.0),
        ("shared", 1.0),
        ("optimal", 1.0),
        ("per_value", None),
        ("per_channel", None),
    ],
)
def test_one_scale_is_known_unless_values_differ_in_it(scale, expected):
    head = built(likelihoods.Normal((2,), scale=scale))
    assert head.one_scale() == (None if expected is None else pytest.approx(expected, rel=1e-6))


def test_the_noise_variance_is_that_of_a_decoder_that_ignores_z():
    variance = tf.constant([0.2, 0.1])
    fixed = likelihoods.Normal((2,), scale=0.5).noise_variance(variance, variance)
    np.testing.assert_allclose(fixed, [0.25, 0.25])
    np.testing.assert_array_equal(
        likelihoods.Bernoulli((2,)).noise_variance(variance, variance), variance
    )
    own = likelihoods.Normal((2,), scale="per_value").noise_variance(variance, variance)
    np.testing.assert_array_equal(own, variance)
    for one in ("shared", "optimal"):
        assert likelihoods.Normal((2,), scale=one).noise_variance(variance, variance) is None


@pytest.mark.parametrize(
    "head",
    [
        likelihoods.Normal((2,), scale="per_channel"),
        *(
            getattr(likelihoods, name)((2,))
            for name in ("Laplace", "StudentT", "LogitNormal", "TruncatedNormal", "Beta")
        ),
    ],
    ids=lambda head: type(head).__name__,
)
def test_where_there_is_no_threshold_none_is_given(head):
    moments = tf.constant([0.2, 0.1])
    with pytest.raises(NotImplementedError):
        head.noise_variance(moments, moments)


@all_likelihoods
def test_the_statement_names_the_parameters(make):
    head = make()
    statement = head.statement()
    assert statement.family == type(head).__name__
    assert statement.event_shape == head.event_shape
    assert statement.support == head.support.name
    assert set(statement.parameters) == set(head(features()))


# The support


@all_likelihoods
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_data_in_the_support_is_accepted(make, dtype):
    head = make()
    x = data_for(head, 4).astype(dtype)
    head.check(x)
    assert bool(head.contains(x))
    assert bool(tf.function(head.contains)(tf.constant(x)))


@all_likelihoods
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_refused_with_their_place(make, value):
    head = make(EVENT_SHAPE)
    if np.isnan(value) and isinstance(head, likelihoods.Missing):
        pytest.skip("NaN says that a value is missing")
    x = data_for(head, 4)
    x[2, 1, 3, 0] = value
    with pytest.raises(ValueError, match=r"`x` is outside the support of \w+") as error:
        head.check(x)
    assert f"Received: {value} at index [2, 1, 3, 0]" in str(error.value)
    assert "the first of 1 such values of 64" in str(error.value)
    assert not bool(head.contains(x))


@pytest.mark.parametrize("value", [0.3, 255.0, -1.0])
def test_a_bernoulli_refuses_what_is_not_binary(value):
    head = likelihoods.Bernoulli((2,))
    x = np.array([[0, 1], [1, value]], "float32")
    with pytest.raises(ValueError, match=r"outside the support of Bernoulli") as error:
        head.check(x)
    assert "Expected: values in {0, 1}" in str(error.value)
    assert "at index [1, 1]" in str(error.value)
    assert "Binarise" in str(error.value) or "binarise" in str(error.value)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
@pytest.mark.parametrize(
    ("head", "greatest"),
    [
        (likelihoods.Bernoulli((2,)), 1),
        (likelihoods.Categorical(3, (2,)), 2),
        (likelihoods.Poisson((2,)), 100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_integer_outside_is_found_among_those_inside(head, greatest, dtype):
    inside = np.array([[0, greatest], [greatest // 2, 0]], dtype)
    head.check(inside)
    below = [] if dtype == "uint8" else [-1]
    above = [] if isinstance(head, likelihoods.Poisson) else [greatest + 1]
    for value in below + above:
        x = inside.copy()
        x[1, 0] = value
        with pytest.raises(ValueError, match=rf"Received: {value} at index \[1, 0\]"):
            head.check(x)


def test_grey_values_are_recognised():
    with pytest.raises(ValueError, match="divide by 255"):
        likelihoods.Bernoulli((2,)).check(np.array([[0, 255]], "uint8"))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((4, 4, 1), r"x\[None\]"),
        ((9, 4, 4), r"x\[\.\.\., None\]"),
        ((9, 16), r"x\.reshape\(-1, 4, 4, 1\)"),
        ((9, 5, 5, 1), "shape of one example"),
        ((), "shape of one example"),
    ],
)
@all_likelihoods
def test_data_of_another_shape_is_refused_with_what_to_do(make, shape, remedy):
    with pytest.raises(ValueError, match=remedy) as error:
        make(EVENT_SHAPE).check(np.zeros(shape))
    assert "Expected: [B, 4, 4, 1]" in str(error.value)
    assert f"Received: {list(shape)}" in str(error.value)


@all_likelihoods
def test_data_that_is_not_numeric_is_refused(make):
    with pytest.raises(ValueError, match="`y` is not numeric"):
        make(EVENT_SHAPE).check(np.full((2, *EVENT_SHAPE), "0"), "y")


@pytest.mark.parametrize("kind", [np.int64, np.float32, np.float64])
def test_numbers_of_numpy_are_numbers(kind):
    head = built(likelihoods.Normal((2,), scale=kind(2)))
    assert head.one_scale() == 2.0


def test_an_event_shape_of_booleans_is_refused():
    with pytest.raises(ValueError, match="a tuple of positive integers"):
        likelihoods.Bernoulli((True, 4))
