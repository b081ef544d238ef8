"""The client's gRPC side: grpcio, protobuf and NumPy; no TensorFlow.

The generated modules `tensorflow_serving.apis.*_pb2` import TensorFlow, for the tensor's
message alone. Here the few messages are declared again, by the numbers and types of their
fields in the official .proto files, in a pool of their own: it knows nothing of the official
ones, which a program may import beside it.
"""

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from client_parts import (
    DTYPE_OF_NUMBER,
    NUMBER_OF_DTYPE,
    Closed,
    InvalidInput,
    Model,
    NotFound,
    Overloaded,
    Protocol,
    Refused,
    ServerFault,
    ServingError,
    Signature,
    TensorSpec,
    TimedOut,
    Transport,
    Unavailable,
    VersionStatus,
    Which,
    names_none,
)
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["GrpcTransport"]

# message: {field: (number, type)}; "*" repeats. Map fields are repeated entries on the wire,
# enums are int32, an Int64Value is a message of one int64.
_MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "Dim*"), "unknown_rank": (3, "bool")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "float*"),
        "double_val": (6, "double*"),
        "int_val": (7, "int32*"),
        "int64_val": (10, "int64*"),
        "bool_val": (11, "bool*"),
    },
    "NamedTensor": {"key": (1, "string"), "value": (2, "Tensor")},
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "NamedTensor*")},
    "PredictResponse": {"outputs": (1, "NamedTensor*"), "model_spec": (2, "ModelSpec")},
    "MetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "string*")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "NamedAny": {"key": (1, "string"), "value": (2, "Any")},
    "MetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "NamedAny*")},
    "TensorInfo": {"dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "NamedTensorInfo": {"key": (1, "string"), "value": (2, "TensorInfo")},
    "SignatureDef": {"inputs": (1, "NamedTensorInfo*"), "outputs": (2, "NamedTensorInfo*")},
    "NamedSignatureDef": {"key": (1, "string"), "value": (2, "SignatureDef")},
    "SignatureDefMap": {"signature_def": (1, "NamedSignatureDef*")},
    "StatusRequest": {"model_spec": (1, "ModelSpec")},
    "Status": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "VersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "Status")},
    "StatusResponse": {"model_version_status": (1, "VersionStatus*")},
}
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
# Where a tensor's values are, if not in `tensor_content`.
_VALUES = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "bool": "bool_val",
}
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),  # an answer may be larger than the default 4 MB
    ("grpc.enable_retries", 0),  # the client counts them
    ("grpc.enable_http_proxy", 0),  # as on the REST side
    ("grpc.use_local_subchannel_pool", 1),  # a new client shares no failed connection
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


def _declared() -> dict[str, Any]:
    """The classes of the messages."""
    file = descriptor_pb2.FileDescriptorProto(
        name="client_grpc.proto", package="client", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(name=field, number=number, **_field_type(kind))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"client.{name}"))
        for name in _MESSAGES
    }


def _field_type(kind: str) -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    kind = kind.removesuffix("*")
    if kind in _MESSAGES:
        return {"label": label, "type": field.TYPE_MESSAGE, "type_name": f".client.{kind}"}
    return {"label": label, "type": field.Type.Value(f"TYPE_{kind.upper()}")}


_TYPES = _declared()


class GrpcTransport(Transport):
    """TensorFlow Serving over gRPC, on one channel without encryption.

    Args:
        server: `localhost:8500`.
        model: its name there.
    """

    names_version = True

    def __init__(self, server: str, model: str) -> None:
        self.server = server
        self._model = model
        self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        self._predict = self._method("PredictionService/Predict", "PredictResponse")
        self._metadata = self._method("PredictionService/GetModelMetadata", "MetadataResponse")
        self._status = self._method("ModelService/GetModelStatus", "StatusResponse")

    def metadata(self, which: Which, timeout: float) -> Model:
        request = _TYPES["MetadataRequest"](
            model_spec=self._spec(which), metadata_field=["signature_def"]
        )
        response = self._ask(self._metadata, request, timeout)
        signatures = _TYPES["SignatureDefMap"]()
        for entry in response.metadata:
            if entry.key == "signature_def":
                signatures.ParseFromString(entry.value.value)
        return Model(
            response.model_spec.version.value,
            {one.key: _signature(one.key, one.value) for one in signatures.signature_def},
        )

    def status(self, timeout: float) -> list[VersionStatus]:
        request = _TYPES["StatusRequest"](model_spec=self._spec(Which()))
        response = self._ask(self._status, request, timeout)
        return [
            VersionStatus(one.version, _STATES.get(one.state, "?"), one.status.error_message)
            for one in response.model_version_status
        ]

    def predict(
        self,
        which: Which,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        timeout: float,
    ) -> tuple[int, dict[str, np.ndarray]]:
        request = _TYPES["PredictRequest"](model_spec=self._spec(which, signature.name))
        for name, array in inputs.items():
            request.inputs.add(key=name, value=_tensor(array))
        response = self._ask(self._predict, request, timeout)
        outputs = {one.key: _array(one.key, one.value) for one in response.outputs}
        return response.model_spec.version.value, outputs

    def close(self) -> None:
        self._channel.close()

    def _method(self, path: str, answer: str) -> Any:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{path}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_TYPES[answer].FromString,
        )

    def _spec(self, which: Which, signature: str = "") -> Any:
        spec = _TYPES["ModelSpec"](name=self._model, signature_name=signature)
        if which.version is not None:
            spec.version.value = which.version
        elif which.label is not None:
            spec.version_label = which.label
        return spec

    def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise _error(error, self.server, timeout) from error


def _signature(name: str, value: Any) -> Signature:
    return Signature(name, _specs(value.inputs), _specs(value.outputs))


def _specs(entries: Any) -> dict[str, TensorSpec]:
    return {entry.key: _tensor_spec(entry.value) for entry in entries}


def _tensor_spec(info: Any) -> TensorSpec:
    sizes = [dimension.size for dimension in info.tensor_shape.dim]
    return TensorSpec(
        DTYPE_OF_NUMBER.get(info.dtype), tuple(None if size < 0 else size for size in sizes)
    )


def _tensor(array: np.ndarray) -> Any:
    shape = _TYPES["Shape"](dim=[_TYPES["Dim"](size=size) for size in array.shape])
    content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return _TYPES["Tensor"](
        dtype=NUMBER_OF_DTYPE[array.dtype], tensor_shape=shape, tensor_content=content
    )


def _array(name: str, tensor: Any) -> np.ndarray:
    """The values, which are in `tensor_content`, or in the field of their dtype."""
    dtype = DTYPE_OF_NUMBER.get(tensor.dtype)
    shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    if dtype is None:
        raise Protocol(f"The output `{name}` has TensorFlow's dtype {tensor.dtype}: no number.")
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, dtype.newbyteorder("<")).astype(dtype)
    else:
        values = np.array(getattr(tensor, _VALUES.get(dtype.name, "int_val")), dtype)
    size = int(np.prod(shape))
    if 0 < values.size < size:  # TensorProto: the last value stands for all that follow
        values = np.pad(values, (0, size - values.size), mode="edge")
    if values.size != size:
        raise Protocol(
            f"The output `{name}` is cut short. Expected: shape {shape}. "
            f"Received: {values.size} values."
        )
    return values.reshape(shape)


def _error(error: Any, server: str, timeout: float) -> ServingError:
    """The client's error for a gRPC status."""
    code, text = error.code(), error.details() or "no details"
    codes = grpc.StatusCode
    if code is codes.DEADLINE_EXCEEDED:
        return TimedOut(f"{server} did not answer within {timeout:g} s.")
    if code is codes.RESOURCE_EXHAUSTED and "larger than max" in text:
        return InvalidInput(
            f"A request is larger than the server takes. Send fewer rows: `batch`. ({text})"
        )
    if code is codes.RESOURCE_EXHAUSTED:
        return Overloaded(f"The server at {server} has too many requests: {text}")
    if code is codes.UNIMPLEMENTED or "parsing HTTP/2" in text or "http1.x" in text:
        return Protocol(
            f"What answers at {server} is no TensorFlow Serving gRPC port (8500 by default): {text}"
        )
    if code is codes.UNAVAILABLE:
        return Unavailable(f"No server answers at {server}: {text}. Is it running there?")
    if code is codes.NOT_FOUND or names_none(text):
        return NotFound(f"The server at {server} has not what was asked: {text}")
    if code in (codes.INVALID_ARGUMENT, codes.FAILED_PRECONDITION, codes.OUT_OF_RANGE):
        return InvalidInput(text)
    if code in (codes.UNAUTHENTICATED, codes.PERMISSION_DENIED):
        return Refused(f"{server} refuses the request: {text}")
    if code is codes.CANCELLED:
        return Closed(f"The request to {server} was cancelled: {text}")
    return ServerFault(f"The server at {server} failed ({code.name}): {text}")
