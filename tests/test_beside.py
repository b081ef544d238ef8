"""What goes with x: named, one for each row, and what the model takes."""

import re

import numpy as np
import pytest
import tensorflow as tf
from parts import LIKELIHOODS

from keras_vae.beside import Beside, named, refuse_target
from keras_vae.conditions import Labels, OneHot, Vector
from keras_vae.feed import as_batch
from keras_vae.likelihoods import Bernoulli, NegativeBinomial, Poisson, Table
from keras_vae.networks import mlp

E = (4,)


def plain(condition=None):
    return Beside(Bernoulli(E), condition)


def counting(condition=None):
    return Beside(Poisson(E, size_factor=True), condition)


# Names


def test_what_is_no_dict_is_the_condition():
    assert named(None) == {}
    assert named([1, 2]) == {"condition": [1, 2]}
    assert named({"condition": 1, "size_factor": 2}) == {"condition": 1, "size_factor": 2}
    assert named({"condition": None}) == {}


def test_another_name_is_refused():
    message = (
        r"`batch 3 of x` has names\. Expected: 'condition' and 'size_factor'\. Received: 'label'"
    )
    with pytest.raises(ValueError, match=message):
        named({"condition": 1, "label": 2}, "batch 3 of x")


BATCHES = {
    "x": (7, {"x": 7}),
    "x in a tuple": ((7,), {"x": 7}),
    "x and a condition": ((7, 8), {"x": 7, "condition": 8}),
    "x and a dict": (
        (7, {"size_factor": 8, "condition": 9}),
        {"x": 7, "size_factor": 8, "condition": 9},
    ),
    "weights": ((7, 8, 9), {"x": 7, "condition": 8, "sample_weight": 9}),
    "weights alone": ((7, None, 9), {"x": 7, "sample_weight": 9}),
    "a dict": ({"x": 7, "condition": 8}, {"x": 7, "condition": 8}),
    "a dict with weights": ({"x": 7, "sample_weight": 9}, {"x": 7, "sample_weight": 9}),
    "a dict in a tuple": (({"x": 7, "condition": 8},), {"x": 7, "condition": 8}),
    "a dict and weights": (({"x": 7}, None, 9), {"x": 7, "sample_weight": 9}),
}


@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_is_taken_apart_by_name(batch):
    given, expected = BATCHES[batch]
    assert as_batch(given) == expected


def test_a_batch_that_is_a_dict_has_x_and_known_names():
    with pytest.raises(
        ValueError, match=r"`x` is a dict without x\. Expected: 'x'.*'image'.*Rename"
    ):
        as_batch({"image": 7})
    with pytest.raises(ValueError, match=r"has names.*'condition' and 'size_factor'.*'label'"):
        as_batch({"x": 7, "label": 8})


def test_a_batch_is_not_changed_by_being_taken_apart():
    batch = {"x": 7, "condition": 8}
    as_batch(batch).pop("x")
    assert batch == {"x": 7, "condition": 8}


# One for each row


def test_one_value_stands_for_all_rows():
    vectors, of_classes = plain(Vector(3)), plain(OneHot(3))
    one = np.array([1.0, 2, 3])
    for value in (one, one.tolist(), one[None], tf.constant(one)):
        found = vectors.repeated({"condition": value}, 5)["condition"]
        np.testing.assert_array_equal(found, np.tile(one, (5, 1)))
    for value in (2, [2], np.int64(2), tf.constant(2)):
        found = of_classes.repeated({"condition": value}, 5)["condition"]
        np.testing.assert_array_equal(found, np.full(5, 2))
    for value in (0.5, [0.5]):
        found = counting().repeated({"size_factor": value}, 5)["size_factor"]
        np.testing.assert_array_equal(found, np.full(5, 0.5))


def test_values_for_each_row_stay():
    for beside, value in (
        (plain(Vector(3)), np.arange(15.0).reshape(5, 3)),
        (plain(Vector(3)), np.arange(9.0).reshape(3, 3)),
        (plain(Vector(1)), np.arange(5.0)),
        (plain(OneHot(3)), np.array([0, 1, 2, 0, 1])),
    ):
        found = beside.repeated({"condition": value}, len(value))["condition"]
        np.testing.assert_array_equal(found, value)


def test_without_a_number_of_rows_one_value_is_one_row():
    found = plain(Vector(3)).repeated({"condition": [1.0, 2, 3]}, None)["condition"]
    assert found.shape == (1, 3)
    assert plain(OneHot(3)).repeated({"condition": 2}, None)["condition"].shape == (1,)


def test_values_in_a_graph_pass_through():
    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def checked(c):
        beside = plain(Vector(3))
        return beside(beside.repeated({"condition": c}, None), None)["condition"]

    np.testing.assert_array_equal(checked(np.eye(3)), np.eye(3))


@pytest.mark.parametrize("rows", [0, 4, 6])
@pytest.mark.parametrize(
    ("argument", "name"),
    [("x", "condition"), ("z", "condition"), ("batch 2 of x", "condition of batch 2 of x")],
)
def test_another_number_of_rows_is_refused(rows, argument, name):
    message = f"`{name}` does not go with {argument}. Expected: 5 rows"
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        plain(OneHot(3))({"condition": np.zeros(rows, int)}, 5, argument)
    assert f"Received: shape [{rows}]. Give it one value for each row." in str(error.value)


def test_values_are_given_back_as_arrays():
    found = counting(OneHot(3))({"condition": [0, 2], "size_factor": (1.0, 2.0)}, 2)
    np.testing.assert_array_equal(found["condition"], [0, 2])
    np.testing.assert_array_equal(found["size_factor"], [1.0, 2.0])


# What the model takes


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match=r"conditional.*Expected: condition, a class of 3"):
        plain(OneHot(3))({}, 5)
    with pytest.raises(ValueError, match=r"Poisson takes a size factor.*Expected.*Received: none"):
        counting()({}, 5)
    assert plain(OneHot(3))({}, 5, optional=("condition",)) == {}
    assert counting()({}, 5, optional=("size_factor",)) == {}
    assert plain(Labels(3, mlp([])))({}, 5) == {}


def test_what_has_no_meaning_is_said():
    with pytest.raises(
        ValueError, match=r"A VAE has no target: it models `x` alone.*Expected: y=None"
    ):
        plain()({"condition": np.zeros(5)}, 5)
    for beside in (plain(), Beside(Poisson(E), None), Beside(NegativeBinomial(E), None)):
        with pytest.raises(ValueError, match=r"`size_factor` has no meaning.*size_factor=True"):
            beside({"size_factor": np.ones(5)}, 5)


def test_a_target_is_refused_by_its_kind():
    refuse_target(None)
    with pytest.raises(
        ValueError, match=r"`x` alone\. Expected: y=None\. Received: y of type list"
    ):
        refuse_target([1])


SIZE_FACTORS = {
    "zero": ([1.0, 0.0], "values from 0.0 to 1.0"),
    "negative": ([1.0, -2.0], "values from -2.0 to 1.0"),
    "NaN": ([1.0, np.nan], "values from nan to nan"),
    "infinite": ([1.0, np.inf], "values from 1.0 to inf"),
    "a column": ([[1.0], [2.0]], "shape [2, 1]"),
    "strings": (["a", "b"], "dtype <U1, shape [2]."),
    "objects": ([None, 1.0], "dtype object, shape [2]."),
    "booleans": ([True, True], "dtype bool, shape [2]."),
}


@pytest.mark.parametrize("wrong", SIZE_FACTORS)
def test_a_size_factor_is_a_positive_number_for_each_row(wrong):
    values, said = SIZE_FACTORS[wrong]
    with pytest.raises(ValueError, match=r"^`size_factor` is one finite number > 0") as error:
        counting()({"size_factor": np.array(values)}, 2)
    assert "Expected: shape [B]. Received: " in str(error.value)
    assert said in str(error.value)
    assert str(error.value).endswith("remove rows without counts.")


def test_in_a_graph_the_same_values_are_contained():
    beside = counting(Vector(1))
    good = {"condition": tf.constant([[0.5], [1.0]]), "size_factor": tf.constant([1.0, 2.0])}
    assert bool(tf.function(beside.contains)(good))
    assert bool(beside.contains({**good, "size_factor": tf.constant([1, 2])}))
    for wrong, (values, _) in SIZE_FACTORS.items():
        if wrong in ("zero", "negative", "NaN", "infinite"):
            bad = {**good, "size_factor": tf.constant(values)}
            assert not bool(tf.function(beside.contains)(bad)), wrong
    assert not bool(beside.contains({**good, "condition": tf.constant([[0.5], [np.nan]])}))
    assert bool(beside.contains({}))


def test_a_table_takes_a_size_factor_where_a_column_does():
    table = Table({"cells": Poisson(size_factor=True), "dead": Bernoulli()})
    found = Beside(table, None)({"size_factor": [1.0, 2.0]}, 2)
    np.testing.assert_array_equal(found["size_factor"], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"Table takes a size factor"):
        Beside(table, None)({}, 2)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_no_likelihood_takes_a_size_factor_unless_it_was_asked_to(name):
    with pytest.raises(ValueError, match=r"`size_factor` has no meaning"):
        Beside(LIKELIHOODS[name](), None)({"size_factor": np.ones(3)}, 3)
