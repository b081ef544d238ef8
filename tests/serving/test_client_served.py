"""The client against exported models on a server: equal bits by both protocols."""

import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from client import Client, InvalidInput, NotFound
from served import local_server, publish

KINDS = ("bits", "conditional", "counts")


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "vae"
    shutil.copytree(exported(kind), folder)
    return folder


@pytest.fixture(scope="module")
def target(folder):
    """A server of this test module alone."""
    with local_server(folder) as running:
        yield running.target


@pytest.fixture(scope="module")
def both(target):
    """A client by gRPC and one by REST."""
    with (
        Client(target.grpc_address, batch=3) as by_grpc,
        Client(f"http://{target.rest_address}", batch=3) as by_rest,
    ):
        yield by_grpc, by_rest


def test_the_readmes_example_scores_images(target, kind, capsys):
    if kind != "bits":
        pytest.skip("the example is of a model that takes x alone")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(from client import Client.*?)```", readme, re.DOTALL)
    x = (np.random.default_rng(0).random((5, 4, 4, 1)) > 0.5).astype("float32")
    with Client(target.grpc_address) as client:
        expected = str(client.score(x, seed=0)["elbo"])
    for address in (target.grpc_address, f"http://{target.rest_address}"):
        exec(example.replace("localhost:8500", address), {"x": x})
        assert expected in capsys.readouterr().out


def inputs_of(kind, signature, rows=8):
    """Legal inputs of a signature."""
    random = np.random.default_rng(0)
    found = {}
    for name, spec in signature.inputs.items():
        shape = (rows, *spec.shape[1:])
        if name == "seed":
            found[name] = np.arange(rows)
        elif name == "z":
            found[name] = random.normal(size=shape).astype("float32")
        elif name == "size_factor":
            found[name] = random.uniform(0.5, 2, shape).astype("float32")
        else:
            found[name] = random.integers(0, 2, shape)
    return found


def test_both_protocols_give_the_bits_of_the_model_in_process(kind, folder, both):
    loaded = tf.saved_model.load(str(folder / "1"))
    by_grpc, by_rest = both
    model = by_grpc.metadata()
    assert model == by_rest.metadata()
    for name, signature in model.signatures.items():
        inputs = inputs_of(kind, signature)
        tensors = {
            key: tf.constant(value, signature.inputs[key].dtype) for key, value in inputs.items()
        }
        expected = loaded.signatures[name](**tensors)
        answers = [client.predict(name, inputs) for client in both]
        for key, value in expected.items():
            assert answers[0][key].tobytes() == answers[1][key].tobytes(), (name, key)
            # requests of 3 rows and not of 8: matrix products may sum in another order
            np.testing.assert_allclose(answers[0][key], value, rtol=2e-5, atol=2e-6)


def test_the_methods_take_what_the_model_is_conditional_on(kind, both):
    given = {"conditional": {"condition": 1}}.get(kind, {})
    beside = {"size_factor": 1.5} if kind == "counts" else {}
    for client in both:
        x = inputs_of(kind, client.metadata().signatures["encode"])["x"]
        z = client.encode(x, **given)["mean"]
        assert z.shape == (8, 2)
        assert client.decode(z, **given, **beside)["mean"].shape == x.shape
        assert client.decode_sample(z, 0, **given, **beside)["x"].shape == x.shape
        assert client.reconstruct(x, **given, **beside)["mean"].shape == x.shape
        assert client.generate(5, 0, **given, **beside)["x"].shape == (5, *x.shape[1:])
        assert client.score(x, 0, **given, **beside)["elbo"].shape == (8,)
        assert client.encode_sample(x, 0, **given)["z"].shape == (8, 2)


def test_what_the_model_refuses_is_said_in_its_words(kind, both):
    for client in both:
        x = inputs_of(kind, client.metadata().signatures["encode"])["x"] - 2.0
        given = {"conditional": {"condition": 1}}.get(kind, {})
        with pytest.raises(InvalidInput, match="`x` is outside the support"):
            client.encode(x, **given)


def test_the_server_names_its_versions(both):
    for client in both:
        assert [(one.version, one.state) for one in client.status()] == [(1, "AVAILABLE")]


def test_calls_of_both_go_on_while_a_version_is_swapped(exported, tmp_path):
    folder = tmp_path / "vae"
    shutil.copytree(exported("bits"), folder)
    x = np.random.default_rng(0).integers(0, 2, (12, 4, 4, 1))
    published = threading.Event()

    def ask(client, answers):
        while not (published.is_set() and answers[-1].version == 2):
            answers.append(client.score(x, seed=0))

    with local_server(folder) as running:
        target = running.target
        with (
            Client(target.grpc_address, batch=2) as by_grpc,
            Client(f"http://{target.rest_address}", batch=2) as by_rest,
        ):
            found = [[client.score(x, seed=0)] for client in (by_grpc, by_rest)]
            threads = [
                threading.Thread(target=ask, args=one)
                for one in zip((by_grpc, by_rest), found, strict=True)
            ]
            for thread in threads:
                thread.start()
            publish(folder / "1", folder, 2)
            published.set()
            for thread in threads:
                thread.join(60)
            assert not any(thread.is_alive() for thread in threads)
    for answers in found:
        assert {answer.version for answer in answers} == {1, 2}
        for answer in answers:
            np.testing.assert_array_equal(answer["elbo"], found[0][0]["elbo"])


def test_a_model_that_is_not_there_is_not_found(both):
    by_grpc, by_rest = both
    address = by_grpc._calls._transport.server
    for server in (address, by_rest._calls._transport.url):
        for arguments in ({"model": "zzz"}, {"version": 9}):
            with Client(server, **arguments) as client, pytest.raises(NotFound):
                client.metadata()
