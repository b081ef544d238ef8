"""The clients of the load benchmark: threads of Python, and wrk.

Processes that send requests import this file: it brings in neither TensorFlow nor the package.
"""

import http.client
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc

CONNECTING = 0.3  # seconds that their clients have before the first request
TIMEOUT = 30  # seconds after which an answer is lost


class Load(NamedTuple):
    """What is sent: `requests` in turn, `rows` in each."""

    protocol: str
    address: str
    path: str
    requests: list[bytes]
    rows: int


class Answer(NamedTuple):
    """The answer to request `number`: its body, or why there is none. Times are monotonic."""

    number: int
    start: float
    end: float
    body: bytes | None
    error: str = ""


def by_threads(load: Load, clients: int, start: float, seconds: float) -> list[Answer]:
    """The answers to `clients` threads of this process, which all start at `start`."""
    connect = _rest_sender if load.protocol == "REST" else _grpc_sender
    senders = [connect(load) for _ in range(clients)]
    time.sleep(max(0.0, start - time.monotonic()))
    with ThreadPoolExecutor(clients) as threads:
        tasks = [
            threads.submit(_in_turn, send, load.requests, first, seconds)
            for first, send in enumerate(senders)
        ]
        return [answer for task in tasks for answer in task.result()]


def _in_turn(
    send: Callable[[bytes], bytes], requests: list[bytes], first: int, seconds: float
) -> list[Answer]:
    answers: list[Answer] = []
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        index = (first + len(answers)) % len(requests)
        start = time.monotonic()
        try:
            body, error = send(requests[index]), ""
        except (grpc.RpcError, http.client.HTTPException, OSError) as failure:
            body, error = None, str(failure)  # lost: counted, and shown with the tables
        answers.append(Answer(index, start, time.monotonic(), body, error))
    return answers


def _rest_sender(load: Load) -> Callable[[bytes], bytes]:
    connection = http.client.HTTPConnection(load.address, timeout=TIMEOUT)
    connection.connect()

    def send(body: bytes) -> bytes:
        try:
            connection.request("POST", load.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        except (http.client.HTTPException, OSError):
            connection.close()  # the next request opens it again
            raise
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status}: {answer!r}")
        return answer

    return send


def _grpc_sender(load: Load) -> Callable[[bytes], bytes]:
    # With its own pool each client has a connection of its own, as clients elsewhere have.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(load.address, options)
    grpc.channel_ready_future(channel).result(TIMEOUT)
    call = channel.unary_unary(load.path)
    return lambda request: call(request, timeout=TIMEOUT)


# One thread of wrk for each client: its last request is then the one that is answered next.
WRK = """
local ffi = require("ffi")
ffi.cdef("typedef struct { long s, ns; } moment; int clock_gettime(int, moment *);")
local moment, threads = ffi.new("moment"), 0
local function now()
    ffi.C.clock_gettime(1, moment) -- CLOCK_MONOTONIC
    return tonumber(moment.s) + tonumber(moment.ns) * 1e-9
end
function setup(thread)
    thread:set("id", threads)
    threads = threads + 1
end
function init(arguments)
    folder, first, last = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
    requests, index = {}, id
    for body in io.lines(folder .. "/requests") do
        local headers = {["Content-Type"] = "application/json"}
        table.insert(requests, wrk.format("POST", nil, headers, body))
    end
    answers = io.open(folder .. "/answers." .. id, "w")
end
function delay() -- in milliseconds, before each request
    return math.max(0, (first - now()) * 1000)
end
function request()
    index, start = (index + 1) % #requests, now()
    return requests[index + 1]
end
function response(status, headers, body)
    local line = string.format("%d %.9f %.9f %d ", index, start, now(), status)
    answers:write(line, body:gsub("%s+", " ") .. "\\n")
    if now() > last then
        answers:close()
        io.open(folder .. "/finished." .. id, "w"):close()
        wrk.thread:stop()
    end
end
function done(summary)
    local e = summary.errors
    io.write("lost: ", e.connect + e.read + e.write, "\\n")
end
"""


def by_wrk(load: Load, clients: int, seconds: float) -> list[Answer]:
    """The answers to `clients` connections of wrk."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "script.lua").write_text(WRK)
        (folder / "requests").write_bytes(b"".join(body + b"\n" for body in load.requests))
        url, longest = f"http://{load.address}{load.path}", f"{seconds + TIMEOUT:.0f}s"
        options = [f"-t{clients}", f"-c{clients}", "-d", longest, "--timeout", longest]
        start = time.monotonic() + CONNECTING * (1 + clients / 16)  # it makes one after the other
        arguments = [scratch, str(start), str(start + seconds)]
        command = ["wrk", *options, "-s", f"{scratch}/script.lua", url, "--", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while len(list(folder.glob("finished.*"))) < clients and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)  # wrk by itself sleeps until its time is over
            output = process.communicate()[0]
        unanswered = clients - len(list(folder.glob("finished.*")))
        lines = [line for path in folder.glob("answers.*") for line in path.open("rb")]
    lost = int(re.search(r"^lost: (\d+)", output, re.M)[1]) + unanswered
    now = time.monotonic()
    return [_of_wrk(line) for line in lines] + [Answer(0, now, now, None, output)] * lost


def _of_wrk(line: bytes) -> Answer:
    index, start, end, status, body = line.split(b" ", 4)
    times = float(start), float(end)
    if status != b"200":
        return Answer(int(index), *times, None, f"{status.decode()}: {body.decode()}")
    return Answer(int(index), *times, body)
