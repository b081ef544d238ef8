"""The REST side of the local server: paths, status codes and bodies of TensorFlow Serving.

POST /v1/models/NAME[/versions/N|/labels/L]:predict
GET  /v1/models/NAME[/versions/N|/labels/L][/metadata]
"""

import asyncio
import json
import re
import traceback
from concurrent.futures import Executor
from typing import Final

import grpc
import local_json
from google.protobuf.json_format import MessageToDict
from local_models import Model
from local_version import DEFAULT_SIGNATURE, MAX_BYTES, Refusal
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

_WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(classify|regress|predict)", re.I | re.A)
_STATUS = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(?:/(metadata))?", re.I | re.A)

_HTTP: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Rest:
    """An ASGI application that answers for one model.

    Args:
        model: the model to serve.
        threads: where the model runs and its JSON is read and written; never on the event loop.
    """

    def __init__(self, model: Model, threads: Executor) -> None:
        self._model = model
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            body = await _body(request)
        except ClientDisconnect:
            return  # nobody is left to answer
        if request.method == "POST":
            loop = asyncio.get_running_loop()
            status, text = await loop.run_in_executor(self._threads, self._answer, request, body)
        else:  # takes no time, so it does not wait behind what does
            status, text = self._answer(request, body)
        await Response(text, status, media_type="application/json")(scope, receive, send)

    def _answer(self, request: Request, body: bytes | None) -> tuple[int, bytes]:
        try:
            if body is None:
                return 413, _error(
                    f"the body is larger than {MAX_BYTES} bytes: send less at a time"
                )
            return 200, self._route(request.method, request.url.path, body)
        except Refusal as refusal:
            return _HTTP.get(refusal.code, 500), _error(refusal.text)
        # A defect of this server must not end it, nor show the client its insides.
        except Exception:
            traceback.print_exc()
            return 500, _error("internal error: the local server's own output has the details")

    def _route(self, method: str, path: str, body: bytes) -> bytes:
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            name, number, label, task = match.groups()
            if task.lower() != "predict":
                text = f"{task} is not served here: use predict"
                raise Refusal(grpc.StatusCode.UNIMPLEMENTED, text)
            return self._predict(name, _number(number), label, body)
        if method == "GET" and (match := _STATUS.fullmatch(path)):
            name, number, label, metadata = match.groups()
            if name is None:
                raise _invalid("Missing model name in request.")
            ask = self._metadata if metadata else self._status
            return ask(name, _number(number), label)
        if not path.lower().startswith("/v1/"):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"no such page: {path}. See /v1/models/NAME")
        raise _invalid(f"Malformed request: {method} {path}")

    def _predict(self, name: str, number: int | None, label: str | None, body: bytes) -> bytes:
        version = self._model.find(name, number, label)
        document = local_json.parse(body)
        key = local_json.signature_name(document) or DEFAULT_SIGNATURE
        if key not in version.definitions:  # by REST another text and code than by gRPC
            raise _invalid(f'Serving signature name: "{key}" not found in signature def')
        signature = version.signature(key)
        inputs = local_json.arrays(document, signature.inputs)
        return local_json.answer(signature.run(inputs), local_json.by_rows(document))

    def _status(self, name: str, number: int | None, label: str | None) -> bytes:
        response = self._model.status(name, number, label)
        return _dump(MessageToDict(response, always_print_fields_with_no_presence=True))

    def _metadata(self, name: str, number: int | None, label: str | None) -> bytes:
        version = self._model.find(name, number, label)
        spec = model_pb2.ModelSpec(name=name, version={"value": version.number})
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=version.definitions)
        return _dump(
            {
                "model_spec": _fields(spec),
                "metadata": {"signature_def": _fields(signatures)},
            }
        )


async def _body(request: Request) -> bytes | None:
    """The body; None if it is too large. It is read to its end all the same: a client that is
    still sending would otherwise see a broken connection and not the answer.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            parts.clear()
        else:
            parts.append(part)
    return b"".join(parts) if size <= MAX_BYTES else None


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19 or int(text) >= 2**63:
        raise _invalid(f"Failed to convert version: {text} to numeric.")
    return int(text)


def _fields(message: model_pb2.ModelSpec | get_model_metadata_pb2.SignatureDefMap) -> dict:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _error(text: str) -> bytes:
    return _dump({"error": text})


def _dump(document: dict) -> bytes:
    return json.dumps(document, indent=1).encode()


def _invalid(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
