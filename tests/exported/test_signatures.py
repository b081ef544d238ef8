"""A served model is the Python model: every row as if it were alone, with its own seed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from combinations import SLOTS, covering
from parts import beside_for, data_for, make_vae
from scipy import special

import keras_vae
from keras_vae import conditions, likelihoods, networks, posteriors, priors
from keras_vae.exported import signatures
from keras_vae.exported.signatures import INPUTS, Signatures

K = 4
SEEDS = np.array([0, 5, 2**40 + 3, -7], "int64")
ROWS = len(SEEDS)


def covering_families():
    """Few legal combinations in which every posterior, prior and likelihood occurs."""
    missing = {(slot, name) for slot, parts in enumerate(SLOTS[:3]) for name in parts}
    legal, chosen = list(covering()), []
    while missing:
        chosen.append(max(legal, key=lambda names: len(set(enumerate(names[:3])) & missing)))
        missing -= set(enumerate(chosen[-1][:3]))
    return chosen


def saved(vae, folder, names=tuple(INPUTS), **given):
    """The signatures, as a process that knows nothing of the model would call them."""
    served = Signatures(vae, K, **given)
    archive = keras.export.ExportArchive()
    for name in names:
        specs = [tf.TensorSpec(s.shape, s.dtype, k) for k, s in served.inputs(name).items()]
        archive.add_endpoint(name, served.function(name), specs)
    archive.write_out(str(folder), verbose=False)
    model = tf.saved_model.load(str(folder))

    def call(name, **inputs):
        wanted = served.inputs(name)
        tensors = {k: tf.constant(inputs[k], spec.dtype) for k, spec in wanted.items()}
        return {k: v.numpy() for k, v in model.signatures[name](**tensors).items()}

    return call


def halves(seed):
    """The stateless seed that stands for an integer."""
    return np.array([seed], "int64").view("int32")


def check_equal(found, expected, what):
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5, err_msg=what)


def check_rows(call, vae, x, **beside):
    """Compares each signature with the Python model's methods, row by row."""
    decoding = beside
    encoding = {k: v for k, v in beside.items() if k == "condition"}
    q = vae.encode(x, **encoding)
    encoded = call("encode", x=x, **beside)
    check_equal(encoded["mean"], vae.posterior.centre(q), "mean of q")
    z = call("encode_sample", x=x, seed=SEEDS, **beside)["z"]
    decoded = call("decode", z=z, **beside)
    drawn = call("decode_sample", z=z, seed=SEEDS, **beside)["x"]
    generated = call("generate", seed=SEEDS, **beside)
    scored = call("score", x=x, seed=SEEDS, **beside)
    p = vae.decode(z, **decoding)
    check_equal(decoded["mean"], vae.likelihood.centre(p), "mean of p")
    centres = vae._centre(*vae_given(vae, x, beside))
    check_equal(call("reconstruct", x=x, **beside)["mean"], centres, "reconstruction")
    for row, seed in enumerate(map(int, SEEDS)):
        alone = {k: v[row : row + 1] for k, v in beside.items()}
        q = vae.encode(x[row : row + 1], **{k: alone[k] for k in encoding})
        check_equal(z[[row]], q.sample(seed=halves(seed)), "draw of z")
        p = vae.decode(z[row : row + 1], **alone)
        check_equal(drawn[[row]], p.sample(seed=halves(seed)), "draw of x")
        for key, draw in (("mean", False), ("x", True)):
            expected = as_rows(vae, vae.sample(1, draw=draw, seed=seed, **alone))
            check_equal(generated[key][[row]], expected, f"generated {key}")
        elbo = vae.elbo(x[row : row + 1], K, seed=seed, **alone)
        check_equal(scored["elbo"][[row]], elbo, "elbo")
    return scored


def vae_given(vae, x, beside):
    x, given = vae._checked(x, **beside)
    return x, vae._known(x, given)


def as_rows(vae, x):
    return vae.likelihood.as_source(x).array()


@pytest.mark.parametrize("names", covering_families(), ids="-".join)
def test_a_served_row_is_the_models_row_alone(names, tmp_path):
    parts = (slot[name] for slot, name in zip(SLOTS, names, strict=True))
    vae = make_vae(*parts)
    x = data_for(vae.likelihood, ROWS)
    call = saved(vae, tmp_path)
    check_rows(call, vae, x, **beside_for(vae, ROWS))


def test_the_log_likelihood_is_the_importance_weighted_one(tmp_path):
    vae = make_vae()
    x = data_for(vae.likelihood, ROWS)
    scored = saved(vae, tmp_path, ["score"])("score", x=x, seed=SEEDS)
    q, p = vae.latents(x)
    kl = q.kl_divergence(p).numpy()
    np.testing.assert_allclose(scored["kl"], kl, rtol=1e-5)
    for row, seed in enumerate(SEEDS):
        q = vae.encode(x[row : row + 1])
        z = q.sample(K, seed=halves(seed))
        likelihoods = vae.decode(z).log_prob(x[row])
        log_weights = likelihoods + vae.prior_given().log_prob(z) - q.log_prob(z)
        expected = special.logsumexp(log_weights, axis=0) - np.log(K)
        np.testing.assert_allclose(scored["log_likelihood"][row], expected[0], rtol=1e-5)
        elbo = np.mean(likelihoods) - kl[row]
        np.testing.assert_allclose(scored["elbo"][row], elbo, rtol=1e-5)


@pytest.mark.parametrize("labels", [False, True])
def test_scores_do_not_depend_on_how_a_request_is_divided(tmp_path, monkeypatch, labels):
    vae = bernoulli(condition=CONDITIONS["Labels"][0]() if labels else None)
    beside = {"condition": [0, -1, 2] * 5} if labels else {}
    x, seeds = np.resize(bits(11), (15, 6)), np.arange(15)
    whole = saved(vae, tmp_path / "whole", ["score"])("score", x=x, seed=seeds, **beside)
    calls = 3 if labels else 1
    monkeypatch.setattr(signatures, "VALUES_AT_ONCE", K * calls * (6 + 6) * 4)
    assert Signatures(vae, K)._rows_at_once() == 4
    divided = saved(vae, tmp_path / "divided", ["score"])("score", x=x, seed=seeds, **beside)
    for name, value in whole.items():
        assert value.shape == (15,)
        np.testing.assert_allclose(divided[name], value, rtol=1e-5, err_msg=name)


def test_a_row_that_is_too_much_by_itself_is_scored_all_the_same(monkeypatch):
    monkeypatch.setattr(signatures, "VALUES_AT_ONCE", 1)
    vae = bernoulli()
    found = Signatures(vae, K).function("score")(tf.constant(bits(2)), tf.constant([0, 1], "int64"))
    expected = vae.elbo(bits(1), K, seed=0)
    np.testing.assert_allclose(found["elbo"][:1], expected, rtol=1e-5)


def test_equal_requests_have_equal_answers_and_other_seeds_other_draws(tmp_path):
    vae = make_vae()
    call = saved(vae, tmp_path, ["encode_sample", "generate", "score"])
    x = np.repeat(data_for(vae.likelihood, 1), 3, axis=0)
    for name, output in (("encode_sample", "z"), ("generate", "z"), ("score", "elbo")):
        given = {"x": x, "seed": [1, 1, 2]}
        first, second = call(name, **given)[output], call(name, **given)[output]
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first[0], first[1])
        assert np.all(first[0] != first[2])


def test_the_rows_of_a_request_are_independent(tmp_path):
    call = saved(make_vae(), tmp_path, ["generate"])
    z = call("generate", seed=np.arange(2000))["z"]
    np.testing.assert_allclose(z.mean(0), 0, atol=4 / np.sqrt(2000))
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.15)
    following = np.corrcoef(z[:-1, 0], z[1:, 0])[0, 1]
    assert abs(following) < 4 / np.sqrt(2000)


def bernoulli(**given):
    return keras_vae.VAE(
        encoder=networks.mlp([8]),
        decoder=networks.mlp([8]),
        posterior=posteriors.DiagonalNormal(2),
        prior=given.pop("prior", priors.StandardNormal(2)),
        likelihood=likelihoods.Bernoulli((6,)),
        **given,
    )


def bits(rows=ROWS):
    return (np.random.default_rng(0).random((rows, 6)) > 0.5).astype("float32")


CONDITIONS = {
    "Vector": (lambda: conditions.Vector(2), np.linspace(-1, 1, 8, dtype="float32").reshape(4, 2)),
    "OneHot": (lambda: conditions.OneHot(3), np.array([0, 2, 1, 2])),
    "Labels": (lambda: conditions.Labels(3, networks.mlp([5])), np.array([0, 2, 1, 2])),
}


@pytest.mark.parametrize("prior", [priors.StandardNormal, priors.ConditionalNormal])
@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_conditional_model_takes_its_condition(kind, prior, tmp_path):
    condition, values = CONDITIONS[kind]
    vae = bernoulli(condition=condition(), prior=prior(2))
    check_rows(saved(vae, tmp_path), vae, bits(), condition=values)


def test_a_label_that_is_not_known_is_summed_over(tmp_path):
    vae = bernoulli(condition=CONDITIONS["Labels"][0]())
    call = saved(vae, tmp_path, ["score", "encode"])
    x = bits(1)
    joint = call("score", x=np.repeat(x, 3, 0), seed=[4, 4, 4], condition=[0, 1, 2])
    log_q = vae.classify(x).logits.numpy()[0]
    unknown = call("score", x=x, seed=[4], condition=[-1])
    # L(x, c) + log p(c) of a known class is the joint score; sum_c p(x, c) = p(x).
    expected = np.sum(np.exp(log_q) * (joint["elbo"] - log_q))
    np.testing.assert_allclose(unknown["elbo"][0], expected, rtol=1e-4)
    np.testing.assert_allclose(
        unknown["log_likelihood"][0], special.logsumexp(joint["log_likelihood"]), rtol=1e-4
    )
    guessed = call("encode", x=x, condition=[-1])["mean"]
    known = call("encode", x=x, condition=[int(log_q.argmax())])["mean"]
    np.testing.assert_allclose(guessed, known, rtol=1e-5)


def test_a_class_that_the_classifier_rules_out_counts_all_the_same(tmp_path):
    """q(c|x) below the smallest float cancels: sum_c p(x, c) does not depend on it."""
    vae = bernoulli(condition=CONDITIONS["Labels"][0]())
    vae.condition.logits.kernel.assign(tf.zeros_like(vae.condition.logits.kernel))
    vae.condition.logits.bias.assign([-200.0, 200.0, 0.0])
    call = saved(vae, tmp_path, ["score"])
    x = bits(1)
    joint = call("score", x=np.repeat(x, 3, 0), seed=[4, 4, 4], condition=[0, 1, 2])
    found = call("score", x=x, seed=[4], condition=[-1])["log_likelihood"]
    np.testing.assert_allclose(found[0], special.logsumexp(joint["log_likelihood"]), rtol=1e-4)


def test_a_prior_fitted_after_training_is_what_is_drawn_from(tmp_path):
    vae = bernoulli()
    vae.fit_prior(bits(200), num_components=2, seed=0)
    check_rows(saved(vae, tmp_path), vae, bits())


def test_bytes_are_divided_in_the_graph(tmp_path):
    vae = make_vae(likelihood=lambda: likelihoods.Normal((4, 4, 1), scale=0.5))
    grey = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 4, 1), "uint8")
    call = saved(vae, tmp_path, ["encode"], divisor=255.0)
    check_equal(
        call("encode", x=grey)["mean"], vae.encode(grey.astype("float32") / 255).mean(), "mean"
    )


REFUSED = {
    "grey in a Bernoulli": ("encode", {"x": np.full((1, 6), 0.5)}, "`x` is outside the support"),
    "NaN": ("score", {"x": np.full((1, 6), np.nan), "seed": [0]}, "`x` is outside the support"),
    "NaN in z": ("decode", {"z": [[0.0, np.nan]]}, "`z` is not finite"),
    "more seeds than rows": ("encode_sample", {"x": bits(2), "seed": [1, 2, 3]}, "number of rows"),
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A small model of bits, for the tests of what is asked of it."""
    return saved(bernoulli(), tmp_path_factory.mktemp("asked"))


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_density_is_refused_by_the_graph(case, asked):
    name, inputs, message = REFUSED[case]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        asked(name, **inputs)
    assert np.isfinite(asked("encode", x=bits())["mean"]).all()


def test_a_class_that_there_is_not_is_refused_by_the_graph(tmp_path):
    call = saved(bernoulli(condition=CONDITIONS["Labels"][0]()), tmp_path, ["decode"])
    for value in (3, -2, -1):
        with pytest.raises(tf.errors.InvalidArgumentError, match="`condition` is not what"):
            call("decode", z=np.zeros((1, 2)), condition=[value])


def test_a_batch_may_be_empty(asked):
    assert asked("encode_sample", x=bits(0), seed=np.zeros(0))["z"].shape == (0, 2)
    assert asked("score", x=bits(0), seed=np.zeros(0))["elbo"].shape == (0,)
