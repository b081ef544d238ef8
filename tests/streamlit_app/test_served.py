"""The pages on a served model, and on a server that dies."""

import shutil

import numpy as np
import pytest
from app_model import Served, Trained, client
from served import State, local_server, publish, until  # of tests/serving

import keras_vae
from keras_vae.opened import trained_run


@pytest.fixture(scope="module")
def server(run_folder, tmp_path_factory):
    """A server of the trained run's model."""
    folder = tmp_path_factory.mktemp("models") / "vae"
    vae, data = trained_run(run_folder)
    keras_vae.export(vae, folder, num_samples=5, examples=data.test)
    with local_server(folder) as running:
        yield running


@pytest.fixture(params=["gRPC", "REST"])
def address(request, server):
    if request.param == "gRPC":
        return server.target.grpc_address
    return f"http://{server.target.rest_address}"


def test_a_served_model_answers_what_the_trained_one_does(server, run_folder, address):
    trained, served = Trained(run_folder, "a"), Served(address, "vae")
    with served.client:
        _compare(trained, served)


def _compare(trained, served):
    assert served.event_shape == trained.event_shape == (8, 8, 1)
    assert served.latent_size == trained.latent_size == 4
    x = trained.data.test[:3].array()
    for signature, inputs in {
        "encode": {"x": x},
        "encode_sample": {"x": x, "seed": [1, 2, 3]},
        "generate": {"seed": [5, 6]},
    }.items():
        ours, theirs = trained.answer(signature, inputs), served.answer(signature, inputs)
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_shown_is_a_sentence(server):
    with pytest.raises(client.NotFound):
        Served(server.target.grpc_address, "another")
    with pytest.raises(client.ServingError):
        Served("localhost:1", "vae")


def connected(opened, address, view="serving"):
    page = opened("serving")
    page.text_input(key="address").set_value(address)
    page.text_input(key="served_name").set_value("vae")
    page.button[0].click().run()
    assert not page.error, page.error[0].value
    return page.switch_page(f"views/{view}.py").run()


def test_after_connecting_every_page_asks_the_server(opened, address):
    page = connected(opened, address)
    assert "The pages show" in page.success[0].value
    for view in ("model", "one_image", "latent_space", "samples", "derivation"):
        page.switch_page(f"views/{view}.py").run()
        assert not page.exception, (view, page.exception)
        assert not page.error, (view, page.error[0].value)
    calls = {call.signature for call in page.session_state["calls"]}
    assert {"encode", "generate", "score"} <= calls
    page.switch_page("views/serving.py").run()
    table = page.dataframe[-1].value
    assert set(table["signature"]) == calls
    assert (table["median"] > 0).all()


def test_a_visitor_goes_back_to_the_trained_run(opened, address):
    page = connected(opened, address)
    page.sidebar.button[0].click().run()
    assert "served" not in page.session_state
    assert page.sidebar.selectbox[0].options == ["small"]


def test_a_dead_server_is_a_message_and_a_retry(opened, run_folder, tmp_path):
    vae, _ = trained_run(run_folder)
    folder = tmp_path / "vae"
    keras_vae.export(vae, folder, signatures=["encode", "decode", "reconstruct", "generate"])
    with local_server(folder) as running:
        address = running.target.grpc_address
        page = connected(opened, address, "samples")
    page.run()
    page.switch_page("views/serving.py").run()
    assert not page.exception
    assert address in page.error[0].value
    page.button(key="try_again").click().run()
    assert address in page.error[0].value
    page.sidebar.button[0].click().run()
    page.switch_page("views/samples.py").run()
    assert not page.error


def test_one_visitors_error_leaves_the_others_their_server(opened, address):
    one, other = connected(opened, address, "samples"), connected(opened, address)
    other.text_input(key="served_name").set_value("another")
    other.button[0].click().run()
    assert other.error
    one.run()
    assert not one.error


def test_a_version_that_is_gone_is_told_and_the_next_one_is_connected_to(opened, server, tmp_path):
    version = next(server.target.folder.glob("[0-9]*"))
    folder = tmp_path / "vae"
    shutil.copytree(version, folder / "1")
    with local_server(folder) as running:
        page = connected(opened, running.target.grpc_address, "samples")
        publish(version, folder, 2)
        until("the second version", lambda: running.target.version() == 2)
        until("the end of the first", lambda: running.target.states()[1].state == State.END)
        page.switch_page("views/one_image.py").run()
        assert page.error
        page.button(key="try_again").click().run()
        assert not page.error
        page.switch_page("views/serving.py").run()
        assert "version 2" in page.success[0].value


def test_a_server_that_is_not_there_is_a_sentence_and_changes_nothing(opened):
    page = opened("serving")
    page.text_input(key="address").set_value("localhost:1")
    page.button[0].click().run()
    assert "localhost:1" in page.error[0].value
    assert "served" not in page.session_state
    page.text_input(key="address").set_value("nonsense")
    page.button[0].click().run()
    assert "HOST:PORT" in page.error[0].value


def test_what_a_visitor_sent_is_shown_as_it_is(opened):
    page = opened("serving")
    page.text_input(key="address").set_value("$x$ __b__")
    page.button[0].click().run()
    assert r"\$x\$ \_\_b\_\_" in page.error[0].value  # what Markdown shows as it was typed


def test_draws_of_a_server_are_shown(opened, address):
    page = connected(opened, address)
    (ask,) = [button for button in page.button if button.label == "Ask for 16 draws"]
    ask.click().run()
    assert not page.exception
    assert page.session_state["calls"][-1].rows == 16
    assert len(page.image) == 1
    assert page.text_input(key="address").value == address
