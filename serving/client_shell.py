"""The client from the shell: `python serving/client.py score image.png`.

Prints a line of JSON for each row. Errors are one line on stderr; the exit code is 2 if the
input is at fault, 1 if the server is.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from client import Answer, Client
from client_calls import LOG
from client_checks import row_seeds
from client_files import check_target, read, read_array, write
from client_parts import InvalidInput, Model, NotFound, ServingError, Signature, TensorSpec

__all__ = ["main"]

# Each signature, and the input that its files hold.
COMMANDS = {
    "encode": "x",
    "encode_sample": "x",
    "decode": "z",
    "decode_sample": "z",
    "reconstruct": "x",
    "score": "x",
}
DRAWN = ("encode_sample", "decode_sample", "score", "generate")
HELP = {
    "encode": "the parameters of q(z|x) and its mean",
    "encode_sample": "draws of z ~ q(z|x)",
    "decode": "the parameters of p(x|z) and its mean",
    "decode_sample": "draws of x ~ p(x|z)",
    "reconstruct": "the mean of p(x|z) at the mean of q(z|x)",
    "score": "ELBO, log-likelihood and KL of each x, in nats",
    "generate": "draws of z, the mean of p(x|z), and a draw of x",
    "metadata": "the signatures of the model",
    "status": "the versions that the server has",
}
SERVER: dict[str, Any] = {
    "server": "localhost:8500",
    "model": "vae",
    "version": None,
    "label": None,
    "timeout": 30.0,
    "retries": 24,  # half a minute: the server may have been started just now
    "batch": None,
    "connections": 4,
}
PICTURED = ("mean", "x", "z")  # what .npy and .png hold if --output does not say


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; by default with the arguments of the process."""
    options = _parser().parse_args(arguments)
    LOG.setLevel(logging.INFO)
    LOG.handlers = [logging.StreamHandler()]  # "waiting for localhost:8500", on stderr
    try:
        _run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (InvalidInput, ImportError, OSError) as error:
        _fail(error, 2)
    except ServingError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: Exception, code: int) -> NoReturn:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    """One line for an error, without the usage: --help has that."""

    def error(self, message: str) -> NoReturn:
        _fail(InvalidInput(f"{message}. See {self.prog} --help."), 2)


def _parser() -> _Parser:
    parser = _Parser(
        prog="client.py",
        description="Ask a served variational autoencoder.",
        parents=[_server_options()],
    )
    parser.set_defaults(**SERVER)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in HELP.items():
        # Here, too: before the command or after it, as one likes.
        command = commands.add_parser(
            name, help=what, description=what, parents=[_server_options()]
        )
        if name in COMMANDS or name == "generate":
            _add_options(command, name)
    return parser


def _server_options() -> _Parser:
    """The options that every command has; what is not said is not set."""
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    server = shared.add_argument_group("the server")
    server.add_argument(
        "--server", help="HOST:PORT for gRPC, http://HOST:PORT for REST (default: localhost:8500)"
    )
    server.add_argument("--model", help="its name there (default: vae)")
    server.add_argument("--version", type=int, help="by default the newest")
    server.add_argument("--label", help="of a version, such as stable")
    server.add_argument("--timeout", type=float, help="seconds for a request (default: 30)")
    server.add_argument(
        "--retries", type=int, help="of a request, if it is not there or busy (default: 24, 30 s)"
    )
    server.add_argument("--batch", type=int, help="rows in a request")
    server.add_argument("--connections", type=int, help="requests in parallel (default: 4)")
    return shared


def _add_options(command: argparse.ArgumentParser, name: str) -> None:
    if name == "generate":
        command.add_argument("--count", type=int, default=16, help="draws (default: %(default)s)")
    else:
        kinds = "FILE.npy or .npz" + (", .png, .jpg" if COMMANDS[name] == "x" else "")
        command.add_argument("files", nargs="+", type=Path, metavar="FILE", help=kinds)
    if COMMANDS.get(name) == "x":
        command.add_argument("--resize", action="store_true", help="scale pictures to the model's")
        command.add_argument(
            "--threshold",
            type=float,
            nargs="?",
            const=0.5,
            help="make bits: 1 above this, else 0; 0.5 if no number is given",
        )
    if name in DRAWN:
        command.add_argument("--seed", type=int, help="of the first row's draw; the next has + 1")
    command.add_argument("--condition", help="a number, numbers (0,1,2), or FILE.npy")
    command.add_argument("--size-factor", help="likewise, for a model of counts")
    command.add_argument("--to", type=Path, metavar="FILE", help=".npy, .npz or .png to write")
    command.add_argument("--output", help="which output .npy and .png hold (default: the mean)")


def _run(options: argparse.Namespace) -> None:
    with Client(
        options.server,
        options.model,
        options.version,
        options.label,
        options.timeout,
        options.retries,
        options.batch,
        options.connections,
    ) as client:
        if options.command == "status":
            lines = [one._asdict() for one in client.status()]
        elif options.command == "metadata":
            lines = list(_described(client.metadata()))
        else:
            lines = list(_asked(client, options))
    for line in lines:
        print(json.dumps(line))


def _described(model: Model) -> Iterator[dict[str, Any]]:
    for signature in sorted(model.signatures.values()):
        tensors = {
            side: {
                name: {"dtype": str(spec.dtype), "shape": list(spec.shape)}
                for name, spec in sorted(specs.items())
            }
            for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs))
        }
        yield {"version": model.version, "signature": signature.name, **tensors}


def _asked(client: Client, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines to print for a signature's answer."""
    if options.to is not None:
        check_target(options.to)
    signature = _signature(client.metadata(), options.command)
    inputs, origins = _inputs(options, signature)
    try:
        answer = client.predict(options.command, inputs)
    except InvalidInput as error:
        raise _with_remedy(error, options) from error
    if options.to is None:
        for row, origin in enumerate(origins):
            values = {name: array[row].tolist() for name, array in answer.items()}
            yield {**origin, "version": answer.version, **values}
    else:
        done = write(options.to, answer, _output(options.output, answer))
        yield {**done, "rows": len(origins), "version": answer.version}


def _signature(model: Model, name: str) -> Signature:
    if name not in model.signatures:
        raise NotFound(
            f"Version {model.version} of the model has no signature {name}. "
            f"It has: {', '.join(sorted(model.signatures))}."
        )
    return model.signatures[name]


def _inputs(
    options: argparse.Namespace, signature: Signature
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What is sent, and of each row the file that it is from."""
    if options.command == "generate":
        inputs: dict[str, Any] = {}
        origins: list[dict[str, Any]] = [{"row": row} for row in range(options.count)]
    else:
        name = COMMANDS[options.command]
        inputs, origins = _read(options, name, signature.inputs[name])
    if options.command in DRAWN:
        inputs["seed"] = row_seeds(options.seed, len(origins))
    for name, text in (("condition", options.condition), ("size_factor", options.size_factor)):
        if text is not None:
            inputs[name] = _numbers(name, text, len(origins))
    return inputs, origins


def _read(
    options: argparse.Namespace, name: str, spec: TensorSpec
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    resize, threshold = (options.resize, options.threshold) if name == "x" else (False, None)
    parts = [read(path, name, spec, resize, threshold) for path in options.files]
    for path, part in zip(options.files, parts, strict=True):
        if part.ndim == 0 or part.shape[1:] != parts[0].shape[1:]:
            raise InvalidInput(
                f"{path} has rows of another shape than {options.files[0]}. "
                f"Expected: {parts[0].shape[1:]}. Received: {part.shape[1:]}."
            )
    origins = [
        {"file": str(path), "row": row}
        for path, part in zip(options.files, parts, strict=True)
        for row in range(len(part))
    ]
    return {name: np.concatenate(parts)}, origins


def _numbers(name: str, text: str, rows: int) -> np.ndarray:
    """One number for all rows, numbers with commas between them, or the array of a file."""
    if text.endswith(".npy"):
        return read_array(Path(text), name)
    try:
        numbers = [json.loads(part) for part in text.split(",")]
        array = np.array(numbers)
    except ValueError as error:
        raise InvalidInput(
            f"--{name.replace('_', '-')} is of each row. Expected: a number, numbers such as "
            f"0,1,2, or FILE.npy. Received: {text!r}."
        ) from error
    return np.full(rows, array[0]) if len(array) == 1 else array


def _output(wanted: str | None, answer: Answer) -> str:
    """Which output a single array or picture is."""
    names = [name for name in PICTURED if name in answer] + sorted(answer)
    if wanted is None:
        return names[0]
    if wanted not in answer:
        raise InvalidInput(
            f"--output names what is written. Expected: one of {', '.join(sorted(answer))}. "
            f"Received: {wanted}."
        )
    return wanted


def _with_remedy(error: InvalidInput, options: argparse.Namespace) -> InvalidInput:
    """The error; of values that the model does not take, with the option that may mend them."""
    of_x = COMMANDS.get(options.command) == "x"
    if of_x and options.threshold is None and "support" in str(error):
        return InvalidInput(f"{error} For a model of bits, add --threshold: 1 above 0.5, else 0.")
    return error


if __name__ == "__main__":
    main()
