"""The client's answers: exact, in order, of one version, by both protocols."""

import threading

import numpy as np
import pytest
from client import Client, InvalidInput, NotFound, VersionChanged
from client_fakes import CODES, Failure, Fake, Version, outputs_of, serving

EVENT = (4, 4, 1)


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
def rows():
    return lambda count: np.random.default_rng(1).random((count, *EVENT), np.float32)


def same(answer, expected):
    assert answer.keys() == expected.keys()
    for name, value in expected.items():
        assert answer[name].dtype == value.dtype
        assert answer[name].tobytes() == value.tobytes(), name


# What comes back


def test_every_method_answers_with_the_outputs_of_its_signature(server, rows):
    x, z, seeds = rows(3), np.array([[1, 2], [3, 4], [5, 6]], "float32"), 7 + np.arange(3)

    def expected(signature, **inputs):
        return outputs_of(1, EVENT, signature, inputs)

    with Client(server) as vae:
        same(vae.encode(x), expected("encode", x=x))
        same(vae.encode_sample(x, seed=7), expected("encode_sample", x=x, seed=seeds))
        same(vae.decode(z), expected("decode", z=z))
        same(vae.decode_sample(z, seed=7), expected("decode_sample", z=z, seed=seeds))
        same(vae.reconstruct(x), expected("reconstruct", x=x))
        same(vae.generate(3, seed=7), expected("generate", seed=seeds))
        same(vae.score(x, seed=7), expected("score", x=x, seed=seeds))
        same(vae.predict("score", {"x": x, "seed": seeds}), expected("score", x=x, seed=seeds))


def test_the_answer_names_its_version(server, rows):
    with Client(server) as vae:
        assert vae.encode(rows(1)).version == 1


def test_every_float32_keeps_its_bits_both_ways(server):
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, np.uint32)
    extremes = np.array([0, 2**31, 1, 2**23 - 1, 2**23, 0x7F7FFFFF, 0xFF7FFFFF], np.uint32)
    values = np.concatenate([extremes, bits]).view(np.float32)
    x = np.resize(values[np.isfinite(values)], (200, *EVENT))
    with Client(server) as vae:
        assert vae.reconstruct(x)["mean"].tobytes() == x.tobytes()


def test_an_answer_may_hold_what_is_not_finite(server, fake, rows, monkeypatch):
    strange = np.array([np.nan, np.inf, -np.inf], np.float32)
    outputs = {"elbo": strange, "log_likelihood": strange, "kl": strange}
    monkeypatch.setattr("client_fakes.outputs_of", lambda *arguments: outputs)
    with Client(server) as vae:
        np.testing.assert_array_equal(vae.score(rows(3))["elbo"], strange)


def test_whether_x_may_lack_values_is_for_the_model_to_say(server, fake):
    x = np.resize(np.array([np.nan, np.inf, -np.inf, 1], np.float32), (2, *EVENT))
    text = "assertion failed: [`x` is outside the support]"
    with Client(server) as vae:
        np.testing.assert_array_equal(vae.reconstruct(x)["mean"], x)
        fake.faults = [Failure(CODES.INVALID_ARGUMENT, text)]
        with pytest.raises(InvalidInput, match="outside the support"):
            vae.reconstruct(x)


@pytest.mark.parametrize("value", [np.nan, 1e39])
def test_a_z_that_is_not_finite_is_refused_before_it_is_sent(server, fake, value):
    with Client(server) as vae, pytest.raises(InvalidInput, match="4 of 4 are NaN or infinite"):
        vae.decode(np.full((2, 2), value))
    assert not fake.asked


def test_the_metadata_and_the_status_are_those_of_the_server(server, fake):
    fake.versions[2] = Version(x="uint8", condition=(3,), signatures=("encode", "score"))
    with Client(server) as vae:
        model, status = vae.metadata(), vae.status()
    assert model.version == 2
    assert model.signatures.keys() == {"encode", "score"}
    assert model.signatures["score"].inputs == {
        "x": (np.uint8, (None, 4, 4, 1)),
        "seed": (np.int64, (None,)),
        "condition": (np.float32, (None, 3)),
    }
    assert model.signatures["score"].outputs["elbo"] == (np.float32, (None,))
    assert [(one.version, one.state, one.error) for one in status] == [
        (1, "AVAILABLE", ""),
        (2, "AVAILABLE", ""),
    ]


def test_a_condition_is_one_number_for_all_rows_or_one_for_each(server, fake, rows):
    fake.versions[1] = Version(condition=())
    x = rows(3)
    with Client(server) as vae:
        one = vae.encode_sample(x, seed=0, condition=2)
        each = vae.encode_sample(x, seed=0, condition=np.array([2, 2, 2]))
        other = vae.generate(2, seed=0, condition=[0, 1])
    same(one, each)
    np.testing.assert_array_equal(other["x"][:, 0, 0, 0], [0, 1 + 10])


def test_images_go_as_bytes_where_the_model_takes_bytes(server, fake):
    fake.versions[1] = Version(x="uint8")
    x = np.arange(32, dtype=np.uint8).reshape(2, *EVENT)
    with Client(server) as vae:
        assert vae.reconstruct(x)["mean"].ravel().tolist() == list(range(32))
        assert vae.reconstruct(x.astype(int))["mean"].ravel().tolist() == list(range(32))
        with pytest.raises(InvalidInput, match=r"integers in \[0, 255\]. Received: float32"):
            vae.reconstruct(x.astype("float32"))
        with pytest.raises(InvalidInput, match="values -1 to 30"):
            vae.reconstruct(x.astype(int) - 1)


# Seeds


def test_row_i_has_the_seed_plus_i_however_the_rows_are_split(server, rows):
    x = rows(10)
    with Client(server) as whole, Client(server, batch=3) as split:
        same(split.score(x, seed=5), whole.score(x, seed=np.arange(5, 15)))
        same(split.generate(10, seed=5), whole.generate(seed=np.arange(5, 15)))
        same(split.encode_sample(x, seed=-4), whole.encode_sample(x, seed=np.arange(-4, 6)))


def test_without_a_seed_every_row_has_a_fresh_one(server, fake, rows):
    with Client(server, batch=4) as vae:
        vae.score(rows(8))
        vae.score(rows(8))
    seeds = np.concatenate([inputs["seed"] for _, _, inputs in fake.asked])
    assert len(set(seeds.tolist())) == 16
    assert (seeds >= 0).all()


@pytest.mark.parametrize("seed", ["1", 1.0, True, 2**63, [1.0, 2.0], [1, 2, 3], [[1, 2]]])
def test_a_seed_that_is_none_is_refused(addresses, fake, rows, seed):
    with Client(addresses["grpc"]) as vae, pytest.raises(InvalidInput, match="seed"):
        vae.score(rows(2), seed=seed)
    assert not fake.asked


# Splitting


@pytest.mark.parametrize("batch", [1, 2, 7, 19, 20, 21])
def test_no_split_changes_an_answer(server, fake, rows, batch):
    x = rows(20)
    with Client(server, batch=batch) as vae:
        same(
            vae.score(x, seed=3), outputs_of(1, EVENT, "score", {"x": x, "seed": 3 + np.arange(20)})
        )
    assert len(fake.asked) == -(-20 // batch)


def test_rows_keep_their_order_when_the_first_requests_are_answered_last(server, fake, rows):
    later = threading.Event()

    def before(inputs):
        if 4 <= inputs["seed"][0] < 8:
            assert later.wait(30)
        if inputs["seed"][0] == 12:
            later.set()

    fake.before = before
    with Client(server, batch=4) as vae:
        answer = vae.generate(16, seed=0)
    assert answer["x"][:, 0, 0, 0].tolist() == list(range(16))


def test_as_many_requests_are_under_way_as_there_are_connections(server, fake):
    barrier = threading.Barrier(3)
    fake.before = lambda inputs: inputs["seed"][0] == 0 or barrier.wait(30)
    with Client(server, batch=1, connections=3) as vae:
        vae.generate(1 + 6, seed=0)  # the first goes alone
    assert len(fake.asked) == 7


def test_large_rows_are_split_by_their_bytes(server, fake):
    fake.versions[1] = Version(event=(256, 256, 1))  # 256 KiB a row
    with Client(server) as vae:
        vae.encode(np.zeros((6, 256, 256, 1), np.float32))
    assert sorted(len(inputs["x"]) for _, _, inputs in fake.asked) == [2, 4]


def test_many_threads_share_one_client(server, rows):
    x = rows(8)
    found = []

    def ask(seed):
        found.append((seed, vae.score(x, seed=seed)["elbo"]))

    with Client(server, batch=3) as vae:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seed for seed, _ in found) == list(range(12))
    for seed, elbo in found:
        inputs = {"x": x, "seed": seed + np.arange(8)}
        np.testing.assert_array_equal(elbo, outputs_of(1, EVENT, "score", inputs)["elbo"])


def test_rest_keeps_its_connection(addresses, fake, rows):
    with Client(addresses["rest"]) as vae:
        for _ in range(5):
            vae.encode(rows(1))
    assert fake.connections == 1


# Versions


@pytest.mark.parametrize("keeps_old", [False, True])
def test_a_swap_amid_a_call_never_mixes_versions(server, fake, keeps_old):
    def before(inputs):
        if len(fake.asked) == 3:
            fake.versions = {1: Version(), 2: Version()} if keeps_old else {2: Version()}

    fake.before = before
    with Client(server, batch=2, connections=1) as vae:
        answer = vae.generate(12, seed=0)
    assert answer.version == (1 if keeps_old else 2)
    assert set(answer["mean"].ravel().tolist()) == {answer.version}
    assert answer["x"][:, 0, 0, 0].tolist() == list(range(12))
    assert {version for version, _, _ in fake.asked} == ({1} if keeps_old else {1, 2})


def test_a_new_version_is_noticed_with_its_new_shapes(server, fake, rows):
    with Client(server) as vae:
        assert vae.encode(rows(1)).version == 1
        fake.versions = {2: Version(event=(2, 2, 1))}
        answer = vae.encode(np.ones((1, 2, 2, 1)))
        assert answer.version == 2
        assert answer["mean"].tolist() == [[4, 2]]
        with pytest.raises(InvalidInput, match=r"Expected: \(B, 2, 2, 1\)"):
            vae.encode(rows(1))


def test_a_newer_version_that_takes_the_same_answers_for_itself(server, fake, rows):
    with Client(server) as vae:
        assert vae.encode(rows(1)).version == 1
        fake.versions[2] = Version()
        answer = vae.encode(rows(1))
    assert (answer.version, answer["mean"][0, 1]) == (2, 2)


def test_a_pinned_version_and_a_label_are_asked(server, fake, rows):
    fake.versions[2] = Version()
    fake.labels = {"stable": 1}
    with Client(server, version=1) as pinned, Client(server, label="stable", batch=1) as stable:
        assert pinned.encode(rows(2)).version == 1
        assert stable.encode(rows(2)).version == 1
        fake.labels = {"stable": 2}
        assert stable.encode(rows(2)).version == 2
        del fake.versions[1]
        with pytest.raises(NotFound, match="Servable not found"):
            pinned.encode(rows(2))


def test_a_version_that_changes_all_the_time_is_an_error(server, fake, rows):
    def before(inputs):
        (number,) = fake.versions
        fake.versions = {number + 1: Version()}

    fake.before = before
    with Client(server, batch=1) as vae, pytest.raises(VersionChanged, match="5 attempts"):
        vae.encode(rows(2))


# What is refused before it is sent

REFUSED = {
    "a single example": (np.zeros(EVENT), r"send x\[None\]"),
    "flat rows": (np.zeros((2, 16)), r"Send x.reshape\(-1, 4, 4, 1\)"),
    "no channel": (np.zeros((2, 4, 4)), r"Expected: \(B, 4, 4, 1\)"),
    "another size": (np.zeros((2, 5, 4, 1)), r"Received: \(2, 5, 4, 1\)"),
    "no rows": (np.zeros((0, *EVENT)), "no rows"),
    "a number": (3, "wrong shape"),
    "text": (np.full((2, *EVENT), "1"), "real numbers"),
    "objects": (np.full((2, *EVENT), None), "real numbers"),
    "complex numbers": (np.zeros((2, *EVENT), complex), "real numbers"),
    "ragged rows": ([[1], [1, 2]], "rows of equal shape"),
    "integers that float32 has not": (np.full((2, *EVENT), 2**24 + 1), "changing its values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_x_is_refused_before_it_is_sent(server, fake, case):
    value, text = REFUSED[case]
    with Client(server) as vae, pytest.raises(InvalidInput, match=text):
        vae.encode(value)
    assert not fake.asked


def test_a_wrong_name_is_refused_before_it_is_sent(server, fake, rows):
    with Client(server) as vae:
        with pytest.raises(InvalidInput, match="misses x and does not take y"):
            vae.predict("encode", {"y": rows(1)})
        with pytest.raises(InvalidInput, match="misses seed"):
            vae.predict("score", {"x": rows(1)})
        with pytest.raises(InvalidInput, match="does not take condition"):
            vae.encode(rows(1), condition=1)
        with pytest.raises(NotFound, match="no signature zzz"):
            vae.predict("zzz", {"x": rows(1)})
    assert not fake.asked


def test_inputs_of_other_lengths_are_refused_before_they_are_sent(server, fake, rows):
    fake.versions[1] = Version(condition=())
    with Client(server) as vae, pytest.raises(InvalidInput, match="2 of `x`"):
        vae.encode(rows(2), condition=[1, 2, 3])
    assert not fake.asked


def test_other_number_types_are_cast(server, rows):
    x = np.round(rows(2))
    with Client(server) as vae:
        expected = vae.encode(x)
        for dtype in (bool, int, np.uint8, np.float64, np.float16):
            same(vae.encode(x.astype(dtype)), expected)
        same(vae.encode(x.tolist()), expected)
        same(vae.encode(np.asfortranarray(x)), expected)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"server": "localhost"}, "HOST:PORT"),
        ({"server": "ftp://localhost:1"}, "HOST:PORT"),
        ({"server": "http://"}, "HOST:PORT"),
        ({"server": "http://localhost:port"}, "HOST:PORT"),
        ({"server": "http://localhost:65536"}, "HOST:PORT"),
        ({"server": "localhost:8500/vae"}, "HOST:PORT"),
        ({"version": 1, "label": "stable"}, "one of them"),
        ({"timeout": 0}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"batch": 0}, "batch"),
        ({"connections": 0}, "connections"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, text):
    with pytest.raises(InvalidInput, match=text):
        Client(**arguments)


@pytest.mark.parametrize("count", [None, 0, -1, 1.0, True])
def test_a_count_that_is_none_is_refused(addresses, fake, count):
    with Client(addresses["rest"]) as vae, pytest.raises(InvalidInput, match="count"):
        vae.generate(count, seed=0)
    assert not fake.asked


def test_what_the_server_refuses_is_not_lost_to_a_stale_view(addresses, fake, rows):
    with Client(addresses["grpc"]) as vae:
        vae.encode(rows(1))
        fake.versions = {2: Version(condition=())}
        fake.faults = [Failure(CODES.INVALID_ARGUMENT, "input size does not match signature: 1!=2")]
        with pytest.raises(InvalidInput, match="misses condition"):
            vae.encode(rows(1))
