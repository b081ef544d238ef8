"""Serve a model's folder without Docker, for development and for tests, as TensorFlow Serving does.

    python serving/local_server.py models/vae
    curl localhost:8501/v1/models/vae
    curl localhost:8501/v1/models/vae:predict \\
        -d '{"signature_name": "generate", "inputs": {"seed": [1, 2]}}'

One process on the loopback interface answers gRPC (PredictionService.Predict, GetModelMetadata,
ModelService.GetModelStatus) and REST, with TensorFlow Serving's status codes and error texts. It
has no batching, no monitoring and no limits of time: for anything but development run TensorFlow
Serving itself, see `docker-compose.yml` beside this file.
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# TensorFlow's notes on the machine would come before this program's first line.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import grpc
import uvicorn
from local_grpc import add_services
from local_models import Model
from local_rest import Rest
from local_version import MAX_BYTES

HOST = "127.0.0.1"
# Seconds between two looks into the folder, as TensorFlow Serving's default.
POLL_SECONDS = 1.0
# Seconds that requests under way have to finish once the server is told to stop.
GRACE_SECONDS = 10
# Calls of the model at once; each uses TensorFlow's own threads besides.
THREADS = 4

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BYTES),
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a silent sharer
)


class CannotServe(Exception):
    """The server cannot start; the text is one line that says why and what to do."""


def serve(
    folder: str | Path,
    name: str | None = None,
    grpc_port: int = 8500,
    rest_port: int = 8501,
    versions: str | Collection[int] = "latest",
    labels: Mapping[str, int] | None = None,
) -> None:
    """Serve the model in `folder` on the loopback interface until Ctrl-C or SIGTERM.

    Args:
        folder: the model's folder, which holds a folder for each version: `1`, `2`, ...
        name: what requests call the model; the folder's name if None.
        grpc_port: port of gRPC; 0 for a free one, which is printed.
        rest_port: port of REST; likewise.
        versions: `"latest"`, `"all"`, or the numbers of those to serve.
        labels: names for versions, such as `{"stable": 1}`.

    Raises:
        CannotServe: if the folder does not exist, or a port is in use.

    Example: `serve("models/vae")`, then `curl localhost:8501/v1/models/vae`.
    """
    _say("This server is for development only: in production run TensorFlow Serving.")
    path = _model_folder(Path(folder))
    model = Model(path, name or path.resolve().name, versions, labels or {}, _say)
    _check_free(grpc_port, "--grpc-port")
    _check_free(rest_port, "--rest-port")
    asyncio.run(_run(model, grpc_port, rest_port))
    _say("stopped")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: `python serving/local_server.py models/vae`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    words = {"latest", "all"} & set(options.versions)
    if words and len(options.versions) > 1:
        parser.error(f"--versions takes latest, all, or numbers, got {options.versions}")
    try:
        serve(
            options.folder,
            options.name,
            options.grpc_port,
            options.rest_port,
            words.pop() if words else options.versions,
            dict(options.label),
        )
    except CannotServe as error:
        print(f"local_server: error: {error}", file=sys.stderr)
        sys.exit(2)


async def _run(model: Model, grpc_port: int, rest_port: int) -> None:
    stop = asyncio.Event()
    _on_signal(asyncio.get_running_loop(), stop)
    # Before the ports open: a client waits for a port, but takes "not found" for an answer.
    await asyncio.to_thread(model.update)
    with (
        _listen(rest_port, "--rest-port") as listening,
        ThreadPoolExecutor(THREADS, "predict") as threads,
    ):
        async with _grpc(model, grpc_port, threads) as port, _rest(model, listening, threads):
            rest_port = listening.getsockname()[1]
            _say(f"{model.name}: gRPC on {HOST}:{port}, REST on http://{HOST}:{rest_port}")
            async with _following(model):
                await stop.wait()
            _say("stopping: requests under way are finished")


@asynccontextmanager
async def _grpc(model: Model, port: int, threads: Executor) -> AsyncIterator[int]:
    server = grpc.aio.server(options=_OPTIONS)
    add_services(server, model, threads)
    try:
        bound = server.add_insecure_port(f"{HOST}:{port}")
    except RuntimeError as error:
        raise CannotServe(_in_use(port, "--grpc-port")) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(GRACE_SECONDS)


@asynccontextmanager
async def _rest(model: Model, listening: socket.socket, threads: Executor) -> AsyncIterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(
            Rest(model, threads),
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    # In a thread of its own it leaves the signals to this program.
    thread = threading.Thread(target=server.run, args=([listening],), name="rest")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)


@asynccontextmanager
async def _following(model: Model) -> AsyncIterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=model.poll, args=(stop, POLL_SECONDS), name="versions")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        await asyncio.to_thread(thread.join)


def _on_signal(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def handle(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second Ctrl-C ends it at once
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def _model_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise CannotServe(
            f"the model folder {folder} does not exist. Name the folder that holds the versions "
            "(1, 2, ...), as keras-vae export writes it."
        )
    if (folder / "saved_model.pb").exists():
        raise CannotServe(
            f"{folder} is one version of a model. Name the folder around it: {folder.parent}"
        )
    return folder


def _listen(port: int, option: str) -> socket.socket:
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise CannotServe(_in_use(port, option)) from error
    # Inherited by each connection: without it an answer's second part waits 40 ms for a receipt.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _check_free(port: int, option: str) -> None:
    _listen(port, option).close()


def _in_use(port: int, option: str) -> str:
    return f"port {port} cannot be used: another server has it. Choose another: {option} 0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="local_server", description="Serve a model's folder on this machine: development only."
    )
    parser.add_argument("folder", help="holds the versions: models/vae has models/vae/1, ...")
    parser.add_argument("--name", help="what requests call the model (default: the folder's name)")
    parser.add_argument("--grpc-port", type=_port, default=8500, help="0: a free one")
    parser.add_argument("--rest-port", type=_port, default=8501, help="0: a free one")
    parser.add_argument(
        "--versions",
        nargs="+",
        type=_version,
        default=["latest"],
        help="latest (default), all, or the numbers of those to serve",
    )
    parser.add_argument(
        "--label", action="append", type=_label, default=[], metavar="NAME=VERSION", help="stable=1"
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, got {text}")
    return port


def _version(text: str) -> str | int:
    return text if text in ("latest", "all") else int(text)


def _label(text: str) -> tuple[str, int]:
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise argparse.ArgumentTypeError(f"a label is NAME=VERSION, as stable=1, got {text}")
    return name, int(version)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
