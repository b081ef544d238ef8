"""What a served model answers, by REST and by gRPC: the same as the SavedModel run in process."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from google.protobuf.json_format import ParseDict
from served import State, example, local_server, newest, publish, refusal, unpacked, until
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

SIGNATURES = [
    "serving_default",
    "encode",
    "encode_sample",
    "decode",
    "decode_sample",
    "reconstruct",
    "generate",
    "score",
]
SAMPLERS = {"encode_sample": "z", "decode_sample": "x", "generate": "z", "score": "elbo"}
WAYS = ["predict", "by_columns", "by_rows"]
# A batch of another size goes through other kernels of the matrix product, which may round the
# last bit of a float32 the other way; a few such roundings follow one another in a network.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def assert_same(received, expected):
    assert received.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(received[name], expected[name], err_msg=name)


def assert_close(received, expected):
    assert received.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(received[name], expected[name], **ROUNDING, err_msg=name)


def definition_of(target, signature):
    definitions = target.definitions()
    if signature not in definitions:
        pytest.skip(f"the model was exported without {signature}")
    return definitions[signature]


# Answers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_signature_answers_as_the_saved_model_does_in_process(rest, in_process, signature, way):
    inputs = example(definition_of(rest, signature), rows=3)
    assert_close(getattr(rest, way)(signature, inputs), in_process(signature, inputs))


@pytest.mark.parametrize("signature", SIGNATURES)
def test_rest_and_grpc_answer_bit_for_bit_alike(rest, signature):
    inputs = example(definition_of(rest, signature), rows=3)
    expected = rest.predict(signature, inputs)
    assert_same(rest.by_columns(signature, inputs), expected)
    assert_same(rest.by_rows(signature, inputs), expected)


@pytest.mark.parametrize("kind", ["conditional", "counts"])
def test_inputs_beside_x_and_z_are_served_too(exported, request, kind):
    if request.config.getoption("target", None):
        pytest.skip("of models of this suite's own")
    with local_server(exported(kind)) as running:
        target = running.target
        definitions = target.definitions()
        beside = {"conditional": "condition", "counts": "size_factor"}[kind]
        for signature in SIGNATURES:
            inputs = example(definitions[signature], rows=3)
            expected = target.predict(signature, inputs)
            assert_same(target.by_columns(signature, inputs), expected)
            assert_same(target.by_rows(signature, inputs), expected)
        assert beside in definitions["decode"].inputs


def test_without_a_signature_name_the_default_one_answers(rest):
    inputs = example(definition_of(rest, "encode"), rows=2)
    response = rest.prediction.Predict(rest.request("", inputs))
    assert response.model_spec.signature_name == "serving_default"
    assert_same(unpacked(response), rest.predict("encode", inputs))
    status, document = rest.post({"inputs": {name: v.tolist() for name, v in inputs.items()}})
    assert status == 200
    assert document["outputs"].keys() == definition_of(rest, "encode").outputs.keys()


def test_a_single_input_and_a_single_output_go_without_their_names(rest):
    definition = definition_of(rest, "reconstruct")
    if len(definition.inputs) != 1:
        pytest.skip("a conditional model has two inputs")
    x = example(definition, rows=2)["x"]
    expected = rest.predict("reconstruct", {"x": x})["mean"]
    status, columns = rest.post({"signature_name": "reconstruct", "inputs": x.tolist()})
    assert status == 200
    np.testing.assert_array_equal(np.float32(columns["outputs"]), expected)
    status, rows = rest.post({"signature_name": "reconstruct", "instances": x.tolist()})
    assert status == 200
    np.testing.assert_array_equal(np.float32(rows["predictions"]), expected)


# Seeds


@pytest.mark.parametrize("signature", SAMPLERS)
def test_equal_requests_get_equal_answers(target, signature):
    inputs = example(definition_of(target, signature), rows=4)
    assert_same(target.predict(signature, inputs), target.predict(signature, inputs))


@pytest.mark.parametrize("signature", SAMPLERS)
def test_another_seed_is_another_draw_and_equal_seeds_are_equal_draws(target, signature):
    inputs = example(definition_of(target, signature), rows=1)
    inputs = {name: np.repeat(values, 40, axis=0) for name, values in inputs.items()}
    drawn = target.predict(signature, {**inputs, "seed": np.arange(40) // 2})[SAMPLERS[signature]]
    np.testing.assert_array_equal(drawn[0::2], drawn[1::2])
    different = np.unique(drawn[0::2].reshape(20, -1), axis=0)
    assert len(different) == 20


@pytest.mark.parametrize("signature", SAMPLERS)
def test_a_row_does_not_depend_on_the_rows_beside_it(target, signature):
    inputs = example(definition_of(target, signature), rows=5)
    together = target.predict(signature, inputs)
    for row in range(5):
        alone = target.predict(signature, {k: v[row : row + 1] for k, v in inputs.items()})
        assert_close(alone, {k: v[row : row + 1] for k, v in together.items()})


# Many at once


@pytest.mark.parametrize("signature", ["encode", "generate", "score"])
def test_200_concurrent_requests_of_a_row_equal_one_request_of_200_rows(target, signature):
    inputs = example(definition_of(target, signature), rows=200)
    rows = [{k: v[row : row + 1] for k, v in inputs.items()} for row in range(200)]
    requests = [target.request(signature, row) for row in rows]
    answers = [target.prediction.Predict.future(request) for request in requests]
    together = target.predict(signature, inputs)
    one_by_one = [unpacked(answer.result(60)) for answer in answers]
    joined = {name: np.concatenate([answer[name] for answer in one_by_one]) for name in together}
    assert_close(joined, together)


def test_200_concurrent_requests_of_a_row_by_rest_equal_one_of_200_rows(rest):
    inputs = example(definition_of(rest, "generate"), rows=200)
    rows = [{k: v[row : row + 1] for k, v in inputs.items()} for row in range(200)]
    together = rest.by_rows("generate", inputs)
    with ThreadPoolExecutor(32) as clients:
        one_by_one = list(clients.map(lambda row: rest.by_columns("generate", row), rows))
    joined = {name: np.concatenate([answer[name] for answer in one_by_one]) for name in together}
    assert_close(joined, together)


# Output filters


def test_only_the_outputs_that_are_asked_for_come_back(target):
    inputs = example(definition_of(target, "generate"), rows=2)
    everything = target.predict("generate", inputs)
    for only in (["z"], ["x", "mean"], []):
        received = target.predict("generate", inputs, only=only)
        assert_same(received, {name: everything[name] for name in only or everything})


@pytest.mark.parametrize(
    ("only", "text"),
    [
        (["nonsense"], "output tensor alias not found in signature: nonsense"),
        (["z", "z"], "duplicate output tensor alias: z"),
    ],
)
def test_outputs_that_cannot_be_returned_are_refused(target, only, text):
    inputs = example(definition_of(target, "generate"), rows=2)
    code, details = refusal(lambda: target.predict("generate", inputs, only=only))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in details


# Metadata and status


def test_the_metadata_are_those_of_the_saved_model(writable):
    folder = writable.folder / str(writable.version())
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    assert writable.definitions() == dict(saved.meta_graphs[0].signature_def)


def test_the_metadata_by_rest_are_those_by_grpc(rest):
    status, document = rest.rest("GET", f"/v1/models/{rest.name}/metadata")
    assert status == 200
    assert document["model_spec"]["name"] == rest.name
    assert document["model_spec"]["version"] == str(rest.version())
    received = ParseDict(
        document["metadata"]["signature_def"], get_model_metadata_pb2.SignatureDefMap()
    )
    assert dict(received.signature_def) == rest.definitions()


def test_each_signature_leads_with_the_batch_axis(target):
    for name, definition in target.definitions().items():
        tensors: list[meta_graph_pb2.TensorInfo] = [
            *definition.inputs.values(),
            *definition.outputs.values(),
        ]
        if not name.startswith("__"):  # TensorFlow's own
            assert all(info.tensor_shape.dim[0].size == -1 for info in tensors), name


def test_the_status_of_the_version_is_available(rest):
    number = rest.version()
    assert rest.states()[number].state == State.AVAILABLE
    for path in ("", f"/versions/{number}"):
        status, document = rest.rest("GET", f"/v1/models/{rest.name}{path}")
        assert status == 200
        assert {
            "version": str(number),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        } in document["model_version_status"]


# Versions and labels by name


def test_a_request_can_name_the_version_that_is_to_answer(rest):
    number = rest.version()
    inputs = example(definition_of(rest, "encode"), rows=2)
    response = rest.prediction.Predict(rest.request("encode", inputs, number=number))
    assert response.model_spec.version.value == number
    assert response.model_spec.name == rest.name
    assert response.model_spec.signature_name == "encode"
    columns = {name: values.tolist() for name, values in inputs.items()}
    document = {"signature_name": "encode", "inputs": columns}
    assert rest.post(document, f"/versions/{number}") == rest.post(document)


@pytest.fixture(scope="module")
def labelled(request, exported, tmp_path_factory):
    """A server of all versions, 1 and 2, called stable and canary; 3 has a label, and is not there."""
    if request.config.getoption("target", None):
        pytest.skip("needs labels in the server's configuration")
    folder = tmp_path_factory.mktemp("labelled")
    for number in (1, 2):
        publish(exported("bits") / "1", folder, number)
    labels = [w for pair in ("stable=1", "canary=2", "next=3") for w in ("--label", pair)]
    with local_server(folder, "--name", "named", "--versions", "all", *labels) as running:
        until("both versions", lambda: len(running.target.states()) == 2 and available(running))
        yield running.target


def available(running):
    return all(entry.state == State.AVAILABLE for entry in running.target.states().values())


def test_a_label_stands_for_its_version(labelled):
    assert newest(labelled.folder) == 2
    assert labelled.version(label="stable") == 1
    assert labelled.version(label="canary") == 2
    assert labelled.version(number=1) == 1
    assert labelled.version() == 2
    status, document = labelled.rest("GET", "/v1/models/named/labels/stable/metadata")
    assert (status, document["model_spec"]["version"]) == (200, "1")
    seeds = {"signature_name": "generate", "inputs": [1]}
    assert labelled.post(seeds, "/labels/stable") == labelled.post(seeds, "/versions/1")


def test_a_label_of_no_version_is_refused(labelled):
    code, text = refusal(lambda: labelled.version(label="nonsense"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "Unrecognized servable version label: nonsense" in text
    code, text = refusal(lambda: labelled.version(label="next"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "Servable not found for request: Specific(named, 3)" in text
    assert labelled.post({"inputs": [1]}, "/labels/nonsense")[0] == 400
    assert labelled.post({"inputs": [1]}, "/labels/next")[0] == 404
