"""What the tests of batch jobs share: a model of exact numbers, real images, files of each kind."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf


class Exact(tf.Module):
    """Small integers all the way: float32 gives the same numbers whatever the batch."""

    def __init__(self):
        super().__init__()
        weights = np.random.default_rng(0).integers(-3, 4, (784, 5))
        self.weights = tf.Variable(weights.astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32, name="x")])
    def encode(self, x):
        legal = tf.reduce_all((x == 0) | (x == 1))
        with tf.control_dependencies([tf.debugging.Assert(legal, ["`x` is not 0 or 1."])]):
            mean = tf.reshape(x, [-1, 784]) @ self.weights
        return {"mean": mean, "pair": tf.stack([mean, mean + 1], 1)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3], tf.float32, name="x"),
            tf.TensorSpec([None], tf.int64, name="condition"),
            tf.TensorSpec([None], tf.float32, name="size_factor"),
            tf.TensorSpec([None], tf.int64, name="seed"),
        ]
    )
    def score(self, x, condition, size_factor, seed):
        total = tf.reduce_sum(x, 1) * size_factor
        return {"elbo": total + tf.cast(condition, tf.float32), "noise": seed}


def write_model(folder: Path) -> Path:
    model = Exact()
    signatures = {"encode": model.encode, "score": model.score}
    tf.saved_model.save(model, str(folder), {**signatures, "serving_default": model.encode})
    return folder


def data_file(name: str) -> Path:
    """A file of the folder with real data, or the test is skipped with its name."""
    path = Path(os.environ.get("KERAS_VAE_DATA", "no-folder")) / name
    if not path.exists():
        pytest.skip(f"{name} is not in KERAS_VAE_DATA")
    return path


def images() -> np.ndarray:
    """60,000 binarised images of MNIST, `[60000, 28, 28, 1]` of 0 and 1 as uint8."""
    raw = gzip.decompress(data_file("mnist/train-images-idx3-ubyte.gz").read_bytes())
    return (np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1) > 127).astype(np.uint8)


def feature(value) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    flat = np.ravel(value)
    if flat.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=flat))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=flat))


def example(**values) -> bytes:
    features = tf.train.Features(feature={name: feature(v) for name, v in values.items()})
    return tf.train.Example(features=features).SerializeToString()


def write_tfrecord(path: Path, records) -> None:
    options = "GZIP" if path.suffix == ".gz" else None
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for record in records:
            writer.write(record)


def write_columns(path: Path, columns: dict[str, np.ndarray]) -> None:
    """The same rows in the format that the name asks for."""
    if path.name.startswith("compressed"):
        np.savez_compressed(path, **columns)
    elif path.name.startswith("fortran"):
        np.savez(path, **{name: np.asfortranarray(value) for name, value in columns.items()})
    elif path.suffix == ".npz":
        np.savez(path, **columns)
    elif path.suffix == ".parquet":
        table = pa.table({name: value.tolist() for name, value in columns.items()})
        pq.write_table(table, path, row_group_size=len(table) // 2 + 3)
    else:
        rows = zip(*columns.values(), strict=True)
        rows = [dict(zip(columns, row, strict=True)) for row in rows]
        text = [{n: v.encode() if isinstance(v, str) else v for n, v in r.items()} for r in rows]
        write_tfrecord(path, [example(**row) for row in text])


def answers(folder: Path) -> dict[str, dict]:
    """The rows of an output folder by key, without it."""
    rows = pq.read_table(folder).to_pylist()
    by_key = {row.pop("key"): row for row in rows}
    assert len(by_key) == len(rows)
    return by_key


def bad_rows(folder: Path) -> dict[str, str]:
    """The reasons of the bad rows of an output folder by key."""
    lines = [line for file in (folder / "_bad").iterdir() for line in file.read_text().splitlines()]
    by_key = {row["key"]: row["reason"] for row in map(json.loads, lines)}
    assert len(by_key) == len(lines)
    return by_key
