"""Which versions of a folder the local server loads, lets go, and answers with: no process needed."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from local_models import Model
from local_version import Refusal, Version
from served import State, write_broken
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
from toys import X, write_toy


def model(folder, versions="latest", labels=None):
    lines = []
    served = Model(folder, "toy", versions, labels or {}, lines.append)
    served.update()
    return served, lines


def states(served):
    return {v.version: v.state for v in served.status("toy", None, None).model_version_status}


def factor(served, number=None):
    """Which version answers, seen from its answer: each multiplies by another factor."""
    return served.find("toy", number, None).signature("encode").run({"x": X})["mean"][0, 0]


def test_the_newest_version_serves_and_the_others_are_not_loaded(folder):
    for number in (1, 2, 10):
        write_toy(folder, number, factor=number)
    served, _ = model(folder)
    assert factor(served) == 10
    assert states(served) == {10: State.AVAILABLE}
    with pytest.raises(Refusal, match=r"Specific\(toy, 2\)"):
        factor(served, 2)


@pytest.mark.parametrize(("versions", "expected"), [("all", {1, 2, 3}), ([1, 3, 7], {1, 3})])
def test_all_versions_or_some_serve_side_by_side(folder, versions, expected):
    for number in (1, 2, 3):
        write_toy(folder, number, factor=number)
    served, _ = model(folder, versions)
    assert states(served) == dict.fromkeys(expected, State.AVAILABLE)
    assert [factor(served, number) for number in sorted(expected)] == sorted(expected)
    assert factor(served) == 3


def test_a_request_under_way_is_finished_by_the_version_that_began_it(folder):
    write_toy(folder, 1, factor=1)
    served, _ = model(folder)
    begun = served.find("toy", None, None)
    write_toy(folder, 2, factor=2)
    served.update()
    assert factor(served) == 2
    assert states(served) == {1: State.END, 2: State.AVAILABLE}
    np.testing.assert_array_equal(begun.signature("encode").run({"x": X})["mean"], X)


def test_the_old_version_serves_while_the_new_one_is_loaded(folder, monkeypatch):
    write_toy(folder, 1, factor=1)
    served, _ = model(folder)
    write_toy(folder, 2, factor=2)
    seen = []

    class Watched(Version):
        def __init__(self, path):
            seen.append((states(served), factor(served)))
            super().__init__(path)

    monkeypatch.setattr("local_models.Version", Watched)
    served.update()
    assert seen == [({1: State.AVAILABLE, 2: State.LOADING}, 1)]
    assert factor(served) == 2


def test_a_broken_version_is_reported_once_and_tried_again_when_its_files_change(folder):
    write_toy(folder, 1, factor=1)
    write_broken(folder, 2)
    served, lines = model(folder, "all")
    for _ in range(3):
        served.update()
    assert factor(served) == 1
    assert states(served) == {1: State.AVAILABLE, 2: State.END}
    assert sum("version 2 of toy cannot be served" in line for line in lines) == 1
    whole = write_toy(folder, 99, factor=2)
    for name in ("saved_model.pb", "variables"):
        target = folder / "2" / name
        if target.exists():
            target.unlink()
        (whole / name).rename(target)
    served.update()
    assert factor(served, 2) == 2


def test_a_version_whose_warm_up_fails_does_not_serve(folder):
    write_toy(folder, 1, factor=1)
    request = predict_pb2.PredictRequest(model_spec={"signature_name": "encode"})
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([[np.nan, 1]])))
    log = prediction_log_pb2.PredictionLog(predict_log={"request": request})
    write_toy(folder, 2, factor=2, warm_up=log.SerializeToString())
    served, lines = model(folder, "all")
    assert states(served) == {1: State.AVAILABLE, 2: State.END}
    status = served.status("toy", 2, None).model_version_status[0].status
    assert status.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert (
        status.error_message == "warm-up request 0 (encode): assertion failed: [`x` is not finite.]"
    )
    assert any("cannot be served" in line for line in lines)


def test_a_version_whose_warm_up_is_no_record_does_not_serve(folder):
    write_toy(folder, 1, factor=1)
    write_toy(folder, 2, factor=2, warm_up=b"nonsense")
    served, _ = model(folder, "all")
    assert states(served) == {1: State.AVAILABLE, 2: State.END}


def test_a_version_with_damaged_weights_is_refused_in_words_without_names_of_nodes(folder):
    write_toy(folder, 1, factor=1)
    (data,) = write_toy(folder, 2, factor=2).glob("variables/variables.data-*")
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the factor
    served, _ = model(folder)
    assert states(served) == {2: State.END}
    message = served.status("toy", 2, None).model_version_status[0].status.error_message
    assert "Checksum does not match" in message
    assert "{{" not in message


def test_the_served_versions_stay_when_the_folder_cannot_be_read(folder):
    write_toy(folder, 1, factor=1)
    served, lines = model(folder)
    folder.rename(folder.with_name("elsewhere"))
    served.update()
    served.update()
    assert factor(served) == 1
    assert sum("cannot read the folder" in line for line in lines) == 1


def test_without_its_last_version_a_model_is_not_served(folder):
    write_toy(folder, 1).rename(folder.parent / "1")
    served, lines = model(folder)
    assert "waiting for one" in lines[-1]
    with pytest.raises(Refusal, match=r"Servable not found for request: Latest\(toy\)"):
        factor(served)
    with pytest.raises(Refusal, match="Could not find any versions of model toy"):
        states(served)
    (folder.parent / "1").rename(folder / "1")
    served.update()
    assert factor(served) == 2
    (folder / "1").rename(folder.parent / "1")
    served.update()
    assert states(served) == {1: State.END}
