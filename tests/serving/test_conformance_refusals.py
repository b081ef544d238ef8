"""What a server refuses: with which code, with which text, and that it answers the next request."""

import http.client
import json

import grpc
import numpy as np
import pytest
from served import example, refusal, rows_of
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LARGE = 100 * 2**20


@pytest.fixture(scope="module")
def scored(target):
    """Legal inputs of `score`, which has both x and seed."""
    definitions = target.definitions()
    if "score" not in definitions:
        pytest.skip("the model was exported without score")
    return example(definitions["score"], rows=2)


@pytest.fixture(autouse=True)
def _answers_afterwards(target, scored):
    yield
    assert "elbo" in target.predict("score", scored)
    if target.rest_address is not None:
        assert target.rest("GET", f"/v1/models/{target.name}")[0] == 200


def without(inputs, name):
    return {key: value for key, value in inputs.items() if key != name}


def columns(inputs):
    return {name: values.tolist() for name, values in inputs.items()}


def not_finite(inputs):
    x = inputs["x"].copy()
    x.flat[0] = np.nan
    return {**inputs, "x": x}


# gRPC


BAD_INPUTS = {
    "missing": (
        lambda inputs: without(inputs, "seed"),
        "input size does not match signature: {fewer}!={count}",
    ),
    "missing names it": (lambda inputs: without(inputs, "seed"), "Missing but required: {{seed}}"),
    "extra": (lambda inputs: {**inputs, "more": inputs["seed"]}, "Sent extra: {{more}}"),
    "misnamed": (lambda inputs: {**without(inputs, "x"), "X": inputs["x"]}, ""),
    "wrong type": (
        lambda inputs: {**inputs, "x": inputs["x"].astype("float64")},
        "to be float but double is provided",
    ),
    "text": (lambda inputs: {**inputs, "x": np.array([b"a", b"b"])}, "float but string"),
    "wrong shape": (lambda inputs: {**inputs, "x": inputs["x"][..., :1, :]}, ""),
    "too large": (lambda inputs: {**inputs, "x": np.zeros((2, 999), "float32")}, ""),
    "one axis less": (lambda inputs: {**inputs, "x": inputs["x"][0]}, ""),
    "scalar": (lambda inputs: {**inputs, "seed": np.int64(1)}, ""),
    "other number of rows": (lambda inputs: {**inputs, "seed": np.arange(3)}, ""),
    "not a number": (not_finite, "support"),
    "outside the support": (lambda inputs: {**inputs, "x": inputs["x"] - 7}, "support"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs_are_refused_by_grpc(target, scored, case):
    change, text = BAD_INPUTS[case]
    code, details = refusal(lambda: target.predict("score", change(scored)))
    assert code is INVALID
    assert details
    assert text.format(count=len(scored), fewer=len(scored) - 1) in details
    assert "Traceback" not in details


BROKEN_PROTOS = {
    "too few values": {"dtype": 1, "tensor_content": b"abc", "shape": [2, 4, 4, 1]},
    "a shape of terabytes": {"dtype": 1, "tensor_content": b"", "shape": [2**40, 4, 4, 1]},
    "a negative shape": {"dtype": 1, "tensor_content": b"", "shape": [-5, 4, 4, 1]},
    "no type": {"dtype": 0, "tensor_content": b"", "shape": [2, 4, 4, 1]},
    "a type of no array": {"dtype": 20, "tensor_content": b"", "shape": [2, 4, 4, 1]},
    "an unknown type": {"dtype": 999, "tensor_content": b"", "shape": [2, 4, 4, 1]},
}


@pytest.mark.parametrize("case", BROKEN_PROTOS)
def test_broken_tensors_are_refused(target, scored, case):
    broken = BROKEN_PROTOS[case]
    request = target.request("score", scored)
    x = request.inputs["x"]
    x.Clear()
    x.dtype = broken["dtype"]
    x.tensor_content = broken["tensor_content"]
    for size in broken["shape"]:
        x.tensor_shape.dim.add(size=size)
    code, details = refusal(lambda: target.prediction.Predict(request, 60))
    assert code is INVALID
    assert "x" in details


def test_an_unknown_signature_is_refused(target, scored):
    code, text = refusal(lambda: target.predict("zzz", scored))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert 'Serving signature key "zzz" not found.' in text


def test_an_unknown_model_or_version_is_refused(target, scored):
    request = target.request("score", scored, number=999)
    code, text = refusal(lambda: target.prediction.Predict(request, 60))
    assert code is grpc.StatusCode.NOT_FOUND
    assert f"Servable not found for request: Specific({target.name}, 999)" in text
    request = target.request("score", scored)
    request.model_spec.name = "nonsense"
    code, text = refusal(lambda: target.prediction.Predict(request, 60))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "Servable not found for request: Latest(nonsense)" in text


def test_a_request_without_a_model_is_refused(target):
    for request in (predict_pb2.PredictRequest(), predict_pb2.PredictRequest(model_spec={})):
        code, text = refusal(lambda sent=request: target.prediction.Predict(sent, 60))
        assert code is INVALID
        assert text


def test_the_status_of_an_unknown_model_or_version_is_refused(target):
    for spec, text in (
        ({"name": "nonsense"}, "Could not find any versions of model nonsense"),
        (target.spec(number=999), f"Could not find version 999 of model {target.name}"),
    ):
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        code, details = refusal(lambda sent=request: target.models.GetModelStatus(sent, 60))
        assert code is grpc.StatusCode.NOT_FOUND
        assert text in details


@pytest.mark.parametrize("fields", [[], ["nonsense"]])
def test_metadata_other_than_the_signatures_are_refused(target, fields):
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=target.spec(), metadata_field=fields
    )
    code, text = refusal(lambda: target.prediction.GetModelMetadata(request, 60))
    assert code is INVALID
    assert text


def test_what_the_local_server_does_not_have_is_unimplemented(target):
    if not target.local:
        pytest.skip("of the local server")
    request = classification_pb2.ClassificationRequest(model_spec=target.spec())
    code, _ = refusal(lambda: target.prediction.Classify(request, 60))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_of_100_mb_is_refused(target, scored):
    inputs = {**scored, "x": np.zeros((LARGE // 4, 1), "float32")}
    code, text = refusal(lambda: target.predict("score", inputs))
    assert code in (INVALID, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert text


# REST


BAD_COLUMNS = {
    "missing": (lambda c: without(c, "seed"), "Missing named input: seed in 'inputs' object."),
    "misnamed": (lambda c: {**without(c, "x"), "X": c["x"]}, "Missing named input: x"),
    "ragged": (lambda c: {**c, "x": [c["x"][0], [1.0]]}, "unexpected size: 1 at level: 1"),
    "ragged by a number": (lambda c: {**c, "x": [c["x"][0], 1.0]}, "found at incorrect level"),
    "ragged by a list": (lambda c: {**c, "seed": [1, [2]]}, "Encountered list at unexpected level"),
    "text": (
        lambda c: {**c, "seed": ["a", "b"]},
        "Type: String is not of expected type: int64",
    ),
    "a fraction for a whole number": (lambda c: {**c, "seed": [1.5, 2]}, "expected type: int64"),
    "too large a whole number": (lambda c: {**c, "seed": [2**63, 2]}, "expected type: int64"),
    "null": (lambda c: {**c, "seed": [None, 1]}, "not of expected type: int64"),
    "an object": (lambda c: {**c, "seed": [{}, 1]}, "not of expected type: int64"),
    "empty": (lambda c: {**c, "x": []}, ""),
    "wrong shape": (lambda c: {**c, "x": [[1.0, 0.0], [0.0, 1.0]]}, ""),
    "too large": (lambda c: {**c, "x": [[0.0] * 9999] * 2}, ""),
    "other number of rows": (lambda c: {**c, "seed": [1, 2, 3]}, ""),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_columns_are_refused(rest, scored, case):
    change, text = BAD_COLUMNS[case]
    status, document = rest.post({"signature_name": "score", "inputs": change(columns(scored))})
    assert status == 400
    assert document["error"]
    assert text in document["error"]


def test_an_extra_column_is_refused_by_the_local_server(rest, scored):
    if not rest.local:
        pytest.skip("TensorFlow Serving ignores it: here, too, a slip is to be seen")
    inputs = {**columns(scored), "more": [1, 2]}
    status, document = rest.post({"signature_name": "score", "inputs": inputs})
    assert status == 400
    assert "does not have named input: more" in document["error"]


BAD_ROWS = {
    "missing": (lambda rows: [without(row, "seed") for row in rows], "keys must be equal to"),
    "extra": (lambda rows: [{**row, "more": 1} for row in rows], "does not have named input: more"),
    "one without": (lambda rows: [rows[0], without(rows[1], "seed")], "element: 1"),
    "not named": (lambda rows: [row["x"] for row in rows], "instances is a plain list"),
    "mixed": (lambda rows: [rows[0], rows[1]["x"]], "Expecting object but got list at item 1"),
    "ragged": (lambda rows: [rows[0], {**rows[1], "x": [1.0]}], ""),
    "none": (lambda rows: [], "No values in 'instances' array"),
    "no list": (lambda rows: rows[0], "'instances' to be an list/array"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused(rest, scored, case):
    change, text = BAD_ROWS[case]
    status, document = rest.post({"signature_name": "score", "instances": change(rows_of(scored))})
    assert status == 400
    assert text in document["error"]


def test_values_outside_the_support_are_refused_by_rest(rest, scored):
    inputs = columns(not_finite(scored))
    status, document = rest.post({"signature_name": "score", "inputs": inputs})
    assert status == 400
    assert "support" in document["error"]
    assert "node" not in document["error"] or not rest.local


BAD_BODIES = {
    "empty": (b"", "The document is empty"),
    "no JSON": (b"{not json", "JSON Parse error"),
    "cut off": (b'{"inputs": {"x": [[1', "JSON Parse error"),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', ""),
    "no object": (b"[1, 2]", "Is not object"),
    "no inputs": (b"{}", "Missing 'inputs' or 'instances' key"),
    "both": (b'{"inputs": [1], "instances": [1]}', "one of 'inputs' or 'instances'"),
    "signature no text": (b'{"signature_name": 1}', "'signature_name' key must be a string value"),
    "unknown signature": (
        b'{"signature_name": "zzz", "inputs": [1]}',
        'Serving signature name: "zzz" not found in signature def',
    ),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_bodies_are_refused(rest, case):
    body, text = BAD_BODIES[case]
    status, document = rest.post(body)
    assert status == 400
    assert text in document["error"]


BAD_PATHS = [
    ("GET", "/v1/models/nonsense", 404, "Could not find any versions of model nonsense"),
    ("GET", "/v1/models/nonsense/metadata", 404, "Servable not found for request"),
    ("GET", "/v1/models/{name}/versions/999", 404, "Could not find version 999 of model {name}"),
    ("GET", "/v1/models", 400, "Missing model name in request."),
    ("GET", "/v1/models/{name}:predict", 400, "Malformed request: GET /v1/models/{name}:predict"),
    ("GET", "/v1/nonsense", 400, "Malformed request: GET /v1/nonsense"),
    ("POST", "/v1/models/{name}", 400, "Malformed request: POST /v1/models/{name}"),
    ("POST", "/v1/models/nonsense:predict", 404, "Servable not found for request"),
    ("POST", "/v1/models/{name}/versions/999:predict", 404, "Servable not found for request"),
    ("POST", "/v1/models/{name}/labels/nonsense:predict", 400, "Unrecognized servable version"),
    ("POST", "/v1/models/{name}/versions/99999999999999999999:predict", 400, "to numeric"),
    ("PUT", "/v1/models/{name}:predict", 400, "Malformed request: PUT"),
    ("DELETE", "/v1/models/{name}", 400, "Malformed request: DELETE"),
]


@pytest.mark.parametrize(("method", "path", "expected", "text"), BAD_PATHS)
def test_bad_paths_and_methods_are_refused(rest, method, path, expected, text):
    path, text = path.format(name=rest.name), text.format(name=rest.name)
    status, document = rest.rest(method, path, b'{"inputs": [1]}' if method != "GET" else None)
    assert status == expected
    assert text in document["error"]


def test_a_body_of_100_mb_is_refused(rest):
    body = b'{"signature_name": "score", "inputs": [' + b"0," * (LARGE // 2) + b"0]}"
    status, document = rest.post(body)
    assert status == 413 if rest.local else 400 <= status < 500
    assert document["error"]


def test_a_connection_that_is_dropped_amid_a_request_harms_nobody(rest):
    connection = http.client.HTTPConnection(rest.rest_address, timeout=60)
    connection.putrequest("POST", f"/v1/models/{rest.name}:predict")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b'{"inputs": ')
    connection.close()


def test_a_connection_is_kept_for_the_next_request_even_after_a_refusal(rest, scored):
    connection = http.client.HTTPConnection(rest.rest_address, timeout=60)
    good = json.dumps({"signature_name": "score", "inputs": columns(scored)})
    for body, expected in ((good, 200), ("{", 400), (good, 200)):
        connection.request("POST", f"/v1/models/{rest.name}:predict", body)
        response = connection.getresponse()
        response.read()
        assert response.status == expected
    connection.close()


def test_infinity_is_a_number_of_json_that_the_model_itself_refuses(rest):
    inputs = example(rest.definitions()["decode"], rows=1)
    inputs["z"].flat[0] = np.inf
    code, text = refusal(lambda: rest.predict("decode", inputs))
    assert code is INVALID
    assert "`z` is not finite" in text
    status, document = rest.post({"signature_name": "decode", "inputs": columns(inputs)})
    assert status == 400
    assert "`z` is not finite" in document["error"]
