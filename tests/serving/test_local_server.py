"""The local server's process: its start, its end, its command line."""

import http.client
import json
import signal
import socket

import local_server
import numpy as np
import pytest
from served import SECONDS, launched, unpacked, until
from served import local_server as running_server
from toys import X, write_toy


def test_other_requests_are_answered_while_a_slow_one_runs(toy):
    """The model never runs on the event loop."""
    rounds = 20_000
    while True:  # as many as take a second or more here
        slow = toy.prediction.Predict.future(toy.request("slow", {"rounds": np.array([rounds])}))
        answered = 0
        while not slow.done():
            toy.predict("encode", {"x": X})
            assert toy.rest("GET", "/v1/models/toy")[0] == 200
            answered += 1
        assert unpacked(slow.result())["count"].tolist() == [rounds]
        if answered >= 20:
            return
        rounds *= 4


def test_the_first_line_says_what_it_is_for_and_the_end_frees_the_ports(folder):
    write_toy(folder, 1)
    with running_server(folder) as first:
        assert "development only" in first.lines[0]
        kept = http.client.HTTPConnection(first.target.rest_address, timeout=SECONDS)
        kept.request("GET", "/v1/models/toy")  # a connection that stays open
        assert json.loads(kept.getresponse().read())
        first.target.predict("encode", {"x": X})
        assert first.stop() == 0
        until("its last line", lambda: first.lines[-1] == "stopped\n")
        assert "Traceback" not in "".join(first.errors)
        kept.close()
    ports = [
        address.split(":")[1] for address in (first.target.grpc_address, first.target.rest_address)
    ]
    with running_server(folder, "--grpc-port", ports[0], "--rest-port", ports[1]) as second:
        assert second.target.grpc_address == first.target.grpc_address
        assert second.target.by_rows("encode", {"x": X})["mean"].tolist() == (2 * X).tolist()
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(SECONDS) == 0


def test_a_request_under_way_at_ctrl_c_is_answered(folder):
    write_toy(folder, 1)
    with running_server(folder) as running:
        request = running.target.request("slow", {"rounds": np.array([300_000])})
        answer = running.target.prediction.Predict.future(request)
        running.target.predict("encode", {"x": X})  # sent after it, on the same connection
        assert not answer.done()
        assert running.stop() == 0
        assert unpacked(answer.result(SECONDS))["count"].tolist() == [300_000]


def test_the_ports_open_once_the_model_answers(folder):
    """A client that is started with the server waits for it, and finds no empty one."""
    write_toy(folder, 1)
    with running_server(folder, available=False) as running:  # from its line on the ports on
        assert running.target.rest("GET", "/v1/models/toy/metadata")[0] == 200
        assert running.target.predict("encode", {"x": X})["mean"].tolist() == (2 * X).tolist()
        assert "is available" in "".join(running.lines[:-1])


def test_a_status_and_metadata_do_not_wait_behind_predictions(folder):
    write_toy(folder, 1)
    with running_server(folder) as running:
        toy = running.target
        request = toy.request("slow", {"rounds": np.array([10**12])})
        slow = [toy.prediction.Predict.future(request) for _ in range(2 * local_server.THREADS)]
        assert toy.rest("GET", "/v1/models/toy")[0] == 200
        assert toy.rest("GET", "/v1/models/toy/metadata")[0] == 200
        assert set(toy.states()) == {1}
        assert toy.version() == 1
        assert not any(call.done() for call in slow)
        running.process.kill()


def test_an_empty_folder_is_waited_for(folder):
    running = launched(folder)
    try:
        until("the note", lambda: any("waiting for one" in line for line in running.lines))
        assert running.target.rest("GET", "/v1/models/toy")[0] == 404
        write_toy(folder, 1)
        until("a version", lambda: running.target.rest("GET", "/v1/models/toy")[0] == 200)
        until("its answer", lambda: running.target.post({"inputs": X.tolist()})[0] == 200)
    finally:
        assert running.stop() == 0
        running.target.channel.close()


def failure(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        local_server.main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_folder_that_does_not_exist_is_one_clear_line(tmp_path, capsys):
    error = failure(capsys, tmp_path / "nowhere")
    assert error.startswith("local_server: error: the model folder")
    assert error.count("\n") == 1
    assert "does not exist" in error


def test_the_folder_of_a_version_is_refused_with_the_one_to_name(folder, capsys):
    error = failure(capsys, write_toy(folder, 1))
    assert "is one version of a model" in error
    assert str(folder) in error


@pytest.mark.parametrize("option", ["--grpc-port", "--rest-port"])
def test_a_port_in_use_is_one_clear_line(folder, capsys, option):
    other = {"--grpc-port": "--rest-port", "--rest-port": "--grpc-port"}[option]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = failure(capsys, folder, option, port, other, 0)
    assert f"port {port} cannot be used: another server has it. Choose another: {option} 0" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--versions", "latest", "2"],
        ["--versions", "some"],
        ["--label", "stable"],
        ["--label", "=1"],
        ["--grpc-port", "70000"],
    ],
)
def test_options_that_mean_nothing_are_refused(folder, capsys, options):
    assert "error:" in failure(capsys, folder, *options)
