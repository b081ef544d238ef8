"""The wheel, in an environment that has nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

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


@pytest.mark.slow
def test_the_wheel_trains_in_a_fresh_environment(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "pip", "install", "-q", "-c", constraints, wheel]
    subprocess.run(install, check=True, capture_output=True)
    for command in ([python, "-c", TRAIN], [python.with_name("keras-vae"), "--version"]):
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
