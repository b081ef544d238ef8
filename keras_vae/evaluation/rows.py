"""Estimates of each example, in chunks of rows that fit a memory limit, and resumable.

What is computed of a row depends on its number, the seed and the model alone: never on which
rows were computed with it. So the chunks may follow the memory at hand, and a run that was
stopped goes on where it was.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import is_integer
from keras_vae.data.source import Source
from keras_vae.data.sparse import dense
from keras_vae.memory import keep_freed_memory

MEMORY = 2**28  # bytes
SECONDS = 20.0  # between two checkpoints

Compute = Callable[[Source, tf.Tensor], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Rows:
    """How the rows of a data set are gone through.

    Attributes:
        memory: bytes that one chunk may take, of which a row at least is computed.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file to keep finished rows in, `.npz`; None for none. A run of the same
            model, data and arguments goes on from it; one of others is refused.
    """

    memory: int = MEMORY
    progress: bool = True
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if not is_integer(self.memory) or self.memory <= 0:
            raise ValueError(
                "`memory` is how many bytes a chunk of rows may take. Expected: a positive "
                f"integer. Received: {self.memory!r}. The default is {MEMORY}."
            )
        is_path = self.checkpoint is None or isinstance(self.checkpoint, str | os.PathLike)
        if not is_path or (self.checkpoint and Path(self.checkpoint).is_dir()):
            kind = "a folder, " if is_path else ""
            raise ValueError(
                "`checkpoint` is a file for finished rows. Expected: a path such as 'kept.npz', or "
                f"None. Received: {kind}{self.checkpoint!r}."
            )

    def part(self, name: str) -> "Rows":
        """The same for one data set of several: of `kept.npz` its checkpoint is `kept.NAME.npz`."""
        if self.checkpoint is None:
            return self
        whole = Path(self.checkpoint)
        path = whole.with_name(f"{whole.stem}.{name}{whole.suffix}")
        return dataclasses.replace(self, checkpoint=path)

    def at_once(self, bytes_of_row: int, most: int = sys.maxsize) -> int:
        """How many rows a chunk has: as many as fit, one at least, `most` at most."""
        return max(1, min(most, self.memory // max(1, bytes_of_row)))

    def __call__(
        self,
        compute: Compute,
        source: Source,
        bytes_of_row: int,
        label: str,
        identity: Callable[[], str],
        most: int = sys.maxsize,
    ) -> dict[str, np.ndarray]:
        """What `compute` gives of each row, by name, `[N, ...]` each.

        Args:
            compute: from some rows and their numbers `[n]` int64 to arrays `[n, ...]`.
            source: all rows.
            bytes_of_row: what computing one row takes.
            label: what is being computed, in a word or two.
            identity: of model, data and arguments, asked for if there is a checkpoint.
            most: how many rows a chunk may have.
        """
        keep_freed_memory()
        store = _Store(self.checkpoint, lambda: f"{label}: {identity()}")
        parts = store.load()
        done = sum(len(next(iter(part.values()))) for part in parts)
        try:
            for rows in self.blocks(len(source), bytes_of_row, label, done, most):
                numbers = tf.range(rows.start, rows.stop, dtype=tf.int64)
                found = compute(source[rows], numbers)
                parts.append({k: np.asarray(v) for k, v in found.items()})
                store.save(parts)
        finally:  # whatever stopped it, what is finished is kept
            store.save(parts, now=True)
        return _joined(parts)

    def blocks(
        self, number: int, bytes_of_row: int, label: str, done: int = 0, most: int = sys.maxsize
    ) -> Iterator[slice]:
        """Which rows are computed at once, one block after the other, with the bar.

        Args:
            number: of all rows.
            bytes_of_row: what computing one row takes.
            label: what is being computed, in a word or two.
            done: how many rows are finished.
            most: how many rows a block may have.
        """
        size = self.at_once(bytes_of_row, most)
        shown = self.progress and sys.stderr.isatty()
        stream = sys.stderr if shown else io.StringIO()
        with click.progressbar(length=number, label=label, file=stream) as bar:
            bar.update(done)
            for start in range(done, number, size):
                rows = slice(start, min(start + size, number))
                yield rows
                bar.update(rows.stop - rows.start)


class _Store:
    """The checkpoint's file, or nothing."""

    def __init__(self, path: str | Path | None, identity: Callable[[], str]) -> None:
        self.path = None if path is None else Path(path)
        self.identity = "" if path is None else identity()
        self.saved = time.monotonic()

    def load(self) -> list[dict[str, np.ndarray]]:
        """What is in the file, in one part; no part where there is none."""
        if self.path is None:
            return []
        # Where it cannot be, it is said now, and not when there is something to keep.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"`checkpoint` {self.path} is none, or is damaged: {error}. Name another file, or "
                "delete it."
            ) from error
        if str(found.pop("identity", "")) != self.identity:
            raise ValueError(
                f"`checkpoint` {self.path} is of another run. Expected: the same model, data and "
                "arguments. Received: others. Name another file, or delete it."
            )
        return [found]

    def save(self, parts: list[dict[str, np.ndarray]], now: bool = False) -> None:
        """Writes all parts, now or if it is time, whole or not at all."""
        due = now or time.monotonic() - self.saved > SECONDS
        if self.path is None or not parts or not due:
            return
        beside = self.path.with_name(f".unfinished-{os.getpid()}-{self.path.name}")
        with beside.open("wb") as file:
            np.savez(file, identity=np.array(self.identity), **_joined(parts))  # type: ignore[arg-type]  # names are not its options
        beside.replace(self.path)
        self.saved = time.monotonic()


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not parts:
        raise ValueError("`x` has no rows. Expected: one at least. Received: none.")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def held_still(source: Source) -> Source:
    """The source with its bits drawn once, where they would be drawn at each visit."""
    if not source.dynamic:
        return source
    bits = source.array().astype("uint8")
    return dataclasses.replace(source, values=bits, divisor=1.0, dynamic=False)


def identity_of(network: keras.layers.Layer | None, source: Source, **arguments: object) -> str:
    """A fingerprint of a network's weights and configuration, the data and the arguments."""
    digest = hashlib.sha256(repr(sorted(arguments.items())).encode())
    with contextlib.suppress(NotImplementedError):  # a network that cannot say how it was made
        config = None if network is None else network.get_config()
        digest.update(repr(_nameless(config)).encode())
    digest.update(repr(source.divisor).encode())
    for weight in () if network is None else network.weights:
        digest.update(np.asarray(weight).tobytes())
    for start in range(0, len(source), 1000):
        digest.update(dense(source.values[start : start + 1000]).tobytes())
    for value in source.beside().values():
        digest.update(np.asarray(value).tobytes())
    return digest.hexdigest()


def _nameless(config: Any) -> Any:
    """A configuration without names, which Keras counts up from model to model in a process.

    A functional network names its layers once more where it says which is called on which:
    there `dense_3` loses its number.
    """
    if isinstance(config, dict):
        return {key: _nameless(value) for key, value in config.items() if key != "name"}
    if isinstance(config, list | tuple):
        return [_nameless(value) for value in config]
    return re.sub(r"_\d+$", "", config) if isinstance(config, str) else config


def bytes_of(function: Any, *arguments: object) -> int:
    """The bytes of all tensors that a `tf.function` makes of these arguments, more than its peak.

    Read from its graph, so that whatever a family computes on the way is counted; but for what
    is inside a loop or a map over rows, which is small here, and for weights, which are there
    once for all rows.
    """
    graph = function.get_concrete_function(*arguments).graph
    made = [op for op in graph.get_operations() if op.type != "ReadVariableOp"]
    shapes = [(t.shape, t.dtype.size) for op in made for t in op.outputs]
    return sum((s.num_elements() or 1) * size for s, size in shapes if s.is_fully_defined())
