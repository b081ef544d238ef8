"""Reading: a class for each kind of file, which cuts it into shards and reads one of them."""

import itertools
import math
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from batch_parts import RawRow, Shard

__all__ = ["UNREADABLE", "Npz", "Parquet", "Source"]

# What zipfile, NumPy, Arrow and the file systems raise for a file that is not what it should be.
UNREADABLE: Final = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class Source(ABC):
    """One input file, read in shards; `columns` are the names that a row is made of."""

    def __init__(self, path: str, columns: Sequence[str], shard_rows: int) -> None:
        self.path, self.columns, self.shard_rows = path, columns, shard_rows

    @abstractmethod
    def shards(self) -> Iterator[Shard]:
        """The file, cut. ValueError if it lacks a column."""

    @abstractmethod
    def read(self, shard: Shard) -> list[RawRow]:
        """The values of each row by column, as they are in the file; None for an absent one."""

    def cut(self, start: int, rows: int, at: int = 0) -> Iterator[Shard]:
        """Rows `start` to `start + rows` in shards."""
        for first in range(0, rows, self.shard_rows):
            count = min(self.shard_rows, rows - first)
            yield Shard(path=self.path, start=start + first, rows=count, at=at, problem="")

    def require(self, present: Sequence[str]) -> None:
        if absent := set(self.columns) - set(present):
            raise ValueError(
                f"{sorted(absent)} expected, only {sorted(present)} found in {self.path}"
            )


@final
class Npz(Source):
    """Arrays `[N, ...]` of equal length."""

    def shards(self) -> Iterator[Shard]:
        with FileSystems.open(self.path) as raw, zipfile.ZipFile(raw) as archive:
            self.require([name.removesuffix(".npy") for name in archive.namelist()])
            rows = {name: _npy_header(archive, name)[0][0] for name in self.columns}
        if len(set(rows.values())) != 1:
            raise ValueError(f"arrays of equal length expected in {self.path}, got {rows}")
        return self.cut(0, rows[self.columns[0]])

    def read(self, shard: Shard) -> list[RawRow]:
        with FileSystems.open(self.path) as raw, zipfile.ZipFile(raw) as archive:
            arrays = [_npy_rows(raw, archive, name, shard) for name in self.columns]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*arrays, strict=True)]


def _npy_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Of one array: shape, whether in Fortran's order, dtype, where the values begin."""
    with archive.open(f"{name}.npy") as member:
        old = np.lib.format.read_magic(member) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
        if not shape or dtype.hasobject:
            raise ValueError(
                f"rows of plain values expected in array {name!r}, got {dtype} {shape}"
            )
        return shape, fortran, dtype, member.tell()


def _npy_rows(raw: BinaryIO, archive: zipfile.ZipFile, name: str, shard: Shard) -> np.ndarray:
    """The rows of a shard, and of an array stored as it is no other byte."""
    shape, fortran, dtype, header = _npy_header(archive, name)
    info, row = archive.getinfo(f"{name}.npy"), dtype.itemsize * math.prod(shape[1:])
    if fortran:  # a row is not contiguous: nothing less than the whole will do
        whole = np.frombuffer(archive.read(info)[header:], dtype).reshape(shape, order="F")
        return whole[shard["start"] : shard["start"] + shard["rows"]]
    begin, size = header + shard["start"] * row, shard["rows"] * row
    if info.compress_type == zipfile.ZIP_STORED:
        raw.seek(info.header_offset + 26)  # where the local header has the lengths of two fields
        local_header = 30 + sum(struct.unpack("<HH", raw.read(4)))
        raw.seek(info.header_offset + local_header + begin)
        data = raw.read(size)
    else:
        with archive.open(info) as member:
            member.seek(begin)
            data = member.read(size)
    return np.frombuffer(data, dtype).reshape(shard["rows"], *shape[1:])


@final
class Parquet(Source):
    """Columns of numbers, (nested) lists or bytes. A shard lies within row group `at`."""

    def shards(self) -> Iterator[Shard]:
        with FileSystems.open(self.path) as raw:
            file = pq.ParquetFile(raw)
            self.require(file.schema_arrow.names)
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        start = 0
        for group, rows in enumerate(groups):
            yield from self.cut(start, rows, at=group)
            start += rows

    def read(self, shard: Shard) -> list[RawRow]:
        with FileSystems.open(self.path) as raw:
            file = pq.ParquetFile(raw)
            first = sum(file.metadata.row_group(i).num_rows for i in range(shard["at"]))
            batches = file.iter_batches(self.shard_rows, [shard["at"]], self.columns)
            index = (shard["start"] - first) // self.shard_rows
            (batch,) = itertools.islice(batches, index, index + 1)
        if batch.num_rows != shard["rows"]:
            raise ValueError(
                f"{shard['rows']} rows expected at {shard['start']}, got {batch.num_rows}"
            )
        columns = [_column_rows(batch.column(name)) for name in self.columns]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _column_rows(column: pa.Array) -> list[Any]:
    """A value for each row: of a (nested) list all its numbers, flat."""
    if not _is_list(column.type):
        return column.to_pylist()
    bounds, values = np.arange(len(column) + 1), column
    while _is_list(values.type):
        if pa.types.is_fixed_size_list(values.type):
            bounds = (bounds + values.offset) * values.type.list_size
        else:
            bounds = values.offsets.to_numpy()[bounds]
        values = values.values
    numbers, absent = values.to_numpy(zero_copy_only=False), column.is_null().to_pylist()
    pairs = zip(absent, itertools.pairwise(bounds.tolist()), strict=True)
    return [None if no else numbers[begin:end] for no, (begin, end) in pairs]


def _is_list(kind: pa.DataType) -> bool:
    some = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in some)
