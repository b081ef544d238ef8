"""Data sets: what is loaded is what is stated."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from keras_vae.data import load
from keras_vae.data.idx import read_idx


def data_file(name: str) -> Path:
    """A file of the folder with real data, or the test is skipped with its name."""
    path = Path(os.environ.get("KERAS_VAE_DATA", "no-folder")) / name
    if not path.exists():
        pytest.skip(f"{name} is not in KERAS_VAE_DATA")
    return path


def all_values(data):
    return np.concatenate([data.train.values, data.validation.values, data.test.values])


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(header + array.tobytes())


def write_mnist_like(folder: Path, suffix: str = ".gz") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, size in (("train", 12), ("t10k", 5)):
        arrays[prefix] = rng.integers(0, 256, (size, 4, 3), dtype=np.uint8)
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", arrays[prefix])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(size, dtype=np.uint8))
    return arrays


def test_digits_are_scikit_learns_in_another_order():
    data, digits = load("digits"), load_digits()
    ours = sorted(map(bytes, all_values(data)))
    assert ours == sorted(map(bytes, digits.images.astype("uint8")))
    labels = {
        bytes(x): y for x, y in zip(digits.images.astype("uint8"), digits.target, strict=True)
    }
    assert all(
        labels[bytes(x)] == y for x, y in zip(data.test.values, data.test.labels, strict=True)
    )


def test_digits_are_split_once_and_scaled_to_the_unit_interval():
    data = load("digits")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1258, 180, 359]
    assert data.event_shape == (8, 8, 1)
    assert data.train.values.dtype == np.uint8
    assert data.train.array().max() == 1.0
    assert "1258" in data.protocol.split


def test_the_seed_decides_the_split():
    assert np.array_equal(load("digits", seed=3).test.values, load("digits", seed=3).test.values)
    assert not np.array_equal(load("digits", seed=3).test.values, load("digits").test.values)


def test_dynamic_binarisation_draws_anew_in_training_and_once_for_held_out_data():
    data = load("digits", binarisation="dynamic")
    assert data.train.dynamic
    assert not data.test.dynamic
    assert set(np.unique(data.test.values)) == {0, 1}
    assert np.array_equal(data.test.values, load("digits", binarisation="dynamic").test.values)
    assert data.protocol.binarisation == "dynamic"


@pytest.mark.parametrize("binarisation", ["static", "threshold"])
def test_other_binarisations_are_done_once(binarisation):
    data, grey = load("digits", binarisation=binarisation), load("digits")
    assert set(np.unique(all_values(data))) == {0, 1}
    agreement = (data.train.values == (grey.train.array() > 0.5)).mean()
    assert (agreement == 1.0) == (binarisation == "threshold")


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("sub_folder", ["fashion_mnist", "fashion-mnist", "."])
def test_mnist_like_files_are_found_and_read(tmp_path, suffix, sub_folder):
    (tmp_path / sub_folder).mkdir(exist_ok=True)
    arrays = write_mnist_like(tmp_path / sub_folder, suffix)
    data = load("fashion_mnist", data_dir=tmp_path)
    read = np.concatenate([data.train.values, data.validation.values])
    assert np.array_equal(read[..., 0], arrays["train"])
    assert np.array_equal(data.test.values[..., 0], arrays["t10k"])
    assert len(data.validation) == 2
    assert data.test.labels.tolist() == [0, 1, 2, 3, 4]


def test_the_environment_names_the_folder_of_data(tmp_path, monkeypatch):
    write_mnist_like(tmp_path)
    monkeypatch.setenv("KERAS_VAE_DATA", str(tmp_path))
    assert load("mnist").train.dynamic
    assert len(load("mnist").test) == 5


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b"no gzip"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    write_idx(path, np.zeros((5, 4, 3), np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz"):
        read_idx(path)


def test_an_idx_file_that_is_cut_short_is_named(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(path, np.zeros((5, 4, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut short"):
        read_idx(path)


def test_mnist_that_is_neither_here_nor_there_says_what_to_do(monkeypatch, tmp_path):
    import keras

    def no_network():
        raise OSError("no network")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", no_network)
    with pytest.raises(ValueError, match=r"no network.*KERAS_VAE_DATA"):
        load("mnist", data_dir=tmp_path)


def test_binarized_mnist_without_its_file_says_which(tmp_path):
    with pytest.raises(ValueError, match=r"binarized_mnist_larochelle\.npz.*static"):
        load("binarized_mnist", data_dir=tmp_path)


def test_real_mnist_has_its_known_mean():
    data = load("mnist", data_file("mnist").parent, binarisation="none")
    train = np.concatenate([data.train.values, data.validation.values])
    assert train.shape == (60_000, 28, 28, 1)
    assert train.mean() / 255 == pytest.approx(0.1307, abs=1e-4)  # the mean that everyone uses
    assert np.bincount(data.test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


def test_larochelles_mnist_is_a_draw_of_mnist():
    data = load("binarized_mnist", data_dir=data_file("binarized_mnist_larochelle.npz").parent)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [50000, 10000, 10000]
    assert set(np.unique(data.train.values)) == {0, 1}
    assert data.train.values.mean() == pytest.approx(0.13, abs=0.005)


def test_an_npz_with_its_own_split_keeps_it(tmp_path):
    x = np.arange(60, dtype="float32").reshape(20, 3)
    np.savez(tmp_path / "own.npz", x_train=x[:12], x_valid=x[12:15], x_test=x[15:])
    data = load(tmp_path / "own.npz")
    assert np.array_equal(data.validation.values, x[12:15])
    assert data.protocol.data == "own.npz"
    assert data.train.divisor == 1.0


def test_an_npz_without_a_validation_set_gets_one_from_its_training_rows(tmp_path):
    x = np.arange(60, dtype="float32").reshape(20, 3)
    np.savez(tmp_path / "own.npz", x_train=x[:12], x_test=x[12:])
    data = load(tmp_path / "own.npz")
    assert np.array_equal(data.test.values, x[12:])
    assert (
        sorted(np.concatenate([data.train.values, data.validation.values])[:, 0])
        == x[:12, 0].tolist()
    )


def test_grey_bytes_in_an_npz_become_images_in_the_unit_interval(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (30, 5, 4), dtype=np.uint8)
    np.savez(tmp_path / "grey.npz", x=x)
    data = load(tmp_path / "grey.npz")
    assert data.event_shape == (5, 4, 1)
    assert data.train.array().max() <= 1.0


@pytest.mark.parametrize("arrays", [{"images": np.zeros(3)}, {"x_train": np.zeros((3, 2))}])
def test_an_npz_that_does_not_say_what_is_what_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(ValueError, match=r"Expected: x, or x_train and x_test"):
        load(tmp_path / "odd.npz")


def test_a_file_that_is_no_npz_is_named(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npz is no \.npz file"):
        load(tmp_path / "text.npz")


def image_folder(folder: Path, mode: str, size: tuple[int, int] = (6, 5)) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for index in range(10):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_a_folder_of_images_is_an_array_with_labels_from_its_folders(tmp_path, mode, channels):
    image_folder(tmp_path, mode)
    data = load(tmp_path)
    assert data.event_shape == (5, 6, channels)
    assert len(all_values(data)) == 20
    first = np.asarray(Image.open(tmp_path / "b" / "3.png")).reshape(5, 6, channels)
    row = next(i for i, x in enumerate(all_values(data)) if np.array_equal(x, first))
    labels = np.concatenate([data.train.labels, data.validation.labels, data.test.labels])
    assert labels[row] == 1


def test_images_of_different_sizes_are_refused_by_name(tmp_path):
    image_folder(tmp_path, "L")
    Image.new("L", (7, 7)).save(tmp_path / "b" / "odd.png")
    with pytest.raises(ValueError, match=r"7x7 in odd\.png"):
        load(tmp_path)


def test_a_file_that_is_no_image_is_named(tmp_path):
    image_folder(tmp_path, "L")
    (tmp_path / "a" / "broken.png").write_text("no image")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        load(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        load(tmp_path)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ValueError, match=r"'minst'.*digits, mnist"):
        load("minst")


def test_an_unknown_binarisation_lists_what_there_is():
    with pytest.raises(ValueError, match="none, dynamic, static, threshold"):
        load("digits", binarisation="stochastic")


def test_values_that_are_no_probabilities_cannot_be_binarised(tmp_path):
    np.savez(tmp_path / "real.npz", x=np.linspace(-3, 3, 90).reshape(30, 3))
    with pytest.raises(ValueError, match=r"floats in \[0, 1\]"):
        load(tmp_path / "real.npz", binarisation="dynamic")


def test_more_folders_than_a_byte_counts_have_a_label_each(tmp_path):
    for index in range(300):
        (tmp_path / f"{index:03}").mkdir()
        Image.new("L", (2, 2), index % 256).save(tmp_path / f"{index:03}" / "x.png")
    data = load(tmp_path)
    labels = np.concatenate([data.train.labels, data.validation.labels, data.test.labels])
    assert sorted(labels) == list(range(300))


def test_images_of_more_than_eight_bits_are_refused(tmp_path):
    Image.fromarray(np.array([[100, 30_000]], np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has more than 8 bits"):
        load(tmp_path)


def test_a_folder_of_data_that_does_not_exist_is_named_before_any_download(tmp_path):
    with pytest.raises(ValueError, match=r"`data_dir` is no folder.*nowhere"):
        load("mnist", data_dir=tmp_path / "nowhere")


def test_a_source_can_be_sliced_and_is_shown_in_a_line():
    test = load("digits").test
    assert np.array_equal(test[3:7].values, test.values[3:7])
    assert np.array_equal(test[3:7].labels, test.labels[3:7])
    assert test[3:7].divisor == test.divisor
    assert repr(test) == "Source(359 x [8, 8, 1] uint8, divisor 16)"
    assert len(repr(load("digits"))) < 600


def test_a_source_is_an_array_for_numpy():
    test = load("digits").test
    np.testing.assert_array_equal(np.asarray(test), test.array())
    assert np.asarray(test[:3], dtype="float64").dtype == np.float64
