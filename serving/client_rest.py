"""The client's REST side: the standard library and NumPy, nothing else.

Arrays go as JSON in the column form, `{"inputs": {"x": [[...]]}}`. Each float32 is written as
the shortest decimal of the float64 that equals it, so the server reads the same bits back.
"""

import http.client
import json
import queue
import re
import ssl
import time
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import numpy as np
from client_parts import (
    DTYPE_OF_NAME,
    InvalidInput,
    Model,
    NotFound,
    Overloaded,
    Protocol,
    Refused,
    ServerFault,
    Signature,
    TensorSpec,
    TimedOut,
    Transport,
    Unavailable,
    VersionStatus,
    Which,
    names_none,
)

__all__ = ["RestTransport"]

_Connection = http.client.HTTPConnection
_CHUNK = 1 << 18


class RestTransport(Transport):
    """TensorFlow Serving over HTTP; connections are kept open and used again.

    Args:
        url: of the server, `http://localhost:8501`, or `https://host/prefix`.
        model: its name there.
    """

    names_version = False  # an answer to :predict holds the outputs alone

    def __init__(self, url: str, model: str) -> None:
        parts = urlsplit(url)
        self.url = self.server = url
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = f"{parts.path.rstrip('/')}/v1/models/{quote(model, safe='')}"
        self._idle: queue.LifoQueue[_Connection] = queue.LifoQueue()
        self._closed = False

    def metadata(self, which: Which, timeout: float) -> Model:
        answer = self._ask("GET", f"{self._of(which)}/metadata", None, timeout)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return Model(
                int(answer["model_spec"]["version"]),
                {name: _signature(name, value) for name, value in signatures.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._strange(f"metadata without {error}") from error

    def status(self, timeout: float) -> list[VersionStatus]:
        answer = self._ask("GET", self._path, None, timeout)
        try:
            return [
                VersionStatus(int(one["version"]), one["state"], one["status"]["error_message"])
                for one in answer["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(f"a status without {error}") from error

    def predict(
        self,
        which: Which,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        timeout: float,
    ) -> tuple[int, dict[str, np.ndarray]]:
        if which.version is None:
            raise ValueError("REST answers do not name their version: `which` must.")
        columns = {name: array.tolist() for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature.name, "inputs": columns})
        answer = self._ask("POST", f"{self._of(which)}:predict", body.encode(), timeout)
        return which.version, self._arrays(signature, answer)

    def close(self) -> None:
        self._closed = True
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _of(self, which: Which) -> str:
        if which.version is not None:
            return f"{self._path}/versions/{which.version}"
        return self._path if which.label is None else f"{self._path}/labels/{quote(which.label)}"

    def _arrays(self, signature: Signature, answer: Mapping[str, Any]) -> dict[str, np.ndarray]:
        outputs = answer.get("outputs")
        if len(signature.outputs) == 1:  # a single output comes without its name
            outputs = dict.fromkeys(signature.outputs, outputs)
        if not isinstance(outputs, dict) or not outputs.keys() <= signature.outputs.keys():
            raise self._strange(f"outputs that {signature.name} does not have")
        try:
            return {
                name: np.array(value, signature.outputs[name].dtype)
                for name, value in outputs.items()
            }
        except (TypeError, ValueError, OverflowError) as error:
            raise self._strange(f"outputs that are no arrays: {error}") from error

    # One exchange

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float) -> dict[str, Any]:
        """The JSON object that answers."""
        code, raw = self._exchange(method, path, body, timeout)
        if code != 200:
            _raise(code, raw, self.url)
        try:
            answer = json.loads(raw)
        except ValueError as error:  # covers a text that is no UTF-8
            raise self._strange(_excerpt(raw)) from error
        if not isinstance(answer, dict):
            raise self._strange(_excerpt(raw))
        return answer

    def _exchange(
        self, method: str, path: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        """The status and body of the answer, on a connection kept from before if there is one.

        A server closes connections that were idle for long: what fails on a kept one is
        sent again on a new one.
        """
        deadline = time.monotonic() + timeout
        while True:
            connection, kept = self._connection()
            try:
                code, raw = _send(connection, method, path, body, deadline)
            except TimeoutError as error:
                connection.close()
                raise TimedOut(f"{self.url} did not answer within {timeout:g} s.") from error
            except (ConnectionError, http.client.IncompleteRead) as error:
                connection.close()
                if not kept:
                    raise Unavailable(_unavailable(self.url, error)) from error
            except (http.client.HTTPException, ssl.SSLError) as error:
                connection.close()
                raise self._strange(repr(error)) from error
            except OSError as error:  # no such host, no route to it
                connection.close()
                raise Unavailable(_unavailable(self.url, error)) from error
            else:
                self._keep(connection)
                return code, raw

    def _connection(self) -> tuple[_Connection, bool]:
        """A connection, and whether it is open already."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            return kind(self._host, self._port), False
        return connection, connection.sock is not None

    def _keep(self, connection: _Connection) -> None:
        self._idle.put(connection)
        if self._closed:
            self.close()

    def _strange(self, what: str) -> Protocol:
        return Protocol(
            f"What answers at {self.url} is no TensorFlow Serving REST port (8501 by default). "
            f"Received: {what}."
        )


def _send(
    connection: _Connection, method: str, path: str, body: bytes | None, deadline: float
) -> tuple[int, bytes]:
    """One request and its answer, read in pieces so that a slow one meets the deadline."""
    if connection.sock is None:
        connection.timeout = _remaining(deadline)
        connection.connect()
    sock = connection.sock
    sock.settimeout(_remaining(deadline))
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
    except (BrokenPipeError, ConnectionResetError):
        sock.settimeout(1.0)  # a server that refuses a large body answers before it is all sent
    else:
        sock.settimeout(_remaining(deadline))
    response = connection.getresponse()
    pieces = []
    while not response.isclosed():
        sock.settimeout(_remaining(deadline))
        piece = response.read1(_CHUNK)
        if not piece:
            break
        pieces.append(piece)
    if response.length:
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    response.close()
    return response.status, b"".join(pieces)


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _signature(name: str, value: Mapping[str, Any]) -> Signature:
    return Signature(name, _specs(value.get("inputs", {})), _specs(value.get("outputs", {})))


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: _spec(tensor) for name, tensor in tensors.items()}


def _spec(tensor: Mapping[str, Any]) -> TensorSpec:
    sizes = [int(dimension["size"]) for dimension in tensor["tensor_shape"]["dim"]]
    return TensorSpec(
        DTYPE_OF_NAME.get(tensor["dtype"]), tuple(None if size < 0 else size for size in sizes)
    )


# Errors


def _raise(code: int, raw: bytes, url: str) -> NoReturn:
    """The error of an HTTP status other than 200."""
    text = _error_text(raw)
    if code in (502, 503):
        raise Unavailable(f"The server at {url} is not available: {text or _excerpt(raw)}")
    if code == 429:
        raise Overloaded(f"The server at {url} has too many requests: {text or _excerpt(raw)}")
    if code in (408, 504):
        raise TimedOut(f"{url} says that the request took too long: {text or _excerpt(raw)}")
    if code in (401, 403, 407):
        raise Refused(f"{url} refuses the request (HTTP {code}): {text or _excerpt(raw)}")
    if code == 413:
        raise InvalidInput("A request is larger than the server takes. Send fewer rows: `batch`.")
    if text is None:
        raise Protocol(
            f"What answers at {url} is no TensorFlow Serving REST port (8501 by default). "
            f"Received: HTTP {code}, {_excerpt(raw)}."
        )
    if code == 404 or names_none(text):
        raise NotFound(f"The server at {url} has not what was asked: {text}")
    if 400 <= code < 500:
        raise InvalidInput(text)
    raise ServerFault(f"The server at {url} failed (HTTP {code}): {text}")


def _error_text(raw: bytes) -> str | None:
    """The text of `{"error": ...}`; None if there is none.

    TensorFlow Serving escapes it as C does, so that a quoted name in it is no valid JSON.
    """
    found = re.fullmatch(rb'\s*\{\s*"error"\s*:\s*"(.*)"\s*\}\s*', raw, re.DOTALL)
    if found is None:
        return None
    try:
        return str(json.loads(raw)["error"])
    except ValueError:
        text = found[1].decode("utf-8", "replace")
        return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], text)


def _excerpt(raw: bytes) -> str:
    text = " ".join(raw[:200].decode("utf-8", "replace").split())
    return repr(text[:80]) if text else "an empty body"


def _unavailable(url: str, error: Exception) -> str:
    return f"No server answers at {url}: {str(error) or repr(error)}. Is it running there?"
