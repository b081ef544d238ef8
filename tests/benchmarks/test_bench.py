"""The bench runs to its end, compares like with like, and says where systems differ."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parent / "peers"))

import bench
import floor
import speed_table
import workloads
from arithmetic import byte_rate, bytes_moved, flop, least_seconds, product_rate, products
from turns import Measured, System, in_turn, ratios, start
from workloads import WORKLOADS

HERE = Path(__file__).parent

# A system that says of itself what the test wants to see.
TOY = """
import sys, numpy as np
sys.path.insert(0, {peers!r})
from protocol import Peer, Unsupported, serve
class Toy(Peer):
    def prepare(self, work, train, test):
        if sys.argv[1] == "none":
            raise Unsupported("it has none")
        self.runs = 0
        return int(train.shape[0])
    def run(self):
        self.runs += 1
        if sys.argv[1] == "fails" and self.runs == 2:
            raise ValueError("no more")
        return {{"runs": self.runs}}
    def device(self):
        return "gpu" if sys.argv[1] == "elsewhere" else "cpu"
    def bound(self):
        return self.runs - 100.0
serve(Toy())
"""


@pytest.fixture
def toy(tmp_path):
    script = tmp_path / "toy.py"
    script.write_text(TOY.format(peers=str(HERE / "peers")))
    return lambda name: System(name, str(script), (name,))


def data(folder, count):
    images = np.zeros((count, 28, 28), "uint8")
    np.savez(folder / "data.npz", train=images, test=images[:2])
    return folder / "data.npz"


@pytest.fixture
def work(tmp_path):
    return dataclasses.replace(WORKLOADS["W1"], data=str(data(tmp_path, 6)))


def test_a_system_warms_up_and_is_counted_in_turn(toy, work):
    measured = in_turn((toy("one"), toy("two")), work, 3)
    for seen in measured.values():
        assert len(seen.seconds) == 3
        assert seen.found == {"runs": 4}
        assert (seen.weights, seen.bound, seen.gained) == (6, -96.0, 1.0)
        assert seen.peak_mib > 1


def test_what_a_system_has_not_is_said(toy, work):
    measured = in_turn((toy("one"), toy("none")), work, 1)
    assert measured["none"].unsupported == "it has none"
    assert measured["none"].seconds == []


def test_a_system_that_fails_is_named_with_its_error(toy, work):
    with pytest.raises(RuntimeError, match=r"(?s)fails, W1, run: .*no more"):
        in_turn((toy("fails"),), work, 3)


def test_a_system_that_computes_elsewhere_is_refused(toy, work):
    with pytest.raises(RuntimeError, match=r"on the same.*'one': 'cpu', 'elsewhere': 'gpu'"):
        in_turn((toy("one"), toy("elsewhere")), work, 1)


def test_runs_off_the_clock_are_not_counted(toy, work):
    seen = in_turn((toy("one"),), work, 2, warm=5)["one"]
    assert len(seen.seconds) == 2
    assert seen.found == {"runs": 7}


def test_the_first_step_is_told_from_what_comes_before_it(toy, work):
    seconds = start(toy("one"), work)
    parts = [seconds[part] for part in ("imports", "model", "first step")]
    assert min(parts) > 0
    assert sum(parts) == pytest.approx(seconds["all"])


def test_ratios_are_of_pairs():
    assert ratios([1.0, 2.0, 4.0], [2.0, 2.0, 12.0]) == (2.0, 1.0, 3.0)


def summary(gained=0.0, **theirs):
    ours = Measured([1.0, 2.0], 10, -100.0, gained)
    other = dataclasses.replace(ours, **theirs)
    return bench.summary(WORKLOADS["W1"], 512, {"keras_vae": ours, "other": other}) | {
        "commit": "abc"
    }


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, []),
        ({"bound": -101.0}, []),
        ({"bound": -103.0}, ["other: bound -103, keras_vae -100"]),
        ({"weights": 11}, ["other: weights 11, keras_vae 10"]),
        ({"unsupported": "no", "bound": None}, []),
    ],
)
def test_a_system_that_trains_otherwise_is_told(theirs, said):
    assert bench.unlike(summary(**theirs)) == said


def test_no_more_than_the_last_run_has_gained_is_noise():
    assert bench.unlike(summary(gained=10.0, bound=-110.0)) == []
    assert bench.unlike(summary(gained=9.9, bound=-110.0)) != []


def test_a_report_goes_on_where_all_is_as_it_was(tmp_path):
    path = tmp_path / "speed.json"
    machine = {"processor": "P", "commit": "old", "load_before": 0.5}
    report = {"machine": machine, "pairs": 5, "workloads": {"W1": {"commit": "old"}}}
    path.write_text(json.dumps(report))
    now = {**machine, "commit": "new", "load_before": 0.1}
    other = {**now, "processor": "Q"}
    assert bench.begun(path, now, 5) == {**report, "machine": now}
    for here, pairs in ((now, 7), (other, 5)):
        with pytest.raises(SystemExit, match=r"is kept\. Name another file"):
            bench.begun(path, here, pairs)
    assert bench.begun(None, now, 5)["workloads"] == {}
    assert bench.begun(tmp_path / "new.json", now, 5)["workloads"] == {}


def test_the_machine_can_do_what_it_once_did():
    now = {"float32": 2.0, "bytes": 1.0}
    assert bench.best({}, now) == now
    assert bench.best({"float32": 1.0, "bytes": 3.0}, now) == {"float32": 2.0, "bytes": 3.0}


def test_the_arithmetic_of_a_step_is_that_of_its_products():
    work = WORKLOADS["W1"]
    assert products(work) == 784 * 400 + 400 * 40 + 20 * 400 + 400 * 784
    forwards, of_inputs = 2 * products(work), 2 * 784 * 400
    assert flop(work) == 3 * forwards - of_inputs
    iwae = WORKLOADS["W4"]
    assert products(iwae) == 784 * 200 + 200 * 200 + 200 * 100 + 50 * (
        50 * 200 + 200 * 200 + 200 * 784
    )
    assert bytes_moved(work, 1000) == 24 * 1000 + 128 * 784


def test_the_least_time_is_that_of_products_or_that_of_bytes():
    work = WORKLOADS["W1"]
    moved = bytes_moved(work, 1000) / 128
    fast, slow = 1e30, 2.0
    assert least_seconds(work, 1000, {"float32": slow, "bytes": fast}) == flop(work) / slow
    assert least_seconds(work, 1000, {"float32": fast, "bytes": slow}) == moved / slow
    encoded = WORKLOADS["W6"]
    assert least_seconds(encoded, 1000, {"float32": slow, "bytes": 1e-9}) == flop(encoded) / slow


def test_the_arithmetic_of_convolutions_is_what_tensorflow_counts():
    work = WORKLOADS["W3"]
    model = floor.Model(work)
    bound = tf.function(lambda x: model.bound(x, work.objective, work.samples))
    graph = bound.get_concrete_function(tf.TensorSpec((1, 784))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    counted = tf.compat.v1.profiler.profile(graph, options=options).children
    kinds = ("conv", "matmul")
    found = sum(op.total_float_ops for op in counted if op.name.lower().startswith(kinds))
    assert found == 2 * products(work)
    assert flop(work) == 3 * found - 2 * 14 * 14 * 32 * 16


def test_tensorflow_by_hand_says_the_mean_loss_of_an_epoch(monkeypatch, tmp_path):
    for threads in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, threads, lambda number: None)
    work = dataclasses.replace(WORKLOADS["W1"], batch=4, epochs=2, learning_rate=0.0)
    images = np.random.default_rng(0).integers(0, 2, (6, 28, 28), "uint8")
    peer = floor.Floor()
    peer.prepare(work, images, images)
    peer.model.log_scale.kernel.assign(tf.zeros((400, 20)))
    peer.model.log_scale.bias.assign(tf.fill((20,), -20.0))  # each draw is the mean
    assert peer.run()["loss"] == pytest.approx(-peer.bound(), rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_rate_of_products_is_of_products(monkeypatch, precision):
    """A call takes a second, by a clock of ours."""
    clock = itertools.count()
    monkeypatch.setattr("arithmetic.time.perf_counter", lambda: next(clock))
    assert product_rate(precision, size=4) == 2 * 4**3
    assert product_rate(precision, size=4, count=3) == 3 * 2 * 4**3


def test_the_rate_of_bytes_is_of_two_reads_and_a_write(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("arithmetic.time.perf_counter", lambda: next(clock))
    assert byte_rate(size=10) == 3 * 4 * 10


def test_growth_changes_one_setting_and_nothing_else(toy, monkeypatch, tmp_path):
    monkeypatch.setattr(workloads, "write", lambda work, *sizes: data(tmp_path, sizes[0]))
    found = dict(bench.growth((toy("keras_vae"), toy("none")), "full", tmp_path))
    assert list(found) == [f"{k}={v}" for k, values in workloads.GROWING.items() for v in values]
    for name, grown in found.items():
        setting, value = name.split("=")
        work = grown["work"]
        iwae = {"objective": "iwae"} if setting == "samples" else {}
        expected = dataclasses.replace(WORKLOADS["W1"], **{setting: int(value)}, **iwae)
        assert work == dataclasses.asdict(expected)
        assert grown["systems"]["none"] == {"unsupported": "it has none"}
        seen = grown["systems"]["keras_vae"]
        images = 24_576 if setting != "samples" else max(24_576 // int(value), 256)
        assert seen["weights"] == images
        middle = np.median(seen["seconds"])
        assert seen["images_per_second"] == pytest.approx(images / middle)


def test_the_table_has_the_ratios_of_the_report():
    report = {
        "machine": {"processor": "P", "cores": 2, "versions": {"keras": "3"}},
        "pairs": 2,
        "workloads": {"W1": summary(seconds=[2.0, 8.0])},
        "start": {
            "keras_vae": [{"imports": 4.0, "all": 5.0}, {"imports": 5.0, "all": 6.0}],
            "other": [{"imports": 1.0, "all": 3.0}],
        },
    }
    table = speed_table.table(report)
    assert (
        "| W1: `fit`, 784-400-20-400-784, float32, batch 128 | 341 | 3.00 (2.00 to 4.00) |" in table
    )
    assert "Commit abc." in table
    assert "| imports | 4.5 | 1.0 |\n| all | 5.5 | 3.0 |" in table
    assert "peak memory of the host, MiB" in table
    assert "share of what" not in table  # nothing is told that was not measured


def test_the_tables_have_shares_memory_and_growth():
    images = flop(WORKLOADS["W1"])
    grown = {f"{k}={v}": summary() for k, values in workloads.GROWING.items() for v in values}
    report = {
        "rates": {"float32": 1000.0 * images, "bfloat16": 1.0, "bytes": 1e12},
        "workloads": {"W1": summary(peak_mib=50.0)},
        "growth": grown | {"samples=50": summary(unsupported="it has none")},
    }
    names = ["keras_vae", "other"]
    # 512 images in a second and in two: 341 in a second and a half.
    assert speed_table.shares(report, names)[2] == (
        f"| W1 | {images / 1e6:.1f} | 0.1 | 0.34 | 0.34 |"
    )
    assert speed_table.memory(report, names)[2] == "| W1 | 0 | 50 |"
    rows = speed_table.growth(report, names)
    assert rows[2] == "| batches of 32 | 341 | 341 | 0 |"
    assert "| IWAE, K = 50 | 341 |  | 0 |" in rows
    assert len(rows) == 2 + 4 + 4 + 3


def test_the_readme_has_the_tables_of_the_files():
    readme = speed_table.README.read_text(encoding="utf-8")
    assert speed_table.with_tables(readme, speed_table.read()) == readme, "Run: make results"


SHORT = ["--only", "W1", "--only", "W5", "--only", "W7", "--systems", "TensorFlow, by hand"]
COMMANDS = {
    "with a peer": ["--size", "short", *SHORT, "--start"],
    "as on a GPU": ["--size", "gpu-short", "--systems", "keras_vae"],
}


@pytest.mark.slow
@pytest.mark.skipif("KERAS_VAE_DATA" not in os.environ, reason="MNIST is in KERAS_VAE_DATA")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_bench_runs_to_its_end(tmp_path, command):
    path = tmp_path / "speed.json"
    command = [sys.executable, str(HERE / "bench.py"), *command, "--pairs", "1"]
    done = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr  # 1: a few steps do not make bounds alike
    report = json.loads(path.read_text())
    assert set(report["workloads"]) == (
        {"W1", "W5", "W7"} if "--only" in command else set(WORKLOADS)
    )
    for workload in report["workloads"].values():
        assert all(seen["images_per_second"] > 0 for seen in workload["systems"].values())
        assert np.isfinite([seen["bound"] for seen in workload["systems"].values()]).all()
        if workload["work"]["task"] == "fit":
            assert all(seen["found"]["loss"] > 0 for seen in workload["systems"].values())
