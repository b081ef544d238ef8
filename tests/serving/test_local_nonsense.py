"""What the local server reads and writes, and what nonsense does to it."""

import random
import socket

import grpc
import local_json
import numpy as np
import pytest
import tensorflow as tf
from local_version import Refusal
from served import SECONDS, refusal
from toys import X

SPECS = {
    "flag": tf.TensorSpec([None], tf.bool),
    "pixel": tf.TensorSpec([None, 2], tf.uint8),
    "wide": tf.TensorSpec([None], tf.float64),
}


def test_each_type_arrives_as_itself(toy):
    inputs = {
        "flag": np.array([True, False]),
        "pixel": np.array([[0, 255], [7, 8]], np.uint8),
        "wide": np.array([1.0, 1e300]),
    }
    expected = toy.predict("zoo", inputs)
    assert {name: array.dtype.name for name, array in expected.items()} == {
        "flag": "bool",
        "pixel": "uint8",
        "wide": "float64",
    }
    np.testing.assert_array_equal(expected["wide"], inputs["wide"] / 3)
    columns = {name: array.tolist() for name, array in inputs.items()}
    status, document = toy.post({"signature_name": "zoo", "inputs": columns})
    assert status == 200
    assert document["outputs"] == {name: array.tolist() for name, array in expected.items()}


@pytest.mark.parametrize(
    ("values", "dtype", "text"),
    [
        ([256], tf.uint8, "256 Type: Number is not of expected type: uint8"),
        ([-1], tf.uint8, "-1 Type: Number is not of expected type: uint8"),
        ([True], tf.int64, "true Type: Bool is not of expected type: int64"),
        ([1.0, True], tf.float32, "true Type: Bool is not of expected type: float"),
        ([1.0], tf.int64, "1.0 Type: Number is not of expected type: int64"),
        ([1], tf.bool, "1 Type: Number is not of expected type: bool"),
        ([2**24], tf.float32, "Cannot convert JSON value: 16777216 to float without loss"),
        ([1e39], tf.float32, "Cannot convert JSON value: 1e+39 to float without loss"),
        ([10**400], tf.float64, "to double without loss of precision"),
        (["a"], tf.string, 'Conversion of JSON Value: "a" to type: string'),
    ],
)
def test_values_that_a_type_cannot_hold_are_refused(values, dtype, text):
    with pytest.raises(Refusal) as refused:
        local_json.arrays({"inputs": values}, {"x": tf.TensorSpec([None], dtype)})
    assert text in refused.value.text


def test_float32_survives_both_ways_bit_for_bit(toy):
    bits = np.random.default_rng(0).integers(0, 2**32, 4000, dtype=np.uint32)
    x = bits.view(np.float32)[np.isfinite(bits.view(np.float32))][:3000].reshape(-1, 2)
    x[(np.abs(x) > 1e38) | (np.abs(x) < 1e-37)] = 1.0  # TensorFlow rounds the smallest to 0
    answer = toy.by_columns("encode", {"x": x})
    np.testing.assert_array_equal(answer["first"].view(np.uint32), x[:, 0].view(np.uint32))
    np.testing.assert_array_equal(answer["mean"].view(np.uint32), (x * 2).view(np.uint32))


def test_numbers_that_are_not_finite_are_read_and_written():
    document = local_json.parse(b'{"inputs": [NaN, Infinity, -Infinity, 1]}')
    array = local_json.arrays(document, {"x": tf.TensorSpec([None], tf.float32)})["x"]
    np.testing.assert_array_equal(array, np.float32([np.nan, np.inf, -np.inf, 1]))
    assert (
        local_json.answer({"x": array}, rows=False) == b'{"outputs":[NaN,Infinity,-Infinity,1.0]}'
    )


def test_no_rows_are_an_answer_of_no_rows(toy):
    answer = toy.predict("encode", {"x": np.zeros((0, 2), np.float32)})
    assert {name: array.shape for name, array in answer.items()} == {"mean": (0, 2), "first": (0,)}


def test_too_many_rows_are_refused_with_a_remedy(toy):
    code, text = refusal(lambda: toy.predict("encode", {"x": np.zeros((10_001, 2), np.float32)}))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == (
        "Task size 10001 is larger than maximum input batch size 10000: send the rows in several "
        "requests"
    )


# Nonsense


def _nonsense(chance, depth=0):
    kind = chance.randrange(9 if depth < 4 else 7)
    if kind < 7:
        values = (
            None,
            True,
            chance.random(),
            chance.randrange(-5, 5),
            "text",
            10**30,
            float("nan"),
        )
        return values[kind]
    if kind == 7:
        return [_nonsense(chance, depth + 1) for _ in range(chance.randrange(4))]
    keys = ("x", "seed", "inputs", "instances", "signature_name", "", "\ud800")
    return {chance.choice(keys): _nonsense(chance, depth + 1) for _ in range(chance.randrange(4))}


def test_nonsense_in_json_is_refused_and_never_a_defect(toy):
    chance = random.Random(0)
    for _ in range(300):
        key = chance.choice(("inputs", "instances"))
        name = chance.choice(("encode", "slow", "zoo", "", _nonsense(chance)))
        status, document = toy.post({"signature_name": name, key: _nonsense(chance)})
        assert (status, document) == (200, {"outputs": []}) or status == 400
        assert "error" in document or status == 200
        assert "Traceback" not in document.get("error", "")
    assert toy.by_rows("encode", {"x": X})["mean"].tolist() == (2 * X).tolist()


def test_nonsense_instead_of_http_is_refused(toy):
    host, port = toy.rest_address.split(":")
    chance = random.Random(0)
    heads = [
        b"",
        b"\r\n\r\n",
        b"POST /v1/models/toy:predict HTTP/1.1\r\nContent-Length: minus\r\n\r\n",
        b"GET /\xff\xfe%zz%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models/%ff%fe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"BREW /v1/models/toy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        chance.randbytes(1000),
    ]
    for head in heads:
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            connection.sendall(head)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda read=connection: _read(read), b""))
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer
    assert toy.rest("GET", "/v1/models/toy")[0] == 200


def _read(connection):
    try:
        return connection.recv(2**16)
    except ConnectionResetError:
        return b""


def test_nonsense_instead_of_a_message_is_refused(toy):
    chance = random.Random(0)
    call = toy.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    good = toy.request("encode", {"x": X}).SerializeToString()
    refusals = []
    for _ in range(400):
        broken = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            call(bytes(broken), timeout=SECONDS)  # some changes are of values only: legal
        except grpc.RpcError as error:
            refusals.append(error)
    assert len(refusals) > 100
    assert {error.code() for error in refusals} == {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNKNOWN,  # a message that cannot be parsed, by gRPC itself
    }
    assert all(error.details() and "Traceback" not in error.details() for error in refusals)
    np.testing.assert_array_equal(toy.predict("encode", {"x": X})["mean"], 2 * X)


def test_lists_within_lists_without_end_are_refused(toy):
    for depth in (40, 900, 100_000):
        status, document = toy.post(b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}")
        assert status == 400
        assert document["error"]
