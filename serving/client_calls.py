"""How the client answers one call: by one version of the model, in as many requests as needed."""

import logging
import random
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from client_checks import checked_inputs
from client_parts import (
    Closed,
    InvalidInput,
    Model,
    NotFound,
    Overloaded,
    ServingError,
    Signature,
    TensorSpec,
    Transport,
    Unavailable,
    VersionChanged,
    VersionStatus,
    Which,
    checked_outputs,
)

__all__ = ["LOG", "Calls"]

ROWS = 256  # in a request, at most
BYTES = 1 << 20  # of numbers in a request or in its answer; as JSON up to five times as many
FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0  # seconds before a request is sent again
CHANGES = 5  # of the served version, within one call
LOG = logging.getLogger(__name__)  # silent, unless the program asks for what is said

_T = TypeVar("_T")
_Arrays = dict[str, np.ndarray]


class Calls:
    """The calls of a client; see `client.Client` for the arguments."""

    def __init__(
        self,
        transport: Transport,
        which: Which,
        timeout: float,
        retries: int,
        batch: int | None,
        connections: int,
    ) -> None:
        self._transport = transport
        self._which = which
        self._timeout = timeout
        self._retries = retries
        self._batch = batch
        self._executor = ThreadPoolExecutor(connections, "serving-client")
        self._known: Model | None = None
        self._waited = False
        self._closed = threading.Event()

    def predict(self, name: str, inputs: Mapping[str, Any]) -> tuple[int, _Arrays]:
        """The version that answered the call, and the outputs of its signature `name`.

        A refusal stands if the version that refused is the one that is served; else the
        call starts again with the new version, whose shapes may be others.
        """
        model = self._model()
        reasons = []
        for _ in range(CHANGES):
            try:
                return model.version, self._answer(model, name, inputs)
            except VersionChanged as change:
                reasons.append(str(change))
                model = self.fetch()
            except (InvalidInput, NotFound):
                newer = self._newer(model)
                if newer is None:
                    raise
                model = newer
        raise VersionChanged(
            f"The served version changed during each of {CHANGES} attempts at this call; the last "
            f"time: {' '.join(reasons[-1:])} Ask one of them: `version`, or `label`."
        )

    def fetch(self) -> Model:
        """The model as the server describes it now."""
        return self._retried(self._fetch_once)

    def _newer(self, model: Model) -> Model | None:
        """The model if another version is served now, by one look: the refusal is known already."""
        try:
            now = self._fetch_once()
        except ServingError:
            return None
        return None if now.version == model.version else now

    def _fetch_once(self) -> Model:
        model = self._transport.metadata(self._which, self._timeout)
        asked = {k: v for k, v in model.signatures.items() if not k.startswith("__")}
        self._known = model._replace(signatures=asked)  # without TensorFlow's own initialisation
        return self._known

    def status(self) -> list[VersionStatus]:
        """The versions that the server knows of."""
        return self._retried(lambda: self._transport.status(self._timeout))

    def close(self) -> None:
        """Ends the calls under way, by REST once their requests have ended."""
        self._closed.set()
        self._transport.close()
        self._executor.shutdown(cancel_futures=True)

    def _model(self) -> Model:
        """The model as last seen, if an answer would tell of a newer one."""
        fixed = self._which.version is not None
        if self._known is not None and (fixed or self._transport.names_version):
            return self._known
        return self.fetch()

    def _answer(self, model: Model, name: str, inputs: Mapping[str, Any]) -> _Arrays:
        """The outputs, of this version alone: the first request tells, the others name it."""
        signature = model.signatures.get(name)
        if signature is None:
            raise NotFound(
                f"Version {model.version} of the model has no signature {name}. "
                f"Expected: {', '.join(sorted(model.signatures))}."
            )
        arrays = checked_inputs(signature, inputs)
        parts = _split(arrays, self._batch or _default_batch(signature, arrays))
        pinned = Which(version=model.version)
        first = self._which if self._transport.names_version else pinned
        answers = [self._request(model, signature, first, parts[0])]
        answers += self._in_parallel(
            lambda part: self._request(model, signature, pinned, part), parts[1:]
        )
        names = sorted(signature.outputs)  # in which order the server lists them is not fixed
        return {key: np.concatenate([one[key] for one in answers]) for key in names}

    def _in_parallel(
        self, call: Callable[[_Arrays], _Arrays], parts: list[_Arrays]
    ) -> list[_Arrays]:
        """The results in the order of the parts; an error ends those that wait."""
        self._require_open()
        futures: list[Future[_Arrays]] = [self._executor.submit(call, part) for part in parts]
        try:
            return [future.result() for future in futures]
        except CancelledError as error:
            raise Closed("The client was closed during a call.") from error
        finally:
            for future in futures:
                future.cancel()

    def _request(
        self, model: Model, signature: Signature, which: Which, inputs: _Arrays
    ) -> _Arrays:
        try:
            version, outputs = self._retried(
                lambda: self._transport.predict(which, signature, inputs, self._timeout)
            )
        except NotFound as error:  # its metadata was there before
            raise VersionChanged(f"Version {model.version} is gone: {error}") from error
        if version != model.version:
            raise VersionChanged(f"Version {version} answered instead of {model.version}.")
        return checked_outputs(signature, outputs, len(next(iter(inputs.values()))))

    def _retried(self, call: Callable[[], _T]) -> _T:
        """The call; again, ever later, while the server is unavailable or overloaded."""
        for attempt in range(self._retries):
            self._require_open()
            try:
                return call()
            except (Unavailable, Overloaded):
                self._say_waiting()
                self._closed.wait(_pause(attempt))
        self._require_open()
        return call()

    def _say_waiting(self) -> None:
        if not self._waited:
            self._waited = True
            LOG.info("waiting for %s", self._transport.server)

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise Closed("The client is closed. Make another one.")


def _pause(attempt: int) -> float:
    """Seconds before a request is sent again; by chance, so that clients do not return at once."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0)


def _split(arrays: _Arrays, batch: int) -> list[_Arrays]:
    rows = len(next(iter(arrays.values())))
    return [
        {name: array[start : start + batch] for name, array in arrays.items()}
        for start in range(0, rows, batch)
    ]


def _default_batch(signature: Signature, arrays: _Arrays) -> int:
    """Rows of a request, by the larger of what a row sends and what it gets."""
    sent = sum(array[0].nbytes for array in arrays.values())
    received = sum(_row_bytes(spec) for spec in signature.outputs.values())
    return max(1, min(ROWS, BYTES // max(1, sent, received)))


def _row_bytes(spec: TensorSpec) -> int:
    sizes = [1 if size is None else size for size in spec.shape[1:]]
    return int(np.prod(sizes)) * (spec.dtype.itemsize if spec.dtype else 1)
