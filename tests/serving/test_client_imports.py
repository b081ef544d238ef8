"""What the client needs to be installed, and that its messages are the official ones."""

import subprocess
import sys
from pathlib import Path

import client_grpc
import numpy as np
import pytest
import tensorflow as tf
from client_fakes import Fake, serving
from client_parts import Signature, Which
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

SERVING = Path(client_grpc.__file__).parent
HEAVY = ("tensorflow", "tensorflow_serving", "keras", "keras_vae", "tensorflow_probability", "PIL")

PROGRAM = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {serving!r})
import numpy as np
from client import Client
x = np.ones((3, 4, 4, 1), np.float32)
with Client({server!r}, batch=2) as vae:
    print(vae.score(x, seed=0)["elbo"].tolist(), len(vae.status()))
"""


@pytest.fixture(scope="module")
def addresses():
    with serving(Fake()) as found:
        yield found


def run(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("protocol", "blocked"),
    [("grpc", HEAVY), ("rest", (*HEAVY, "grpc", "google"))],
)
def test_the_client_works_where_little_is_installed(addresses, protocol, blocked):
    program = PROGRAM.format(blocked=blocked, serving=str(SERVING), server=addresses[protocol])
    done = run(program)
    assert done.stderr == ""
    assert done.stdout == "[16.0, 17.0, 18.0] 1\n"


def test_a_missing_grpc_is_said_with_its_remedy(addresses):
    program = PROGRAM.format(blocked=("grpc",), serving=str(SERVING), server=addresses["grpc"])
    assert "ImportError: gRPC needs grpcio and protobuf" in run(program).stderr


# The messages: every field that is declared again has the official number and type.

OFFICIAL = {
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "MetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "MetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "StatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "StatusResponse": get_model_status_pb2.GetModelStatusResponse,
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_message_is_wired_as_the_official_one(name):
    require_same_wire(client_grpc._TYPES[name].DESCRIPTOR, OFFICIAL[name].DESCRIPTOR)


def require_same_wire(ours, official):
    """Fields by number, type, repetition and packing; an enum is an int32 on the wire."""
    for field in ours.fields:
        theirs = official.fields_by_name[field.name]
        kinds = {field.type, theirs.type}
        assert field.number == theirs.number, field.full_name
        assert len(kinds) == 1 or kinds == {field.TYPE_INT32, field.TYPE_ENUM}, field.full_name
        assert field.is_repeated == theirs.is_repeated, field.full_name
        assert field.is_packed == theirs.is_packed, field.full_name
        if field.message_type is not None:
            require_same_wire(field.message_type, theirs.message_type)


def test_every_message_is_reached_from_those_of_the_services():
    reached = set()

    def visit(message):
        reached.add(message.name)
        for field in message.fields:
            if field.message_type is not None:
                visit(field.message_type)

    for name in OFFICIAL:
        visit(client_grpc._TYPES[name].DESCRIPTOR)
    assert reached == set(client_grpc._MESSAGES)


def test_the_states_are_the_official_ones():
    states = get_model_status_pb2.ModelVersionStatus.State
    assert {number: name for name, number in states.items()} == client_grpc._STATES


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int32", "uint8", "int64", "bool", "int16"]
)
def test_a_tensor_is_read_by_tensorflow_and_read_back(dtype):
    array = np.random.default_rng(0).integers(0, 2, (3, 2)).astype(dtype)
    ours = client_grpc._tensor(array)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    assert tf.make_ndarray(theirs).dtype == array.dtype
    for proto in (tf.make_tensor_proto(array), as_field(array)):
        back = client_grpc._TYPES["Tensor"].FromString(proto.SerializeToString())
        assert client_grpc._array("x", back).tobytes() == array.tobytes()


def as_field(array):
    """The tensor as TensorFlow Serving answers: its values in the field of their dtype."""
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    fields = {"float32": "float_val", "float64": "double_val", "int64": "int64_val"}
    name = "bool_val" if array.dtype == bool else fields.get(array.dtype.name, "int_val")
    getattr(proto, name).extend(array.ravel().tolist())
    return proto


def test_the_last_value_of_a_tensor_stands_for_those_that_follow():
    proto = tf.make_tensor_proto(1.0, shape=(2, 3))
    ours = client_grpc._TYPES["Tensor"].FromString(proto.SerializeToString())
    np.testing.assert_array_equal(client_grpc._array("x", ours), np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("which", "version", "label"),
    [(Which(), 0, ""), (Which(version=3), 3, ""), (Which(label="stable"), 0, "stable")],
)
def test_a_request_is_read_by_the_official_messages(monkeypatch, which, version, label):
    sent = []
    transport = client_grpc.GrpcTransport("localhost:1", "vae")
    monkeypatch.setattr(transport, "_predict", lambda request, timeout: sent.append(request))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with pytest.raises(AttributeError):  # there is no answer to read
        transport.predict(which, Signature("encode", {}, {}), {"x": x}, 1.0)
    transport.close()
    request = predict_pb2.PredictRequest.FromString(sent[0].SerializeToString())
    spec = model_pb2.ModelSpec(name="vae", signature_name="encode", version_label=label or None)
    if version:
        spec.version.value = version
    assert request.model_spec == spec
    np.testing.assert_array_equal(tf.make_ndarray(request.inputs["x"]), x)
