"""Data that a likelihood has no density for is refused before the first step, with a remedy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae
from keras_vae.data import Source
from keras_vae.likelihoods import Bernoulli, Normal

E = (4, 4, 1)
ROWS = 8


def model(likelihood=None):
    vae = keras_vae.VAE(
        encoder=keras_vae.networks.mlp([]),
        decoder=keras_vae.networks.mlp([]),
        posterior=keras_vae.posteriors.DiagonalNormal(2),
        prior=keras_vae.priors.StandardNormal(2),
        likelihood=likelihood or Bernoulli(E),
    )
    vae.compile("sgd")
    return vae


def bits(rows=ROWS):
    return (np.random.default_rng(0).random((rows, *E)) > 0.5).astype("float32")


def with_value(value, at=(5, 1, 2, 0), dtype="float64"):
    x = bits().astype(dtype)
    x[at] = value
    return x


def unchanged(vae, before):
    same = all(np.array_equal(a, b) for a, b in zip(before, vae.get_weights(), strict=True))
    return same and int(vae.optimizer.iterations) == 0


ENTRIES = {
    "fit": lambda vae, x: vae.fit(x, verbose=0),
    "evaluate": lambda vae, x: vae.evaluate(x, verbose=0),
    "predict": lambda vae, x: vae.predict(x, verbose=0),
    "train_on_batch": lambda vae, x: vae.train_on_batch(x),
    "test_on_batch": lambda vae, x: vae.test_on_batch(x),
    "predict_on_batch": lambda vae, x: vae.predict_on_batch(x),
    "encode": lambda vae, x: vae.encode(x),
    "elbo": lambda vae, x: vae.elbo(x),
    "reconstruct": lambda vae, x: vae.reconstruct(x),
    "validation_data": lambda vae, x: vae.fit(bits(), validation_data=x, verbose=0),
    "tuple_of_validation_data": lambda vae, x: vae.fit(
        bits(), validation_data=(x, None, np.ones(len(x))), verbose=0
    ),
}

# What is wrong: the likelihood, the data, and what the message must say, in this order.
WRONG = {
    "a grey value": (
        Bernoulli,
        lambda: with_value(0.3),
        r"support of Bernoulli.*\{0, 1\}.*0\.3 at index \[5, 1, 2, 0\].*first of 1 .*Binarise",
    ),
    "0 to 255": (
        Bernoulli,
        lambda: with_value(255, dtype="uint8"),
        r"support of Bernoulli.*\{0, 1\}.*255 at index \[5, 1, 2, 0\].*divide by 255",
    ),
    "a negative value": (
        Bernoulli,
        lambda: with_value(-1, dtype="int64"),
        r"support of Bernoulli.*\{0, 1\}.*-1 at index \[5, 1, 2, 0\].*Binarise",
    ),
    "NaN among bits": (
        Bernoulli,
        lambda: with_value(np.nan),
        r"support of Bernoulli.*\{0, 1\}.*nan at index \[5, 1, 2, 0\].*missing values",
    ),
    "NaN": (
        Normal,
        lambda: with_value(np.nan, dtype="float32"),
        r"support of Normal.*real numbers.*nan at index \[5, 1, 2, 0\].*missing values",
    ),
    "infinity": (
        Normal,
        lambda: with_value(-np.inf),
        r"support of Normal.*real numbers.*-inf at index \[5, 1, 2, 0\].*infinite values",
    ),
    "no channel axis": (
        Bernoulli,
        lambda: bits()[..., 0],
        r"event shape of Bernoulli.*\[B, 4, 4, 1\].*\[8, 4, 4\].*x\[\.\.\., None\]",
    ),
    "flattened": (
        Bernoulli,
        lambda: bits().reshape(ROWS, -1),
        r"event shape of Bernoulli.*\[B, 4, 4, 1\].*\[8, 16\].*x\.reshape\(-1, 4, 4, 1\)",
    ),
    "no batch axis": (
        Bernoulli,
        lambda: bits()[0],
        r"event shape of Bernoulli.*\[B, 4, 4, 1\].*\[4, 4, 1\].*x\[None\]",
    ),
    "of another size": (
        Normal,
        lambda: np.zeros((ROWS, 5, 5, 1)),
        r"event shape of Normal.*\[B, 4, 4, 1\].*\[8, 5, 5, 1\].*shape of one example",
    ),
    "strings": (
        Bernoulli,
        lambda: bits().astype(str),
        r"not numeric.*\[B, 4, 4, 1\].*dtype <U.*numeric array",
    ),
    "objects": (
        Bernoulli,
        lambda: bits().astype(object),
        r"not numeric.*\[B, 4, 4, 1\].*dtype object.*numeric array",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_every_entry_names_what_is_wrong_where_and_the_remedy(wrong):
    likelihood, data, message = WRONG[wrong]
    vae = model(likelihood(E))
    before = vae.get_weights()
    for entry, call in ENTRIES.items():
        argument = "validation_data" if "validation" in entry else "x"
        with pytest.raises(ValueError, match=rf"(?s)^`{argument}` .*{message}"):
            call(vae, data())
        assert unchanged(vae, before), entry


@pytest.mark.parametrize("entry", ["fit", "evaluate", "predict", "validation_data"])
def test_data_without_examples_is_refused(entry):
    argument = "validation_data" if entry == "validation_data" else "x"
    with pytest.raises(ValueError, match=rf"`{argument}` holds no examples.*\[0, 4, 4, 1\]"):
        ENTRIES[entry](model(), np.zeros((0, *E)))


@pytest.mark.parametrize("entry", ["train_on_batch", "test_on_batch"])
def test_a_batch_without_examples_is_refused(entry):
    with pytest.raises(ValueError, match=r"no examples"):
        ENTRIES[entry](model(), np.zeros((0, *E)))


def test_a_source_is_checked_after_its_divisor():
    x = with_value(1, dtype="uint8") * 255
    x[5, 1, 2, 0] = 51
    with pytest.raises(ValueError, match=r"0\.2 at index \[5, 1, 2, 0\]"):
        model().fit(Source(x, divisor=255.0), verbose=0)


def test_the_last_byte_of_many_is_checked():
    x = np.zeros((5000, *E), "uint8")  # more than are counted at once
    x[-1, -1, -1, 0] = 51
    with pytest.raises(ValueError, match=r"0\.2 at index \[4999, 3, 3, 0\]"):
        model().fit(Source(x, divisor=255.0), verbose=0)


@pytest.mark.parametrize("value", [2.0, -0.5, np.nan])
def test_a_dynamic_source_of_no_probabilities_is_refused(value):
    with pytest.raises(ValueError, match=r"values in \[0, 1\] after division by 1"):
        model().fit(Source(with_value(value), dynamic=True), verbose=0)


# Batches: each way to hand over the same four, of which one is bad.


def four_batches(bad=None):
    batches = [bits(4) for _ in range(4)]
    if bad is not None:
        batches[bad][3, 0, 1, 0] = 0.25
    return batches


def dataset(batches):
    return tf.data.Dataset.from_tensor_slices(np.concatenate(batches)).batch(4)


def generator(batches):
    return (batch for batch in batches)


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return (self.batches[index],)


KINDS = {"tf.data": dataset, "generator": generator, "PyDataset": Batches}
BATCHED_ENTRIES = {
    "fit": lambda vae, x: vae.fit(x, steps_per_epoch=4, verbose=0),
    "evaluate": lambda vae, x: vae.evaluate(x, steps=4, verbose=0),
    "predict": lambda vae, x: vae.predict(x, steps=4, verbose=0),
}
ALL_BATCHED_ENTRIES = {
    **BATCHED_ENTRIES,
    "validation_data": lambda vae, x: vae.fit(
        bits(4), validation_data=x, validation_steps=4, verbose=0
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", BATCHED_ENTRIES)
def test_a_bad_first_batch_is_refused_before_the_first_step(entry, kind):
    vae = model()
    before = vae.get_weights()
    with pytest.raises(ValueError, match=r"(?s)`.*x` is outside.*0\.25 at index \[3, 0, 1, 0\]"):
        BATCHED_ENTRIES[entry](vae, KINDS[kind](four_batches(bad=0)))
    assert unchanged(vae, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", ALL_BATCHED_ENTRIES)
def test_a_bad_later_batch_is_refused_by_its_number(entry, kind):
    argument = "validation_data" if entry == "validation_data" else "x"
    message = rf"(?s)`batch 2 of {argument}` is outside.*0\.25 at index \[3, 0, 1, 0\].*Binarise"
    with pytest.raises(ValueError, match=message):
        ALL_BATCHED_ENTRIES[entry](model(), KINDS[kind](four_batches(bad=2)))


def test_a_bad_batch_is_refused_amid_several_steps_per_execution():
    vae = model()
    vae.compile("sgd", steps_per_execution=4)
    with pytest.raises(ValueError, match=r"batch 2 of x"):
        vae.fit(dataset(four_batches(bad=2)), verbose=0)


# Keras warns at the end of the first epoch of any dataset of unknown length.
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_a_bad_batch_of_the_second_epoch_is_refused():
    # One pass is for the check before the first step.
    epochs = iter([four_batches(), four_batches(), four_batches(bad=1)])

    def batches():
        yield from next(epochs)

    data = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((4, *E)))
    with pytest.raises(ValueError, match=r"batch 1 of x.* is outside"):
        model().fit(data, epochs=2, verbose=0)


def test_a_batch_of_another_shape_is_refused():
    data = tf.data.Dataset.from_tensor_slices(bits().reshape(ROWS, -1)).batch(4)
    with pytest.raises(ValueError, match=r"(?s)event shape of Bernoulli.*\[4, 16\].*reshape"):
        model().fit(data, verbose=0)


def test_a_dataset_that_was_not_batched_is_refused():
    with pytest.raises(ValueError, match=r"dataset\.batch"):
        model().fit(tf.data.Dataset.from_tensor_slices(bits()), verbose=0)


def test_a_dataset_without_batches_is_refused():
    data = tf.data.Dataset.from_tensor_slices(np.zeros((0, *E), "float32")).batch(4)
    with pytest.raises(ValueError, match=r"`x`.*no examples"):
        model().fit(data, verbose=0)


# Types that hold bits without being floats


def test_booleans_are_bits_in_an_array():
    x = bits().astype(bool)
    vae = model()
    assert np.array_equal(vae.encode(x).mean(), vae.encode(bits()).mean())


def test_booleans_are_bits_in_a_dataset():
    data = tf.data.Dataset.from_tensor_slices(bits().astype(bool)).batch(4)
    vae = model()
    expected = vae.predict(bits(), verbose=0)
    np.testing.assert_allclose(vae.predict(data, verbose=0), expected, rtol=1e-6)


def test_booleans_are_numbers_for_a_normal():
    vae = model(Normal(E))
    assert np.array_equal(vae.encode(bits().astype(bool)).mean(), vae.encode(bits()).mean())


# A model of x alone has no target


def labelled():
    return tf.data.Dataset.from_tensor_slices((bits(), np.arange(ROWS))).batch(4)


TARGETS = {
    "fit": lambda vae: vae.fit(bits(), np.arange(ROWS), verbose=0),
    "fit of itself": lambda vae: vae.fit(bits(), bits(), verbose=0),
    "fit of a tuple": lambda vae: vae.fit((bits(), np.arange(ROWS)), verbose=0),
    "fit of a tuple of itself": lambda vae: vae.fit((bits(), bits()), verbose=0),
    "fit of tf.data": lambda vae: vae.fit(labelled(), verbose=0),
    "fit of a generator": lambda vae: vae.fit(
        iter([(bits(), bits())]), steps_per_epoch=1, verbose=0
    ),
    "evaluate": lambda vae: vae.evaluate(bits(), np.arange(ROWS), verbose=0),
    "evaluate of tf.data": lambda vae: vae.evaluate(labelled(), verbose=0),
    "predict of tf.data": lambda vae: vae.predict(labelled(), verbose=0),
    "train_on_batch": lambda vae: vae.train_on_batch(bits(), np.arange(ROWS)),
    "test_on_batch": lambda vae: vae.test_on_batch(bits(), np.arange(ROWS)),
    "validation_data": lambda vae: vae.fit(
        bits(), validation_data=(bits(), np.arange(ROWS)), verbose=0
    ),
}


@pytest.mark.parametrize("call", TARGETS)
def test_a_target_is_refused(call):
    vae = model()
    before = vae.get_weights()
    with pytest.raises(ValueError, match=r"(?s)A VAE has no target.*y=None.*sample_weight"):
        TARGETS[call](vae)
    assert unchanged(vae, before)


@pytest.mark.parametrize("argument", ["loss", "metrics", "weighted_metrics", "loss_weights"])
def test_a_loss_of_ones_own_is_refused(argument):
    with pytest.raises(ValueError, match=rf"`{argument}` cannot be chosen.*None.*likelihood"):
        model().compile("sgd", **{argument: "mse"})


def test_class_weights_are_refused():
    with pytest.raises(ValueError, match=r"`class_weight` needs classes"):
        model().fit(bits(), class_weight={0: 1.0}, verbose=0)


# Weights of examples

WEIGHTS = {
    "too many": np.ones(ROWS + 1),
    "too few": np.ones(ROWS - 1),
    "a column": np.ones((ROWS, 1)),
    "one for each value": np.ones((ROWS, *E)),
    "one number": np.float32(1.0),
    "negative": np.array([-1.0] + [1.0] * (ROWS - 1)),
    "NaN": np.array([np.nan] + [1.0] * (ROWS - 1)),
    "infinite": np.array([np.inf] + [1.0] * (ROWS - 1)),
}
MESSAGE_OF_WEIGHTS = r"(?s)`sample_weight` is one finite number >= 0.*\(8,\)"
WEIGHTED_ENTRIES = {
    "fit": lambda vae, w: vae.fit(bits(), sample_weight=w, verbose=0),
    "fit with a split": lambda vae, w: vae.fit(
        bits(), sample_weight=w, validation_split=0.5, verbose=0
    ),
    "evaluate": lambda vae, w: vae.evaluate(bits(), sample_weight=w, verbose=0),
    "train_on_batch": lambda vae, w: vae.train_on_batch(bits(), sample_weight=w),
    "test_on_batch": lambda vae, w: vae.test_on_batch(bits(), sample_weight=w),
    "validation_data": lambda vae, w: vae.fit(bits(), validation_data=(bits(), None, w), verbose=0),
}


@pytest.mark.parametrize("entry", WEIGHTED_ENTRIES)
def test_wrong_sample_weights_are_refused(entry):
    vae = model()
    before = vae.get_weights()
    for wrong, weights in WEIGHTS.items():
        with pytest.raises(ValueError, match=MESSAGE_OF_WEIGHTS):
            WEIGHTED_ENTRIES[entry](vae, weights)
        assert unchanged(vae, before), wrong


@pytest.mark.parametrize("wrong", ["negative", "NaN"])
def test_wrong_sample_weights_in_a_dataset_are_refused(wrong):
    data = tf.data.Dataset.from_tensor_slices((bits(), WEIGHTS[wrong])).batch(4)
    data = data.map(lambda x, w: (x, None, w))
    with pytest.raises(ValueError, match=r"`sample_weight` is one finite number >= 0"):
        model().fit(data, verbose=0)


def test_a_column_of_sample_weights_in_a_dataset_is_refused():
    data = tf.data.Dataset.from_tensor_slices((bits(), np.ones((ROWS, 1), "float32"))).batch(4)
    with pytest.raises(ValueError, match=r"`sample_weight` is one finite number >= 0"):
        model().fit(data.map(lambda x, w: (x, None, w)), verbose=0)


# Parts of the data for validation


@pytest.mark.parametrize("fraction", [0.99, 1.0, -0.5])
def test_a_split_that_leaves_one_side_empty_is_refused(fraction):
    with pytest.raises(ValueError, match=r"`validation_split`.*between 0 and 1"):
        model().fit(bits(), validation_split=fraction, verbose=0)


def test_a_split_of_a_dataset_is_refused():
    with pytest.raises(ValueError, match=r"`validation_split`"):
        model().fit(dataset(four_batches()), validation_split=0.5, verbose=0)
