"""Reading TFRecord files of `tf.train.Example` from any byte, with the checksums of the format.

A record is its length (8 bytes), the checksum of that (4), the data and their checksum (4).
TensorFlow's own reader gives up a file at the first wrong byte; here a record whose data are
damaged is one bad row.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, final

import numpy as np
import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from batch_parts import BadRow, RawRow, Shard
from batch_sources import Source
from google.protobuf.message import DecodeError

__all__ = ["TFRecord", "checksums"]


@final
class TFRecord(Source):
    """Records of `tf.train.Example`. A shard begins at byte `at`."""

    def shards(self) -> Iterator[Shard]:
        start, rows = 0, self.shard_rows
        with FileSystems.open(self.path) as raw:
            while rows == self.shard_rows:
                at = raw.tell()
                rows, problem = _hop(raw, self.shard_rows)
                if rows:
                    yield Shard(path=self.path, start=start, rows=rows, at=at, problem="")
                start += rows
                if problem:
                    yield Shard(path=self.path, start=start, rows=0, at=at, problem=problem)

    def read(self, shard: Shard) -> list[RawRow]:
        data, sums = [], []
        with FileSystems.open(self.path) as raw:
            raw.seek(shard["at"])
            for _ in range(shard["rows"]):
                data.append(raw.read(int.from_bytes(raw.read(12)[:8], "little")))
                sums.append(int.from_bytes(raw.read(4), "little"))
        pairs = zip(data, checksums(data) == sums, strict=True)
        return [_features(record, whole, self.columns) for record, whole in pairs]


def _hop(raw: BinaryIO, most: int) -> tuple[int, str]:
    """How many records, at most, lie ahead of `raw`, and what is wrong with the one after them."""
    lengths: list[bytes] = []
    sums: list[int] = []
    problem = ""
    while len(lengths) < most and not problem and (header := raw.read(12)):
        # A corrupt length would overflow the seek; the end of the file is before 2^40 bytes more.
        raw.seek(min(int.from_bytes(header[:8], "little"), 1 << 40), os.SEEK_CUR)
        if len(raw.read(4)) < 4:
            problem = "the file ends inside a record, or is no TFRecord file"
        lengths.append(header[:8])
        sums.append(int.from_bytes(header[8:], "little"))
    intact = (checksums(lengths) == sums).tolist() if lengths else []
    if False in intact:
        return intact.index(False), "a record's length is corrupt, or the file is no TFRecord file"
    return len(lengths) - bool(problem), problem


def checksums(pieces: Sequence[bytes]) -> np.ndarray:
    """TFRecord's masked CRC-32C of each piece, byte by byte but for all pieces at once."""
    order = np.argsort([-len(piece) for piece in pieces], kind="stable")
    lengths = np.array([len(pieces[i]) for i in order])
    padded = np.zeros((max(lengths.max(), 1), len(pieces)), np.uint8)
    for column, i in enumerate(order):
        padded[: lengths[column], column] = np.frombuffer(pieces[i], np.uint8)
    crc = np.full(len(pieces), 0xFFFFFFFF, np.uint32)
    longer = np.searchsorted(-lengths, -np.arange(lengths.max()))  # pieces that reach beyond byte j
    for count, line in zip(longer, padded, strict=False):
        crc[:count] = _CRC_TABLE[(crc[:count] ^ line[:count]) & 0xFF] ^ (crc[:count] >> 8)
    result = np.empty(len(pieces), np.uint32)
    result[order] = ~crc
    return ((result >> 15) | (result << 17)) + np.uint32(0xA282EAD8)


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


_CRC_TABLE = _crc_table()


def _features(record: bytes, whole: bool, columns: Sequence[str]) -> RawRow:
    if not whole:
        return BadRow("undecodable_record", "wrong checksum")
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        return BadRow("undecodable_record", str(error))
    return {name: _feature(features[name]) for name in columns if name in features}


def _feature(feature: tf.train.Feature) -> Any:
    if feature.WhichOneof("kind") == "bytes_list":
        values = feature.bytes_list.value
        return values[0] if len(values) == 1 else list(values)
    if feature.WhichOneof("kind") == "float_list":
        return np.array(feature.float_list.value, np.float32)
    return np.array(feature.int64_list.value, np.int64) if feature.WhichOneof("kind") else None
