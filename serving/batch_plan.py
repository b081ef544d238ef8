"""Settling a job before anything runs: the model's version, its signature, the files."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from os.path import basename, dirname
from typing import Any

import batch_files
import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from batch_parts import BadRow, Job, JobError, Tensor
from batch_sources import UNREADABLE, Npz, Parquet, Source
from batch_tfrecord import TFRecord
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

__all__ = ["claim", "plan", "source"]


def plan(
    model: str,
    inputs: Sequence[str],
    output: str,
    signature: str = "encode",
    key: str | None = None,
    seed: int = 0,
    batch_size: int = 256,
    shard_rows: int = 4096,
) -> Job:
    """The job, checked.

    Args:
        model: Folder of a version, or of numbered versions, of which the newest answers.
        inputs: Names or patterns of files.
        output: Folder.
        signature: Its inputs but `seed` are what is read of a row.
        key: The column that names a row; else it is `<file>:<row>`.
        seed: With the key it makes the seed of a row.
        batch_size: Rows in a call of the model.
        shard_rows: Rows in a file of the output.

    Raises:
        JobError: the model, the signature, the input or a size makes no sense.

    Example:
        >>> job = plan("models/vae", ["images-*.npz"], "encoded", signature="score")
    """
    for name, size in {"batch_size": batch_size, "shard_rows": shard_rows}.items():
        if size < 1:
            raise JobError(f"{name}: at least 1 expected, got {size}")
    version = _version(model)
    paths = _paths(inputs, output)
    tensors = _signature(version, signature)
    job = Job(version, signature, *tensors, paths, output, key, seed, batch_size, shard_rows)
    if not job.columns():
        raise JobError(f"key: a column expected, {signature!r} reads nothing else of a row")
    _check_inputs(job)
    return job


def claim(job: Job) -> None:
    """Marks the output folder as this job's. JobError if it is another's."""
    path = FileSystems.join(job.output, "_job.json")
    model = job.model if "://" in job.model else os.path.abspath(job.model)
    names = ("signature", "key", "seed", "batch_size", "shard_rows")
    mine = {"model": model} | {name: getattr(job, name) for name in names}
    known = FileSystems.exists(path)
    if known:
        with FileSystems.open(path) as file:
            theirs = json.loads(file.read())
        if theirs != mine:
            raise JobError(
                f"output: a folder of this job, {mine}, expected; {job.output!r} is that of "
                f"{theirs}: name another folder"
            )
    batch_files.prepare(job.output)
    if not known:
        text = json.dumps(mine, indent=2).encode()
        batch_files.publish(job.output, path, lambda file: file.write(text))


def source(path: str, job: Job) -> Source:
    """The reader that fits the first bytes of the file."""
    with FileSystems.open(path) as raw:
        kind = {b"PK\3\4": Npz, b"PAR1": Parquet}.get(raw.read(4), TFRecord)
    return kind(path, job.columns(), job.shard_rows)


def _version(model: str) -> str:
    if FileSystems.exists(FileSystems.join(model, "saved_model.pb")):
        return model
    pattern = FileSystems.join(model, "*", "saved_model.pb")
    found = [dirname(file.path) for file in FileSystems.match([pattern])[0].metadata_list]
    versions = [folder for folder in found if basename(folder).isdecimal()]
    if not versions:
        raise JobError(
            f"model: a SavedModel or a folder of numbered versions expected, got {model!r}"
        )
    return max(versions, key=lambda folder: int(basename(folder)))


def _signature(version: str, name: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs, read from the file itself: the driver need not load the model."""
    with FileSystems.open(FileSystems.join(version, "saved_model.pb")) as file:
        try:
            graphs = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
        except DecodeError as error:
            raise JobError(f"model: a SavedModel expected in {version!r}, got {error}") from error
    served = [graph.signature_def for graph in graphs if "serve" in graph.meta_info_def.tags]
    signatures = {name: signature for graph in served for name, signature in graph.items()}
    if name not in signatures:
        known = sorted(known for known in signatures if not known.startswith("__"))
        raise JobError(f"signature: one of {known} expected, got {name!r}")
    inputs, outputs = _tensors(signatures[name].inputs), _tensors(signatures[name].outputs)
    for tensor in inputs:
        if min(tensor.shape, default=0) < 0:
            raise JobError(f"signature: sizes that are known expected, {tensor} has -1")
    return inputs, outputs


def _tensors(infos: Any) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name,
            np.dtype(tf.as_dtype(infos[name].dtype).as_numpy_dtype),
            tuple(dim.size for dim in infos[name].tensor_shape.dim[1:]),
        )
        for name in sorted(infos)
    )


def _paths(patterns: Sequence[str], output: str) -> tuple[str, ...]:
    matches = FileSystems.match(list(patterns))
    paths = sorted({file.path for match in matches for file in match.metadata_list})
    if not paths:
        raise JobError(f"input: at least one file expected, none matches {' '.join(patterns)!r}")
    twice = [name for name, count in Counter(map(basename, paths)).items() if count > 1]
    if twice:
        raise JobError(f"input: files of different names expected, got several {twice[0]!r}")
    if os.path.abspath(output) in {os.path.abspath(dirname(path)) for path in paths}:
        raise JobError(f"output: a folder that holds no input expected, got {output!r}")
    return tuple(paths)


def _check_inputs(job: Job) -> None:
    """The first file that can be read must have every column; the others are taken as they come."""
    problems = []
    for path in job.paths:
        try:
            absent = _absent(path, job)
        except UNREADABLE as error:
            problems.append(f"{path}: {error}")
            continue
        if absent:
            raise JobError(f"input: {absent} expected, no row in the first shard of {path} has it")
        return
    raise JobError(f"input: a file that can be read expected; {problems[0]}")


def _absent(path: str, job: Job) -> list[str]:
    """The columns that no row of the first shard has."""
    file = source(path, job)
    shards = list(itertools.islice(file.shards(), 1))
    if shards and shards[0]["problem"]:
        raise ValueError(shards[0]["problem"])
    rows = [row for shard in shards for row in file.read(shard) if not isinstance(row, BadRow)]
    return [name for name in job.columns() if rows and all(row.get(name) is None for row in rows)]
