"""A server under test and how to speak to it: REST by the standard library, gRPC by the stubs."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

SERVER = Path(__file__).parents[2] / "serving" / "local_server.py"
SECONDS = 60  # to wait for what takes one or two: the machine may be busy
STARTING = 300  # of a process that imports TensorFlow: five on a machine that does nothing else

Arrays = Mapping[str, np.ndarray]
State = get_model_status_pb2.ModelVersionStatus.State


@dataclass(frozen=True)
class Target:
    """A server that runs: where, and which model of which folder it serves.

    `folder` is None for a server whose folder cannot be written to from here.
    """

    grpc_address: str
    rest_address: str | None
    name: str
    folder: Path | None
    local: bool = True
    channel: grpc.Channel = field(init=False, repr=False)

    def __post_init__(self):
        unbounded = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        object.__setattr__(self, "channel", grpc.insecure_channel(self.grpc_address, unbounded))

    # gRPC

    @property
    def prediction(self) -> prediction_service_pb2_grpc.PredictionServiceStub:
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @property
    def models(self) -> model_service_pb2_grpc.ModelServiceStub:
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    def spec(self, signature: str = "", number: int | None = None, label: str | None = None) -> Any:
        spec = model_pb2.ModelSpec(name=self.name, signature_name=signature)
        if number is not None:
            spec.version.value = number
        if label is not None:
            spec.version_label = label
        return spec

    def request(
        self, signature: str, inputs: Arrays, only: Iterable[str] = (), **which: Any
    ) -> Any:
        protos = {name: tf.make_tensor_proto(array) for name, array in inputs.items()}
        spec = self.spec(signature, **which)
        return predict_pb2.PredictRequest(model_spec=spec, inputs=protos, output_filter=only)

    def predict(self, signature: str, inputs: Arrays, **options: Any) -> dict[str, np.ndarray]:
        response = self.prediction.Predict(self.request(signature, inputs, **options), SECONDS)
        return unpacked(response)

    def version(self, **which: Any) -> int:
        """The version that answers."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self.spec(**which), metadata_field=["signature_def"]
        )
        return self.prediction.GetModelMetadata(request, SECONDS).model_spec.version.value

    def definitions(self) -> dict[str, Any]:
        """The signatures of the version that answers, by GetModelMetadata."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self.spec(), metadata_field=["signature_def"]
        )
        packed = self.prediction.GetModelMetadata(request, SECONDS).metadata["signature_def"]
        found = get_model_metadata_pb2.SignatureDefMap()
        packed.Unpack(found)
        return dict(found.signature_def)

    def states(self) -> dict[int, Any]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self.spec())
        response = self.models.GetModelStatus(request, SECONDS)
        return {entry.version: entry for entry in response.model_version_status}

    # REST

    def rest(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of one request; `path` starts with /."""
        connection = http.client.HTTPConnection(self.rest_address, timeout=SECONDS)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()

    def post(self, document: Any, which: str = "") -> tuple[int, Any]:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.rest("POST", f"/v1/models/{self.name}{which}:predict", body)

    def by_columns(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        columns = {name: array.tolist() for name, array in inputs.items()}
        status, document = self.post({"signature_name": signature, "inputs": columns})
        assert status == 200, document
        outputs = sorted(self.definitions()[signature].outputs)
        found = document["outputs"] if len(outputs) > 1 else {outputs[0]: document["outputs"]}
        return {name: np.asarray(values, np.float32) for name, values in found.items()}

    def by_rows(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        status, document = self.post({"signature_name": signature, "instances": rows_of(inputs)})
        assert status == 200, document
        outputs = sorted(self.definitions()[signature].outputs)
        rows = document["predictions"]
        if len(outputs) == 1:
            return {outputs[0]: np.asarray(rows, np.float32)}
        return {name: np.asarray([row[name] for row in rows], np.float32) for name in outputs}


def unpacked(response: Any) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}


def rows_of(inputs: Arrays) -> list[dict[str, Any]]:
    columns = {name: array.tolist() for name, array in inputs.items()}
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def refusal(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Code and text with which a call of gRPC is refused."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError(f"answered: {answer}")


def until(what: str, true: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Waits for a condition; fails with `what` if it does not come true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for this: {what}"
        time.sleep(0.02)


# The local server as a process


@dataclass(frozen=True)
class Running:
    """The local server's process, what it has printed, and how to speak to it."""

    process: subprocess.Popen
    lines: list[str]
    errors: list[str]
    target: Target

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS)


def launched(folder: Path, *options: str) -> Running:
    """The local server on ports of its own choice unless `options` name them."""
    free = [word for name in ("--grpc-port", "--rest-port") for word in (name, "0")]
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(folder), *free, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    lines: list[str] = []
    errors: list[str] = []
    for kept, stream in ((lines, process.stdout), (errors, process.stderr)):
        threading.Thread(target=_keep, args=(kept, stream), daemon=True).start()
    try:
        until(
            "its ports", lambda: process.poll() is not None or _ports(lines) is not None, STARTING
        )
        ports = _ports(lines)
        assert ports is not None, lines + errors
    except AssertionError:
        process.kill()  # or the next test is blamed for it
        process.wait()
        raise
    return Running(
        process, lines, errors, Target(ports[0], ports[1], _name(folder, options), folder)
    )


@contextmanager
def local_server(folder: Path, *options: str, available: bool = True) -> Iterator[Running]:
    """The local server for the length of a test; by default once a version is available."""
    running = launched(folder, *options)
    try:
        if available:
            until("a version", lambda: any("is available" in line for line in running.lines))
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
        running.target.channel.close()


def _keep(kept: list[str], stream: Any) -> None:
    with stream:
        kept.extend(stream)


def _ports(lines: list[str]) -> tuple[str, str] | None:
    found = re.search(r"gRPC on (\S+:\d+), REST on http://(\S+:\d+)", "".join(lines))
    return (found.group(1), found.group(2)) if found else None


def _name(folder: Path, options: tuple[str, ...]) -> str:
    return options[options.index("--name") + 1] if "--name" in options else folder.name


# Versions


def publish(source: Path, folder: Path, number: int) -> None:
    """A copy of a version under another number, in one rename."""
    hidden = folder / f"copying-{number}"
    shutil.copytree(source, hidden)
    hidden.rename(folder / str(number))


def write_broken(folder: Path, number: int) -> None:
    hidden = folder / f"writing-{number}"
    hidden.mkdir()
    (hidden / "saved_model.pb").write_bytes(b"this is no model")
    hidden.rename(folder / str(number))


def newest(folder: Path) -> int:
    return max(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


# Requests that any exported model takes


def example(definition: Any, rows: int, first_seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of a signature that are legal for bits, counts and real numbers alike."""
    random = np.random.default_rng(first_seed)
    return {
        name: _values(name, info, rows, first_seed, random)
        for name, info in sorted(definition.inputs.items())
    }


def _values(name: str, info: Any, rows: int, first_seed: int, random: Any) -> np.ndarray:
    shape = (rows, *[dimension.size for dimension in info.tensor_shape.dim[1:]])
    dtype = tf.as_dtype(info.dtype).as_numpy_dtype
    if name == "seed":
        return np.arange(first_seed, first_seed + rows, dtype=dtype)
    if name == "z":
        return random.normal(size=shape).astype(dtype)
    if name == "size_factor":
        return random.uniform(0.5, 2.0, shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
