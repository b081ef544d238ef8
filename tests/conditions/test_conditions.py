"""A condition is a layer from what the user gives beside x to a vector for the networks."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import round_trip

from keras_vae.conditions import Labels, OneHot, Vector
from keras_vae.conditions.condition import Cases, Given, join
from keras_vae.networks import mlp

CONDITIONS = {
    "Vector": lambda size=3, **k: Vector(size, **k),
    "OneHot": lambda size=3, **k: OneHot(size, **k),
    "Labels": lambda size=3, **k: Labels(size, mlp([4]), **k),
}
VALUES = {
    "Vector": np.array([[0.5, -1, 2], [0, 0, 1]]),
    "OneHot": np.array([2, 0]),
    "Labels": np.array([-1, 1]),
}
EXPECTED = {
    "Vector": VALUES["Vector"],
    "OneHot": [[0, 0, 1], [1, 0, 0]],
    "Labels": [[0, 0, 0], [0, 1, 0]],
}


@pytest.fixture(params=CONDITIONS)
def name(request):
    return request.param


def test_what_the_networks_are_given(name):
    found = CONDITIONS[name]()(VALUES[name])
    np.testing.assert_array_equal(found, EXPECTED[name])


@pytest.mark.parametrize(("policy", "dtype"), [("mixed_float16", "float32"), ("float64",) * 2])
def test_it_is_not_of_half_precision(name, policy, dtype):
    keras.config.set_dtype_policy(policy)
    condition = CONDITIONS[name]()
    assert condition.density_dtype == dtype
    assert keras.ops.cast(condition(VALUES[name]), dtype).dtype == dtype


def test_its_size_is_a_positive_integer(name):
    for size in (0, -1, 2.0, "3", True, None):
        with pytest.raises(ValueError, match=re.escape(f"size={size!r}")) as error:
            CONDITIONS[name](size)
        assert f"`size` of {name} is" in str(error.value)


def test_it_is_the_same_after_being_saved(name):
    condition = CONDITIONS[name](name="mine")
    again = round_trip(condition)
    assert type(again) is type(condition)
    assert again.get_config() == condition.get_config()
    assert (again.size, again.name) == (3, "mine")


def test_values_of_the_condition_are_taken_in_a_graph_as_out_of_it(name):
    condition, values = CONDITIONS[name](), VALUES[name]
    condition.check(values)
    assert bool(condition.contains(tf.constant(values)))
    assert bool(tf.function(condition.contains)(tf.constant(values)))


def test_it_says_what_it_is_and_how_to_pass_it(name):
    condition = CONDITIONS[name]()
    assert "3" in condition.describe()
    assert condition.describe() in condition.missing()
    assert "fit(x, condition)" in condition.missing()


# What is refused: the argument, what was expected, what was received, what to do.

WRONG = {
    "strings for a vector": (
        "Vector",
        np.array([["a", "b", "c"]]),
        r"is not numeric\. Expected: .*\[B, 3\]\. Received: dtype <U1\. .*OneHot",
    ),
    "objects for a vector": (
        "Vector",
        np.array([[None, 1, 2]]),
        r"not numeric\. Expected: .* Received: dtype object\. ",
    ),
    "a vector too long": (
        "Vector",
        np.zeros((2, 4)),
        r"wrong shape\. Expected: \[B, 3\]\. Received: \[2, 4\]\. For integers.*OneHot",
    ),
    "classes for a vector": (
        "Vector",
        np.arange(5),
        r"wrong shape\. Expected: \[B, 3\]\. Received: \[5\]\. For integers.*OneHot",
    ),
    "NaN in a vector": (
        "Vector",
        np.array([[0, 1, 2], [0, np.nan, 2]]),
        r"not finite\. Expected: real numbers\. Received: nan at index \[1, 1\]\. Remove or impute",
    ),
    "infinity in a vector": (
        "Vector",
        np.array([[0, 1, -np.inf]]),
        r"Received: -inf at index \[0, 2\]\. Remove or impute",
    ),
    "a class too high": (
        "OneHot",
        np.array([0, 3, 1]),
        r"a class that there is not\. Expected: integers from 0 to 2 .*Received: 3 at index \[1\]\.",
    ),
    "classes from 1": ("OneHot", np.array([1, 2, 3]), r"Received: 3 .*count from 0: subtract 1"),
    "a class below 0": (
        "OneHot",
        np.array([0, -1]),
        r"Expected: integers from 0 to 2.*Received: -1 at index \[1\]\. .*conditions\.Labels",
    ),
    "no class at all": (
        "OneHot",
        np.array([0, np.nan]),
        r"Expected: integers from 0.*Received: nan at index \[1\]\. Remove .*conditions\.Labels",
    ),
    "between two classes": ("OneHot", np.array([0.5]), r"Received: 0\.5 at index \[0\]\. Count"),
    "names of classes": (
        "OneHot",
        np.array(["cat", "dog"]),
        r"names classes\. Expected: integers.*Received: dtype <U3, shape \[2\]\. .*np\.unique",
    ),
    "one-hot already": (
        "OneHot",
        np.eye(3),
        r"one-hot already\. Expected: integers .*\[B\].*Received: shape \[3, 3\]\. .*argmax.*Vector",
    ),
    "a column of classes": (
        "OneHot",
        np.array([[0], [1]]),
        r"Expected: integers .*\[B\].*shape \[2, 1\]\. ",
    ),
    "a label too high": ("Labels", np.array([3]), r"integers from -1 to 2.*Received: 3 at index"),
    "a label too low": ("Labels", np.array([-2]), r"integers from -1 to 2.*Received: -2 at index"),
    "a label of NaN": (
        "Labels",
        np.array([1, np.nan]),
        r"integers from -1 to 2.*Received: nan at index \[1\]\. Write -1",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_values_are_refused_with_a_remedy(wrong):
    name, values, message = WRONG[wrong]
    condition = CONDITIONS[name]()
    with pytest.raises(ValueError, match=rf"(?s)^`condition` .*{message}"):
        condition.check(values)


VALUES_WRONG = [w for w in WRONG if re.search("NaN|infinity|class|between", w)]
SHAPES_WRONG = ("classes for a vector", "names of classes", "a column of classes")


@pytest.mark.parametrize("wrong", [w for w in VALUES_WRONG if w not in SHAPES_WRONG])
def test_what_is_refused_is_not_contained_in_a_graph_either(wrong):
    name, values, _ = WRONG[wrong]
    condition = CONDITIONS[name]()
    assert not bool(tf.function(condition.contains)(tf.constant(values)))


def test_a_vector_of_one_number_needs_no_axis():
    one = Vector(1)
    one.check(np.array([0.5, 2.0]))
    np.testing.assert_array_equal(one(np.array([0.5, 2.0])), [[0.5], [2.0]])


def test_classes_may_be_of_any_numeric_type():
    for dtype in ("int8", "uint8", "int64", "float32", bool):
        values = np.array([1, 0], dtype)
        OneHot(2).check(values)
        np.testing.assert_array_equal(OneHot(2)(values), [[0, 1], [1, 0]])


# Labels


@pytest.mark.parametrize("weight", [-1, np.nan, np.inf, "1", True, None])
def test_the_weight_of_labels_is_a_number_from_zero(weight):
    with pytest.raises(ValueError, match="`weight` of Labels") as error:
        Labels(3, mlp([4]), weight=weight)
    assert f"Received: {weight!r}." in str(error.value)


@pytest.mark.parametrize("classifier", [None, "mlp", keras.layers.Dense])
def test_the_classifier_of_labels_is_a_network(classifier):
    with pytest.raises(TypeError, match=r"`classifier` of Labels.*Expected.*mlp.*Received"):
        Labels(3, classifier)


@pytest.mark.parametrize("shape", [(5,), (4, 4, 2)])
def test_the_classifier_is_a_softmax_of_its_features(shape):
    labels = Labels(3, mlp([4], "tanh"))
    labels.build((None, *shape))
    random = np.random.default_rng(0)
    labels.logits.bias.assign(random.normal(size=3))
    x = random.normal(size=(6, *shape)).astype("float32")
    dense = labels.classifier.layers[-1]
    features = np.tanh(x.reshape(6, -1) @ dense.kernel.numpy() + dense.bias.numpy())
    logits = features @ labels.logits.kernel.numpy() + labels.logits.bias.numpy()
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(labels.log_probs(x)), probs, rtol=1e-5)


def test_a_classifier_may_give_features_of_any_shape():
    labels = Labels(3, keras.layers.Conv2D(2, 3))
    labels.build((None, 4, 4, 1))
    assert labels.log_probs(np.zeros((5, 4, 4, 1), "float32")).shape == (5, 3)


def test_what_is_known_stays_and_the_rest_is_the_likeliest_class():
    labels = Labels(3, mlp([]))
    labels.build((None, 2))
    x = np.random.default_rng(0).normal(size=(6, 2)).astype("float32")
    likeliest = np.argmax(labels.log_probs(x), 1)
    np.testing.assert_array_equal(labels.inferred(None, x), likeliest)
    known = np.array([0, -1, 2, -1, 1, -1])
    expected = np.where(known >= 0, known, likeliest)
    np.testing.assert_array_equal(labels.inferred(known, x), expected)


def test_classes_are_drawn_alike():
    drawn = Labels(4, mlp([])).drawn(4000, tf.constant([1, 2])).numpy()
    counts = np.bincount(drawn)
    assert counts.size == 4
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(4000 * 0.25 * 0.75)


# Where it goes


@pytest.mark.parametrize("shape", [(2,), (4, 2), (3, 4, 2)])
def test_it_is_joined_to_the_last_axis_at_every_position(shape):
    random = np.random.default_rng(0)
    x, c = random.normal(size=(5, *shape)), random.normal(size=(5, 3))
    everywhere = np.broadcast_to(c.reshape(5, *(1,) * (len(shape) - 1), 3), (5, *shape[:-1], 3))
    found = join(tf.constant(x), tf.constant(c))
    np.testing.assert_array_equal(found, np.concatenate([x, everywhere], -1))
    assert join(x, None) is x


def test_it_is_joined_where_the_batch_is_not_known():
    @tf.function(input_signature=[tf.TensorSpec((None, 4, 2)), tf.TensorSpec((None, 3))])
    def joined(x, c):
        made = join(x, c)
        assert made.shape.as_list() == [None, 4, 5]
        return made

    assert joined(tf.zeros((2, 4, 2)), tf.zeros((2, 3))).shape == (2, 4, 5)


def test_cases_are_folded_by_their_weights():
    weights = tf.constant([0.5, 1.5, 2.0, 0.0])
    cases = Cases(tf.zeros((4, 1)), Given(), weights, copies=2)
    np.testing.assert_allclose(cases.folded(tf.constant([1.0, 3.0, 5.0, 7.0])), [2.5, 5.0])
