"""Two processes are one: the same weights and numbers, and a training that survives a death."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import worker

from keras_vae.runs import FILES, Run

pytestmark = pytest.mark.xdist_group("workers")  # each of these has both cores busy
WORDS = ["--binarisation", "dynamic", "--units", "8", "--latent-size", "3", "--epochs", "30"]
MINUTES = 900  # seconds that two processes may take, on a machine that does other things, too


def free_ports() -> list[str]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    ports = [str(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def start(*words: object) -> subprocess.Popen:
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(*processes: subprocess.Popen) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each, when all have ended; none outlives this."""
    try:
        said = [process.communicate(timeout=MINUTES) for process in processes]
    finally:
        for process in processes:
            with process:
                process.kill()
    return [(p.returncode, *words) for p, words in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two workers found, each."""
    folder, ports = tmp_path_factory.mktemp("found"), free_ports()
    files = [folder / f"{index}.npz" for index in range(2)]
    processes = [start(worker.__file__, *ports, i, file) for i, file in enumerate(files)]
    for code, _, err in end(*processes):
        assert code == 0, err[-3000:]
    return [dict(np.load(file)) for file in files]


def test_two_workers_compute_what_one_process_does(found):
    expected = worker.results(tf.distribute.get_strategy())
    assert {"source val_elbo", "weighted weight 3", "predict mean"} < set(expected)
    for one in found:
        assert set(one) == {*expected, "drawn", "refusals"}
        for name, value in expected.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=2e-6, err_msg=name)


def test_both_workers_have_the_very_same_numbers(found):
    for name in set(found[0]) - {"drawn"}:
        assert np.array_equal(found[0][name], found[1][name]), name


def test_each_worker_draws_noise_of_its_own(found):
    first, second = (one["drawn"] for one in found)
    assert first.shape == second.shape == (4, 2)
    assert len(np.unique(np.concatenate([first, second]).round(5))) == 16


def test_what_tensorflow_cannot_do_between_workers_is_refused(found):
    jit, several = found[0]["refusals"]
    assert "XLA cannot compile a step that spans devices" in jit
    assert 'steps_per_execution=1 or "auto"' in several
    assert "Received: 4" in several


def together(folder: Path, *words: str) -> list[subprocess.Popen]:
    """Both workers of the command line."""
    addresses = ",".join(f"localhost:{port}" for port in free_ports())
    program = ["-m", "keras_vae.cli", "train", "--run", folder, *WORDS, *words]
    return [start(*program, "--workers", addresses, "--worker-index", i) for i in range(2)]


def wait_for_checkpoint(folder: Path, epochs: int, processes: list[subprocess.Popen]) -> None:
    give_up = time.monotonic() + MINUTES
    while Run(folder).epochs_done < epochs:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < give_up, "no checkpoint"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two workers that nothing disturbed, and what they said."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    ended = end(*together(folder))
    assert [code for code, _, _ in ended] == [0, 0], ended
    return folder, [out for _, out, _ in ended]


def test_the_chief_alone_writes_and_reports(whole):
    folder, (chief, other) = whole
    assert {path.name for path in folder.iterdir()} == {*FILES, "checkpoint"}
    assert Run(folder).history()["epoch"] == [float(epoch) for epoch in range(1, 31)]
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 30
    assert "Bound (test):" in chief
    assert other.startswith("Worker 1 of 2. Run folder:")
    assert "epoch 30/30" in chief
    assert "epoch" not in other


def test_a_worker_that_dies_comes_back_and_the_end_is_the_same(whole, tmp_path):
    broken = tmp_path / "broken"
    chief, other = together(broken)
    wait_for_checkpoint(broken, 2, [chief, other])
    os.kill(other.pid, signal.SIGKILL)
    (code, _, err), (died, _, _) = end(chief, other)
    assert (code, died) == (1, -signal.SIGKILL), err[-3000:]
    assert "Worker 0 of 2 has lost another" in err
    assert f"Start all again: they go on from {broken}" in err
    assert 2 <= Run(broken).epochs_done < 30
    ended = end(*together(broken))
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert Run(broken).history() == Run(whole[0]).history()
    models = [keras.saving.load_model(folder / "model.keras") for folder in (whole[0], broken)]
    for one, back in zip(models[0].variables, models[1].variables, strict=True):
        assert np.array_equal(one.numpy(), back.numpy()), one.path
    for one, back in zip(*(model.optimizer.variables for model in models), strict=True):
        assert np.array_equal(one.numpy(), back.numpy()), one.path


def test_workers_with_different_options_are_refused(whole, tmp_path):
    addresses = ",".join(f"localhost:{port}" for port in free_ports())
    program = ["-m", "keras_vae.cli", "train", "--run", tmp_path / "run", *WORDS]
    program += ["--workers", addresses]
    processes = [start(*program, "--worker-index", i, "--seed", i) for i in range(2)]
    for code, _, err in end(*processes):
        assert code == 2
        assert "Expected: the same options on each" in err
    assert not (tmp_path / "run").exists()


def test_a_chief_that_died_before_the_results_needs_no_other_to_write_them(whole):
    folder, _ = whole
    (folder / "metrics.json").unlink()
    words = ["--workers", "localhost:1,localhost:2", "--worker-index"]
    for index in (1, 0):  # nobody listens there
        program = ["-m", "keras_vae.cli", "train", "--run", folder, *WORDS]
        ((code, _, err),) = end(start(*program, *words, index))
        assert code == 0, err[-3000:]
        assert (folder / "metrics.json").exists() == (index == 0)
