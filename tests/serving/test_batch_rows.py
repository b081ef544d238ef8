"""What becomes of a row: its values, its checks, its place in a damaged file."""

import itertools

import batch_sources
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from batch_parts import BadRow, Shard, Tensor
from batch_rows import in_batches, settle
from batch_sources import Npz, Parquet
from batch_tfrecord import TFRecord, checksums
from batch_toys import example, write_tfrecord

FLOATS = Tensor("x", np.dtype(np.float32), (2, 2))
BYTES = Tensor("x", np.dtype(np.uint8), (2, 2))
LATENT = Tensor("z", np.dtype(np.float32), (2, 2))
LABEL = Tensor("condition", np.dtype(np.int64), ())

GOOD = {
    "its own shape": (np.eye(2), FLOATS, np.eye(2)),
    "flat": (np.arange(4.0), FLOATS, np.arange(4.0).reshape(2, 2)),
    "one byte a value": (b"\x00\x01\x02\xff", FLOATS, [[0, 1], [2, 255]]),
    "its own bytes": (np.eye(2, dtype="<f4").tobytes(), FLOATS, np.eye(2)),
    "whole numbers as bytes": (np.array([0.0, 1, 2, 255]), BYTES, [[0, 1], [2, 255]]),
    "NaN: the model says whether x may lack values": (
        np.full(4, np.nan),
        FLOATS,
        [[np.nan] * 2] * 2,
    ),
    "infinity": (np.full(4, -np.inf), FLOATS, [[-np.inf] * 2] * 2),
    "a number": (2, LABEL, 2),
    "a list of one": (np.array([2]), LABEL, 2),
    "a large number": (2**62 + 1, LABEL, 2**62 + 1),
}


@pytest.mark.parametrize(("value", "tensor", "expected"), GOOD.values(), ids=GOOD)
def test_a_value_is_taken_as_the_signature_wants_it(value, tensor, expected):
    rows = settle([value, value], tensor)
    assert rows.dtype == tensor.dtype
    np.testing.assert_array_equal(rows, np.stack([expected, expected]))


BAD = {
    "absent": (None, FLOATS, "missing_input"),
    "too short": (np.arange(3.0), FLOATS, "wrong_shape"),
    "other axes": (np.zeros((1, 4)), FLOATS, "wrong_shape"),
    "odd bytes": (b"12345", FLOATS, "wrong_shape"),
    "bytes of three floats": (bytes(12), FLOATS, "wrong_shape"),
    "text": ("zero", LABEL, "wrong_type"),
    "several texts": ([b"a", b"b"], LABEL, "wrong_type"),
    "fraction": (0.5, LABEL, "wrong_type"),
    "256 in a byte": (np.array([0, 1, 2, 256]), BYTES, "wrong_type"),
    "negative byte": (np.array([0, 1, 2, -1]), BYTES, "wrong_type"),
    "beyond int64": (1e30, LABEL, "wrong_type"),
    "NaN": (np.array([0, np.nan, 0, 0]), LATENT, "not_finite"),
    "infinity": (np.array([0, -np.inf, 0, 0]), LATENT, "not_finite"),
    "beyond float32": (np.array([0, 1e300, 0, 0]), LATENT, "not_finite"),
    "NaN in bytes": (np.array([0, np.nan, 0, 0]), BYTES, "wrong_type"),
}


@pytest.mark.parametrize(("value", "tensor", "reason"), BAD.values(), ids=BAD)
def test_a_value_that_does_not_fit_is_refused_with_the_reason(value, tensor, reason):
    with pytest.raises(BadRow) as refusal:
        settle([value], tensor)
    assert refusal.value.reason == reason
    assert tensor.name in refusal.value.detail


def test_a_refused_batch_is_halved_until_the_bad_rows_stand_alone():
    asked = []

    def call(rows):
        asked.append((rows.start, rows.stop))
        if any(row in (3, 64) for row in range(rows.start, rows.stop)):
            raise BadRow("refused", "3 and 64 are bad")
        return {"row": np.arange(rows.start, rows.stop)}

    keys, values, bad = in_batches([f"k{i}" for i in range(100)], 32, call)
    assert [row["key"] for row in bad] == ["k3", "k64"]
    assert keys == [f"k{i}" for i in range(100) if i not in (3, 64)]
    assert values["row"].tolist() == [i for i in range(100) if i not in (3, 64)]
    assert len(asked) == 4 + 2 * 2 * 5  # two halves at each of five levels, for each bad row
    assert in_batches([], 32, call) == ([], {}, [])


def test_checksums_are_those_of_tensorflow(tmp_path):
    records = [bytes(range(length)) for length in (0, 1, 7, 200, 7)]
    write_tfrecord(tmp_path / "rows", records)
    written = (tmp_path / "rows").read_bytes()
    expected = []
    for record in records:
        end = 12 + len(record)
        expected.append(int.from_bytes(written[end : end + 4], "little"))
        written = written[end + 4 :]
    assert checksums(records).tolist() == expected


def rows_of(file):
    return [row for shard in file.shards() if not shard["problem"] for row in file.read(shard)]


@pytest.fixture
def records(tmp_path):
    """Ten records, `x` counts them, and where each begins."""
    data = [example(x=np.array([float(i)])) for i in range(10)]
    write_tfrecord(tmp_path / "rows", data)
    return tmp_path / "rows", list(itertools.accumulate(len(one) + 16 for one in data))


def damage(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_record_is_one_bad_row(records):
    path, ends = records
    damage(path, ends[3] + 12 + 5)
    rows = rows_of(TFRecord(str(path), ["x"], 4))
    assert [i for i, row in enumerate(rows) if isinstance(row, BadRow)] == [4]
    assert [row["x"][0] for row in rows if not isinstance(row, BadRow)] == [
        0,
        1,
        2,
        3,
        *range(5, 10),
    ]


@pytest.mark.parametrize("byte", range(12))
def test_after_a_damaged_length_the_rest_of_the_file_is_reported_unread(records, byte):
    path, ends = records
    damage(path, ends[4] + byte)
    shards = list(TFRecord(str(path), ["x"], 4).shards())
    assert [(shard["start"], shard["rows"]) for shard in shards] == [(0, 4), (4, 1), (5, 0)]
    assert shards[-1]["problem"]


@pytest.mark.parametrize("missing", [1, 5, 20])
def test_a_file_that_was_cut_off_is_read_up_to_there(records, missing):
    path, ends = records
    path.write_bytes(path.read_bytes()[: ends[-1] - missing])
    *good, last = TFRecord(str(path), ["x"], 4).shards()
    assert sum(shard["rows"] for shard in good) == 9
    assert (last["start"], last["rows"]) == (9, 0)
    assert "ends inside a record" in last["problem"]


def test_an_uncompressed_array_is_read_in_slices(tmp_path, monkeypatch):
    x = np.arange(1000 * 50).reshape(1000, 50)
    np.savez(tmp_path / "x.npz", other=x, x=x)
    read = []
    opened = batch_sources.FileSystems.open

    class Counting:
        def __init__(self, path):
            self.file = opened(path)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def read(self, size=-1):
            data = self.file.read(size)
            read.append(len(data))
            return data

    monkeypatch.setattr(batch_sources.FileSystems, "open", Counting)
    shard = Shard(path="", start=500, rows=10, at=0, problem="")
    rows = Npz(str(tmp_path / "x.npz"), ["x"], 10).read(shard)
    np.testing.assert_array_equal([row["x"] for row in rows], x[500:510])
    assert sum(read) < 10 * 50 * 8 + 20_000  # the rows, the headers and the directory


def test_every_kind_of_list_is_read_from_parquet(tmp_path):
    x = np.arange(24.0).reshape(6, 2, 2)
    flat = [row.ravel().tolist() for row in x]
    flat[4] = None
    columns = {
        "list": pa.array(flat),
        "large": pa.array(flat, pa.large_list(pa.float32())),
        "fixed": pa.array(x.reshape(6, 4).tolist(), pa.list_(pa.float64(), 4)),
        "nested": pa.array(x.tolist()),
        "bytes": pa.array([row.tobytes() for row in x]),
        "struct": pa.array([{"a": 1}] * 6),
    }
    pq.write_table(pa.table(columns), tmp_path / "x", row_group_size=4)
    rows = rows_of(Parquet(str(tmp_path / "x"), list(columns), 3))
    tensor = Tensor("x", np.dtype(np.float64), (2, 2))
    for name in ("list", "large"):
        assert rows[4][name] is None
        np.testing.assert_array_equal(
            settle([rows[i][name] for i in (0, 3, 5)], tensor), x[[0, 3, 5]]
        )
    for name in ("fixed", "nested", "bytes"):
        np.testing.assert_array_equal(settle([row[name] for row in rows], tensor), x)
    with pytest.raises(BadRow, match="wrong_type"):
        settle([rows[0]["struct"]], tensor)


def test_a_row_group_larger_than_a_shard_is_read_once_and_in_order(tmp_path):
    x = np.random.default_rng(0).normal(size=(20_000, 30))
    table = pa.table({"x": list(x), "text": [str(i) * 20 for i in range(20_000)]})
    pq.write_table(table, tmp_path / "x", data_page_size=5000)
    rows = rows_of(Parquet(str(tmp_path / "x"), ["x", "text"], 777))
    np.testing.assert_array_equal([row["x"] for row in rows], x)
    assert [row["text"] for row in rows] == table["text"].to_pylist()


def test_an_example_with_an_empty_feature_lacks_it(tmp_path):
    features = tf.train.Features(feature={"x": tf.train.Feature()})
    record = tf.train.Example(features=features).SerializeToString()
    write_tfrecord(tmp_path / "rows", [record, example(x=np.array([[2]]))])
    first, second = rows_of(TFRecord(str(tmp_path / "rows"), ["x"], 4))
    assert first["x"] is None
    assert second["x"].tolist() == [2]
