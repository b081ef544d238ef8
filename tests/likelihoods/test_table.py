"""p(x|z) of tables, whose columns are of different kinds."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from parts import (
    LIKELIHOODS,
    assert_close_to_mean,
    assert_finite,
    built,
    data_for,
    density,
    features,
    make_vae,
    round_trip,
    table,
)
from scipy import special

from keras_vae import evaluation
from keras_vae.data import Source
from keras_vae.likelihoods import (
    Beta,
    Missing,
    Multinomial,
    NegativeBinomial,
    Normal,
    Poisson,
    Table,
)

NAMES = ("age", "visits", "plan", "member")
N = 24


def columns(n=N):
    """A dict of columns, in another order than the table's."""
    rows = data_for(table(), n)
    kinds = ("float64", "int64", "int32", "bool")
    made = {
        k: rows[:, i].astype(kind) for i, (k, kind) in enumerate(zip(NAMES, kinds, strict=True))
    }
    return dict(reversed(made.items()))


class Frame:
    """What a pandas DataFrame has in common with a dict: `keys()` and `[]`."""

    def __init__(self, **columns):
        self.columns = columns

    def keys(self):
        return list(self.columns)

    def __getitem__(self, name):
        return self.columns[name]


class Codes:
    """What a pandas categorical has: a dtype of that name, codes, and its values as an array."""

    dtype = "category"

    def __init__(self, codes, categories=("a", "b", "c")):
        self.codes = np.asarray(codes, "int8")
        self.categories = categories

    def __array__(self, dtype=None, copy=None):
        return np.array(["a", "b", "c", None], object)[self.codes]


class Series:
    """A pandas column of categories: its codes are behind `cat`."""

    dtype = "category"

    def __init__(self, codes):
        self.cat = Codes(codes)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.cat)


def head_and_parameters(batch=5):
    head = built(table())
    return head, head(features(batch))


def own(parameters, column):
    """A column's parameters under their own names."""
    return {k.split("/")[-1]: v for k, v in parameters.items() if k.startswith(f"{column}/")}


# The distribution


def test_a_table_has_the_parameters_of_its_columns():
    head, parameters = head_and_parameters()
    assert {name: tuple(value.shape) for name, value in parameters.items()} == {
        "age/loc": (5, 1),
        "age/scale": (5, 1),
        "visits/rate": (5, 1),
        "visits/inverse_dispersion": (5, 1),
        "plan/logits": (5, 1, 3),
        "member/logits": (5, 1),
    }
    assert set(head.statement().parameters) == set(parameters)
    assert set(head.projected()) | set(head.shared()) == set(parameters)
    assert head.event_shape == (4,)


def test_the_log_density_of_a_table_is_the_sum_of_scipys_of_its_columns():
    head, parameters = head_and_parameters()
    x = data_for(head, 5)
    expected = [
        density(part, own(parameters, name), x[:, i : i + 1])
        for i, (name, part) in enumerate(zip(NAMES, head.heads, strict=True))
    ]
    np.testing.assert_allclose(head.distribution(parameters).log_prob(x), sum(expected), rtol=1e-5)
    stacked = {name: tf.stack([value] * 3) for name, value in parameters.items()}
    p = head.distribution(stacked)
    assert (p.batch_shape, p.event_shape, p.dtype) == ((3, 5), (4,), tf.float32)
    np.testing.assert_allclose(p.log_prob(x), [sum(expected)] * 3, rtol=1e-5)


def test_draws_of_a_table_have_the_mean_and_the_variance_of_its_columns():
    head, parameters = head_and_parameters(1)
    p = head.distribution(parameters)
    draws = p.sample(5_000, seed=0).numpy()[:, 0]
    assert bool(head.contains(draws))
    loc, scale, mean, inverse_dispersion, logit = (
        float(np.squeeze(parameters[name]))
        for name in (
            "age/loc",
            "age/scale",
            "visits/rate",
            "visits/inverse_dispersion",
            "member/logits",
        )
    )
    share = 1 / (1 + np.exp(-logit))
    means = np.array([loc, mean, share])
    variances = np.array([scale**2, mean + mean**2 / inverse_dispersion, share * (1 - share)])
    numbers = draws[:, [0, 1, 3]]  # the mean of categories is none
    assert_close_to_mean(numbers, means, errors=5)
    assert_close_to_mean((numbers - means) ** 2, variances, errors=5)
    frequency = (draws[:, 2:3] == np.arange(3)).astype("float64")
    assert_close_to_mean(
        frequency, special.softmax(np.squeeze(parameters["plan/logits"])), errors=5
    )
    for i, j in ((0, 1), (1, 3), (0, 3)):
        centred = draws - draws.mean(0)
        assert_close_to_mean(centred[:, i] * centred[:, j], np.zeros(()), errors=5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_table_is_the_same_however_it_is_compiled(jit_compile):
    head = built(table())
    x = data_for(head, 3)

    def terms(x):
        p = head.distribution(head(features()))
        return p.log_prob(x), head.encoder_input(x), head.contains(x), p.sample(2, seed=(1, 2))

    compiled = tf.function(terms, jit_compile=jit_compile)(tf.constant(x))
    for value, eager in zip(compiled[:3], terms(x)[:3], strict=True):
        np.testing.assert_allclose(value, eager, rtol=1e-5)
    assert bool(head.contains(compiled[3][0]))


def test_a_column_has_its_own_centre_average_and_encoder_input():
    head, parameters = head_and_parameters()
    centre = head.centre(head.distribution(parameters)).numpy()
    np.testing.assert_array_equal(centre[:, 2], np.argmax(parameters["plan/logits"], -1)[:, 0])
    np.testing.assert_allclose(centre[:, 3], tf.sigmoid(parameters["member/logits"])[:, 0])
    np.testing.assert_array_equal(centre[:, 0], parameters["age/loc"][:, 0])
    stacked = {k: tf.stack([v, tf.roll(v, 1, 0)]) for k, v in parameters.items()}
    weights = np.tile([[0.25], [0.75]], 5).astype("float32")
    average = head.average(head.distribution(stacked), tf.constant(weights)).numpy()
    age = parameters["age/loc"].numpy()[:, 0]
    np.testing.assert_allclose(average[:, 0], 0.25 * age + 0.75 * np.roll(age, 1), rtol=1e-5)
    probs = tf.nn.softmax(parameters["plan/logits"]).numpy()[:, 0]
    np.testing.assert_array_equal(
        average[:, 2], (0.25 * probs + 0.75 * np.roll(probs, 1, 0)).argmax(-1)
    )
    inputs = head.encoder_input(tf.constant([[1.5, 3.0, 2.0, 1.0]])).numpy()
    np.testing.assert_allclose(inputs, [[1.5, np.log(4), 0, 0, 1, 1]], rtol=1e-6)


def test_a_size_factor_is_for_the_columns_that_take_one():
    head = Table({"a": NegativeBinomial(size_factor=True), "b": NegativeBinomial(), "c": Normal()})
    assert head.takes_size_factor
    assert not table().takes_size_factor
    parameters = built(head)(features(2))
    observed = head.observed(parameters, tf.constant([2.0, 3.0]))
    np.testing.assert_allclose(observed["a/rate"] / parameters["a/rate"], [[2], [3]], rtol=1e-6)
    np.testing.assert_array_equal(observed["b/rate"], parameters["b/rate"])


def test_a_scale_that_is_optimal_is_so_for_its_own_column():
    vae = make_vae(likelihood=lambda: Table({"a": Normal(scale="optimal"), "b": Normal()}))
    vae.compile(optimizer="sgd")
    x = np.random.default_rng(0).normal(size=(50, 2)) * [10.0, 1.0]
    vae.train_on_batch(x)
    assert vae.likelihood.heads[0].one_scale() == pytest.approx(10, rel=0.3)


def test_a_table_starts_from_the_moments_of_each_column():
    head = built(table())
    assert not head.untrained
    fresh = table()
    fresh.build((None, 5))
    assert fresh.untrained
    mean, variance = tf.constant([2.0, 3.0, 1.0, 0.3]), tf.constant([4.0, 9.0, 0.5, 0.21])
    fresh.start_from(mean, variance)
    assert not fresh.untrained
    parameters = fresh(np.zeros((1, 5), "float32"))
    for name, value in head.independent(mean, variance).items():
        np.testing.assert_allclose(
            parameters[name], np.broadcast_to(value, parameters[name].shape), rtol=1e-4
        )
    assert parameters["age/loc"].numpy().item() == pytest.approx(2)
    assert parameters["age/scale"].numpy().item() == pytest.approx(2, rel=1e-4)
    with pytest.raises(NotImplementedError):
        head.noise_variance(mean, variance)


def test_a_size_factor_divides_the_counts_where_training_starts_and_nothing_else():
    fresh = Missing(Table({"reads": Poisson(size_factor=True), "age": Normal(scale="shared")}))
    fresh.build((None, 5))
    fresh.start_from(tf.constant([40.0, 30.0]), tf.constant([40.0, 9.0]), size_factor=10.0)
    parameters = fresh(np.zeros((1, 5), "float32"))
    assert parameters["reads/rate"].numpy().item() == pytest.approx(4)
    assert parameters["age/loc"].numpy().item() == pytest.approx(30)
    assert parameters["age/scale"].numpy().item() == pytest.approx(3, rel=1e-4)


@pytest.mark.parametrize("name", ["a/b", "age/loc", "class_name", "", "Größe, m²", "a.b:0"])
def test_a_column_may_have_any_name(name):
    head = Table({"a": Normal(scale="shared"), name: Normal(), "config": Poisson()})
    assert round_trip(head).names == ["a", name, "config"]
    parameters = built(head)(features(2))
    assert head.distribution(parameters).event_shape == (3,)
    assert len({weight.path for weight in head.weights}) == len(head.weights)


def test_a_loaded_table_is_the_saved_one():
    head = built(table(name="p"))
    loaded = built(round_trip(head))
    assert json.dumps(loaded.get_config()) == json.dumps(head.get_config())
    assert keras.saving.get_registered_name(Table) == "keras_vae>Table"
    loaded.set_weights(head.get_weights())
    for name, value in head(features()).items():
        np.testing.assert_array_equal(loaded(features())[name], value)


@pytest.mark.parametrize(
    ("dtype", "density"), [("mixed_float16", "float32"), ("float64", "float64")]
)
def test_a_table_is_of_the_precision_of_its_columns(dtype, density):
    head = built(table(dtype=dtype))
    p = head.distribution(head(features()))
    assert p.dtype == p.log_prob(data_for(head, 3).astype(density)).dtype == density
    with pytest.raises(ValueError, match="Give all of them the same dtype"):
        Table({"a": Normal(dtype="float64")})


# What a table may be made of


@pytest.mark.parametrize("wrong", [{}, [Normal()], {1: Normal()}, None])
def test_columns_are_named_likelihoods(wrong):
    with pytest.raises(ValueError, match="`columns` of Table says what each column is"):
        Table(wrong)


@pytest.mark.parametrize("wrong", [Normal((3,)), Multinomial((3,)), Normal, "Normal"])
def test_a_column_is_of_one_value(wrong):
    with pytest.raises(ValueError, match="Column 'a' of Table has one value in each row"):
        Table({"a": wrong})


def test_what_may_be_missing_is_said_of_the_whole_table():
    with pytest.raises(ValueError, match=r"Missing\(Table\(\.\.\.\)\)"):
        Table({"a": Missing(Normal())})


# Data


@pytest.mark.parametrize("kind", [dict, lambda x: Frame(**x)])
def test_columns_become_rows_in_the_order_of_the_table(kind):
    source = table().as_source(kind(columns()))
    np.testing.assert_array_equal(source.values, data_for(table(), N))
    assert source.values.dtype == np.float32


def test_rows_are_taken_as_they_are():
    rows = data_for(table(), N)
    assert table().as_source(rows).values is rows
    source = Source(np.full((3, 4), 4, "uint8"), divisor=4, condition=np.arange(3))
    taken = table().as_source(source)
    np.testing.assert_array_equal(taken.values, np.ones((3, 4)))
    assert taken.divisor == 1
    np.testing.assert_array_equal(taken.condition, np.arange(3))


@pytest.mark.parametrize("kind", [Codes, Series])
def test_a_categorical_of_pandas_is_its_codes(kind):
    x = {**columns(3), "plan": kind([2, 0, 1])}
    np.testing.assert_array_equal(table().as_source(x).values[:, 2], [2, 0, 1])
    missing = table().as_source({**x, "plan": kind([2, -1, 1])}).values
    np.testing.assert_array_equal(missing[:, 2], [2, np.nan, 1])
    with pytest.raises(ValueError, match=r"'plan' of x.*Remove or impute"):
        table().check(missing)
    Missing(table()).check(missing)
    with pytest.raises(ValueError, match="Column 'age' of `x` is not numeric"):
        table().as_source({**x, "age": kind([2, 0, 1])})


def test_a_categorical_with_other_categories_is_refused():
    """Its codes would count from another first category."""
    with pytest.raises(ValueError, match=r"'plan' of `x` has other categories.*Expected: 3"):
        table().as_source({**columns(3), "plan": Codes([0, 1, 0], ("b", "c"))})


def test_none_and_masked_values_are_missing():
    x = {**columns(3), "age": [1.0, None, 3.0], "visits": np.ma.array([1, 2, 3], mask=[1, 0, 0])}
    rows = table().as_source(x).values
    np.testing.assert_array_equal(rows[:, :2], [[1, np.nan], [np.nan, 2], [3, 3]])


@pytest.mark.parametrize(
    "wrong", [["a", "b", "c"], ["1", "2", "3"], np.array(["2020-01-01"] * 3, "datetime64[D]")]
)
def test_what_is_no_number_is_refused_with_what_to_do(wrong):
    with pytest.raises(ValueError, match="Column 'plan' of `x` is not numeric") as error:
        table().as_source({**columns(3), "plan": wrong})
    assert "return_inverse=True" in str(error.value)


def test_columns_must_be_those_of_the_table():
    x = columns()
    x["height"] = x.pop("age")
    with pytest.raises(ValueError, match=r"Missing: 'age'\. Unknown: 'height'") as error:
        make_vae(likelihood=table).fit(x)
    assert "Expected: 'age', 'visits', 'plan', 'member'" in str(error.value)
    with pytest.raises(ValueError, match="2 in 'age', 3 in 'visits'"):
        table().as_source({**columns(3), "age": [1, 2]})
    with pytest.raises(ValueError, match=r"Column 'age' of `x` is not a column.*shape \[3, 1\]"):
        table().as_source({**columns(3), "age": np.zeros((3, 1))})


@pytest.mark.parametrize(
    ("index", "name", "value", "remedy"),
    [
        (0, "age", np.inf, "Remove the infinite values"),
        (1, "visits", 2.5, "whole numbers"),
        (2, "plan", 3, "Number the categories from 0"),
        (3, "member", 0.5, "Binarise"),
        (3, "member", np.nan, "missing values"),
    ],
)
def test_a_value_outside_the_support_of_its_column_is_refused_by_name(index, name, value, remedy):
    x = data_for(table(), N)
    x[7, index] = value
    with pytest.raises(ValueError, match=f"column {name!r} of x") as error:
        make_vae(likelihood=table).fit(x)
    assert f"Received: {value}" in str(error.value)
    assert "at index [7, 0]" in str(error.value)
    assert remedy in str(error.value)
    assert not bool(table().contains(x))
    assert remedy in table().support.remedy(x)
    elsewhere = np.asarray(table().support.contains(x))
    assert not elsewhere[7, index]
    assert elsewhere.sum() == x.size - 1


def test_data_of_another_number_of_columns_is_refused():
    with pytest.raises(ValueError, match=r"event shape of Table. Expected: \[B, 4\]"):
        table().check(np.zeros((3, 5)))


def test_rows_are_given_back_as_columns_and_whole_numbers_as_integers():
    x = data_for(table(), N)
    given = table().given_back(tf.constant(x))
    assert list(given) == list(NAMES)
    assert [given[name].dtype for name in NAMES] == ["float32", "int64", "int64", "int64"]
    for i, name in enumerate(NAMES):
        np.testing.assert_array_equal(given[name], x[:, i])
    means = table().given_back(tf.constant([[1.0, 2.5, 1.0, 0.5]]))
    assert [means[name].dtype for name in NAMES] == ["float32", "float32", "int64", "float32"]


# The model


def test_a_model_of_a_table_takes_and_gives_columns():
    vae = make_vae(likelihood=table)
    vae.compile(optimizer="adam")
    x = columns()
    logs = vae.fit(x, epochs=2, validation_split=0.25, verbose=0).history
    assert_finite(*logs.values())
    assert_finite(vae.fit(x, validation_data=x, verbose=0).history["val_loss"])
    assert_finite(*vae.evaluate(x, verbose=0))
    predicted = vae.predict(x, verbose=0)
    assert predicted.shape == (N, 4)
    for given, n in ((vae.sample(3, draw=True), 3), (vae.reconstruct(x, draw=True), N)):
        assert {name: column.shape for name, column in given.items()} == dict.fromkeys(NAMES, (n,))
        assert bool(vae.likelihood.contains(vae.likelihood.as_source(given).array()))
    # predict runs a graph, in which a product and its bias are one operation and round once.
    np.testing.assert_allclose(vae.reconstruct(x)["age"], predicted[:, 0], rtol=1e-5, atol=1e-6)
    assert vae.elbo(x).shape == (N,)


def test_the_baseline_of_a_table_is_the_sum_of_those_of_its_columns():
    x = data_for(table(), N)
    whole = evaluation.independent_baseline(table(), columns(), columns())
    each = [
        evaluation.independent_baseline(head, column, column) for head, column in table().split(x)
    ]
    assert whole.mean == pytest.approx(sum(estimate.mean for estimate in each), rel=1e-5)
    age = -0.5 - np.log(x[:, 0].std() * np.sqrt(2 * np.pi))  # of the best Normal
    assert each[0].mean == pytest.approx(age, rel=1e-4)


def test_a_saved_model_of_a_table_is_the_model(tmp_path):
    vae = make_vae(likelihood=LIKELIHOODS["Table"])
    vae.compile()
    x = columns()
    vae.fit(x, verbose=0)
    vae.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.elbo(x, seed=1), vae.elbo(x, seed=1))
    assert loaded.likelihood.names == list(NAMES)


def test_a_legal_value_stands_for_each_column():
    head = Table({"a": Beta(), "b": Poisson()})
    assert head.support.inside == (0.5, 0.0)
    assert bool(head.contains(tf.constant([head.support.inside])))
    vae = make_vae(likelihood=lambda: head)
    assert vae.assumptions().bound.kl == "exact"
    assert vae.assumptions().likelihood.support == "a: (0, 1); b: {0, 1, 2, ...}"


# pandas


def test_a_frame_of_pandas_is_taken_and_given():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns())
    frame["plan"] = pandas.Categorical.from_codes(frame["plan"], ["a", "b", "c"])
    frame["visits"] = frame["visits"].astype("Int64")
    made = Table(dict(zip(NAMES, table().heads, strict=True)), frame=True)
    vae = make_vae(likelihood=lambda: round_trip(made))
    vae.compile()
    np.testing.assert_array_equal(vae.likelihood.as_source(frame).values, data_for(table(), N))
    vae.fit(frame, validation_split=0.25, verbose=0)
    drawn = vae.sample(3, draw=True)
    assert isinstance(drawn, pandas.DataFrame)
    assert list(drawn.columns) == list(NAMES)
    assert vae.reconstruct(drawn).shape == (3, 4)
    frame.loc[2, "visits"] = pandas.NA
    assert np.isnan(vae.likelihood.as_source(frame).values[2, 1])


def test_without_pandas_a_frame_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    head = Table({"a": Normal()}, frame=True)
    with pytest.raises(ImportError, match="pandas is not installed"):
        head.given_back(tf.zeros((2, 1)))
