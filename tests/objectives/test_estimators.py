"""The gradient of every estimator, in its mean and in its noise, on a linear Gaussian model.

`x = W z + eps`, `eps ~ N(0, s^2 I)`, `z ~ N(m, I)`, with a diagonal q(z|x). Each estimate is made
for its own copy of one x and of all parameters, so that one pass gives thousands of
independent estimates.
"""

import numpy as np
import pytest
import tensorflow as tf
from parts import POSTERIORS, PRIORS, assert_close_to_mean, assert_finite, data_for, make_vae
from tensorflow_probability import distributions as tfd

from keras_vae.divergences import kl_divergence
from keras_vae.objectives import CIWAE, ELBO, IWAE, MIWAE, PIWAE, LinearWarmUp, Renyi, Terms
from keras_vae.path import Path

D, VALUES, NOISE, STEP = 2, 3, 0.8, 40
ENCODER, GENERATIVE = ("loc", "scale"), ("w", "m")


def parameters(orthogonal=False):
    """Those of the model and some of q(z|x), which is not p(z|x)."""
    random = np.random.default_rng(0)
    w = random.normal(size=(VALUES, D))
    if orthogonal:
        w = np.linalg.qr(w)[0] * [2.0, 0.5]
    return {
        "w": w,
        "m": np.array([0.3, -0.2]),
        "loc": np.array([0.4, -0.6]),
        "scale": np.array([0.5, 0.9]),
    }


def exact_posterior(x):
    """The parameters with q(z|x) = p(z|x), which a diagonal q reaches for orthogonal columns."""
    found = parameters(orthogonal=True)
    precision = np.diagonal(found["w"].T @ found["w"]) / NOISE**2 + 1
    loc = (x @ found["w"] / NOISE**2 + found["m"]) / precision
    return {**found, "loc": loc, "scale": precision**-0.5}


X = np.array([1.2, -0.4, 0.7])


def terms_of(values, path, num_samples, x, seed, scale_of_likelihood=1.0):
    q = tfd.MultivariateNormalDiag(values["loc"], values["scale"])
    p = tfd.MultivariateNormalDiag(values["m"], tf.ones_like(values["m"]))
    z = path(q.sample(num_samples, seed=seed))
    mean = tf.einsum("bij,kbj->kbi", values["w"], z)
    log_likelihood = scale_of_likelihood * tf.reduce_sum(
        tfd.Normal(mean, NOISE * tf.ones_like(mean)).log_prob(x), -1
    )
    return Terms(
        log_likelihood,
        p.log_prob(z),
        q.log_prob(z),
        kl_divergence(q, p, z),
        z,
        q,
        p,
        tf.constant([0, 1]),
    )


def estimates(objective, values=None, count=4_000, dtype="float64", seed=3, **options):
    """`count` independent estimates of the gradient by each parameter, `[count, ...]`, as made by VAE."""
    values = values or parameters()
    values = {n: tf.constant(np.repeat(v[None], count, 0), dtype) for n, v in values.items()}
    path = Path()
    with tf.GradientTape() as tape:
        tape.watch(values)
        x = tf.constant(X, dtype)
        terms = terms_of(values, path, objective.num_samples, x, [seed, seed], **options)
        surrogate = tf.reduce_sum(objective.surrogate(terms, STEP))
        path.weight = objective.path_weight(terms, STEP)
    return {name: g.numpy() for name, g in tape.gradient(surrogate, values).items()}


def assert_equal_in_the_mean(found, expected, names):
    for name in names:
        assert_close_to_mean(found[name] - expected[name], 0 * expected[name][0])


def exact_gradients():
    """Of the ELBO, by its closed form."""
    values = {name: tf.constant(v) for name, v in parameters().items()}
    with tf.GradientTape() as tape:
        tape.watch(values)
        w, m, loc, scale = (values[n] for n in ("w", "m", "loc", "scale"))
        residual = tf.reduce_sum((X - tf.linalg.matvec(w, loc)) ** 2) + tf.reduce_sum(
            (w * scale) ** 2
        )
        kl = 0.5 * tf.reduce_sum(scale**2 + (loc - m) ** 2 - 1 - 2 * tf.math.log(scale))
        value = -residual / (2 * NOISE**2) - kl
    return {name: g.numpy() for name, g in tape.gradient(value, values).items()}


# The ELBO


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(),
        ELBO(kl="sampled"),
        ELBO(num_samples=3),
        ELBO(gradient="stl"),
        ELBO(num_samples=2, gradient="score"),
        ELBO(num_samples=5, gradient="score"),
        ELBO(num_samples=3, gradient="score", kl="sampled"),
        IWAE(1, gradient="stl"),
        IWAE(1, gradient="dreg"),
        CIWAE(4, beta=1.0),
        MIWAE(4, groups=4),
        Renyi(1, 3),
    ],
    ids=str,
)
def test_every_estimator_of_the_elbo_has_its_gradient_in_the_mean(objective):
    found, expected = estimates(objective), exact_gradients()
    for name, gradient in expected.items():
        assert_close_to_mean(found[name], gradient)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_samples": 3, "gradient": "score", "kl": "sampled"},
        {"num_samples": 3, "gradient": "score"},
        {"num_samples": 3, "gradient": "stl"},
    ],
    ids=str,
)
@pytest.mark.parametrize("beta", [0.0, 2.5, LinearWarmUp(100)], ids=["0", "2.5", "warm-up"])
def test_an_estimator_of_a_weighted_kl_is_right_for_every_weight(arguments, beta):
    plain = estimates(ELBO(num_samples=3, beta=beta))
    found = estimates(ELBO(beta=beta, **arguments))
    assert_equal_in_the_mean(found, plain, ENCODER)


@pytest.mark.parametrize("option", [{"free_bits": 0.5}, {"capacity": 0.5}])
def test_the_score_function_serves_free_bits_and_capacities_of_a_closed_kl(option):
    plain = estimates(ELBO(num_samples=3, **option))
    found = estimates(ELBO(num_samples=3, gradient="score", **option))
    assert_equal_in_the_mean(found, plain, ENCODER)


def test_the_score_function_refuses_free_bits_of_a_kl_without_a_closed_form():
    q = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.zeros((4, 2))),
        tfd.MultivariateNormalDiag(tf.zeros((4, 2, D)), tf.ones(D)),
    )
    z = q.sample(2, seed=0)
    p = tfd.MultivariateNormalDiag(tf.zeros(D), tf.ones(D))
    terms = Terms(
        tf.zeros((2, 4)), p.log_prob(z), q.log_prob(z), tf.ones(4), z, q, p, tf.constant([0, 1])
    )
    with pytest.raises(ValueError, match=r"with a closed KL\. Received: .*MixtureSameFamily"):
        ELBO(num_samples=2, gradient="score", free_bits=1.0).surrogate(terms, 0)
    # By itself it is sampled, as everywhere.
    assert_finite(ELBO(num_samples=2, gradient="score").surrogate(terms, 0))


@pytest.mark.parametrize(
    ("option", "posterior"),
    [
        ({"free_bits": 1.0}, "MixtureOfNormals"),
        ({"capacity": 1.0}, "CouplingFlow"),
        ({"free_bits": 1.0, "free_bits_per": "dimension"}, "RelaxedBernoulli"),
    ],
)
def test_a_model_refuses_the_score_function_with_them_when_it_is_made(option, posterior):
    prior = "UniformBernoulli-relaxed" if posterior == "RelaxedBernoulli" else "StandardNormal"
    with pytest.raises(ValueError, match=r"score function .* closed KL\. Received: "):
        make_vae(
            POSTERIORS[posterior],
            PRIORS[prior],
            objective=lambda: ELBO(num_samples=2, gradient="score", **option),
        )


@pytest.mark.parametrize(
    "option", [{"free_bits": 1.0, "free_bits_per": "dimension"}, {"capacity": 1.0}]
)
def test_a_model_takes_the_score_function_with_them_where_the_kl_is_closed(option):
    objective = ELBO(num_samples=2, gradient="score", **option)
    for names in (("DiagonalNormal", "LearnedNormal"), ("Bernoulli", "UniformBernoulli")):
        vae = make_vae(POSTERIORS[names[0]], PRIORS[names[1]], objective=lambda: objective)
        assert_finite(vae.compute_loss(data_for(vae.likelihood, 2)))


@pytest.mark.parametrize("kl", [None, "sampled"])
def test_comparing_draws_takes_noise_off_the_score_function(kl):
    """A constant in the likelihood is nothing to it, and more draws are worth their number."""
    few, many = (
        estimates(ELBO(num_samples=k, gradient="score", kl=kl))["loc"].var(0) for k in (2, 20)
    )
    assert (many < few / 5).all()


@pytest.mark.parametrize("kl", [None, "sampled"])
def test_the_score_function_gives_the_gradient_of_discrete_draws(kl):
    """Two bits: the expectation is a sum over four values."""
    count, k = 20_000, 3
    table = tf.constant([[-1.0, 0.5], [-2.0, 1.5]])  # log p(x|z)
    first, prior = np.array([0.4, -0.8], "float32"), tf.constant([0.3, 0.1])

    def value(z):
        z = tf.cast(z, "int32")
        return tf.gather_nd(table, z)

    logits = tf.constant(np.repeat(first[None], count, 0))
    path, objective = Path(), ELBO(num_samples=k, gradient="score", kl=kl, beta=1.5)
    p = tfd.Independent(tfd.Bernoulli(logits=prior, dtype="float32"), 1)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        q = tfd.Independent(tfd.Bernoulli(logits=logits, dtype="float32"), 1)
        z = path(q.sample(k, seed=[1, 2]))
        terms = Terms(value(z), p.log_prob(z), q.log_prob(z), q.kl_divergence(p), z, q, p, None)
        surrogate = tf.reduce_sum(objective.surrogate(terms, 0))
        path.weight = objective.path_weight(terms, 0)
    found = tape.gradient(surrogate, logits)
    every = tf.constant([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    logits = tf.constant(first)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        q = tfd.Independent(tfd.Bernoulli(logits=logits, dtype="float32"), 1)
        exact = tf.reduce_sum(q.prob(every) * value(every)) - 1.5 * q.kl_divergence(p)
    assert_close_to_mean(found, tape.gradient(exact, logits).numpy())


# Importance weights


@pytest.mark.parametrize(
    "beta", [1.0, 0.5, 2.0, LinearWarmUp(100)], ids=["1", "0.5", "2", "warm-up"]
)
def test_the_doubly_reparameterised_gradient_is_the_plain_one_in_the_mean(beta):
    plain = estimates(IWAE(5, beta=beta))
    found = estimates(IWAE(5, beta=beta, gradient="dreg"))
    assert_equal_in_the_mean(found, plain, ENCODER)
    assert np.std(found["loc"] - plain["loc"]) > 0.01
    for name in GENERATIVE:  # the decoder's and the prior's is the plain one, draw for draw
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-8, atol=1e-10)


def test_sticking_the_landing_is_biased_for_the_encoder_of_several_draws():
    plain, found = estimates(IWAE(5)), estimates(IWAE(5, gradient="stl"))
    difference = found["scale"] - plain["scale"]
    error = difference.std(0) / np.sqrt(len(difference))
    assert (np.abs(difference.mean(0)) > 6 * error).any()
    for name in GENERATIVE:
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(gradient="stl"),
        ELBO(num_samples=3, gradient="stl"),
        IWAE(5, gradient="stl"),
        IWAE(5, gradient="dreg"),
    ],
    ids=str,
)
def test_at_the_exact_posterior_the_encoders_gradient_is_zero_for_every_draw(objective):
    values = exact_posterior(X)
    found, plain = estimates(objective, values), estimates(ELBO(kl="sampled"), values)
    for name in ENCODER:
        np.testing.assert_allclose(found[name], 0 * found[name], atol=1e-9)
        assert plain[name].std(0).min() > 0.1


def near_posterior():
    """A q(z|x) that is wider than p(z|x) and beside it: no weight dominates all others."""
    values = exact_posterior(X)
    return {**values, "loc": values["loc"] + 0.1, "scale": 1.2 * values["scale"]}


def signal_to_noise(gradients):
    return np.abs(gradients.mean(0)) / gradients.std(0)


def test_the_doubly_reparameterised_gradient_is_less_noisy():
    plain, found = (
        estimates(IWAE(50, gradient=gradient), near_posterior())
        for gradient in ("reparameterised", "dreg")
    )
    for name in ENCODER:
        assert (found[name].var(0) < plain[name].var(0) / 3).all()
        assert (signal_to_noise(found[name]) > 2 * signal_to_noise(plain[name])).all()


def test_more_draws_drown_the_plain_gradient_and_not_the_doubly_reparameterised_one():
    """Its signal over its noise falls as `K^-1/2`, the other's grows as `K^1/2`.

    Rainforth et al. (2018) and Tucker et al. (2019).
    """

    def ratio(num_samples, gradient):
        found = estimates(IWAE(num_samples, gradient=gradient), near_posterior(), count=8_000)
        return signal_to_noise(found["loc"]).max()

    assert ratio(64, "reparameterised") < ratio(4, "reparameterised") / 2
    assert ratio(64, "dreg") > 2 * ratio(4, "dreg")


# Two bounds at once


def test_one_bound_teaches_the_decoder_and_another_the_encoder():
    piwae, miwae, iwae = (
        estimates(o, count=50) for o in (PIWAE(12, groups=4), MIWAE(12, groups=4), IWAE(12))
    )
    for name in GENERATIVE:
        np.testing.assert_allclose(piwae[name], iwae[name], rtol=1e-8)
        assert np.abs(piwae[name] - miwae[name]).max() > 1e-3
    for name in ENCODER:
        np.testing.assert_allclose(piwae[name], miwae[name], rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_underflow_teach_the_encoder_still(dtype):
    """Groups whose best draws are hundreds of nats apart."""
    sharp = {"count": 50, "scale_of_likelihood": 300.0, "dtype": dtype}
    piwae, miwae, iwae = (
        estimates(o, **sharp) for o in (PIWAE(6, groups=6), MIWAE(6, groups=6), IWAE(6))
    )
    for name in ENCODER:
        np.testing.assert_allclose(piwae[name], miwae[name], rtol=1e-3)
    for name in GENERATIVE:
        np.testing.assert_allclose(piwae[name], iwae[name], rtol=1e-3)


def test_the_mean_of_two_bounds_has_the_mean_of_their_gradients():
    ciwae, elbo, iwae = (
        estimates(o, count=50)
        for o in (CIWAE(5, beta=0.3), ELBO(num_samples=5, kl="sampled"), IWAE(5))
    )
    for name, gradient in ciwae.items():
        np.testing.assert_allclose(gradient, 0.3 * elbo[name] + 0.7 * iwae[name], rtol=1e-8)


@pytest.mark.parametrize("order", [0.5, 2.0, -1.0])
def test_the_renyi_bound_of_many_draws_is_log_p_x_less_the_divergence(order):
    """At q = p(z|x) it is log p(x) whatever the order; its estimate is then without noise."""
    values = {n: tf.constant(v[None]) for n, v in exact_posterior(X).items()}
    terms = terms_of(values, Path(), 10, tf.constant(X), [0, 1])
    w, m = values["w"][0], values["m"][0]
    covariance = w @ tf.transpose(w) + NOISE**2 * tf.eye(VALUES, dtype="float64")
    log_p_x = tfd.MultivariateNormalFullCovariance(tf.linalg.matvec(w, m), covariance).log_prob(X)
    np.testing.assert_allclose(Renyi(order, 10).bound(terms, 0), [log_p_x], rtol=1e-8)


def mean_bound(objective):
    values = {n: tf.constant(np.repeat(v[None], 20_000, 0)) for n, v in parameters().items()}
    terms = terms_of(values, Path(), objective.num_samples, tf.constant(X), [4, 5])
    return objective.bound(terms, 0).numpy().mean()


def test_a_renyi_bound_lies_below_log_p_x_for_positive_orders_alone():
    values = parameters()
    covariance = values["w"] @ values["w"].T + NOISE**2 * np.eye(VALUES)
    mean = values["w"] @ values["m"]
    log_p_x = tfd.MultivariateNormalFullCovariance(mean, covariance).log_prob(X).numpy()
    for order in (0.5, 1.0, 3.0):
        assert mean_bound(Renyi(order, 20)) < log_p_x
    assert mean_bound(Renyi(-1, 1)) < log_p_x < mean_bound(Renyi(-1, 50))
