"""A version appears whole and checked, or not at all."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import keras_vae
from keras_vae import conditions, likelihoods, networks, posteriors, priors
from keras_vae.exported import versions
from keras_vae.exported.examples import Case
from keras_vae.exported.reload import problems_of
from keras_vae.exported.reloading import verify
from keras_vae.exported.signatures import INPUTS

E = (6,)


def model(**given):
    parts = {
        "encoder": networks.mlp([8]),
        "decoder": networks.mlp([8]),
        "posterior": posteriors.DiagonalNormal(2),
        "prior": priors.StandardNormal(2),
        "likelihood": likelihoods.Bernoulli(E),
    }
    return keras_vae.VAE(**{**parts, **given}, seed=0)


def bits(rows=3):
    return (np.random.default_rng(0).random((rows, *E)) > 0.5).astype("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, and its first version."""
    keras.utils.set_random_seed(0)
    vae = model()
    return vae, keras_vae.export(vae, tmp_path_factory.mktemp("models") / "vae", num_samples=5)


def test_the_first_version_is_1_and_has_every_signature(exported):
    _, version = exported
    assert version.name == "1"
    assert os.listdir(version.parent) == ["1"]
    signatures = tf.saved_model.load(str(version)).signatures
    assert set(signatures) == {*INPUTS, "serving_default"}
    for name, signature in signatures.items():
        specs = signature.structured_input_signature[1]
        assert all(spec.shape[0] is None for spec in specs.values())
        if "seed" in specs:
            assert specs["seed"].dtype == tf.int64, name
        assert all(
            shape[0] is None
            for shape in map(
                tuple, (output.shape for output in signature.structured_outputs.values())
            )
        )


def test_another_user_may_read_all_of_it(tmp_path):
    before = os.umask(0o077)
    try:
        with versions.new_version(tmp_path) as version:
            (version.path / "variables").mkdir()
            (version.path / "variables" / "variables.index").write_text("whole")
            place = version.publish()
    finally:
        os.umask(before)
    modes = {str(p.relative_to(place)): p.stat().st_mode & 0o777 for p in place.rglob("*")}
    assert modes == {"variables": 0o755, "variables/variables.index": 0o644}
    assert place.stat().st_mode & 0o777 == 0o755


def test_serving_default_is_encode(exported):
    signatures = tf.saved_model.load(str(exported[1])).signatures
    x = tf.constant(bits())
    found, expected = signatures["serving_default"](x=x), signatures["encode"](x=x)
    assert set(found) == set(expected) == {"loc", "scale_diag", "mean"}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_process_with_tensorflow_alone_gives_the_models_numbers(exported, tmp_path):
    vae, version = exported
    x = bits()
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('keras', 'keras_vae', 'tensorflow_probability'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "m = tf.saved_model.load(sys.argv[1]).signatures\n"
        "x = tf.constant(np.load(sys.argv[2]))\n"
        "seed = tf.constant([7, 8, 9], tf.int64)\n"
        "np.save(sys.argv[3], m['encode_sample'](x=x, seed=seed)['z'])\n"
    )
    arguments = [version, tmp_path / "x.npy", tmp_path / "z.npy"]
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True)
    for row in range(3):
        expected = vae.encode(x[row : row + 1]).sample(seed=[7 + row, 0])
        np.testing.assert_allclose(np.load(tmp_path / "z.npy")[[row]], expected, rtol=1e-5)


def test_warm_up_asks_every_signature_what_it_can_answer(exported):
    _, version = exported
    signatures = tf.saved_model.load(str(version)).signatures
    records = tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests"))
    asked = set()
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        name = request.model_spec.signature_name
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        assert signatures[name](**inputs)
        asked.add(name)
    assert asked == set(INPUTS)


def test_what_the_model_assumes_is_beside_it(exported):
    vae, version = exported
    stated = (version / "assets.extra" / "assumptions.md").read_text(encoding="utf-8")
    assert stated == vae.assumptions().as_markdown()


@pytest.fixture
def schema(exported):
    return json.loads((exported[1] / "assets.extra" / "schema.json").read_text())


def test_the_schema_says_what_the_signatures_take_and_give(exported, schema):
    signatures = tf.saved_model.load(str(exported[1])).signatures
    assert schema["num_samples"] == 5
    for name, said in schema["signatures"].items():
        specs = signatures[name].structured_input_signature[1]
        found = {k: (v.dtype.name, v.shape.as_list()) for k, v in specs.items()}
        assert found == {k: (v["dtype"], v["shape"]) for k, v in said["inputs"].items()}
        outputs = signatures[name].structured_outputs
        found = {k: (v.dtype.name, v.shape.as_list()) for k, v in outputs.items()}
        assert found == {k: (v["dtype"], v["shape"]) for k, v in said["outputs"].items()}


def test_the_schema_accepts_requests_by_rows_and_by_columns_and_no_others(schema):
    validator = jsonschema.Draft202012Validator(schema["signatures"]["score"]["request"])
    x = bits(2).tolist()
    rows = [{"x": x[0], "seed": 1}, {"x": x[1], "seed": 2}]
    by_rows = {"signature_name": "score", "instances": rows}
    by_columns = {"signature_name": "score", "inputs": {"x": x, "seed": [1, 2]}}
    assert validator.is_valid(by_rows)
    assert validator.is_valid(by_columns)
    assert not validator.is_valid({**by_rows, **by_columns})
    assert not validator.is_valid({**by_columns, "signature_name": "encode"})
    assert not validator.is_valid({**by_rows, "instances": [{"x": x[0]}]})
    assert not validator.is_valid({**by_rows, "instances": [{"x": x[0][1:], "seed": 1}]})
    assert not validator.is_valid({**by_rows, "instances": [{"x": x[0], "seed": 0.5}]})


def test_versions_count_up(tmp_path, checked_here):
    for number in ("1", "2"):
        with versions.new_version(tmp_path / "vae") as version:
            assert version.publish() == tmp_path / "vae" / number
    (tmp_path / "vae" / "12").mkdir()
    (tmp_path / "vae" / "notes").mkdir()
    version = keras_vae.export(model(), tmp_path / "vae", ["decode", "encode"])
    assert version == tmp_path / "vae" / "13"


def test_only_the_signatures_that_are_asked_for_are_written(tmp_path, checked_here):
    version = keras_vae.export(model(), tmp_path, ["score", "reconstruct"])
    assert set(tf.saved_model.load(str(version)).signatures) == {
        "reconstruct",
        "score",
        "serving_default",
    }


@pytest.mark.parametrize("kind", ["Vector", "OneHot", "Labels", "counts", "table", "holes"])
def test_what_goes_with_x_is_an_input(kind, tmp_path, checked_here):
    made = {
        "Vector": lambda: model(condition=conditions.Vector(3)),
        "OneHot": lambda: model(condition=conditions.OneHot(3)),
        "Labels": lambda: model(condition=conditions.Labels(3, networks.mlp([4]))),
        "counts": lambda: model(likelihood=likelihoods.Poisson(E, size_factor=True)),
        "table": lambda: model(
            likelihood=likelihoods.Table(
                {"age": likelihoods.Normal(scale="shared"), "plan": likelihoods.Categorical(3)}
            )
        ),
        "holes": lambda: model(likelihood=likelihoods.Missing(likelihoods.Normal(E))),
    }
    version = keras_vae.export(made[kind](), tmp_path)
    signatures = tf.saved_model.load(str(version)).signatures
    inputs = signatures["decode"].structured_input_signature[1]
    beside = {"Vector": "condition", "OneHot": "condition", "Labels": "condition"}
    expected = {"z"} | {beside[kind]} if kind in beside else {"z"}
    expected |= {"size_factor"} if kind == "counts" else set()
    assert set(inputs) == expected


def test_examples_are_what_the_warm_up_asks_of(tmp_path, checked_here):
    x = bits(5)
    version = keras_vae.export(model(), tmp_path, "encode", examples=x)
    path = str(version / "assets.extra" / "tf_serving_warmup_requests")
    record = next(tf.data.TFRecordDataset(path).as_numpy_iterator())
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["x"]), x[:3])


def test_bytes_are_an_input_where_a_divisor_is_given(tmp_path, checked_here):
    version = keras_vae.export(model(), tmp_path, "encode", divisor=255, examples=bits())
    encode = tf.saved_model.load(str(version)).signatures["encode"]
    assert encode.structured_input_signature[1]["x"].dtype == tf.uint8


def model_of_numbers():
    return model(likelihood=likelihoods.Normal(E))


WRONG = {
    "no model": ({"vae": networks.mlp([3])}, TypeError, "`vae` is the model"),
    "no such signature": ({"signatures": ["encode", "predict"]}, ValueError, "Received: 'predict'"),
    "no signature": ({"signatures": []}, ValueError, "Received: none"),
    "no draws": ({"num_samples": 0}, ValueError, "`num_samples`"),
    "no divisor": ({"divisor": 0}, ValueError, "`divisor` is what bytes are divided by"),
    "no such precision": ({"precision": "int4"}, ValueError, "one of mixed_bfloat16"),
    "examples that are no bytes": (
        {"divisor": 255, "examples": np.full((3, *E), 0.5), "vae": model_of_numbers},
        ValueError,
        "`divisor` is of x that is bytes",
    ),
    "examples outside": ({"examples": np.full((3, *E), 0.5)}, ValueError, "`examples` is outside"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_and_nothing_is_written(case, tmp_path):
    arguments, error, message = WRONG[case]
    arguments = {k: v() if v is model_of_numbers else v for k, v in arguments.items()}
    with pytest.raises(error, match=message):
        keras_vae.export(**{"vae": model(), "folder": tmp_path / "vae", **arguments})
    assert not (tmp_path / "vae").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "vae").write_text("notes")
    with pytest.raises(ValueError, match="a folder that can be written"):
        keras_vae.export(model(), tmp_path / "vae", "encode")
    assert (tmp_path / "vae").read_text() == "notes"


class Backwards(likelihoods.Normal):
    """A family without draws."""

    def distribution(self, parameters):
        made = super().distribution(parameters)

        def sample(*arguments, **named):
            raise NotImplementedError("draws of it are not known")

        made.sample = sample
        return made


def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path, checked_here):
    vae = model(likelihood=Backwards(E))
    with pytest.raises(
        ValueError, match=r"`decode_sample` cannot be served: .*draws of it are not"
    ):
        keras_vae.export(vae, tmp_path / "vae", ["decode", "decode_sample"], examples=bits())
    assert not (tmp_path / "vae").exists()
    assert keras_vae.export(vae, tmp_path / "vae", ["decode", "score"], examples=bits()).exists()


def test_a_version_with_other_numbers_is_not_kept(exported):
    _, version = exported
    encode = tf.saved_model.load(str(version)).signatures["encode"]
    inputs = {"x": bits()}
    outputs = {k: v.numpy() for k, v in encode(x=tf.constant(bits())).items()}
    assert problems_of(encode, {"inputs": inputs, "outputs": outputs}) == []
    for wrong, reason in (
        ({**outputs, "mean": outputs["mean"].astype("float64")}, "mean is float32 .* not float64"),
        ({"mean": outputs["mean"]}, "the outputs are"),
        ({**outputs, "mean": outputs["mean"] + 0.01}, "mean is up to 0.01 away"),
    ):
        problems = problems_of(encode, {"inputs": inputs, "outputs": wrong})
        assert any(re.search(reason, problem) for problem in problems)
    with pytest.raises(RuntimeError, match=reason):
        verify(version, {"encode": Case(inputs, wrong)})


def until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _hold_unfinished(folder):
    with versions.new_version(Path(folder)) as version:
        (version.path / "saved_model.pb").write_text("half")
        time.sleep(600)


@pytest.mark.parametrize("before", [[], ["1"]])
def test_a_crash_leaves_nothing_behind(before, tmp_path):
    folder = tmp_path / "vae"
    for name in before:
        (folder / name).mkdir(parents=True)
    process = multiprocessing.get_context("fork").Process(target=_hold_unfinished, args=(folder,))
    process.start()
    until(lambda: list(folder.glob(".unfinished-*/saved_model.pb")))
    with versions.new_version(folder) as version:
        assert list(folder.glob(".unfinished-*/saved_model.pb")), "that one is being written"
        (version.path / "saved_model.pb").write_text("whole")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    until(lambda: (os.listdir(folder) if folder.exists() else []) == before)


def test_what_a_loss_of_power_leaves_is_swept_by_the_next_export(tmp_path):
    (tmp_path / ".unfinished-3").mkdir()
    (tmp_path / ".unfinished-3" / "saved_model.pb").write_text("half")
    assert versions.newest(tmp_path) == 0
    with versions.new_version(tmp_path) as version:
        published = version.publish()
    assert os.listdir(tmp_path) == ["1"]
    assert published == tmp_path / "1"


@pytest.mark.parametrize(("module", "call"), [("tempfile", "mkdtemp"), ("os", "open")])
def test_a_version_swept_before_it_was_locked_is_begun_again(module, call, tmp_path, monkeypatch):
    owner = getattr(versions, module)
    original, calls = getattr(owner, call), []

    def then_swept(*arguments, **named):
        result = original(*arguments, **named)
        calls.append(result)
        if len(calls) == 1:
            versions._sweep(tmp_path)
        return result

    monkeypatch.setattr(owner, call, then_swept)
    with versions.new_version(tmp_path) as version:
        assert version.path.exists()
        (version.path / "saved_model.pb").write_text("whole")
        versions._sweep(tmp_path)
        assert version.publish().name == "1"
    assert os.listdir(tmp_path) == ["1"]


def test_a_number_that_no_server_reads_is_none(tmp_path):
    for name in ("3", "9" * 20, "٤", "1.5"):
        (tmp_path / name).mkdir()
    assert versions.newest(tmp_path) == 3


def test_two_exports_at_once_get_two_numbers(tmp_path):
    with versions.new_version(tmp_path) as first, versions.new_version(tmp_path) as second:
        for version in (first, second):
            (version.path / "saved_model.pb").write_text("whole")
        names = {first.publish().name, second.publish().name}
    assert names == {"1", "2"}
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


def test_an_exception_leaves_nothing(tmp_path):
    def broken():
        with versions.new_version(tmp_path) as version:
            (version.path / "saved_model.pb").write_text("half")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        broken()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_was_made_for_nothing_is_gone(tmp_path):
    with versions.new_version(tmp_path / "vae"):
        pass
    assert os.listdir(tmp_path) == []
