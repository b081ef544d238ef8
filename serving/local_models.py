"""The versions of one model in its folder: found, loaded, chosen, replaced, reported.

A thread looks into the folder once a second. A version that is wanted and not loaded is loaded
and warmed up beside those that answer; only when it is available are the ones that are no longer
wanted let go, and a request that is under way keeps its version until it is done. This is
TensorFlow Serving's "availability preserving" policy.
"""

import gc
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import tensorflow as tf
from local_version import Refusal, Version, refusal_of
from tensorflow_serving.apis import get_model_status_pb2

_State = get_model_status_pb2.ModelVersionStatus.State
_MAX_INT64 = 2**63 - 1


@dataclass(frozen=True)
class _Slot:
    """What is known of a version: its state, what answers, what went wrong, its files then."""

    state: int
    version: Version | None = None
    error: Refusal | None = None
    files: frozenset[tuple[str, int, int]] = frozenset()


class Model:
    """A model's folder being served.

    Args:
        folder: holds a folder for each version: `1`, `2`, ... Other names are ignored.
        name: what requests call the model.
        versions: which to serve: `"latest"`, `"all"`, or those with the given numbers.
        labels: names for versions, such as `{"stable": 1, "canary": 2}`.
        report: called with one line on each change, for the server's log.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        versions: str | Collection[int],
        labels: Mapping[str, int],
        report: Callable[[str], None],
    ) -> None:
        self.name = name
        self._folder = folder
        self._versions = versions
        self._labels = labels
        self._report = report
        # Written by the thread that polls, by replacing it whole; so readers need no lock.
        self._slots: dict[int, _Slot] = {}
        self._last_line = ""

    def find(self, name: str, number: int | None, label: str | None) -> Version:
        """The version that answers a request: the one asked for, else the newest available.

        Raises:
            Refusal: NOT_FOUND for a name or a version that is not served, INVALID_ARGUMENT for an
                unknown label.
        """
        number = self._number(number, label)
        slots = self._slots if name == self.name else {}
        loaded = {key: slot.version for key, slot in slots.items() if slot.version is not None}
        wanted = max(loaded, default=None) if number is None else number
        if wanted not in loaded:
            asked = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        return loaded[wanted]

    def status(
        self, name: str, number: int | None, label: str | None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of one version or of all that were ever seen, the newest first.

        Raises:
            Refusal: NOT_FOUND for a name or a version that was never seen.
        """
        number = self._number(number, label)
        slots = self._slots if name == self.name else {}
        if number is not None and number not in slots:
            text = f"Could not find version {number} of model {name}"
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        if not slots:
            text = f"Could not find any versions of model {name}"
            raise Refusal(grpc.StatusCode.NOT_FOUND, text)
        numbers = sorted(slots, reverse=True) if number is None else [number]
        response = get_model_status_pb2.GetModelStatusResponse()
        for key in numbers:
            _describe(response.model_version_status.add(version=key), slots[key])
        return response

    def poll(self, stop: threading.Event, seconds: float) -> None:
        """Follow the folder until `stop` is set, looking into it every `seconds`."""
        while not stop.is_set():
            self.update()
            stop.wait(seconds)

    def update(self) -> None:
        """Look into the folder once: load what is new, then let go what is no longer wanted."""
        try:
            self._follow(_version_folders(self._folder))
        except OSError as error:  # the folder is gone, or changed while it was read
            self._say_once(f"cannot read the folder, serving on as before: {error}")

    def _follow(self, found: Mapping[int, Path]) -> None:
        wanted = _chosen(found, self._versions)
        if not wanted:
            self._say_once(f"no version to serve in {self._folder} yet: waiting for one")
        for number in sorted(wanted):
            if self._to_be_loaded(number, found[number]):
                self._load(number, found[number])
        available = {number for number, slot in self._slots.items() if slot.version is not None}
        if available & wanted or not wanted:
            for number in sorted(available - wanted):
                self._set(number, _Slot(_State.END))
                self._say(f"version {number} of {self.name} is no longer served")

    def _number(self, number: int | None, label: str | None) -> int | None:
        if label is None:
            return number
        if label not in self._labels:
            text = f"Unrecognized servable version label: {label}"
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
        return self._labels[label]

    def _to_be_loaded(self, number: int, folder: Path) -> bool:
        slot = self._slots.get(number, _Slot(_State.START))
        # A version that could not be loaded is tried again when its files have changed: someone
        # may be copying it in, file by file.
        return slot.version is None and (slot.error is None or slot.files != _files(folder))

    def _load(self, number: int, folder: Path) -> None:
        self._set(number, _Slot(_State.LOADING))
        files = _files(folder)
        try:
            slot = _Slot(_State.AVAILABLE, version=Version(folder))
            line = f"version {number} of {self.name} is available"
        # Whatever a broken folder raises: it is reported, and the other versions serve on.
        except Exception as error:
            slot = _Slot(_State.END, error=_load_refusal(error), files=files)
            line = f"version {number} of {self.name} cannot be served: {slot.error}"
        self._set(number, slot)
        # The graph stays: without this, each collection amid the lists of a large JSON body walks
        # through all of it, which was four fifths of the time of such a request.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._say(line)

    def _set(self, number: int, slot: _Slot) -> None:
        self._slots = {**self._slots, number: slot}

    def _say(self, line: str) -> None:
        self._last_line = line
        self._report(line)

    def _say_once(self, line: str) -> None:
        if line != self._last_line:
            self._say(line)


def _version_folders(folder: Path) -> dict[int, Path]:
    names = [path for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()]
    return {int(path.name): path for path in names if path.is_dir() and _is_int64(path.name)}


def _is_int64(name: str) -> bool:
    return len(name) < 20 and int(name) <= _MAX_INT64


def _chosen(found: Collection[int], versions: str | Collection[int]) -> set[int]:
    if versions == "all":
        return set(found)
    if versions == "latest":
        return {max(found)} if found else set()
    return {number for number in found if number in versions}


def _files(folder: Path) -> frozenset[tuple[str, int, int]]:
    stats = [(str(path), path.stat()) for path in folder.rglob("*") if path.is_file()]
    return frozenset((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _load_refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, tf.errors.OpError):
        return refusal_of(error)
    missing = isinstance(error, OSError)
    code = grpc.StatusCode.NOT_FOUND if missing else grpc.StatusCode.UNKNOWN
    return Refusal(code, f"{type(error).__name__}: {error}")


def _describe(entry: get_model_status_pb2.ModelVersionStatus, slot: _Slot) -> None:
    entry.state = slot.state
    entry.status.error_code = slot.error.code.value[0] if slot.error else 0
    entry.status.error_message = slot.error.text if slot.error else ""
