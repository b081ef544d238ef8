"""Labels that are partly observed: the model M2 of Kingma et al. 2014, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import keras_vae
from keras_vae.conditions import Labels, OneHot
from keras_vae.likelihoods import Bernoulli, Poisson
from keras_vae.networks import mlp
from keras_vae.objectives import ELBO, IWAE
from keras_vae.posteriors import DiagonalNormal
from keras_vae.priors import ConditionalNormal, StandardNormal

E, C, ROWS = (5,), 3, 10
NAMES = ["loss", "elbo", "log_likelihood", "kl", "accuracy"]
MIXED = np.array([0, -1, 2, -1, -1, 1, 1, -1, 0, 2])
LABELS = {
    "mixed": MIXED,
    "all labelled": np.arange(ROWS) % C,
    "none labelled": np.full(ROWS, -1),
}


def model(condition, objective=ELBO(), likelihood=None, prior=None, seed=0, **parts):  # noqa: B008
    vae = keras_vae.VAE(
        encoder=parts.get("encoder", mlp([6], "tanh")),
        decoder=mlp([6], "tanh"),
        posterior=DiagonalNormal(2),
        prior=prior or StandardNormal(2),
        likelihood=likelihood or Bernoulli(E),
        objective=objective,
        condition=condition,
        seed=seed,
    )
    vae.compile("sgd", run_eagerly=True)
    random = np.random.default_rng(0)
    own = {} if condition is None else {id(w) for w in condition.weights}
    for weight in vae.trainable_weights:
        if id(weight) not in own:  # the same in a model with labels and in one with classes
            weight.assign(0.5 * random.normal(size=weight.shape))
    scale = vae.posterior.projections["scale_diag"]
    scale.kernel.assign(np.zeros(scale.kernel.shape))
    scale.bias.assign([-100.0, -100.0])  # z = loc, whatever is drawn
    return vae


def partly(weight=2.0, **given):
    """The model with labels, its classifier random, too."""
    vae = model(Labels(C, mlp([4], "tanh"), weight=weight, name="labels"), **given)
    random = np.random.default_rng(1)
    for w in vae.condition.trainable_weights:
        w.assign(random.normal(size=w.shape))
    return vae


def bits(rows=ROWS):
    return (np.random.default_rng(1).random((rows, *E)) > 0.5).astype("float32")


def log_q_of(vae, x):
    """log q(c|x), `[B, C]`, from the weights."""
    dense, out = vae.condition.classifier.layers[-1], vae.condition.logits
    features = np.tanh(x @ dense.kernel.numpy() + dense.bias.numpy())
    return special.log_softmax(features @ out.kernel.numpy() + out.bias.numpy(), -1)


def bounds_of(x, **given):
    """L(x, c) for each class, `[B, C]`, of the conditional model with the same weights."""
    conditional = model(OneHot(C), **given)
    each = [conditional.elbo(x, condition=np.full(len(x), c)) for c in range(C)]
    return np.stack(each, 1).astype("float64")


def by_hand(vae, x, y, each):
    """The bound of each row: of log p(x, y) where y is known, else of log p(x)."""
    log_q = log_q_of(vae, x)
    unlabelled = (np.exp(log_q) * (each - np.log(C) - log_q)).sum(1)
    labelled = each[np.arange(len(x)), y] - np.log(C)
    return np.where(y >= 0, labelled, unlabelled)


def cross_entropy(vae, x, y):
    """Of each row, 0 where there is no label."""
    return np.where(y >= 0, -log_q_of(vae, x)[np.arange(len(x)), y], 0)


@pytest.fixture(params=LABELS)
def y(request):
    return LABELS[request.param]


# Values


def test_the_bound_is_that_of_m2(y):
    vae, x = partly(), bits()
    expected = by_hand(vae, x, y, bounds_of(x))
    np.testing.assert_allclose(vae.elbo(x, condition=y), expected, rtol=1e-5)


def test_without_labels_every_row_is_unlabelled():
    vae, x = partly(), bits()
    expected = by_hand(vae, x, LABELS["none labelled"], bounds_of(x))
    np.testing.assert_allclose(vae.elbo(x), expected, rtol=1e-5)
    logs = vae.evaluate(x, verbose=0, return_dict=True)
    assert logs["elbo"] == pytest.approx(expected.mean(), rel=1e-5)
    assert logs["loss"] == pytest.approx(-expected.mean(), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_loss_is_minus_the_bound_plus_the_weighted_cross_entropy(y, weight):
    vae, x = partly(weight), bits()
    bound = by_hand(vae, x, y, bounds_of(x))
    logs = vae.evaluate(x, y, verbose=0, batch_size=4, return_dict=True)
    assert set(logs) == set(NAMES)
    assert logs["elbo"] == pytest.approx(bound.mean(), rel=1e-5)
    loss = -bound + weight * cross_entropy(vae, x, y)
    assert logs["loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert logs["log_likelihood"] - logs["kl"] == pytest.approx(logs["elbo"], rel=1e-5)


def test_the_kl_is_that_of_z_and_of_the_class():
    vae, x = partly(), bits()
    conditional, y = model(OneHot(C)), MIXED
    kl = np.stack(
        [
            conditional.encode(x, np.full(ROWS, c)).kl_divergence(conditional.prior_given())
            for c in range(C)
        ],
        1,
    )
    log_q = log_q_of(vae, x)
    unlabelled = (np.exp(log_q) * (kl + log_q + np.log(C))).sum(1)
    expected = np.where(y >= 0, kl[np.arange(ROWS), y] + np.log(C), unlabelled)
    found = vae.evaluate(x, y, verbose=0, return_dict=True)["kl"]
    assert found == pytest.approx(expected.mean(), rel=1e-5)


def test_weights_of_rows_weigh_the_bound_and_the_cross_entropy():
    vae, x, y = partly(), bits(), MIXED
    weights = np.array([0, 1, 2, 0.5, 3, 1, 0, 2, 1, 1])
    bound = by_hand(vae, x, y, bounds_of(x))
    loss = -bound + 2.0 * cross_entropy(vae, x, y)
    logs = vae.evaluate(x, y, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)
    assert logs["elbo"] == pytest.approx(np.average(bound, weights=weights), rel=1e-5)
    assert logs["loss"] == pytest.approx(np.average(loss, weights=weights), rel=1e-5)
    right = log_q_of(vae, x).argmax(1) == y
    expected = np.average(right, weights=weights * (y >= 0))
    assert logs["accuracy"] == pytest.approx(expected)


def test_the_accuracy_is_that_of_the_classifier_on_the_labelled_rows():
    vae, x = partly(), bits()
    likeliest = log_q_of(vae, x).argmax(1)
    y = np.array([-1, -1, *likeliest[2:7], *((likeliest[7:] + 1) % C)])  # 5 of 8 right
    for batch_size in (3, 10):
        logs = vae.evaluate(x, y, verbose=0, batch_size=batch_size, return_dict=True)
        assert logs["accuracy"] == pytest.approx(5 / 8)
    assert vae.test_on_batch(x, y, return_dict=True)["accuracy"] == pytest.approx(5 / 8)
    history = vae.fit(x, y, epochs=2, verbose=0, validation_data=(x[5:], y[5:])).history
    assert history["accuracy"][0] == pytest.approx(5 / 8)
    assert len(history["val_accuracy"]) == 2


def test_where_no_row_has_a_label_there_is_no_accuracy():
    vae, x = partly(), bits()
    none = LABELS["none labelled"]
    assert np.isnan(vae.evaluate(x, verbose=0, return_dict=True)["accuracy"])
    history = vae.fit(x, none, verbose=0, validation_data=(x, log_q_of(vae, x).argmax(1))).history
    assert np.isnan(history["accuracy"]).all()
    assert np.isfinite(history["val_accuracy"]).all()
    assert np.isfinite(history["loss"]).all()


def test_asking_for_the_bound_does_not_touch_the_accuracy():
    vae, x = partly(), bits()
    wrong = (log_q_of(vae, x).argmax(1) + 1) % C
    vae.test_on_batch(x, log_q_of(vae, x).argmax(1))
    assert float(vae.condition.accuracy.result()) == 1.0
    vae.elbo(x, condition=wrong)
    assert float(vae.condition.accuracy.result()) == 1.0


def test_importance_weights_are_averaged_within_a_class(monkeypatch):
    """`log_weights` of the terms, by class: that of x and c together over q(z, c|x)."""
    vae, x, y = partly(objective=IWAE(num_samples=4)), bits(), MIXED
    noted = {}
    bound = IWAE.bound

    def note(self, terms, step):
        noted["terms"] = terms
        noted["bound"] = bound(self, terms, step)
        return noted["bound"]

    monkeypatch.setattr(IWAE, "bound", note)
    loss = vae.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    log_q = log_q_of(vae, x)
    terms = noted["terms"]
    z = np.asarray(terms.z).reshape(4, ROWS, C, 2)
    conditional = model(OneHot(C))
    weights = np.zeros((4, ROWS, C))
    for c in range(C):
        given = np.full(ROWS, c)
        q = conditional.encode(x, given)
        weights[..., c] = (
            conditional.decode(z[:, :, c], given).log_prob(x)
            + conditional.prior_given().log_prob(z[:, :, c])
            - np.log(C)
            - q.log_prob(z[:, :, c])
        )
    weights -= np.where(y >= 0, 0, log_q.T).T[None]
    each = special.logsumexp(weights, axis=0) - np.log(4)
    # log q(z|x) at a scale of 1e-6 keeps few digits of float32.
    np.testing.assert_allclose(np.asarray(noted["bound"]).reshape(ROWS, C), each, atol=0.5)
    probs = np.where(y[:, None] >= 0, np.eye(C)[y], np.exp(log_q))
    bounds = (probs * np.asarray(noted["bound"]).reshape(ROWS, C)).sum(1)
    assert loss == pytest.approx((-bounds + 2.0 * cross_entropy(vae, x, y)).mean(), rel=1e-4)


@pytest.mark.parametrize("per", ["latent", "dimension", (1, 1)])
def test_groups_of_free_bits_keep_the_cost_of_the_class(per):
    """No free bits are in effect here: the bound is the same however z is divided."""
    plain, x, y = partly(), bits(), MIXED
    expected = plain.evaluate(x, y, verbose=0, return_dict=True)
    vae = partly(objective=ELBO(free_bits=1e-9, free_bits_per=per))
    found = vae.evaluate(x, y, verbose=0, return_dict=True)
    for name in NAMES:
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name


def test_beta_weighs_the_kl_of_the_class_too():
    vae, x, y = partly(weight=0.0, objective=ELBO(beta=2.0)), bits(), MIXED
    logs = vae.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(2 * logs["kl"] - logs["log_likelihood"], rel=1e-5)


def test_a_prior_given_the_class_is_that_of_each_case(y):
    given = {"prior": ConditionalNormal(2)}
    vae, x = partly(**given), bits()
    expected = by_hand(vae, x, y, bounds_of(x, prior=ConditionalNormal(2)))
    np.testing.assert_allclose(vae.elbo(x, condition=y), expected, rtol=1e-5)


def test_a_size_factor_goes_with_each_case():
    x = np.random.default_rng(0).poisson(3, (ROWS, *E)).astype("float32")
    s = np.linspace(0.5, 2, ROWS).astype("float32")
    vae = partly(likelihood=Poisson(E, size_factor=True))
    conditional = model(OneHot(C), likelihood=Poisson(E, size_factor=True))
    each = np.stack(
        [conditional.elbo(x, condition=np.full(ROWS, c), size_factor=s) for c in range(C)], 1
    )
    # The classifier is given log(1 + x), as the encoder is.
    expected = by_hand(vae, np.log1p(x), MIXED, each.astype("float64"))
    np.testing.assert_allclose(vae.elbo(x, condition=MIXED, size_factor=s), expected, rtol=1e-4)


def test_elbo_and_evaluate_and_the_held_out_bound_agree():
    vae, x, y = partly(), bits(), MIXED
    logged = vae.evaluate(x, y, verbose=0, return_dict=True)["elbo"]
    assert float(np.mean(vae.elbo(x, condition=y))) == pytest.approx(logged, rel=1e-5)
    source = keras_vae.data.Source(x, condition=y)
    assert keras_vae.evaluation.elbo(vae, source, memory=1).mean == pytest.approx(logged, rel=1e-5)


def test_the_kl_by_dimension_is_that_of_z_given_the_likeliest_class():
    vae, x, y = partly(), bits(), MIXED
    found = keras_vae.evaluation.kl_per_dimension(vae, keras_vae.data.Source(x, condition=y))
    q = vae.encode(x, np.where(y >= 0, y, log_q_of(vae, x).argmax(1)))
    expected = np.mean(q.kl_divergence(vae.prior_given()))
    assert found.sum() == pytest.approx(expected, rel=1e-5)


# Gradients


def gradients(vae, x, y, of=None):
    """What one step subtracts from the weights of a layer, or of all, at the learning rate 1."""
    vae.optimizer.learning_rate = 1.0
    weights = (of or vae).trainable_weights
    before = [w.numpy() for w in weights]
    vae.train_on_batch(x, y)
    return [b - w.numpy() for b, w in zip(before, weights, strict=True)]


def test_the_gradient_of_the_classifier_is_that_of_the_loss_by_differences(y):
    x, step = bits(), 1e-2
    vae = partly(weight=1.5)
    found = gradients(vae, x, y, vae.condition)
    assert len(found) == 4
    other, each = partly(weight=1.5), bounds_of(x)

    def loss():
        bound = by_hand(other, x, y, each)
        return (-bound + 1.5 * cross_entropy(other, x, y)).mean()

    for gradient, weight in zip(found, other.condition.trainable_weights, strict=True):
        value = weight.numpy()
        numeric = np.zeros(value.shape)
        for index in np.ndindex(*value.shape):
            sides = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * step
                weight.assign(moved)
                sides.append(loss())
            numeric[index] = (sides[0] - sides[1]) / (2 * step)
        weight.assign(value)
        np.testing.assert_allclose(gradient, numeric, atol=2e-3, rtol=1e-2)
        assert np.abs(numeric).max() > 1e-3, weight.path


def test_labelled_rows_alone_do_not_reach_the_classifier_but_through_its_own_loss():
    x, y = bits(), LABELS["all labelled"]
    for weight in (0.0, 1.0):
        vae = partly(weight)
        assert all(g.any() == bool(weight) for g in gradients(vae, x, y, vae.condition))


def test_a_gradient_reaches_every_weight(y):
    vae, x = partly(), bits()
    vae.posterior.projections["scale_diag"].bias.assign([0.0, 0.0])
    moved = gradients(vae, x, y)
    assert len(moved) == len(vae.trainable_weights)
    assert all(np.isfinite(g).all() for g in moved)
    assert all(g.any() for g in moved)


def test_classes_that_are_impossible_do_no_harm():
    """A classifier that is certain: q(c|x) is 0 or 1 to the last digit."""
    vae, x, y = partly(), bits(), MIXED
    vae.condition.logits.bias.assign([1e4, 0.0, -1e4])
    assert np.isfinite(vae.elbo(x, condition=y)).all()
    assert all(np.isfinite(g).all() for g in gradients(vae, x, y))


# Learning, and using what was learned


def blobs(rows=90):
    """Three classes of bits, each with a pattern of its own."""
    random = np.random.default_rng(0)
    c = np.arange(rows) % C
    patterns = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1]])
    flips = random.random((rows, 5)) < 0.05
    return np.abs(patterns[c] - flips).astype("float32"), c


def test_few_labels_are_enough():
    x, c = blobs()
    y = np.where(np.arange(len(x)) < 6, c, -1)
    vae = partly(weight=5.0)
    vae.posterior.projections["scale_diag"].bias.assign([0.0, 0.0])
    vae.compile(keras.optimizers.Adam(0.03), jit_compile=False)
    history = vae.fit(x, y, batch_size=45, epochs=30, verbose=0).history
    assert history["elbo"][-1] > history["elbo"][0] + 0.5
    assert history["accuracy"][-1] > 0.8
    probs = vae.classify(x).probs_parameter().numpy()
    assert (probs.argmax(1) == c).mean() > 0.9
    drawn = vae.sample(30, seed=0, condition=np.arange(30) % C).numpy()
    of_class = np.stack([x[c == k].mean(0) for k in range(C)])
    nearest = ((drawn[:, None] - of_class) ** 2).sum(-1).argmin(1)
    assert (nearest == np.arange(30) % C).mean() > 0.8


def test_classify_is_the_classifier():
    vae, x = partly(), bits()
    q = vae.classify(x)
    assert q.batch_shape == [ROWS]
    np.testing.assert_allclose(q.logits_parameter(), log_q_of(vae, x), rtol=1e-5, atol=1e-6)
    of_source = vae.classify(keras_vae.data.Source(x, condition=MIXED))
    np.testing.assert_array_equal(of_source.logits_parameter(), q.logits_parameter())
    np.testing.assert_array_equal(
        vae.classify(tf.constant(x)).logits_parameter(), q.logits_parameter()
    )


def test_classify_of_counts_needs_no_size_factor():
    vae = partly(likelihood=Poisson(E, size_factor=True))
    np.testing.assert_allclose(
        vae.classify(3 * bits()).logits_parameter(), log_q_of(vae, np.log1p(3 * bits())), rtol=1e-4
    )


@pytest.mark.parametrize("condition", [None, OneHot(3)])
def test_classify_needs_labels(condition):
    with pytest.raises(ValueError, match=r"`classify` needs a classifier.*Expected: .*Labels"):
        model(condition and OneHot(C)).classify(bits())


def test_classify_checks_x():
    with pytest.raises(ValueError, match="support of Bernoulli"):
        partly().classify(bits() + 0.5)


def test_a_label_that_is_not_known_is_the_likeliest_where_one_is_needed():
    vae, x, y = partly(), bits(), MIXED
    inferred = np.where(y >= 0, y, log_q_of(vae, x).argmax(1))
    np.testing.assert_array_equal(vae.encode(x, y).mean(), vae.encode(x, inferred).mean())
    np.testing.assert_array_equal(
        vae.reconstruct(x, condition=y), vae.reconstruct(x, condition=inferred)
    )
    np.testing.assert_allclose(
        vae.predict(x, verbose=0),
        vae.reconstruct(x, condition=log_q_of(vae, x).argmax(1)),
        rtol=1e-5,
    )


def test_decode_needs_a_class():
    vae, z = partly(), np.zeros((4, 2), "float32")
    with pytest.raises(ValueError, match=r"conditional\. Expected: condition, a class of 3"):
        vae.decode(z)
    with pytest.raises(ValueError, match=r"integers from 0 to 2.*Received: -1 at index \[1\]"):
        vae.decode(z, [0, -1, 2, 1])
    with pytest.raises(ValueError, match=r"integers from 0 to 2.*Received: -1 at index"):
        vae.sample(4, condition=-1)


def test_classes_are_drawn_where_a_sample_has_none():
    vae = partly()
    np.testing.assert_array_equal(vae.sample(5, seed=1), vae.sample(5, seed=1))
    assert not np.array_equal(vae.sample(5, seed=1), vae.sample(5, seed=2))
    vae.decoder.layers[-1].kernel.assign(  # x tells the class and nothing of z
        vae.decoder.layers[-1].kernel.numpy() * np.array([0, 0, 1, 1, 1])[:, None]
    )
    drawn = vae.sample(300, seed=0).numpy()
    each = np.concatenate([vae.decode(np.zeros((1, 2)), c).mean().numpy() for c in range(C)])
    of = ((drawn[:, None] - each) ** 2).sum(-1).argmin(1)
    assert np.abs(np.bincount(of, minlength=C) - 100).max() < 4 * np.sqrt(300 * 2 / 9)


# The workflow around it


DATA = {
    "arrays": lambda x, y: (x, y),
    "a source": lambda x, y: (keras_vae.data.Source(x, condition=y),),
    "tf.data": lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)).batch(4),),
    "a generator": lambda x, y: (iter([(x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)]),),
}


def test_every_kind_of_data_gives_the_same_numbers():
    expected = None
    for kind, give in DATA.items():
        vae = partly()
        steps = {"steps_per_epoch": 3} if kind == "a generator" else {}
        found = vae.fit(
            *give(bits(), MIXED), batch_size=4, shuffle=False, verbose=0, **steps
        ).history
        expected = expected or found
        assert set(found) == set(NAMES)
        for name in NAMES:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=kind)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_steps_give_the_numbers_of_eager_ones(jit_compile):
    expected = partly().fit(bits(), MIXED, batch_size=4, epochs=2, verbose=0).history
    vae = partly()
    vae.compile("sgd", jit_compile=jit_compile)
    found = vae.fit(bits(), MIXED, batch_size=4, epochs=2, verbose=0).history
    for name in NAMES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)


def test_it_is_saved_with_its_classifier(tmp_path):
    vae, x, y = partly(), bits(), MIXED
    vae.compile("adam", jit_compile=False)
    vae.fit(x, y, verbose=0)
    vae.save(tmp_path / "vae.keras")
    again = keras.saving.load_model(tmp_path / "vae.keras")
    assert again.condition.weight == 2.0
    np.testing.assert_array_equal(
        again.classify(x).logits_parameter(), vae.classify(x).logits_parameter()
    )
    one = vae.train_on_batch(x, y, return_dict=True)
    other = again.train_on_batch(x, y, return_dict=True)
    assert set(other) == set(NAMES)
    for name in NAMES:
        assert other[name] == pytest.approx(one[name], rel=1e-5), name


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_labels_in_another_precision(policy):
    keras.config.set_dtype_policy(policy)
    vae, x = partly(), bits()
    logs = vae.fit(x, MIXED, verbose=0).history
    assert np.isfinite([logs[name] for name in NAMES]).all()
    assert vae.elbo(x, condition=MIXED).dtype == vae.density_dtype


@pytest.mark.parametrize(
    "objective",
    [
        keras_vae.objectives.BetaTCVAE(beta=2.0, dataset_size=10),
        keras_vae.objectives.DIPVAE(1.0, 1.0),
        keras_vae.objectives.FactorVAE(2.0, mlp([1])),
        keras_vae.objectives.InfoVAE(0.5, 1.0),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_a_bound_that_looks_at_the_batch_as_a_whole_is_refused(objective):
    with pytest.raises(
        ValueError, match=r"`objective` .* compares the z.*Labels a bound of each row"
    ):
        partly(objective=objective)
    model(OneHot(C), objective=objective)


def test_it_says_what_it_assumes():
    stated = partly().assumptions()
    for words in ("a class c of 3", "log p(c) - ", "2 times -log q(c|x)"):
        assert words in stated.condition.replace("\\log", "log")
    assert stated.condition in str(stated)


@pytest.mark.parametrize("rows", [8, 7])
def test_two_devices_have_the_gradient_of_one(two_devices, rows):
    x, y = bits(rows), MIXED[:rows]
    found = []
    for strategy in (tf.distribute.get_strategy(), two_devices):
        with strategy.scope():
            vae = partly()
            vae.compile(keras.optimizers.SGD(1.0), jit_compile=False)
        before = vae.get_weights()
        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(rows)
        logs = vae.fit(data, verbose=0).history
        found.append(([b - a for a, b in zip(vae.get_weights(), before, strict=True)], logs))
    (one, logs), (other, logs_of_two) = found
    assert max(np.abs(g).max() for g in one) > 0.01
    for g, h in zip(one, other, strict=True):
        np.testing.assert_allclose(h, g, rtol=1e-4, atol=1e-5)
    for name in NAMES:
        np.testing.assert_allclose(logs_of_two[name], logs[name], rtol=2e-5, err_msg=name)


def test_labels_train_in_double_precision():
    keras.config.set_dtype_policy("float64")
    try:
        vae = partly()
        logs = vae.train_on_batch(bits().astype("float64"), MIXED, return_dict=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(logs["loss"])
    assert {w.dtype for w in vae.trainable_weights} == {"float64"}


@pytest.mark.parametrize("prior", [StandardNormal, ConditionalNormal])
def test_the_kl_of_a_dimension_is_known_where_the_class_is_not(prior):
    vae = partly(prior=prior(2))
    source = keras_vae.data.Source(bits(), condition=MIXED)
    one = keras_vae.evaluation.kl_per_dimension(vae, source)
    assert one.shape == (2,)
    np.testing.assert_array_equal(one, keras_vae.evaluation.kl_per_dimension(vae, source))
