"""How fast a served model answers, and what serving it costs.

    python tests/benchmarks/serving.py --json serving.json
    python tests/benchmarks/serving.py --target localhost:8500,localhost:8501 --folder models/vae

Each client sends its next request when it has the answer to the last one. The clients run in
processes of their own: `wrk` for REST where it is installed, else threads of Python; for gRPC
threads of Python that send and keep bytes. Every answer is then compared with what the SavedModel
gives in this process; one lost or wrong answer makes the exit code 1.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from serving_clients import CONNECTING, Answer, Load, by_threads, by_wrk

# TensorFlow, its protos and keras_vae are imported in the functions that need them: the processes
# that send requests import this file too, and should do nothing else.

SERVER = Path(__file__).parents[2] / "serving" / "local_server.py"
PROCESSES = 2  # that send requests
ROWS = 256  # different rows, sent in turn
LARGE = 64  # rows of one request at saturation
SATURATING = 8  # clients
# Beyond the rounding of sums over 784 pixels, which depends on the rows that share a call; far
# below what tells two rows apart.
TOLERANCE = 1e-5


class Target(NamedTuple):
    """A server and the model that it serves: `addresses` by protocol."""

    addresses: dict[str, str]
    name: str


Expected = dict[str, dict[str, np.ndarray]]


def main() -> None:
    """Prints the tables; the exit code is 1 if an answer was lost or wrong."""
    options = _options()
    load = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as processes,
    ):
        folder = options.folder or _export(Path(scratch, "vae"))
        model = InProcess(folder)
        serving = _given(options) if options.target else local_server(folder)
        with serving as target:
            bench = Bench(target, model, processes)
            bench.warm_up()
            latency = [
                bench.latency(signature, protocol, clients, options.seconds)
                for signature in model.inputs
                for protocol in target.addresses
                for clients in options.clients
            ]
            saturation = [
                row
                for signature in model.inputs
                for row in bench.saturation(signature, options.rounds, options.seconds)
            ]
    report = {
        "cores": os.cpu_count(),
        "load_at_start": load,
        "rest_clients": _rest_clients(),
        "server": options.target or "serving/local_server.py",
        "latency": latency,
        "saturation": saturation,
    }
    print(markdown(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(any(row["lost"] or row["wrong"] for row in latency + saturation))


class InProcess:
    """The newest version in `folder`, called in this process: the oracle and the yardstick."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        newest = max((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
        self._loaded = tf.saved_model.load(str(newest))
        functions = {name: self._loaded.signatures[name] for name in ("encode", "score")}
        spec = functions["encode"].structured_input_signature[1]["x"]
        bits = np.random.default_rng(0).integers(0, 2, (ROWS, *spec.shape[1:]))
        x, seed = bits.astype(spec.dtype.as_numpy_dtype), np.arange(ROWS, dtype=np.int64)
        self._functions = functions
        self.inputs = {"encode": {"x": x}, "score": {"x": x, "seed": seed}}
        self.expected: Expected = {name: self.answer(name, slice(None)) for name in functions}

    def answer(self, signature: str, rows: slice) -> dict[str, np.ndarray]:
        """The outputs for some of the rows."""
        import tensorflow as tf

        inputs = {name: tf.constant(v[rows]) for name, v in self.inputs[signature].items()}
        return {name: v.numpy() for name, v in self._functions[signature](**inputs).items()}

    def rows_per_second(self, signature: str, seconds: float) -> float:
        """One call of `LARGE` rows after the other, for about `seconds`."""
        start, done = time.monotonic(), 0
        while time.monotonic() < start + seconds:
            first = done % ROWS
            self.answer(signature, slice(first, first + LARGE))
            done += LARGE
        return done / (time.monotonic() - start)


class Bench:
    """Measures `target`, which serves `model`, by clients in other `processes`."""

    def __init__(self, target: Target, model: InProcess, processes: ProcessPoolExecutor) -> None:
        self._target = target
        self._model = model
        self._processes = processes

    def warm_up(self) -> None:
        """Starts the processes, and lets the server meet both sizes of request."""
        for signature in self._model.inputs:
            for rows in (1, LARGE):
                self._answers(self._load(signature, "gRPC", rows), PROCESSES, 0.2)

    def latency(self, signature: str, protocol: str, clients: int, seconds: int) -> dict[str, Any]:
        """Requests of one row: percentiles of milliseconds, and requests per second."""
        load = self._load(signature, protocol, 1)
        answers = self._answers(load, clients, seconds)
        times = [1e3 * (a.end - a.start) for a in answers if a.body is not None] or [np.nan]
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        return {
            "signature": signature,
            "protocol": protocol,
            "clients": clients,
            **{"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "per_second": _rate(answers)},
            **self._checked(signature, load, answers),
        }

    def saturation(self, signature: str, rounds: int, seconds: int) -> list[dict[str, Any]]:
        """Rows per second in large requests, and in calls of the SavedModel, taken in turn."""
        loads = [self._load(signature, p, LARGE) for p in self._target.addresses]
        in_process: list[float] = []
        answers: dict[str, list[list[Answer]]] = {load.protocol: [] for load in loads}
        for _ in range(rounds):
            in_process.append(self._model.rows_per_second(signature, seconds))
            for load in loads:
                answers[load.protocol].append(self._answers(load, SATURATING, seconds))
        rows = []
        for load in loads:
            rates = [_rate(a) * LARGE for a in answers[load.protocol]]
            ratios = [rate / base for rate, base in zip(rates, in_process, strict=True)]
            rows.append(
                {
                    "signature": signature,
                    "protocol": load.protocol,
                    "rows_per_second": statistics.median(rates),
                    "in_process_rows_per_second": statistics.median(in_process),
                    "ratio": statistics.median(ratios),
                    "ratio_min": min(ratios),
                    "ratio_max": max(ratios),
                    **self._checked(signature, load, [*chain(*answers[load.protocol])]),
                }
            )
        return rows

    def _load(self, signature: str, protocol: str, rows: int) -> Load:
        blocks = [
            {name: v[first : first + rows] for name, v in self._model.inputs[signature].items()}
            for first in range(0, ROWS, rows)
        ]
        name, address = self._target.name, self._target.addresses[protocol]
        if protocol == "REST":
            requests = [_json(signature, block) for block in blocks]
            return Load(protocol, address, f"/v1/models/{name}:predict", requests, rows)
        requests = [_proto(name, signature, block) for block in blocks]
        path = "/tensorflow.serving.PredictionService/Predict"
        return Load(protocol, address, path, requests, rows)

    def _answers(self, load: Load, clients: int, seconds: float) -> list[Answer]:
        if load.protocol == "REST" and shutil.which("wrk"):
            return by_wrk(load, clients, seconds)
        shares = [len(range(i, clients, PROCESSES)) for i in range(PROCESSES)]
        start = time.monotonic() + CONNECTING
        tasks = [
            self._processes.submit(by_threads, load, share, start, seconds)
            for share in shares
            if share
        ]
        return [answer for task in tasks for answer in task.result()]

    def _checked(self, signature: str, load: Load, answers: list[Answer]) -> dict[str, Any]:
        lost = [a for a in answers if a.body is None]
        wrong = [a for a in answers if a.body is not None and not self._right(signature, load, a)]
        for answer in [*lost[:1], *wrong[:1]]:
            print(f"{signature} by {load.protocol}: {str(answer)[:500]}", file=sys.stderr)
        return {"requests": len(answers), "lost": len(lost), "wrong": len(wrong)}

    def _right(self, signature: str, load: Load, answer: Answer) -> bool:
        first = answer.number * load.rows
        decode = _of_json if load.protocol == "REST" else _of_proto
        found, expected = decode(answer.body or b""), self._model.expected[signature]
        return found.keys() == expected.keys() and all(
            np.shape(found[name]) == np.shape(v[first : first + load.rows])
            and np.allclose(found[name], v[first : first + load.rows], TOLERANCE, TOLERANCE)
            for name, v in expected.items()
        )


def _rate(answers: list[Answer]) -> float:
    """Answers per second, from the first request to the last answer."""
    answered = sum(a.body is not None for a in answers)
    return answered / (max(a.end for a in answers) - min(a.start for a in answers))


def _rest_clients() -> str:
    return "wrk" if shutil.which("wrk") else "threads of Python"


# What is sent and what comes back


def _json(signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    columns = {name: v.tolist() for name, v in inputs.items()}
    return json.dumps({"signature_name": signature, "inputs": columns}).encode()


def _of_json(body: bytes) -> dict[str, np.ndarray]:
    return {name: np.asarray(v) for name, v in json.loads(body)["outputs"].items()}


def _proto(model: str, signature: str, inputs: dict[str, np.ndarray]) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest(
        model_spec={"name": model, "signature_name": signature},
        inputs={name: tf.make_tensor_proto(v) for name, v in inputs.items()},
    )
    return request.SerializeToString()


def _of_proto(body: bytes) -> dict[str, np.ndarray]:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    outputs = predict_pb2.PredictResponse.FromString(body).outputs
    return {name: tf.make_ndarray(v) for name, v in outputs.items()}


# The server and its model


@contextmanager
def local_server(folder: Path) -> Iterator[Target]:
    """`serving/local_server.py` on free ports, once it serves a version of `folder`."""
    command = [sys.executable, str(SERVER), str(folder), "--grpc-port", "0", "--rest-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            said = ""
            while not ("REST on" in said and "is available" in said):
                line = server.stdout.readline()
                if not line:
                    raise RuntimeError(f"the local server ended before it served:\n{said}")
                said += line
            found = re.search(r"gRPC on (\S+), REST on http://(\S+)", said)
            addresses = {"REST": found[2], "gRPC": found[1]}
            yield Target(addresses, folder.resolve().name)
        finally:
            server.terminate()
            server.communicate()  # reads on, so that its last line is not an error


@contextmanager
def _given(options: argparse.Namespace) -> Iterator[Target]:
    grpc_address, _, rest_address = options.target.partition(",")
    addresses = {"REST": rest_address, "gRPC": grpc_address}
    yield Target({p: a for p, a in addresses.items() if a}, options.model)


def _export(folder: Path) -> Path:
    """MLP 784-400-20-400-784 for bits, untrained: an answer takes as long as a trained one's."""
    import keras_vae

    vae = keras_vae.VAE(
        keras_vae.networks.mlp([400]),
        keras_vae.networks.mlp([400]),
        keras_vae.posteriors.DiagonalNormal(20),
        keras_vae.priors.StandardNormal(20),
        keras_vae.likelihoods.Bernoulli((28, 28, 1)),
        seed=0,
    )
    keras_vae.export(vae, folder, signatures=("encode", "score"))  # K = 50 draws in score
    return folder


# The tables


def markdown(report: dict[str, Any]) -> str:
    """The report as two tables."""
    lines = [
        f"Server: {report['server']}. REST clients: {report['rest_clients']}. "
        f"{report['cores']} cores, load average at the start {report['load_at_start']:.2f}.",
        "",
        "One row a request:",
        "",
        "| call | by | clients | p50 ms | p95 ms | p99 ms | requests/s | requests | lost | wrong |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["latency"]:
        lines.append(
            "| {signature} | {protocol} | {clients} | {p50_ms:.1f} | {p95_ms:.1f} | {p99_ms:.1f} "
            "| {per_second:,.0f} | {requests} | {lost} | {wrong} |".format(**row)
        )
    lines += [
        "",
        f"At saturation, {LARGE} rows a request, {SATURATING} clients; in process one call of "
        f"{LARGE} rows after the other. Medians of paired rounds:",
        "",
        "| call | by | rows/s | in process rows/s | ratio (min to max) | requests | lost | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["saturation"]:
        lines.append(
            "| {signature} | {protocol} | {rows_per_second:,.0f} "
            "| {in_process_rows_per_second:,.0f} | {ratio:.2f} ({ratio_min:.2f} to {ratio_max:.2f})"
            " | {requests} | {lost} | {wrong} |".format(**row)
        )
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", metavar="GRPC[,REST]", help="a server that runs: host:port")
    parser.add_argument("--model", default="vae", help="the model's name there (default: vae)")
    parser.add_argument(
        "--folder", type=Path, help="the folder that is served (default: a new one)"
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: too short to report")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    options = parser.parse_args()
    if options.target and not options.folder:
        parser.error("--target needs --folder, the folder served there, to check the answers by")
    options.clients, options.rounds, options.seconds = (1, 8, 64), 5, 3
    if options.quick:
        options.clients, options.rounds, options.seconds = (8,), 1, 1
    return options


if __name__ == "__main__":
    main()
