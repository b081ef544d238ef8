"""What fails, and what the client makes of it: one exception for each cause."""

import contextlib
import socket
import socketserver
import threading
import time

import client_calls
import numpy as np
import pytest
from client import (
    Client,
    Closed,
    InvalidInput,
    NotFound,
    Overloaded,
    Protocol,
    Refused,
    ServerFault,
    ServingError,
    TimedOut,
    Unavailable,
    VersionChanged,
)
from client_fakes import CODES, Failure, Fake, Raw, Reset, Version, serving

X = np.ones((1, 4, 4, 1), np.float32)
BUSY = Failure(CODES.UNAVAILABLE, "starting")
EXHAUSTED = Failure(CODES.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def addresses(fake):
    with serving(fake) as found:
        yield found


@pytest.fixture(params=["grpc", "rest"])
def server(request, addresses):
    return addresses[request.param]


@pytest.fixture
def pauses(monkeypatch):
    """The attempts after which the client paused; it does not wait."""
    found = []
    monkeypatch.setattr(client_calls, "_pause", lambda attempt: found.append(attempt) or 0.0)
    return found


# Retries


@pytest.mark.parametrize("faults", [[BUSY, BUSY], [EXHAUSTED, EXHAUSTED]])
def test_a_server_that_recovers_answers(server, fake, pauses, faults):
    fake.faults = list(faults)
    with Client(server, retries=2) as vae:
        assert vae.encode(X)["mean"].tolist() == [[16, 1]]
    assert len(fake.asked) == 3
    assert pauses == [0, 1]


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        (BUSY, Unavailable, "starting"),
        (EXHAUSTED, Overloaded, "Server Threadpool Exhausted"),
    ],
)
def test_retries_end(server, fake, pauses, fault, error, text):
    fake.faults = [fault] * 9
    with Client(server, retries=3) as vae, pytest.raises(error, match=text):
        vae.encode(X)
    assert len(fake.asked) == 4


def test_a_connection_that_is_reset_is_made_again(server, fake, pauses):
    fake.faults = [Reset(), Reset()]
    with Client(server, retries=2) as vae:
        assert vae.encode(X)["mean"].tolist() == [[16, 1]]
        fake.faults = [Reset()] * 9
        with pytest.raises(Unavailable, match="No server answers"):
            vae.encode(X)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (CODES.INVALID_ARGUMENT, InvalidInput),
        (CODES.FAILED_PRECONDITION, InvalidInput),
        (CODES.PERMISSION_DENIED, Refused),
        (CODES.INTERNAL, ServerFault),
    ],
)
def test_what_would_fail_again_is_not_sent_again(server, fake, pauses, code, error):
    text = 'assertion failed: [`x` is outside the support. Expected: "bits".]\nof \\ it\'s node'
    fake.faults = [Failure(code, text)]
    with Client(server) as vae, pytest.raises(error) as raised:
        vae.encode(X)
    assert text in str(raised.value)
    assert len(fake.asked) == 1
    assert not pauses


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_wrong_input_is_said_at_once_though_the_server_is_away(protocol, pauses):
    with serving(Fake()) as addresses:
        client = Client(addresses[protocol], version=1)
        client.encode(X)
    with client, pytest.raises(InvalidInput, match="wrong shape"):
        client.encode(X[0])
    assert not pauses


def test_a_replica_without_the_signature_that_another_has_is_named(server, fake, pauses):
    text = 'Serving signature key "encode" not found.'
    fake.faults = [Failure(CODES.FAILED_PRECONDITION, text)] * 9
    with Client(server) as vae, pytest.raises(VersionChanged, match=text):
        vae.encode(X)
    assert len(fake.asked) == client_calls.CHANGES


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"model": "zzz"}, "zzz"),
        ({"model": "a/b c"}, "Servable not found"),
        ({"version": 7}, "7"),
        ({"label": "zzz"}, "label: zzz"),
    ],
)
def test_an_unknown_model_version_or_label_is_not_found(server, fake, arguments, text):
    with Client(server, **arguments) as vae, pytest.raises(NotFound, match=text):
        vae.encode(X)


def test_a_server_that_is_not_there_is_unavailable(pauses):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for server in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"):
            with Client(server, retries=1) as vae, pytest.raises(Unavailable, match="running"):
                vae.encode(X)
    assert pauses == [0, 0]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_that_starts_again_is_found_again(protocol):
    with serving(Fake()) as addresses:
        ports = [int(addresses[name].rpartition(":")[2]) for name in ("grpc", "rest")]
        client = Client(addresses[protocol])
        assert client.encode(X).version == 1
    starting = threading.Timer(0.5, lambda: started.enter_context(serving(Fake(), ports)))
    with contextlib.ExitStack() as started, client:
        starting.start()
        assert client.encode(X).version == 1
        starting.join()


def test_pauses_double_and_are_spread():
    for attempt, longest in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]):
        found = {client_calls._pause(attempt) for _ in range(100)}
        assert min(found) >= longest / 2
        assert max(found) <= longest
        assert len(found) > 90


def test_a_kept_connection_that_the_server_closed_costs_no_retry(addresses, fake, pauses):
    with Client(addresses["rest"], retries=0) as vae:
        vae.encode(X)
        (kept,) = vae._calls._transport._idle.queue
        kept.sock.shutdown(socket.SHUT_RDWR)
        assert vae.encode(X).version == 1


# Time


def test_a_server_that_hangs_times_out(server, fake, pauses):
    fake.before = lambda inputs: fake.ended.wait(60)
    started = time.monotonic()
    with Client(server, timeout=0.5) as vae, pytest.raises(TimedOut, match=r"within 0\.5 s"):
        vae.encode(X)
    assert time.monotonic() - started < 20
    assert len(fake.asked) == 1
    fake.ended.set()


def test_a_server_that_trickles_meets_the_deadline():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    with (
        answering(head, trickle=True) as server,
        Client(server, timeout=0.5) as vae,
        pytest.raises(TimedOut),
    ):
        vae.metadata()


def test_closing_ends_what_is_under_way(server, fake):
    begun = threading.Event()
    fake.before = lambda inputs: begun.set() or fake.ended.wait(60)
    errors = []

    def ask():
        try:
            vae.encode(np.concatenate([X] * 8))
        except ServingError as error:
            errors.append(error)

    vae = Client(server, batch=1, timeout=2)
    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(30)
    vae.close()
    thread.join()
    assert len(errors) == 1
    with pytest.raises(Closed, match="Make another"):
        vae.encode(X)


def test_an_error_in_one_request_of_many_ends_the_call_and_not_the_client(server, fake, pauses):
    x = np.arange(20, dtype=np.float32).repeat(16).reshape(20, 4, 4, 1)

    def before(inputs):
        if inputs["x"].flat[0] == 6:
            raise Failure(CODES.INVALID_ARGUMENT, "six")

    fake.before = before
    with Client(server, batch=1, connections=2) as vae:
        with pytest.raises(InvalidInput, match="six"):
            vae.encode(x)
        assert vae.encode(x[:6])["mean"][:, 0].tolist() == [16.0 * i for i in range(6)]
    assert x[6, 0, 0, 0] == 6


# What is no TensorFlow Serving


@pytest.mark.parametrize(
    ("raw", "error", "text"),
    [
        (Raw(200, b"{]"), Protocol, "no TensorFlow Serving"),
        (Raw(200, b"[1]"), Protocol, "no TensorFlow Serving"),
        (Raw(200, b"<html>Welcome</html>"), Protocol, "Welcome"),
        (Raw(200, b"\xff\xfe"), Protocol, "no TensorFlow Serving"),
        (Raw(200, b""), Protocol, "empty body"),
        (Raw(200, b"{}"), Protocol, "outputs"),
        (Raw(200, b'{"outputs": {"zzz": [1]}}'), Protocol, "outputs"),
        (Raw(200, b'{"outputs": {"loc": [[1, 1]]}}'), Protocol, "Expected: loc, mean, scale_diag"),
        (Raw(200, b'{"outputs": {"loc": "1"}}'), Protocol, "outputs"),
        (Raw(302, b""), Protocol, "HTTP 302"),
        (Raw(404, b"<html>nginx</html>"), Protocol, "nginx"),
        (Raw(500, b"<html>Oops</html>"), Protocol, "Oops"),
        (Raw(401, b"<html>Log in</html>"), Refused, "Log in"),
        (Raw(413, b"<html>large</html>"), InvalidInput, "fewer rows"),
        (Raw(502, b"<html>Bad gateway</html>"), Unavailable, "Bad gateway"),
        (Raw(503, b"<html>Busy</html>"), Unavailable, "Busy"),
        (Raw(504, b""), TimedOut, "too long"),
    ],
)
def test_an_answer_of_another_program_is_named_by_its_cause(
    addresses, fake, pauses, raw, error, text
):
    fake.faults = [raw] * 9
    with Client(addresses["rest"], retries=1) as vae, pytest.raises(error, match=text):
        vae.encode(X)


def test_an_answer_with_other_rows_than_the_request_is_no_answer(server, monkeypatch):
    two = {name: np.ones((2, 2), np.float32) for name in ("loc", "scale_diag", "mean")}
    monkeypatch.setattr("client_fakes.outputs_of", lambda *arguments: two)
    with Client(server) as vae, pytest.raises(Protocol, match="another number of rows"):
        vae.encode(X)


class answering:
    """A server that says one thing to everybody, and closes."""

    def __init__(self, head: bytes, trickle: bool = False) -> None:
        ended = self.ended = threading.Event()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(65536)
                self.request.sendall(head)
                while trickle and not ended.wait(0.05):
                    self.request.sendall(b" ")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_what_speaks_no_http_is_no_server():
    with (
        answering(b"220 mail ready\r\n") as server,
        Client(server, retries=0) as vae,
        pytest.raises(Protocol, match="no TensorFlow Serving REST port"),
    ):
        vae.metadata()


def test_an_answer_cut_short_is_sent_for_again(pauses):
    with (
        answering(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"a": 1') as server,
        Client(server, retries=2) as vae,
        pytest.raises(Unavailable),
    ):
        vae.metadata()
    assert pauses == [0, 1]


def test_a_metadata_that_is_none_is_named(pauses):
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as server:
        with Client(server) as vae, pytest.raises(Protocol, match="metadata"):
            vae.metadata()
        with Client(server) as vae, pytest.raises(Protocol, match="model_version_status"):
            vae.status()


@pytest.mark.parametrize(
    ("port", "server", "text"),
    [
        ("grpc", "http://127.0.0.1:{}", "REST port"),
        ("rest", "127.0.0.1:{}", "gRPC port"),
        ("rest", "https://127.0.0.1:{}", "SSL"),
    ],
)
def test_a_port_of_the_other_protocol_is_named(addresses, pauses, port, server, text):
    number = addresses[port].rpartition(":")[2]
    with Client(server.format(number)) as vae, pytest.raises(Protocol, match=text):
        vae.metadata()
    assert not pauses


def test_an_answer_larger_than_grpc_takes_by_default_is_read(addresses, fake):
    fake.versions = {1: Version(event=(1024, 1024, 1))}  # 4 MiB a row
    with Client(addresses["grpc"], batch=2) as vae:
        assert vae.generate(seed=np.zeros(2, np.int64))["x"].shape == (2, 1024, 1024, 1)
