"""What the client's parts share: errors, the model's metadata, and what a transport does.

Imports NumPy and the standard library alone.
"""

import abc
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = [
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
    "Transport",
    "Unavailable",
    "VersionChanged",
    "VersionStatus",
    "Which",
    "checked_outputs",
    "names_none",
]


class ServingError(Exception):
    """Base of all errors of the client; catch it to catch them all."""


class InvalidInput(ServingError, ValueError):
    """The input is wrong: found before sending, or by the server. Sending it again is no use."""


class NotFound(ServingError):
    """The server has no such model, version, label or signature."""


class Unavailable(ServingError):
    """No server answers there, or it is starting or stopping; the retries are used up."""


class Overloaded(ServingError):
    """The server has more requests than it takes; the retries are used up."""


class TimedOut(ServingError):
    """A request was not answered within `timeout` seconds."""


class Refused(ServingError):
    """The server, or a proxy before it, wants other credentials."""


class ServerFault(ServingError):
    """The server failed at a request that it accepted."""


class Protocol(ServingError):
    """What answered does not speak as TensorFlow Serving does: a wrong port, or a proxy's page."""


class VersionChanged(ServingError):
    """The served version changed again and again while one call was being answered."""


class Closed(ServingError):
    """The client was closed."""


# TensorFlow's number and name of a dtype, NumPy's name.
_DTYPES = {
    1: ("DT_FLOAT", "float32"),
    2: ("DT_DOUBLE", "float64"),
    3: ("DT_INT32", "int32"),
    4: ("DT_UINT8", "uint8"),
    5: ("DT_INT16", "int16"),
    6: ("DT_INT8", "int8"),
    9: ("DT_INT64", "int64"),
    10: ("DT_BOOL", "bool"),
}
DTYPE_OF_NUMBER = {number: np.dtype(name) for number, (_, name) in _DTYPES.items()}
DTYPE_OF_NAME = {key: np.dtype(name) for key, name in _DTYPES.values()}
NUMBER_OF_DTYPE = {np.dtype(name): number for number, (_, name) in _DTYPES.items()}


class TensorSpec(NamedTuple):
    """An input or output: its dtype, None if that is no number, and shape, None where any size fits."""

    dtype: np.dtype | None
    shape: tuple[int | None, ...]


class Signature(NamedTuple):
    """A function that the server answers: named inputs to named outputs."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class Model(NamedTuple):
    """A version of a model and its signatures, as the server describes them."""

    version: int
    signatures: Mapping[str, Signature]


class VersionStatus(NamedTuple):
    """A version's state (START, LOADING, AVAILABLE, UNLOADING, END), and its error, if any."""

    version: int
    state: str
    error: str


class Which(NamedTuple):
    """The version that is asked: its number, or its label, or, if both are None, the newest."""

    version: int | None = None
    label: str | None = None


class Transport(abc.ABC):
    """One attempt at each question, over one protocol; raises the errors above, retries nothing.

    Attributes:
        server: its address.
        names_version: whether an answer of `predict` names the version that gave it, though
            the request did not.
    """

    server: str
    names_version: bool

    @abc.abstractmethod
    def metadata(self, which: Which, timeout: float) -> Model:
        """The version and its signatures."""

    @abc.abstractmethod
    def status(self, timeout: float) -> list[VersionStatus]:
        """The state of all versions that the server knows."""

    @abc.abstractmethod
    def predict(
        self,
        which: Which,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        timeout: float,
    ) -> tuple[int, dict[str, np.ndarray]]:
        """The version that answered, and its outputs."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connections."""


def names_none(text: str) -> bool:
    """Whether an error's text says that a signature or label is unknown.

    TensorFlow Serving gives such errors the codes of a wrong input.
    """
    return text.startswith(("Serving signature", "Unrecognized servable version label"))


def checked_outputs(
    signature: Signature, outputs: Mapping[str, np.ndarray], rows: int
) -> dict[str, np.ndarray]:
    """The outputs, if they are what the signature promises for so many rows.

    Raises:
        Protocol: if not; then no server that read this request gave this answer.
    """
    if outputs.keys() != signature.outputs.keys():
        raise Protocol(
            f"The answer to {signature.name} has other outputs than the model's metadata. "
            f"Expected: {', '.join(sorted(signature.outputs))}. "
            f"Received: {', '.join(sorted(outputs)) or 'none'}."
        )
    for name, value in outputs.items():
        if value.ndim == 0 or len(value) != rows:
            raise Protocol(
                f"The output `{name}` of {signature.name} has another number of rows than the "
                f"request. Expected: {rows}. Received: shape {value.shape}."
            )
    return dict(outputs)
