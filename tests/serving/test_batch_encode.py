"""Batch jobs: 60,000 real images with 100 corrupted among them, formats, restarts, nonsense."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import batch_encode
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from batch_encode import JobError, plan, run, seed_of
from batch_toys import (
    answers,
    bad_rows,
    example,
    images,
    write_columns,
    write_model,
    write_tfrecord,
)

SCRIPT = Path(batch_encode.__file__)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "vae"
    write_model(folder / "3")
    (folder / "not-a-version").mkdir()
    return folder


@pytest.fixture(scope="module")
def encode(model):
    """The SavedModel in this process: the oracle."""
    loaded = tf.saved_model.load(str(model / "3"))
    return lambda x: loaded.signatures["encode"](x=tf.constant(x, tf.float32))["mean"].numpy()


@pytest.fixture(scope="module")
def scored():
    """10 rows of a conditional model of counts, with keys."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.integers(0, 9, (10, 3)).astype(np.float32),
        "condition": rng.integers(0, 3, 10),
        "size_factor": 2.0 ** rng.integers(-2, 3, 10),
        "id": np.array([f"cell-{i}" for i in range(10)]),
    }


def spoil(index: int, image: np.ndarray) -> tuple[str, bytes]:
    """The reason why a corrupted row is bad, and its record."""
    key = f"image-{index}".encode()
    if index % 5 == 0:
        return "refused", example(id=key, x=np.where(image, np.nan, 0.0))
    if index % 5 == 1:
        return "refused", example(id=key, x=np.where(image, 0.5, 0.0))
    if index % 5 == 2:
        return "wrong_shape", example(id=key, x=image[:27].tobytes())
    if index % 5 == 3:
        return "missing_input", example(id=key)
    return "undecodable_record", b"\xff" * 800


def test_60000_images_are_encoded_and_100_corrupted_ones_are_told_apart(tmp_path, model, encode):
    x, spoiled, reasons = images(), set(range(7, 60_000, 601)), {}
    records = []
    for index, image in enumerate(x):
        record = example(id=f"image-{index}".encode(), x=image.tobytes())
        if index in spoiled:
            reason, record = spoil(index, image)
            # A record that cannot be decoded has no key: it is named by its place.
            place = f"images-{index // 20_000}.tfrecord:{index % 20_000}"
            reasons[place if reason == "undecodable_record" else f"image-{index}"] = reason
        records.append(record)
    for file in range(3):
        rows = slice(20_000 * file, 20_000 * (file + 1))
        write_tfrecord(tmp_path / f"images-{file}.tfrecord", records[rows])
    assert len(reasons) == 100

    job = plan(str(model), [f"{tmp_path}/images-*"], str(tmp_path / "encoded"), key="id")
    counts = run(job)

    assert bad_rows(tmp_path / "encoded") == reasons
    expected = {
        f"bad_{reason}": list(reasons.values()).count(reason) for reason in set(reasons.values())
    }
    assert counts == expected | {
        "rows_read": 60_000,
        "rows_answered": 59_900,
        "rows_bad": 100,
        "shards_written": 15,
    }
    table = pq.read_table(tmp_path / "encoded")
    indices = [int(key.removeprefix("image-")) for key in table["key"].to_pylist()]
    assert sorted(indices) == sorted(set(range(60_000)) - spoiled)
    mean = np.stack(table["mean"].to_numpy())
    np.testing.assert_array_equal(mean, np.concatenate([encode(x[i]) for i in chunks(indices)]))

    assert run(job) == {"shards_skipped": 15}


def test_a_row_that_the_model_refuses_says_why_in_its_words(tmp_path, model):
    x = np.zeros((3, 28, 28, 1), np.float32)
    x[1], x[2] = 0.5, np.nan
    np.savez(tmp_path / "x.npz", x=x)
    counts = run(plan(str(model), [f"{tmp_path}/x.npz"], str(tmp_path / "out")))
    assert (counts["rows_answered"], counts["bad_refused"]) == (1, 2)
    details = [
        json.loads(line)["detail"]
        for file in (tmp_path / "out" / "_bad").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert details == ["assertion failed: [`x` is not 0 or 1.]"] * 2


def chunks(indices: list[int]) -> list[list[int]]:
    return [indices[i : i + 1000] for i in range(0, len(indices), 1000)]


def test_a_killed_job_continues_where_it_was(tmp_path, model):
    np.savez(tmp_path / "images.npz", x=images()[:20_000])
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = ["--model", str(model), "--input", str(tmp_path / "images.npz")]
    arguments += ["--batch-size", "10", "--shard-rows", "500", "--output"]
    process = subprocess.Popen([sys.executable, SCRIPT, *arguments, killed], cwd=tmp_path)
    deadline = time.monotonic() + 120
    while len(list(killed.glob("*.parquet"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in killed.glob("*.parquet")}
    assert 3 <= len(before) < 40
    (killed / "_partial" / "half").write_bytes(b"PAR1")  # what it may have been in the middle of

    assert batch_encode.main([*arguments, str(killed)]) == 0
    assert batch_encode.main([*arguments, str(whole)]) == 0

    assert {name: (killed / name).stat().st_mtime_ns for name in before} == before
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
    assert not list((killed / "_partial").iterdir())
    for path in sorted(whole.glob("*.parquet")):
        assert pq.read_table(killed / path.name).equals(pq.read_table(path))


FILES = ["rows.npz", "compressed.npz", "fortran.npz", "rows.parquet", "rows.tfrecord", "rows.gz"]


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_answers(name, tmp_path, model, scored):
    write_columns(tmp_path / name, scored)
    out = tmp_path / "scores"
    job = plan(str(model), [str(tmp_path / name)], str(out), "score", key="id", shard_rows=3)
    run(job)
    elbo = scored["x"].sum(1) * scored["size_factor"] + scored["condition"]
    expected = zip(scored["id"].tolist(), elbo.tolist(), strict=True)
    assert answers(out) == {key: {"elbo": e, "noise": seed_of(key, 0)} for key, e in expected}


def test_an_answer_depends_on_the_key_and_the_seed_alone(tmp_path, model, scored):
    reverse = {name: value[::-1] for name, value in scored.items()}
    write_columns(tmp_path / "forth.npz", scored)
    write_columns(tmp_path / "back.parquet", reverse)
    results = []
    for number, (file, seed, batch, shard) in enumerate(
        [("forth.npz", 7, 256, 4096), ("back.parquet", 7, 2, 3), ("forth.npz", 8, 256, 4096)]
    ):
        out = tmp_path / str(number)
        job = plan(str(model), [str(tmp_path / file)], str(out), "score", "id", seed, batch, shard)
        run(job)
        results.append(answers(out))
    assert results[0] == results[1]
    assert all(results[0][key]["noise"] != results[2][key]["noise"] for key in scored["id"])
    assert seed_of("cell-0", 7) == 8563632534285090307  # must never change: `b2sum -l 64`, halved


def test_the_script_runs_in_other_processes_that_know_nothing_of_it(tmp_path, model, scored):
    for number in range(4):
        write_columns(tmp_path / f"rows-{number}.npz", scored)
    command = [sys.executable, SCRIPT, "--model", model, "--input", tmp_path / "rows-*.npz"]
    command += ["--output", tmp_path / "scores", "--signature", "score", "--shard-rows", "4"]
    command += ["--direct_num_workers=1", "--direct_running_mode=multi_processing"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "rows_answered 40," in done.stdout
    keys = [f"rows-{number}.npz:{row}" for number in range(4) for row in range(10)]
    noise = {key: row["noise"] for key, row in answers(tmp_path / "scores").items()}
    assert noise == {key: seed_of(key, 0) for key in keys}


def test_an_unreadable_file_stops_nothing_and_is_tried_again(tmp_path, model, scored):
    for name in ("a.npz", "b.npz", "c.npz"):
        write_columns(tmp_path / name, scored)
    good = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(good[: len(good) // 2])
    job = plan(str(model), [f"{tmp_path}/*.npz"], str(tmp_path / "out"), "score")
    counts = run(job)
    assert (counts["rows_answered"], counts["bad_unreadable_file"]) == (20, 1)
    assert bad_rows(tmp_path / "out") == {"b.npz": "unreadable_file"}

    (tmp_path / "b.npz").write_bytes(good)
    assert run(job)["rows_answered"] == 10
    assert bad_rows(tmp_path / "out") == {}
    assert len(answers(tmp_path / "out")) == 30


def test_a_model_of_the_package_is_scored_as_in_process(tmp_path, exported):
    folder, rng = exported("counts"), np.random.default_rng(0)
    x, size = rng.integers(0, 9, (50, 6)).astype(np.uint16), rng.uniform(1, 2, 50)
    np.savez(tmp_path / "rows.npz", x=x, size_factor=size)
    run(plan(str(folder), [f"{tmp_path}/rows.npz"], str(tmp_path / "out"), "score", seed=5))

    score = tf.saved_model.load(str(folder / "1")).signatures["score"]
    keys = [f"rows.npz:{row}" for row in range(50)]
    seeds = tf.constant([seed_of(key, 5) for key in keys], tf.int64)
    expected = score(x=tf.cast(x, tf.float32), size_factor=tf.cast(size, tf.float32), seed=seeds)
    rows = answers(tmp_path / "out")
    for name, values in expected.items():
        np.testing.assert_array_equal([rows[key][name] for key in keys], values)


NONSENSE = [
    ({"--model": "nowhere"}, "model: a SavedModel or a folder of numbered versions expected"),
    ({"--signature": "zzz"}, "signature: one of ['encode', 'score', 'serving_default'] expected"),
    ({"--input": "*.nothing"}, "input: at least one file expected, none matches"),
    ({"--input": "text.npz"}, "input: a file that can be read expected; "),
    ({"--input": "other.npz"}, "['x'] expected, only ['pictures'] found in other.npz"),
    ({"--input": "other.tfrecord"}, "input: ['x'] expected, no row in the first shard of"),
    ({"--key": "id"}, "['id'] expected"),
    ({"--output": "."}, "output: a folder that holds no input expected"),
    ({"--output": "taken"}, "output: a folder of this job, "),
    ({"--batch-size": "0"}, "batch_size: at least 1 expected, got 0"),
    ({"--sed": "5"}, "options: those of --help and of Beam expected, got ['sed']"),
]


@pytest.mark.parametrize(("changes", "text"), NONSENSE, ids=lambda value: str(value)[:40])
def test_nonsense_is_said_in_one_line(changes, text, tmp_path, model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("good.npz", x=np.zeros((4, 28, 28, 1)))
    np.savez("other.npz", pictures=np.zeros((4, 28, 28, 1)))
    write_tfrecord(Path("other.tfrecord"), [example(pictures=np.zeros(784))])
    Path("text.npz").write_text("once upon a time, there was a file of text")
    Path("taken").mkdir()
    Path("taken/_job.json").write_text('{"seed": 1}')
    options = {"--model": str(model), "--input": "good.npz", "--output": "out"} | changes
    assert batch_encode.main([word for pair in options.items() for word in pair]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.startswith("batch_encode: ")
    assert error.count("\n") == 1
    assert not Path("out").exists()
    assert [path.name for path in Path("taken").iterdir()] == ["_job.json"]


def test_files_of_one_name_are_not_mixed_up(tmp_path, model):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "x.npz", x=np.zeros((1, 784)))
    with pytest.raises(JobError, match="different names expected"):
        plan(str(model), [f"{tmp_path}/*/x.npz"], str(tmp_path / "out"))


def test_an_image_keeps_its_axes_in_the_table(tmp_path, model, encode):
    x = np.eye(784, dtype=np.float32)[:5]  # flat: the signature says 28, 28, 1
    np.savez(tmp_path / "x.npz", x=x)
    run(plan(str(model), [f"{tmp_path}/x.npz"], str(tmp_path / "out"), shard_rows=2))
    mean = encode(x.reshape(-1, 28, 28, 1))
    pairs = [answers(tmp_path / "out")[f"x.npz:{row}"]["pair"] for row in range(5)]
    np.testing.assert_array_equal(pairs, np.stack([mean, mean + 1], 1))


def test_nothing_here_imports_keras_and_all_of_it_travels_to_the_workers():
    files = list(SCRIPT.parent.glob("batch_*.py"))
    text = "".join(path.read_text() for path in files)
    assert not [word for word in ("import keras", "from keras") if word in text]
    travelling = {module.__name__ for module in batch_encode.MODULES}
    assert travelling | {"batch_encode"} == {path.stem for path in files}
