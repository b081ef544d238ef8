"""The gRPC side of the local server: TensorFlow Serving's services, by its official stubs."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

import grpc
import numpy as np
import tensorflow as tf
from local_models import Model
from local_version import DEFAULT_SIGNATURE, Refusal, arrays
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_Answer = TypeVar("_Answer")


def add_services(server: grpc.aio.Server, model: Model, threads: Executor) -> None:
    """Let `server` answer for `model`, which runs in `threads` and never on the event loop."""
    calls = _Calls(threads)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Prediction(model, calls), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Status(model, calls), server)


class _Calls:
    """Does the work of a gRPC call and turns what it raises into a status."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads

    async def run(
        self, context: grpc.aio.ServicerContext, work: Callable[[Any], _Answer], request: Any
    ) -> _Answer:
        """In a thread: what takes time."""
        loop = asyncio.get_running_loop()
        return await self._answered(context, loop.run_in_executor(self._threads, work, request))

    async def run_at_once(
        self, context: grpc.aio.ServicerContext, work: Callable[[Any], _Answer], request: Any
    ) -> _Answer:
        """On the event loop: what takes none, so that it does not wait behind what does."""

        async def done() -> _Answer:
            return work(request)

        return await self._answered(context, done())

    async def _answered(
        self, context: grpc.aio.ServicerContext, answer: Awaitable[_Answer]
    ) -> _Answer:
        try:
            return await answer
        except Refusal as refusal:
            await context.abort(refusal.code, refusal.text)
        # A defect of this server must not end it, nor show the client its insides.
        except Exception:
            traceback.print_exc()
            text = "internal error: the local server's own output has the details"
            await context.abort(grpc.StatusCode.INTERNAL, text)
        raise AssertionError("abort raises")


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """PredictionService; what it does not override answers UNIMPLEMENTED."""

    def __init__(self, model: Model, calls: _Calls) -> None:
        self._model = model
        self._calls = calls

    async def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.aio.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return await self._calls.run(context, self._predict, request)

    async def GetModelMetadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.aio.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return await self._calls.run_at_once(context, self._metadata, request)

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        version = self._model.find(*_which(request))
        key = request.model_spec.signature_name or DEFAULT_SIGNATURE
        outputs = version.signature(key).run(arrays(request.inputs), request.output_filter)
        spec = _spec(request.model_spec.name, version.number, key)
        return predict_pb2.PredictResponse(
            model_spec=spec, outputs={name: _proto(array) for name, array in outputs.items()}
        )

    def _metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        if not request.metadata_field:
            text = "GetModelMetadataRequest must specify at least one metadata_field"
            raise Refusal(_INVALID, text)
        for field in request.metadata_field:
            if field != "signature_def":
                raise Refusal(_INVALID, f"Metadata field {field} is not supported")
        version = self._model.find(*_which(request))
        response = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=_spec(request.model_spec.name, version.number, "")
        )
        response.metadata["signature_def"].Pack(
            get_model_metadata_pb2.SignatureDefMap(signature_def=version.definitions)
        )
        return response


class _Status(model_service_pb2_grpc.ModelServiceServicer):
    """ModelService; what it does not override answers UNIMPLEMENTED."""

    def __init__(self, model: Model, calls: _Calls) -> None:
        self._model = model
        self._calls = calls

    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return await self._calls.run_at_once(context, self._status, request)

    def _status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return self._model.status(*_which(request))


def _which(request: Any) -> tuple[str, int | None, str | None]:
    """The name, version and label that a request of gRPC asks for."""
    if not request.HasField("model_spec"):
        raise Refusal(_INVALID, "Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        raise Refusal(_INVALID, "ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    number = spec.version.value if choice == "version" else None
    return spec.name, number, spec.version_label if choice == "version_label" else None


def _spec(name: str, number: int, signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(name=name, version={"value": number}, signature_name=signature)


def _proto(array: np.ndarray) -> Any:
    """A TensorProto with its values in the typed field, where TensorFlow Serving puts them."""
    if array.dtype != np.float32:
        return tf.make_tensor_proto(array)
    proto = tf.make_tensor_proto(np.zeros(0, np.float32), shape=[0])
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    proto.float_val.extend(array.ravel().tolist())
    return proto
