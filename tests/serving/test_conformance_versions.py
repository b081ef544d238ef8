"""New versions, good and broken, while requests run."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from served import State, Target, example, newest, publish, until, write_broken


@pytest.fixture
def follow(writable):
    """The version that serves, and a number that the server has never seen for the next.

    Removes the versions that a test has written, and waits for the one before.
    """
    number = newest(writable.folder)
    yield number, max(writable.states()) + 1
    for path in writable.folder.iterdir():
        if path.name.isdecimal() and int(path.name) > number:
            path.rename(writable.folder / f"removing-{path.name}")
            shutil.rmtree(writable.folder / f"removing-{path.name}")
    until("the version from before", lambda: state(writable, number) == State.AVAILABLE)
    until("no other", lambda: writable.version() == number)


def state(target: Target, number: int) -> int | None:
    states = target.states()
    return states[number].state if number in states else None


class Load:
    """Clients that ask without a pause, by gRPC and by REST, and note which version answered."""

    def __init__(self, target: Target) -> None:
        self.versions: list[int] = []
        self.failures: list[str] = []
        self._target = target
        self._inputs = example(target.definitions()["generate"], rows=2)
        self._stop = threading.Event()

    def __enter__(self) -> "Load":
        self._clients = ThreadPoolExecutor(6)
        asks = [self._by_grpc] * 4 + ([self._by_rest] * 2 if self._target.rest_address else [])
        self._running = [self._clients.submit(ask) for ask in asks]
        until("the first answers", lambda: len(self.versions) > 20 or bool(self.failures))
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._clients.shutdown()
        for running in self._running:
            running.result()

    def _by_grpc(self) -> None:
        request = self._target.request("generate", self._inputs)
        while not self._stop.is_set():
            try:
                response = self._target.prediction.Predict(request, 60)
            except grpc.RpcError as error:
                self.failures.append(f"{error.code()}: {error.details()}")
            else:
                self.versions.append(response.model_spec.version.value)

    def _by_rest(self) -> None:
        columns = {name: values.tolist() for name, values in self._inputs.items()}
        while not self._stop.is_set():
            status, answer = self._target.post({"signature_name": "generate", "inputs": columns})
            if status != 200:
                self.failures.append(f"{status}: {answer}")


def test_a_new_version_takes_over_without_one_failed_request(writable, follow):
    old, new = follow
    with Load(writable) as load:
        publish(writable.folder / str(old), writable.folder, new)
        until("the new version", lambda: state(writable, new) == State.AVAILABLE)
        until("the end of the old one", lambda: state(writable, old) == State.END)
        until("its answers alone", lambda: set(load.versions[-20:]) == {new} or bool(load.failures))
    assert load.failures == []
    assert set(load.versions) == {old, new}


def test_a_broken_new_version_leaves_the_old_one_serving(writable, follow):
    old, new = follow
    with Load(writable) as load:
        write_broken(writable.folder, new)
        # TensorFlow Serving tries five times, a minute apart, before it gives the version up.
        given_up = {State.END} if writable.local else {State.END, State.LOADING}
        until("the broken version's failure", lambda: state(writable, new) in given_up)
        seen = len(load.versions)
        until("more answers", lambda: len(load.versions) > seen + 20 or bool(load.failures))
    assert load.failures == []
    assert set(load.versions) == {old}
    assert state(writable, old) == State.AVAILABLE
    if writable.local:
        status = writable.states()[new].status
        assert status.error_code != 0
        assert status.error_message


def test_removing_the_newest_version_brings_back_the_one_before(writable, follow):
    old, new = follow
    publish(writable.folder / str(old), writable.folder, new)
    until("the new version", lambda: writable.version() == new)
    with Load(writable) as load:
        (writable.folder / str(new)).rename(writable.folder / "removed")
        shutil.rmtree(writable.folder / "removed")
        until("the version before", lambda: state(writable, old) == State.AVAILABLE)
        until("the end of the removed one", lambda: state(writable, new) == State.END)
    assert load.failures == []
    assert writable.version() == old


def test_a_folder_whose_name_is_no_number_is_ignored(writable):
    publish(writable.folder / str(newest(writable.folder)), writable.folder, 77)
    (writable.folder / "77").rename(writable.folder / "77-draft")
    number = writable.version()
    states = writable.states()
    shutil.rmtree(writable.folder / "77-draft")
    assert number == newest(writable.folder)
    assert 77 not in states
