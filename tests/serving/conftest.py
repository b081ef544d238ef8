"""The server that the conformance suite runs against: the local one, or a real TensorFlow Serving.

    pytest tests/serving
    pytest tests/serving --target localhost:8500,localhost:8501 --target-model vae

A model of bits or counts, conditional or not, exported by keras_vae, is what the suite expects
there. With `--target-folder models/vae` it also compares with the SavedModel run in process, and
writes new versions into that folder and removes them again.
"""

import fcntl
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from served import Target, local_server
from toys import write_toy

import keras_vae
from keras_vae import conditions, likelihoods, networks, posteriors, priors


def pytest_addoption(parser):
    group = parser.getgroup("serving", "a server other than the local one")
    group.addoption("--target", help="host:port of gRPC, and after a comma of REST")
    group.addoption("--target-model", default="vae", help="the model's name there")
    group.addoption("--target-folder", help="the folder that it serves, writable from here")


def _bits():
    return keras_vae.VAE(
        encoder=networks.mlp([8]),
        decoder=networks.mlp([8]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli((4, 4, 1)),
    )


def _conditional():
    return keras_vae.VAE(
        encoder=networks.mlp([8]),
        decoder=networks.mlp([8]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli((4, 4, 1)),
        condition=conditions.OneHot(3),
    )


def _counts():
    return keras_vae.VAE(
        encoder=networks.mlp([8]),
        decoder=networks.mlp([8]),
        posterior=posteriors.DiagonalNormal(2),
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Poisson((6,), size_factor=True),
    )


MODELS = {"bits": _bits, "conditional": _conditional, "counts": _counts}


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Exports a model once for all the processes that run tests: `exported("bits")`, a folder."""
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):  # of one of several processes
        shared = shared.parent

    def export(kind):
        folder = shared / "exported" / kind
        folder.parent.mkdir(exist_ok=True)
        with open(folder.parent / f"{kind}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                keras.utils.set_random_seed(0)
                keras_vae.export(MODELS[kind](), folder, num_samples=5)
        return folder

    return export


@pytest.fixture(scope="session")
def target(request, exported, tmp_path_factory):
    """What is tested: a server with one version of a model of bits."""
    addresses = request.config.getoption("target", None)
    if addresses is not None:
        grpc_address, _, rest_address = addresses.partition(",")
        folder = request.config.getoption("target_folder", None)
        name = request.config.getoption("target_model")
        yield Target(grpc_address, rest_address or None, name, folder and Path(folder), local=False)
        return
    folder = tmp_path_factory.mktemp("served") / "vae"
    shutil.copytree(exported("bits"), folder)
    with local_server(folder) as running:
        yield running.target


@pytest.fixture
def writable(target):
    """The target, if versions can be written into its folder."""
    if target.folder is None:
        pytest.skip("writes new versions into the served folder: --target-folder")
    return target


@pytest.fixture
def rest(target):
    """The target, if its REST address is known."""
    if target.rest_address is None:
        pytest.skip("asks by REST: --target host:port,host:port")
    return target


@pytest.fixture(scope="session")
def in_process(target):
    """Runs a signature of the served SavedModel in this process: the oracle."""
    if target.folder is None:
        pytest.skip("compares with the SavedModel: --target-folder")
    loaded = tf.saved_model.load(str(target.folder / str(target.version())))

    def run(signature, inputs):
        outputs = loaded.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: np.asarray(value) for name, value in outputs.items()}

    return run


@pytest.fixture
def folder(tmp_path):
    """Of a model called toy, with no version yet."""
    (tmp_path / "toy").mkdir()
    return tmp_path / "toy"


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A server of the toy model, shared by the tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("toys") / "toy"
    folder.mkdir()
    write_toy(folder, 1)
    with local_server(folder) as running:
        yield running.target
