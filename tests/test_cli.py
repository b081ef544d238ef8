"""`keras-vae`, as it is typed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_vae
from keras_vae import cli
from keras_vae.recipe import POSTERIORS
from keras_vae.runs import FILES, Run

WORKERS = ["train", "--workers"]
QUICK = ["--units", "8", "--latent-size", "3", "--epochs", "2"]


@pytest.fixture
def shell(monkeypatch, capsys):
    """Runs a command line; gives its exit code, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["keras-vae", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    subprocess.run(
        [sys.executable, "-m", "keras_vae.cli", "train", "--run", folder, *QUICK],
        check=True,
        capture_output=True,
    )
    return folder


def test_a_run_folder_holds_the_model_its_numbers_and_its_pictures(trained):
    assert {path.name for path in trained.iterdir()} == {*FILES, "checkpoint"}
    for path in trained.glob("*.png"):
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 1, f"{path.name} is blank"


def test_the_metrics_of_a_run_say_how_they_were_made(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    test = metrics["test"]
    assert test["margin"] == test["elbo"]["mean"] - test["independent_baseline"]["mean"]
    assert test["elbo"]["standard_error"] > 0
    assert test["elbo"]["num_examples"] == 359
    assert metrics["protocol"]["data"] == "digits"
    assert metrics["versions"]["keras"] == keras.__version__
    assert metrics["seed"] == 0


def test_the_metrics_of_a_run_are_those_of_its_model(trained):
    vae = keras.saving.load_model(trained / "model.keras")
    data = keras_vae.data.load("digits")
    bound = keras_vae.evaluation.elbo(vae, data.test, num_samples=10)
    reported = json.loads((trained / "metrics.json").read_text())["test"]["elbo"]["mean"]
    assert bound.mean == pytest.approx(reported, abs=1e-4)


def test_the_history_has_a_row_for_each_epoch(trained):
    with (trained / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    for row in rows:
        for prefix in ("", "val_"):
            terms = {k: float(row[prefix + k]) for k in ("elbo", "log_likelihood", "kl", "loss")}
            assert terms["elbo"] == pytest.approx(terms["log_likelihood"] - terms["kl"], abs=1e-4)
            assert terms["loss"] == pytest.approx(-terms["elbo"], abs=1e-4)


def test_explain_prints_what_was_saved_beside_the_model(shell, trained):
    code, out, _ = shell("explain", trained)
    assert code == 0
    assert out.strip() == (trained / "assumptions.md").read_text().strip()
    assert shell("explain", trained / "model.keras")[1] == out


def test_evaluate_prints_the_bound_with_its_error(shell, trained):
    code, out, _ = shell("evaluate", trained, "--num-samples", 10)
    reported = json.loads((trained / "metrics.json").read_text())["test"]["elbo"]
    assert code == 0
    assert f"{reported['mean']:.3f} +- {reported['standard_error']:.3f} nats" in out
    assert "359 examples" in out


@pytest.mark.filterwarnings("ignore:.*effective samples")
def test_evaluate_prints_log_p_x_above_the_bound(shell, trained):
    code, out, _ = shell("evaluate", trained, "--log-likelihood", 100)
    assert code == 0
    found = {line.split(":")[0]: line.split(":")[1].split()[0] for line in out.splitlines()[1:]}
    assert float(found["log p(x)"]) > float(found["Bound (test)"])
    assert "of 100 draws" in out


def test_evaluate_takes_another_split(shell, trained):
    assert "180 examples" in shell("evaluate", trained, "--split", "validation")[1]


@pytest.mark.parametrize("command", ["reconstruct", "sample"])
def test_pictures_are_the_same_for_the_same_seed(shell, trained, tmp_path, command):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        to = tmp_path / f"{name}.png"
        assert shell(command, trained, "--to", to, "--seed", seed, "--count", 4)[0] == 0
    same, again, other = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in "abc")
    assert np.array_equal(same, again)
    assert not np.array_equal(same, other)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["--likelihood", "normal", "--scale", "0.3", "--posterior", "full-covariance-normal"],
            {"scale": 0.3, "posterior": "FullCovarianceNormal"},
        ),
        (
            ["--scale", "per_value", "--objective", "iwae", "--num-samples", "3"],
            {"scale": "per_value", "objective": "IWAE"},
        ),
        (
            ["--binarisation", "dynamic", "--beta", "2", "--warm-up", "1", "--free-bits", "1"],
            {"likelihood": "Bernoulli", "beta": 2.0},
        ),
        (["--network", "conv", "--units", "4,8"], {"layer": "Conv2DTranspose"}),
    ],
)
def test_every_part_can_be_chosen(shell, tmp_path, options, expected):
    run = tmp_path / "run"
    code, _, err = shell("train", "--run", run, *QUICK, *options)
    assert (code, err) == (0, "")
    vae = keras.saving.load_model(run / "model.keras")
    found = {
        "scale": getattr(vae.likelihood, "scale", None),
        "posterior": type(vae.posterior).__name__,
        "objective": type(vae.objective).__name__,
        "likelihood": type(vae.likelihood).__name__,
        "beta": vae.assumptions().bound.beta,
        "layer": next((type(x).__name__ for x in vae.decoder.layers[2:]), None),
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "--posterior", "vampire"],
            "There is no 'vampire'. Expected one of: bernoulli, ",
        ),
        (["train", "--epochs", "0"], "'--epochs': 0 is not in the range x>=1"),
        (["train", "--scale", "wide"], "'wide' is neither a number nor shared nor per_value"),
        (["train", "--scale", "-1", "--likelihood", "normal"], "`scale` of Normal"),
        (["train", "--units", "a,b"], "no list of layer widths"),
        (["train", "--data", "minst"], "There is no data set 'minst'"),
        (["train", "--likelihood", "bernoulli"], "outside the support of Bernoulli"),
        (["train", "--objective", "miwae", "--beta", "2"], "--beta has no meaning for miwae"),
        (["train", "--objective", "miwae", "--warm-up", "2"], "--warm-up has no meaning for miwae"),
        (["train", "--resume", "/nowhere"], "does not exist"),
        (["train", "--run", "/dev/null/run"], "Not a directory"),
        (["train", "--workers", "a:1,b:2"], "both, or neither. Received: --workers without"),
        (["train", "--worker-index", "0"], "Received: --worker-index without --workers"),
        ([*WORKERS, "a:1,b:2", "--worker-index", "2"], "from 0. Expected: 0 to 1. Received: 2"),
        ([*WORKERS, "a:1", "--worker-index", "0"], "Expected: two or more addresses"),
        ([*WORKERS, "a:1,b", "--worker-index", "0"], "Expected: host:port, the port from 1 to"),
        ([*WORKERS, "a:1,b:0", "--worker-index", "0"], "Received: 'b:0'"),
        ([*WORKERS, "a:1,a:1", "--worker-index", "0"], "different addresses. Received: a:1 2"),
        ([*WORKERS, "a:1,b:2", "--worker-index", "0", "--overwrite"], "does not go with --workers"),
        (["trian"], "No such command 'trian'"),
        (["evaluate"], "Missing argument 'RUN'"),
        (["evaluate", "."], "is no run folder"),
    ],
)
def test_a_bad_argument_is_one_clear_line_and_exit_code_2(
    shell, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    code, _, err = shell(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_run_is_not_overwritten_unless_told_to(shell, trained):
    before = (trained / "model.keras").read_bytes()
    code, _, err = shell("train", "--run", trained, *QUICK)
    assert (code, "--overwrite" in err) == (2, True)
    assert (trained / "model.keras").read_bytes() == before


def test_overwrite_deletes_what_a_run_writes_and_nothing_else(shell, tmp_path):
    assert shell("train", "--run", tmp_path, *QUICK)[0] == 0
    (tmp_path / "notes.txt").write_text("mine")
    assert shell("train", "--run", tmp_path, *QUICK, "--overwrite", "--seed", 3)[0] == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "metrics.json").read_text())["seed"] == 3


@pytest.mark.parametrize("wrong", [["--data", "nosuch"], ["--likelihood", "bernoulli"]])
def test_an_argument_that_is_refused_touches_no_run(shell, trained, tmp_path, wrong):
    before = (trained / "model.keras").read_bytes()
    assert shell("train", "--run", trained, "--overwrite", *QUICK, *wrong)[0] == 2
    assert (trained / "model.keras").read_bytes() == before
    assert shell("train", "--run", tmp_path / "new", *QUICK, *wrong)[0] == 2
    assert not (tmp_path / "new").exists()


def test_another_seed_is_judged_on_the_same_data(shell, trained, tmp_path):
    assert shell("train", "--run", tmp_path, *QUICK, "--seed", 5)[0] == 0
    first, second = (json.loads((f / "metrics.json").read_text()) for f in (trained, tmp_path))
    assert second["protocol"] == first["protocol"]
    assert second["test"]["independent_baseline"] == first["test"]["independent_baseline"]
    assert second["test"]["elbo"] != first["test"]["elbo"]


def test_resume_continues_only_what_was_started(shell, trained):
    code, _, err = shell("train", "--resume", trained, "--seed", 4)
    assert (code, "--seed cannot change" in err) == (2, True)


def test_workers_continue_no_run_of_other_words(shell, trained):
    words = ["--workers", "a:1,b:2", "--worker-index", 1, "--seed", 4]
    code, _, err = shell("train", "--run", trained, *QUICK, *words)
    assert (code, "another --seed. Expected: 0. Received: 4" in err) == (2, True)


def test_an_unfinished_run_has_no_model_and_says_so(shell, trained, tmp_path):
    (tmp_path / "recipe.json").write_text((trained / "recipe.json").read_text())
    code, _, err = shell("explain", tmp_path)
    assert (code, f"--resume {tmp_path}" in err) == (2, True)


def stop_after_epochs(command: list, folder, epochs: int, how: signal.Signals):
    """Starts a training and stops it once that many epochs are in its checkpoint."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    give_up = time.monotonic() + 120
    while not any(int(p.name[7:13]) >= epochs for p in folder.glob("checkpoint/epochs-*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < give_up, "no checkpoint in two minutes"
        time.sleep(0.01)
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_an_interrupted_and_killed_run_ends_as_the_uninterrupted_one(shell, tmp_path):
    words = ["--data", "digits", "--binarisation", "dynamic", "--units", "64", "--epochs", "40"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    program = [sys.executable, "-m", "keras_vae.cli", "train"]
    with subprocess.Popen([*program, *words, "--run", whole], stdout=subprocess.DEVNULL) as other:
        code, err = stop_after_epochs([*program, *words, "--run", broken], broken, 2, signal.SIGINT)
        assert (code, f"keras-vae train --resume {broken}" in err) == (130, True)
        code, _ = stop_after_epochs([*program, "--resume", broken], broken, 9, signal.SIGKILL)
        assert code == -signal.SIGKILL
        subprocess.run([*program, "--resume", broken], check=True, capture_output=True)
    assert other.returncode == 0
    assert Run(broken).history() == Run(whole).history()
    models = [keras.saving.load_model(folder / "model.keras") for folder in (whole, broken)]
    for one, other in zip(models[0].variables, models[1].variables, strict=True):
        assert np.array_equal(one.numpy(), other.numpy()), one.path
    for one, other in zip(*(model.optimizer.variables for model in models), strict=True):
        assert np.array_equal(one.numpy(), other.numpy()), one.path


def test_a_finished_run_can_be_trained_longer(shell, tmp_path):
    assert shell("train", "--run", tmp_path, *QUICK)[0] == 0
    assert shell("train", "--resume", tmp_path, "--epochs", 3)[0] == 0
    assert Run(tmp_path).history()["epoch"] == [1.0, 2.0, 3.0]
    assert json.loads((tmp_path / "metrics.json").read_text())["epochs"] == 3


def test_help_names_every_command_and_option(shell):
    code, out, _ = shell("--help")
    assert code == 0
    for command in ("train", "evaluate", "reconstruct", "sample", "explain"):
        assert command in out
        assert "Show this message" in shell(command, "--help")[1]


def test_a_run_is_exported_for_a_server(trained, shell, tmp_path):
    words = ("--to", tmp_path / "vae", "--signatures", "score,encode", "--uint8")
    code, out, _ = shell("export", trained, *words)
    assert code == 0
    assert f"keras-vae serve {tmp_path / 'vae'}" in out
    signatures = tf.saved_model.load(str(tmp_path / "vae" / "1")).signatures
    assert set(signatures) == {"encode", "score", "serving_default"}
    grey = keras_vae.data.load("digits").test.values[:5]  # bytes, 0 to 16
    vae = keras.saving.load_model(trained / "model.keras")
    expected = vae.encode(grey.astype("float32") / 16).mean()
    found = signatures["encode"](x=tf.constant(grey))["mean"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_unknown_signature_is_one_clear_line(trained, shell):
    code, _, error = shell("export", trained, "--signatures", "predict")
    assert code == 2
    assert "'predict' is none of encode, encode_sample" in error


def test_a_server_that_is_not_installed_is_one_clear_line(shell, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.startswith("local_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, error = shell("serve", tmp_path)
    assert code == 2
    assert "Expected: pip install 'keras-vae[serving]'" in error


def complete(script: str, *words: str) -> set[str]:
    """What bash would offer for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    program = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _keras_vae; "
    result = subprocess.run(
        ["bash", "-c", program + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(result.stdout.split())


def test_commands_options_and_choices_are_completed(shell):
    script = shell("completion")[1]
    assert complete(script, "keras-vae", "ev") == {"evaluate"}
    assert complete(script, "keras-vae", "train", "--post") == {"--posterior"}
    offered = complete(script, "keras-vae", "train", "--posterior", "")
    assert offered == set(POSTERIORS) > {"diagonal-normal", "planar-flow"}
    assert complete(script, "keras-vae", "train", "--data", "fash") == {"fashion_mnist"}
    assert complete(script, "keras-vae", "evaluate", "--split", "te") == {"test"}
