"""A client of a served model, by gRPC or REST: NumPy in, NumPy out.

    from client import Client

    with Client("localhost:8500", model="vae") as vae:  # gRPC
        z = vae.encode(x)["mean"]
        elbo = vae.score(x, seed=0)["elbo"]  # [B], in nats

    with Client("http://localhost:8501") as vae:  # REST, the same methods
        pictures = vae.generate(16, seed=0)["mean"]

From the shell:

    python serving/client.py score image.png
    python serving/client.py generate --count 16 --seed 0 --to grid.png

To use it elsewhere, copy the files `client*.py`. REST needs NumPy, gRPC also grpcio and
protobuf; none needs TensorFlow, Keras or keras_vae.
"""

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from client_calls import Calls
from client_checks import as_array, row_seeds
from client_parts import (
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
    VersionChanged,
    VersionStatus,
    Which,
)

__all__ = [
    "Answer",
    "Client",
    "Closed",
    "InvalidInput",
    "Model",
    "NotFound",
    "Overloaded",
    "Protocol",
    "Refused",
    "ServerFault",
    "ServingError",
    "Signature",
    "TensorSpec",
    "TimedOut",
    "Unavailable",
    "VersionChanged",
    "VersionStatus",
]

_ADDRESS = (
    r"(?P<scheme>https?://)?([^:/\s?#@]+|\[[0-9a-fA-F:]+\])(:(?P<port>\d+))?(?P<path>/[^\s?#]*)?"
)


class Answer(dict[str, np.ndarray]):
    """The outputs of a call, by their names.

    Attributes:
        version: of the model, one and the same for all rows.
    """

    def __init__(self, outputs: Mapping[str, np.ndarray], version: int) -> None:
        super().__init__(outputs)
        self.version = version


class Client:
    """A served model.

    Inputs are checked against the model's own metadata before they are sent. Large ones are
    split into requests that are sent in parallel; the rows of the answer keep their order,
    and the split changes none of them. One version answers all rows: the one that answers
    the first request is asked for the rest, and if it is swapped out meanwhile, the call
    starts again. Threads may share a client, processes may not.

    Every method returns an `Answer`, by the names of the outputs: the mean and a draw are
    never under one name. For a conditional model every method takes `condition`, int64 `[B]`,
    one number for all rows, or float32 `[B, C]`; for a model of counts with a size factor,
    those that decode take `size_factor`, float32 `[B]` or one number for all rows.

    Args:
        server: "localhost:8500" for gRPC; "http://localhost:8501" or "https://..." for REST.
        model: its name at the server.
        version: which to ask; by default the newest that is served.
        label: of the version to ask, such as "stable", instead of its number.
        timeout: of each request, in seconds.
        retries: how often a request is sent again to a server that is unavailable or
            overloaded; at most 0.1 s later, then 0.2, 0.4, ... up to 2 s.
        batch: rows in a request; by default at most 256, and 1 MiB of numbers.
        connections: requests in parallel.

    Raises:
        InvalidInput: if an argument is out of range.
        ImportError: if `server` is for gRPC, and grpcio or protobuf is not installed.

    Example:
        with Client("localhost:8500") as vae:
            mean = vae.reconstruct(x)["mean"]
    """

    def __init__(
        self,
        server: str = "localhost:8500",
        model: str = "vae",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        batch: int | None = None,
        connections: int = 4,
    ) -> None:
        if version is not None and label is not None:
            raise InvalidInput(
                "`version` and `label` both say which version to ask. Expected: one of them. "
                f"Received: {version!r} and {label!r}."
            )
        _require(timeout > 0, "timeout", "seconds > 0", timeout)
        _require(retries >= 0, "retries", "an integer >= 0", retries)
        _require(batch is None or batch >= 1, "batch", "rows >= 1, or None", batch)
        _require(connections >= 1, "connections", "an integer >= 1", connections)
        which = Which(version, label)
        transport = _transport(server, model)
        self._calls = Calls(transport, which, timeout, retries, batch, connections)

    def encode(self, x: Any, condition: Any = None) -> Answer:
        """q(z|x): its parameters, such as `loc` and `scale_diag`, and `mean [B, D]`."""
        return self.predict("encode", _inputs("x", x, condition))

    def encode_sample(self, x: Any, seed: Any = None, condition: Any = None) -> Answer:
        """A draw of z ~ q(z|x): `z [B, D]`.

        Args:
            x: `[B, *E]`.
            seed: of row 0; row i has `seed + i`, however the rows are split. Or one for each
                row, int64 `[B]`. None for fresh draws.
            condition: what the model is conditional on.
        """
        inputs = _inputs("x", x, condition)
        return self.predict("encode_sample", inputs | _seeds(inputs["x"], seed))

    def decode(self, z: Any, condition: Any = None, size_factor: Any = None) -> Answer:
        """p(x|z): its parameters, such as `logits`, and `mean [B, *E]`."""
        return self.predict("decode", _inputs("z", z, condition, size_factor))

    def decode_sample(
        self, z: Any, seed: Any = None, condition: Any = None, size_factor: Any = None
    ) -> Answer:
        """A draw of x ~ p(x|z): `x [B, *E]`; `seed` as in `encode_sample`."""
        inputs = _inputs("z", z, condition, size_factor)
        return self.predict("decode_sample", inputs | _seeds(inputs["z"], seed))

    def reconstruct(self, x: Any, condition: Any = None, size_factor: Any = None) -> Answer:
        """The mean of p(x|z) at the mean of q(z|x): `mean [B, *E]`."""
        return self.predict("reconstruct", _inputs("x", x, condition, size_factor))

    def generate(
        self,
        count: int | None = None,
        seed: Any = None,
        condition: Any = None,
        size_factor: Any = None,
    ) -> Answer:
        """z ~ p(z), `z [B, D]`; the mean of p(x|z), `mean [B, *E]`; x ~ p(x|z), `x [B, *E]`.

        Args:
            count: B; it may be left out if `seed` is an array.
            seed: as in `encode_sample`.
            condition: what the model is conditional on.
            size_factor: of a model of counts.
        """
        seeds = _seeds_of(count, seed)
        return self.predict("generate", _inputs("seed", seeds, condition, size_factor))

    def score(
        self, x: Any, seed: Any = None, condition: Any = None, size_factor: Any = None
    ) -> Answer:
        """`elbo [B]`, `log_likelihood [B]` (importance-weighted) and `kl [B]`, in nats.

        They are estimated with draws of z, whose `seed` is as in `encode_sample`.
        """
        inputs = _inputs("x", x, condition, size_factor)
        return self.predict("score", inputs | _seeds(inputs["x"], seed))

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> Answer:
        """Any signature, its inputs by their names; the methods above are cases of it.

        Raises:
            InvalidInput: if the inputs are not those of the signature, or the server refuses
                their values, such as a grey pixel in a model of bits.
            NotFound: if there is no such model, version, label or signature.
            ServingError: one of its other subclasses, if no answer comes.
        """
        version, outputs = self._calls.predict(signature, inputs)
        return Answer(outputs, version)

    def metadata(self) -> Model:
        """The version that is asked now, with its signatures: names, dtypes, shapes."""
        return self._calls.fetch()

    def status(self) -> list[VersionStatus]:
        """The state of every version that the server knows of."""
        return self._calls.status()

    def close(self) -> None:
        """Ends the calls under way, by REST once their requests have ended, and disconnects."""
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _require(legal: bool, name: str, expected: str, received: Any) -> None:
    if not legal:
        raise InvalidInput(
            f"`{name}` is out of range. Expected: {expected}. Received: {received!r}."
        )


def _transport(server: str, model: str) -> Transport:
    """The protocol that the address names; gRPC is imported only if it is asked for."""
    address = re.fullmatch(_ADDRESS, server)
    port = address and address["port"]
    if address is None or int(port or 80) > 65535 or not (address["scheme"] or port):
        raise InvalidInput(
            "`server` is where the server listens. Expected: HOST:PORT for gRPC, such as "
            f"localhost:8500, or http://HOST:PORT for REST. Received: {server!r}."
        )
    if address["scheme"]:
        from client_rest import RestTransport

        return RestTransport(server, model)
    if address["path"]:
        raise InvalidInput(f"A gRPC address has no path. Expected: HOST:PORT. Received: {server}.")
    try:
        from client_grpc import GrpcTransport
    except ModuleNotFoundError as error:
        raise ImportError(
            f"gRPC needs grpcio and protobuf ({error}). Install them: pip install grpcio "
            "protobuf. Or use REST: http://HOST:8501."
        ) from error
    return GrpcTransport(server, model)


def _inputs(
    name: str, value: Any, condition: Any = None, size_factor: Any = None
) -> dict[str, np.ndarray]:
    """The inputs of a signature; one number stands for all rows, beside the first input."""
    inputs = {name: as_array(name, value)}
    rows = inputs[name].shape[:1]
    for key, given in (("condition", condition), ("size_factor", size_factor)):
        if given is not None:
            array = as_array(key, given)
            inputs[key] = np.full(rows, array) if array.ndim == 0 else array
    return inputs


def _seeds(rows: np.ndarray, seed: Any) -> dict[str, np.ndarray]:
    return {"seed": row_seeds(seed, len(np.atleast_1d(rows)))}


def _seeds_of(count: int | None, seed: Any) -> np.ndarray:
    """The seeds of `generate`."""
    given = as_array("seed", 0 if seed is None else seed)
    if count is None and given.ndim > 0:
        count = len(given)
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise InvalidInput(
            "`count` is the number of draws. Expected: an integer >= 1, or None beside an array "
            f"of seeds. Received: {count!r}."
        )
    seeds = row_seeds(seed, int(count))
    if len(seeds) != count:
        raise InvalidInput(
            "`seed` has one number for each draw, or is one number. "
            f"Expected: {count}. Received: {len(seeds)}."
        )
    return seeds


if __name__ == "__main__":
    from client_shell import main

    main()
