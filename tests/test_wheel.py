"""The wheel, in an environment that has nothing else."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TRAIN = """
import importlib.util, pathlib, keras_vae
assert "site-packages" in keras_vae.__file__, keras_vae.__file__
assert importlib.util.find_spec("pytest") is None
digits = keras_vae.data.load("digits")
vae = keras_vae.VAE(
    keras_vae.networks.mlp([16]), keras_vae.networks.mlp([16]),
    keras_vae.posteriors.DiagonalNormal(2), keras_vae.priors.StandardNormal(2),
    keras_vae.likelihoods.Normal(digits.event_shape, scale="shared"))
vae.compile()
elbo = vae.fit(digits.train, epochs=3, verbose=0).history["elbo"]
assert elbo[-1] > elbo[0], elbo
assert pathlib.Path(keras_vae.__file__).with_name("py.typed").exists()
assert keras_vae.export(vae, "models/vae", examples=digits.test).exists()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_one_import_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"keras_vae"}
    assert "keras_vae/py.typed" in names
    assert "keras_vae/data/digits.npz" in names
    assert "keras_vae/serving/local_server.py" in names
    assert "keras_vae/serving/docker-compose.yml" in names
    assert "keras_vae/streamlit_app/app.py" in names
    assert "keras_vae/streamlit_app/views/model.py" in names
    assert "keras_vae/streamlit_app/.streamlit/config.toml" in names


@pytest.mark.slow
def test_the_wheel_trains_exports_serves_and_shows_in_a_fresh_environment(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[app,serving]"]
    subprocess.run(install, check=True, capture_output=True)
    for command in ([python, "-c", TRAIN], [python.with_name("keras-vae"), "--version"]):
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    served = [python.with_name("keras-vae"), "serve", "models/vae", "--grpc-port", "0"]
    with subprocess.Popen(
        [*served, "--rest-port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as server:
        lines = iter(server.stdout.readline, "")
        address = next(re.search(r"http://\S+", line) for line in lines if "REST" in line).group()
        body = json.dumps({"signature_name": "generate", "inputs": {"seed": [3]}}).encode()
        with urllib.request.urlopen(f"{address}/v1/models/vae:predict", body) as answer:
            assert np.shape(json.load(answer)["outputs"]["mean"]) == (1, 8, 8, 1)
        server.terminate()
        server.communicate(timeout=60)
    assert server.returncode == 0
    shows_its_page(python.with_name("keras-vae"), tmp_path)


def shows_its_page(command, folder):
    """`keras-vae app`, started where there is no checkout, answers with a page until Ctrl-C."""
    with socket.create_server(("localhost", 0)) as found:
        port = found.getsockname()[1]
    words = [command, "app", "--no-browser", "--port", str(port)]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as page:
        assert any(str(port) in line for line in iter(page.stdout.readline, ""))
        with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health") as answer:
            assert answer.read() == b"ok"
        page.send_signal(signal.SIGINT)
        page.communicate(timeout=60)
    with socket.create_server(("localhost", port)):
        pass  # it is free again
