"""One loaded version of a model: a SavedModel, its signatures, and the checks before each call.

The texts of the refusals are TensorFlow Serving's wherever it has one, so that a client which
understands them here understands them there.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

DEFAULT_SIGNATURE = "serving_default"
# One request is one call of the model, whose memory grows with its rows: 10,000 seeds are 80 kB
# of request and, for images of 28 x 28, 31 MB of answer for each output.
MAX_ROWS = 10_000
# TensorFlow Serving takes messages of up to 2 GiB; one process on a laptop should not.
MAX_BYTES = 64 * 2**20
WARM_UP = Path("assets.extra", "tf_serving_warmup_requests")

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Refusal(Exception):
    """A request that gets no answer: one status code of gRPC and one text for the client.

    Example: `raise Refusal(grpc.StatusCode.NOT_FOUND, "Servable not found for request: ...")`.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Signature:
    """One signature of a loaded version: named arrays in, named arrays out.

    Args:
        definition: the signature as the SavedModel declares it.
        function: the restored function.
    """

    def __init__(self, definition: meta_graph_pb2.SignatureDef, function: Any) -> None:
        self.inputs = {name: _spec(info) for name, info in definition.inputs.items()}
        self._outputs = sorted(definition.outputs)
        self._function = function

    def run(
        self, inputs: Mapping[str, np.ndarray], only: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """The outputs for `inputs`, each of which leads with the batch axis.

        Args:
            inputs: an array for each input of the signature, of its dtype and shape.
            only: the outputs to return; all if empty.

        Raises:
            Refusal: if the inputs or `only` do not fit the signature, or the model refuses them.
        """
        self._check_names(inputs)
        for position, name in enumerate(sorted(self.inputs)):
            _check_array(position, name, inputs[name], self.inputs[name])
        _check_rows(inputs)
        names = self._chosen(list(only))
        try:
            outputs = self._function(**{name: tf.constant(inputs[name]) for name in self.inputs})
            return {name: outputs[name].numpy() for name in names}
        except tf.errors.OpError as error:
            raise refusal_of(error) from error

    def _check_names(self, inputs: Mapping[str, np.ndarray]) -> None:
        extra, missing = inputs.keys() - self.inputs.keys(), self.inputs.keys() - inputs.keys()
        if len(inputs) != len(self.inputs):
            raise Refusal(
                _INVALID,
                f"input size does not match signature: {len(inputs)}!={len(self.inputs)} "
                f"len({_set(inputs)}) != len({_set(self.inputs)}). Sent extra: {_set(extra)}. "
                f"Missing but required: {_set(missing)}.",
            )
        if extra:
            raise Refusal(
                _INVALID,
                f"Inputs contains invalid name. Sent extra: {_set(extra)}. "
                f"Missing but required: {_set(missing)}.",
            )

    def _chosen(self, only: list[str]) -> list[str]:
        for index, name in enumerate(only):
            if name not in self._outputs:
                raise Refusal(
                    _INVALID,
                    f"output tensor alias not found in signature: {name} Outputs expected to be "
                    f"in the set {_set(self._outputs)}.",
                )
            if name in only[:index]:
                raise Refusal(_INVALID, f"duplicate output tensor alias: {name}")
        return only or self._outputs


class Version:
    """A version of a model, loaded and warmed up: ready to answer.

    Args:
        folder: the version's folder, `models/vae/1`.

    Raises:
        Exception: what TensorFlow raises if the folder holds no SavedModel that can be loaded.
        Refusal: if one of its warm-up requests fails.
    """

    def __init__(self, folder: Path) -> None:
        self.number = int(folder.name)
        self._loaded = tf.saved_model.load(str(folder))
        self.definitions = _definitions(folder)
        self._signatures = {
            name: Signature(self.definitions[name], function)
            for name, function in self._loaded.signatures.items()
        }
        self._warm_up(folder / WARM_UP)

    def signature(self, name: str) -> Signature:
        """The signature called `name`; the default one if that is empty.

        Raises:
            Refusal: FAILED_PRECONDITION if there is none.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self._signatures:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        return self._signatures[name]

    def _warm_up(self, records: Path) -> None:
        if not records.exists():
            return
        for index, record in enumerate(tf.data.TFRecordDataset(str(records))):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            name = request.model_spec.signature_name
            try:
                self.signature(name).run(arrays(request.inputs), request.output_filter)
            except Refusal as error:
                text = f"warm-up request {index} ({name or DEFAULT_SIGNATURE}): {error.text}"
                raise Refusal(error.code, text) from error


def arrays(protos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The named TensorProtos of a request as arrays.

    Raises:
        Refusal: INVALID_ARGUMENT for one that is malformed, or larger than a request may be.
    """
    return {name: _array(name, proto) for name, proto in protos.items()}


def refusal_of(error: tf.errors.OpError) -> Refusal:
    """TensorFlow's error as a client should see it: without the names of nodes and functions."""
    text = (error.message or "").rpartition("<stack traces unavailable>")[2]
    text = re.sub(r"\s*\[\[\{\{.*?\}\}\]\]|\s*\[Op:[^\]]*\]|\{\{function_node.*?\}\}", "", text)
    text = text.strip()
    return Refusal(_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), text)


def _definitions(folder: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return dict(saved.meta_graphs[0].signature_def)


def _array(name: str, proto: Any) -> np.ndarray:
    sizes = [dimension.size for dimension in proto.tensor_shape.dim]
    # A TensorProto may declare a shape and hold one value to fill it with: small to send, and as
    # large as it likes to say once unpacked.
    values = np.prod([max(size, 0) for size in sizes], dtype=float)
    if min(sizes, default=0) < 0 or proto.tensor_shape.unknown_rank or values > MAX_BYTES / 4:
        raise Refusal(_INVALID, f"tensor parsing error: {name}: shape {sizes}")
    try:
        return np.asarray(tf.make_ndarray(proto))
    except (ValueError, TypeError, KeyError) as error:  # KeyError: a type of no array
        raise Refusal(_INVALID, f"tensor parsing error: {name}: {error}") from error


def _check_array(position: int, name: str, array: np.ndarray, spec: tf.TensorSpec) -> None:
    expected, received = dtype_name(spec.dtype), dtype_name(array.dtype)
    if expected != received:
        raise Refusal(
            _INVALID,
            f"Expects arg[{position}] to be {expected} but {received} is provided (input {name})",
        )
    if not spec.shape.is_compatible_with(array.shape):
        raise Refusal(
            _INVALID,
            f"input {name} must be of shape {_shape(spec.shape)} but {_shape(array.shape)} is "
            "provided (-1 stands for any number of rows)",
        )


def _check_rows(inputs: Mapping[str, np.ndarray]) -> None:
    rows = {name: len(array) for name, array in inputs.items() if array.ndim}
    if len(set(rows.values())) > 1:
        raise Refusal(
            _INVALID,
            f"Batching Run() input tensors must have equal 0th-dimension size: {rows}",
        )
    check_count(max(rows.values(), default=0))


def check_count(rows: int) -> None:
    """Raises INVALID_ARGUMENT if a request has more rows than one may have."""
    if rows > MAX_ROWS:
        raise Refusal(
            _INVALID,
            f"Task size {rows} is larger than maximum input batch size {MAX_ROWS}: "
            "send the rows in several requests",
        )


def _spec(info: meta_graph_pb2.TensorInfo) -> tf.TensorSpec:
    return tf.TensorSpec(tf.TensorShape(info.tensor_shape), tf.as_dtype(info.dtype))


def dtype_name(dtype: Any) -> str:
    """The name that TensorFlow Serving gives a dtype: `float` for float32."""
    return types_pb2.DataType.Name(tf.as_dtype(dtype).as_datatype_enum)[3:].lower()


def _shape(shape: Iterable[int | None]) -> str:
    return "[" + ",".join("-1" if size is None else str(size) for size in shape) + "]"


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
