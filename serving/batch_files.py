"""Writing: the answers of a shard, as files that appear whole or not at all."""

import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from batch_parts import Job, Shard, Slice, Tensor, shard_name

__all__ = ["is_written", "prepare", "publish", "write"]


def prepare(output: str) -> None:
    """Makes the folders and clears away what a killed run was in the middle of writing."""
    for folder in [output, *(FileSystems.join(output, name) for name in ("_bad", "_partial"))]:
        if not FileSystems.exists(folder):
            FileSystems.mkdirs(folder)
    partial = FileSystems.match([FileSystems.join(output, "_partial", "*")])[0].metadata_list
    if partial:
        FileSystems.delete([file.path for file in partial])


def is_written(job: Job, shard: Shard) -> bool:
    """Whether the answers of the shard are there."""
    return FileSystems.exists(_table_path(job, shard))


def write(job: Job, answers: Slice) -> None:
    """Writes a shard, its bad rows first: where the table is, both are.

    A shard that could not be read has no table, so that the next run tries again.
    """
    shard = answers["shard"]
    lines = "".join(json.dumps(bad) + "\n" for bad in answers["bad"]).encode()
    bad_path = FileSystems.join(job.output, "_bad", f"{shard_name(shard)}.jsonl")
    if lines:
        publish(job.output, bad_path, lambda file: file.write(lines))
    elif FileSystems.exists(bad_path):  # an earlier run could not read it
        FileSystems.delete([bad_path])
    if not shard["problem"]:
        table = _table(answers, job.outputs)
        publish(
            job.output,
            _table_path(job, shard),
            lambda file: pq.write_table(table, file, use_dictionary=False),
        )


def publish(output: str, path: str, fill: Callable[[BinaryIO], Any]) -> None:
    """Writes a file under a name of its own, and renames it when it is whole."""
    partial = FileSystems.join(output, "_partial", uuid.uuid4().hex)
    with FileSystems.create(partial) as file:
        fill(file)
    FileSystems.rename([partial], [path])


def _table_path(job: Job, shard: Shard) -> str:
    return FileSystems.join(job.output, f"{shard_name(shard)}.parquet")


def _table(answers: Slice, outputs: Iterable[Tensor]) -> pa.Table:
    """`key`, and a column for each output: `[N, ...]` becomes fixed-size lists."""
    columns = {"key": pa.array(answers["keys"], pa.string())}
    for name, dtype, shape in outputs:
        values = answers["values"].get(
            name, np.zeros((0, *(max(size, 0) for size in shape)), dtype)
        )
        column = pa.array(values.reshape(-1))
        for size in reversed(values.shape[1:]):
            column = pa.FixedSizeListArray.from_arrays(column, size)
        columns[name] = column
    return pa.table(columns)
