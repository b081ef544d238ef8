"""A served model of plain arithmetic, over both protocols, that fails on purpose.

Its answers come from NumPy and the official protos and stubs; none of it is from the client.
"""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

CODES = grpc.StatusCode
HTTP = {
    CODES.INVALID_ARGUMENT: 400,
    CODES.FAILED_PRECONDITION: 400,
    CODES.PERMISSION_DENIED: 403,
    CODES.NOT_FOUND: 404,
    CODES.RESOURCE_EXHAUSTED: 429,
    CODES.INTERNAL: 500,
    CODES.UNAVAILABLE: 503,
}
# signature: its inputs and outputs; E has the event's shape, D the latent's, 1 is a number.
SIGNATURES = {
    "encode": ({"x": "E"}, {"loc": "D", "scale_diag": "D", "mean": "D"}),
    "encode_sample": ({"x": "E", "seed": "1"}, {"z": "D"}),
    "decode": ({"z": "D"}, {"logits": "E", "mean": "E"}),
    "decode_sample": ({"z": "D", "seed": "1"}, {"x": "E"}),
    "reconstruct": ({"x": "E"}, {"mean": "E"}),
    "generate": ({"seed": "1"}, {"z": "D", "mean": "E", "x": "E"}),
    "score": ({"x": "E", "seed": "1"}, {"elbo": "1", "log_likelihood": "1", "kl": "1"}),
}
Arrays = Mapping[str, np.ndarray]


class Failure(Exception):
    """An error of the server, by the code that gRPC has for it."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Raw(Exception):
    """An HTTP answer that is none of TensorFlow Serving's."""

    def __init__(self, code: int, body: bytes) -> None:
        super().__init__(body)
        self.code, self.body = code, body


class Reset(Exception):
    """The connection breaks during the request."""


@dataclass
class Version:
    """What a version takes."""

    event: tuple[int, ...] = (4, 4, 1)
    x: str = "float32"
    condition: tuple[int, ...] | None = None  # the shape of a row's condition
    signatures: tuple[str, ...] = tuple(SIGNATURES)

    def specs(self, name: str) -> tuple[dict, dict]:
        """(dtype, shape) of the inputs and of the outputs."""
        shapes = {"E": self.event, "D": (2,), "1": ()}
        dtypes = {"x": self.x, "seed": "int64"}
        inputs, outputs = SIGNATURES[name]
        taken = {key: (dtypes.get(key, "float32"), shapes[kind]) for key, kind in inputs.items()}
        if self.condition is not None:
            taken["condition"] = ("float32" if self.condition else "int64", self.condition)
        return taken, {key: ("float32", shapes[kind]) for key, kind in outputs.items()}


@dataclass
class Fake:
    """The server's state: its versions, what it was asked, and what fails next."""

    versions: dict[int, Version] = field(default_factory=lambda: {1: Version()})
    labels: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[int, str, Arrays]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    before: Callable[[Arrays], None] = lambda inputs: None
    ended: threading.Event = field(default_factory=threading.Event)
    connections: int = 0  # over HTTP

    def which(self, name: str, version: int | None, label: str | None) -> int:
        if label:
            if label not in self.labels:
                text = f"Unrecognized servable version label: {label}"
                raise Failure(CODES.INVALID_ARGUMENT, text)
            version = self.labels[label]
        version = max(self.versions, default=0) if version is None else version
        if name != "vae" or version not in self.versions:
            text = f"Servable not found for request: Specific({name}, {version})"
            raise Failure(CODES.NOT_FOUND, text)
        return version

    def predict(self, version: int, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        event = self.versions[version].event  # it answers, even if it is removed meanwhile
        self.asked.append((version, signature, inputs))
        self.before(inputs)
        if self.faults:
            raise self.faults.pop(0)
        return outputs_of(version, event, signature, inputs)


def outputs_of(
    version: int, event: tuple[int, ...], signature: str, inputs: Arrays
) -> dict[str, np.ndarray]:
    """The model: row by row, so a row's answer is the same in every batch."""
    count = len(next(iter(inputs.values())))
    rows = [_row(version, event, {k: v[i] for k, v in inputs.items()}) for i in range(count)]
    names = SIGNATURES[signature][1]
    return {name: np.stack([row[signature, name] for row in rows]) for name in names}


@np.errstate(over="ignore", invalid="ignore")
def _row(version: int, event: tuple[int, ...], row: Arrays) -> dict[tuple[str, str], Any]:
    value = np.sum(row.get("x", row.get("z", 0)), dtype="float32")
    draw = np.float32(row.get("seed", 0)) + 10 * np.sum(row.get("condition", 0), dtype="float32")
    pair = np.array([value, version], "float32")
    full = lambda number: np.full(event, number, "float32")  # noqa: E731
    return {
        ("encode", "loc"): pair,
        ("encode", "scale_diag"): pair + 1,
        ("encode", "mean"): pair,
        ("encode_sample", "z"): pair + draw,
        ("decode", "logits"): full(value),
        ("decode", "mean"): full(value / 3),
        ("decode_sample", "x"): full(value + draw),
        ("reconstruct", "mean"): np.asarray(row.get("x", 0), "float32"),
        ("generate", "z"): pair + draw,
        ("generate", "mean"): full(version),
        ("generate", "x"): full(draw),
        ("score", "elbo"): value + draw,
        ("score", "log_likelihood"): 2 * value + draw,
        ("score", "kl"): np.float32(version),
    }


@contextmanager
def serving(fake: Fake, ports: tuple[int, int] = (0, 0)) -> Iterator[dict[str, str]]:
    """Serves it on loopback, by default on free ports: {"grpc": "127.0.0.1:...", "rest": "http://..."}."""
    web = _Web(("127.0.0.1", ports[1]), _handler(fake))
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    service = _Services(fake)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    port = server.add_insecure_port(f"127.0.0.1:{ports[0]}")
    server.start()
    try:
        yield {"grpc": f"127.0.0.1:{port}", "rest": f"http://127.0.0.1:{web.server_port}"}
    finally:
        fake.ended.set()
        web.shutdown()
        thread.join()
        web.server_close()
        server.stop(None).wait()


# gRPC, by the official stubs


class _Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def Predict(self, request, context):
        try:
            version = self._which(request.model_spec)
            signature = request.model_spec.signature_name
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = self.fake.predict(version, signature, inputs)
        except Failure as failure:
            context.abort(failure.code, str(failure))
        except Reset:
            context.abort(CODES.UNAVAILABLE, "Socket closed")
        response = predict_pb2.PredictResponse()
        response.model_spec.name = "vae"
        response.model_spec.version.value = version
        for name, value in outputs.items():  # as TensorFlow Serving does: field by field
            proto = response.outputs[name]
            proto.dtype = tf.as_dtype(value.dtype).as_datatype_enum
            proto.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
            proto.float_val.extend(value.ravel())
        return response

    def GetModelMetadata(self, request, context):
        try:
            version = self._which(request.model_spec)
        except Failure as failure:
            context.abort(failure.code, str(failure))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.version.value = version
        found = get_model_metadata_pb2.SignatureDefMap()
        for name in self.fake.versions[version].signatures:
            inputs, outputs = self.fake.versions[version].specs(name)
            definition = found.signature_def[name]
            for infos, specs in ((definition.inputs, inputs), (definition.outputs, outputs)):
                for key, (dtype, shape) in specs.items():
                    infos[key].dtype = tf.as_dtype(dtype).as_datatype_enum
                    infos[key].tensor_shape.CopyFrom(tf.TensorShape([None, *shape]).as_proto())
        response.metadata["signature_def"].Pack(found)
        return response

    def GetModelStatus(self, request, context):
        response = get_model_status_pb2.GetModelStatusResponse()
        for version in sorted(self.fake.versions):
            response.model_version_status.add(version=version, state="AVAILABLE")
        return response

    def _which(self, spec) -> int:
        version = spec.version.value if spec.HasField("version") else None
        return self.fake.which(spec.name, version, spec.version_label)


# REST, by the standard library


class _Web(ThreadingHTTPServer):
    daemon_threads = True  # a kept connection would wait for its next request
    block_on_close = False


def _handler(fake: Fake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body leave at once

        def setup(self):
            fake.connections += 1
            super().setup()

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if self.path.endswith("/metadata"):
                self._say(lambda: self._metadata(self.path.removesuffix("/metadata")))
            else:
                self._say(lambda: _status(fake))

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(lambda: self._predict(body))

        def _say(self, what):
            try:
                code, body = 200, json.dumps(what()).encode()
            except Failure as failure:
                code, body = HTTP[failure.code], escaped(str(failure))
            except Raw as raw:
                code, body = raw.code, raw.body
            except Reset:
                linger = struct.pack("ii", 1, 0)  # so that closing resets
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _which(self, path):
            parts = path.split("/")  # /v1/models/NAME[/versions/N | /labels/L]
            version = int(parts[5]) if parts[4:5] == ["versions"] else None
            label = parts[5] if parts[4:5] == ["labels"] else None
            return fake.which(parts[3], version, label)

        def _metadata(self, path):
            version = self._which(path)
            signatures = {}
            for name in fake.versions[version].signatures:
                inputs, outputs = fake.versions[version].specs(name)
                signatures[name] = {"inputs": _infos(inputs), "outputs": _infos(outputs)}
            return {
                "model_spec": {"name": "vae", "signature_name": "", "version": str(version)},
                "metadata": {"signature_def": {"signature_def": signatures}},
            }

        def _predict(self, body):
            version = self._which(self.path.removesuffix(":predict"))
            specs, _ = fake.versions[version].specs(body["signature_name"])
            inputs = {name: np.array(v, specs[name][0]) for name, v in body["inputs"].items()}
            outputs = fake.predict(version, body["signature_name"], inputs)
            columns = {name: value.tolist() for name, value in outputs.items()}
            return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}

    return Handler


def _infos(specs):
    return {
        name: {
            "dtype": f"DT_{'FLOAT' if dtype == 'float32' else dtype.upper()}",
            "tensor_shape": {
                "dim": [{"size": str(size), "name": ""} for size in (-1, *shape)],
                "unknown_rank": False,
            },
            "name": f"serving_{name}:0",
        }
        for name, (dtype, shape) in specs.items()
    }


def _status(fake):
    return {
        "model_version_status": [
            {
                "version": str(version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
            for version in sorted(fake.versions)
        ]
    }


def escaped(text: str) -> bytes:
    """An error as TensorFlow Serving writes it: escaped as C does, which need not be JSON."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'").replace("\n", "\\n")
    return b'{ "error": "' + text.encode() + b'" }'
