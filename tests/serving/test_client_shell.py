"""The client from the shell: lines of JSON, files, one line for an error."""

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import client_shell
import numpy as np
import pytest
from client_fakes import CODES, Failure, Fake, Version, outputs_of, serving
from PIL import Image

EVENT = (4, 4, 1)
GREY = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17  # 0 to 255


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def addresses(fake):
    with serving(fake) as found:
        yield found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a picture and arrays."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(GREY).save("grey.png")
    Image.fromarray(np.stack([GREY] * 3, -1)).save("colour.png")
    Image.fromarray(np.tile(GREY, (2, 3))).save("large.png")
    Image.fromarray(GREY.astype(np.uint16) * 257).save("deep.png")
    np.save("x.npy", np.arange(48, dtype=np.float32).reshape(3, *EVENT))
    np.savez("several.npz", x=np.ones((2, *EVENT)), y=np.zeros(2))
    np.savez("others.npz", a=np.ones((2, *EVENT)), b=np.zeros(2))
    np.save("z.npy", np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.save("condition.npy", np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32))
    Path("bad.png").write_text("no picture")
    Path("bad.npy").write_text("no array")
    return tmp_path


@pytest.fixture(params=["grpc", "rest"])
def shell(request, addresses, folder, capsys):
    """Runs a command: the lines of JSON that it prints."""

    def run(*arguments):
        client_shell.main([*arguments, "--server", addresses[request.param], "--retries", "0"])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def fails(shell, capsys):
    """Runs a command that fails: the exit code and the only line on stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            shell(*arguments)
        out, error = capsys.readouterr()
        assert out == ""
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return exit_.value.code, error

    return run


def test_each_row_is_a_line(shell):
    x = np.load("x.npy")
    expected = outputs_of(1, EVENT, "score", {"x": x, "seed": np.arange(3)})
    lines = shell("score", "x.npy", "--seed", "0")
    assert lines == [
        {"file": "x.npy", "row": row, "version": 1}
        | {name: float(value[row]) for name, value in expected.items()}
        for row in range(3)
    ]


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_the_server_is_named_before_the_command_or_after_it(protocol, addresses, folder, capsys):
    where = ["--server", addresses[protocol]]
    printed = []
    for arguments in ([*where, "encode", "x.npy"], ["encode", "x.npy", *where]):
        client_shell.main(arguments)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != ""


def test_a_picture_is_a_row_in_the_unit_interval(shell, fake):
    shell("encode", "grey.png", "colour.png")
    sent = fake.asked[0][2]["x"]
    np.testing.assert_array_equal(sent[0, ..., 0], GREY.astype(np.float32) / 255)
    np.testing.assert_array_equal(sent[1], sent[0])


def test_a_picture_goes_in_colour_or_as_bytes_if_the_model_takes_that(shell, fake):
    fake.versions = {1: Version(event=(4, 4, 3), x="uint8")}
    shell("encode", "grey.png")
    np.testing.assert_array_equal(fake.asked[0][2]["x"][0], np.stack([GREY] * 3, -1))


def test_bits_are_made_where_they_are_asked_for(shell, fake):
    shell("encode", "grey.png", "--threshold")
    shell("encode", "grey.png", "--threshold", "0.25")
    half, quarter = (asked[2]["x"].ravel() for asked in fake.asked)
    np.testing.assert_array_equal(half, (GREY > 127).ravel())
    np.testing.assert_array_equal(quarter, (GREY > 63).ravel())


def test_another_size_is_scaled_only_where_that_is_asked_for(shell, fails, fake):
    code, error = fails("encode", "large.png")
    assert code == 2
    assert "Expected: 4 x 4 pixels. Received: 12 x 8. Add --resize" in error
    assert not fake.asked
    shell("encode", "large.png", "--resize")
    assert fake.asked[0][2]["x"].shape == (1, *EVENT)


def test_a_condition_is_a_number_numbers_or_a_file(shell, fake):
    fake.versions = {1: Version(condition=())}
    shell("encode", "x.npy", "--condition", "3")
    shell("generate", "--count", "2", "--condition", "1,2")
    fake.versions = {2: Version(condition=(3,))}
    shell("encode", "x.npy", "--condition", "condition.npy")
    conditions = [asked[2]["condition"].tolist() for asked in fake.asked]
    assert conditions == [[3, 3, 3], [1, 2], np.eye(3).tolist()]


def test_arrays_go_to_files(shell):
    expected = outputs_of(1, EVENT, "generate", {"seed": 5 + np.arange(3)})
    arguments = ("generate", "--count", "3", "--seed", "5", "--to")
    assert shell(*arguments, "all.npz") == [
        {"wrote": "all.npz", "outputs": ["mean", "x", "z"], "rows": 3, "version": 1}
    ]
    shell(*arguments, "mean.npy")
    shell(*arguments, "draw.npy", "--output", "x")
    with np.load("all.npz") as arrays:
        for name, value in expected.items():
            np.testing.assert_array_equal(arrays[name], value)
    np.testing.assert_array_equal(np.load("mean.npy"), expected["mean"])
    np.testing.assert_array_equal(np.load("draw.npy"), expected["x"])


def test_a_picture_survives_the_way_there_and_back(shell):
    done = shell("reconstruct", "grey.png", "--to", "out.png")
    assert done == [{"wrote": "out.png", "output": "mean", "clipped": 0.0, "rows": 1, "version": 1}]
    np.testing.assert_array_equal(np.asarray(Image.open("out.png")), GREY)


def test_several_pictures_make_a_grid_and_what_it_cannot_show_is_counted(shell):
    (done,) = shell("reconstruct", "x.npy", "--to", "grid.png")  # values 0 to 47
    assert done["clipped"] == pytest.approx(46 / 48)
    grid = np.asarray(Image.open("grid.png"))
    assert grid.shape == (4 + 2 + 4, 4 + 2 + 4)
    assert grid[0, 0] == 0
    assert grid[0, 1] == 255


def test_a_decoder_takes_arrays_of_z(shell):
    (line, _) = shell("decode", "z.npy")
    assert line["logits"] == np.full(EVENT, 3.0).tolist()


def test_the_metadata_and_the_status_are_printed(shell):
    assert shell("status") == [{"version": 1, "state": "AVAILABLE", "error": ""}]
    lines = {line["signature"]: line for line in shell("metadata")}
    assert lines["score"]["inputs"]["x"] == {"dtype": "float32", "shape": [None, 4, 4, 1]}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["encode", "nix.npy"], "No such file"),
        (["encode", "nix.png"], "No such file"),
        (["encode", "bad.npy"], "cannot be read as an array"),
        (["encode", "bad.png"], "cannot be read as a picture"),
        (["encode", "deep.png"], "more than 8 bits"),
        (["encode", "bad.txt"], "unknown kind"),
        (["encode", "others.npz"], "one called x"),
        (["encode", "z.npy"], "wrong shape"),
        (["encode", "x.npy", "z.npy"], "rows of another shape"),
        (["encode", "x.npy", "--condition", "1"], "does not take condition"),
        (["encode", "x.npy", "--condition", "one"], "a number"),
        (["encode", "x.npy", "--condition", "nix.npy"], "No such file"),
        (["encode", "x.npy", "--to", "out.txt"], ".npz and .png"),
        (["encode", "x.npy", "--to", "nix/out.npy"], "folder that exists"),
        (["encode", "x.npy", "--to", "out.png"], "no pictures"),
        (["encode", "x.npy", "--to", "out.npy", "--output", "zzz"], "loc, mean, scale_diag"),
        (["encode", "x.npy", "--seed", "1"], "unrecognized"),
        (["generate", "--count", "0"], "no rows"),
        (["score", "x.npy", "--seed", "a"], "invalid int"),
        (["zzz"], "invalid choice"),
    ],
)
def test_bad_input_ends_with_2_and_its_reason(fails, fake, arguments, text):
    code, error = fails(*arguments)
    assert code == 2
    assert text in error


def test_a_server_that_fails_ends_with_1(fails, fake):
    fake.faults = [Failure(CODES.UNAVAILABLE, "starting")]
    code, error = fails("encode", "x.npy")
    assert (code, "starting" in error) == (1, True)


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_a_server_that_is_starting_is_waited_for_and_that_is_said_once(protocol, folder, capsys):
    with serving(Fake()) as addresses:
        ports = [int(addresses[name].rpartition(":")[2]) for name in ("grpc", "rest")]
    starting = threading.Timer(1.0, lambda: started.enter_context(serving(Fake(), ports)))
    with contextlib.ExitStack() as started:
        starting.start()
        client_shell.main(["generate", "--server", addresses[protocol]])
        starting.join()
    out, error = capsys.readouterr()
    assert error == f"waiting for {addresses[protocol]}\n"
    assert len(out.splitlines()) == 16


def test_the_shell_waits_half_a_minute_by_default():
    pauses = [0.75 * min(2.0, 0.1 * 2**i) for i in range(client_shell.SERVER["retries"])]
    assert 28 < sum(pauses) < 32


def test_an_unknown_model_ends_with_1(fails):
    code, error = fails("encode", "x.npy", "--model", "zzz")
    assert (code, "Servable not found" in error) == (1, True)


def test_values_outside_the_support_are_said_with_the_remedy(fails, fake):
    text = (
        "assertion failed: [`x` is outside the support of Bernoulli. Expected: values in {0, 1}.]"
    )
    fake.faults = [Failure(CODES.INVALID_ARGUMENT, f"{text}\n\t [[{{node Assert}}]]")] * 2
    code, error = fails("encode", "grey.png")
    assert (code, text in error, "add --threshold" in error) == (2, True, True)
    _, error = fails("encode", "grey.png", "--threshold")
    assert "--threshold" not in error


def test_the_file_itself_is_the_program(addresses, folder):
    program = Path(client_shell.__file__).with_name("client.py")
    done = subprocess.run(
        [sys.executable, str(program), "score", "grey.png", "--server", addresses["rest"]],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["kl"] == 1
