"""What the modules of a batch job pass to each other: the job, its shards, their rows.

What goes from step to step is plain dicts and arrays: Beam pickles it, if only to know its size,
and a worker elsewhere cannot import the modules of this folder.
"""

from dataclasses import dataclass
from os.path import basename
from typing import Any, NamedTuple, TypedDict, final

import numpy as np

__all__ = [
    "REASONS",
    "Bad",
    "BadRow",
    "Job",
    "JobError",
    "RawRow",
    "Shard",
    "Slice",
    "Tensor",
    "shard_name",
]

REASONS = {
    "missing_input": "the row lacks an input or its key",
    "wrong_shape": "the values do not fill the input's shape",
    "wrong_type": "not numbers, or numbers that the input's dtype cannot hold",
    "not_finite": "NaN or infinity in another input than x",
    "refused": "the model's own check refused it: outside the support",
    "undecodable_record": "not a tf.train.Example, or its checksum is wrong",
    "unreadable_file": "the file, or the rest of it, could not be read",
}


class JobError(ValueError):
    """The job makes no sense: said before anything runs, in one line."""


@final
class BadRow(ValueError):
    """A row that gets no answer. `reason` is a key of `REASONS`, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


RawRow = dict[str, Any] | BadRow  # values by column, as they are in the file


class Tensor(NamedTuple):
    """An input or output of a signature; `shape` leaves out the batch axis."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]


@final
@dataclass(frozen=True)
class Job:
    """One job, checked and settled: see `batch_plan.plan`."""

    model: str  # the folder of one version
    signature: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    paths: tuple[str, ...]
    output: str
    key: str | None
    seed: int
    batch_size: int
    shard_rows: int

    def columns(self) -> list[str]:
        """What is read of a row: its inputs, but for the seed, which comes from the key."""
        key = [] if self.key is None else [self.key]
        return list(dict.fromkeys([t.name for t in self.inputs if t.name != "seed"] + key))


class Shard(TypedDict):
    """`rows` rows of a file from row `start` on: read, answered and written as one.

    `at` is where they begin in the file's own terms (a byte, a row group). If the file cannot be
    read there, `problem` says why and there are no rows; else it is empty.
    """

    path: str
    start: int
    rows: int
    at: int
    problem: str


class Bad(TypedDict):
    """A row without an answer, as it is written."""

    key: str
    reason: str
    detail: str


class Slice(TypedDict):
    """The rows of a shard; `values [N, ...]` are inputs before the model and outputs after it."""

    shard: Shard
    keys: list[str]
    values: dict[str, np.ndarray]
    bad: list[Bad]


def shard_name(shard: Shard) -> str:
    """The name of its output: `images-0.npz.000000004096`."""
    return f"{basename(shard['path'])}.{shard['start']:012d}"
