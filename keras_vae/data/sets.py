"""Named data sets, each with a split, a scaling and a binarisation that are stated."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_vae.data.binarisation import binarise, threshold, unit_interval
from keras_vae.data.idx import find_idx, read_idx
from keras_vae.data.images import read_folder
from keras_vae.data.source import Protocol, Source

BINARISATIONS = ("none", "dynamic", "static", "threshold")
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Three sources and the protocol that made them."""

    protocol: Protocol
    train: Source
    validation: Source
    test: Source

    @property
    def event_shape(self) -> tuple[int, ...]:
        """E, the shape of one example."""
        return self.train.event_shape

    def levels(self) -> "DataSet":
        """The same with its grey values as whole numbers, 0 to 255 for bytes: for a likelihood
        of discrete levels.

        Raises:
            ValueError: if the values are no such numbers, or are drawn as bits.
        """
        parts = (self.train, self.validation, self.test)
        if any(s.dynamic or s.values.dtype != np.uint8 or s.divisor == 1 for s in parts):
            raise ValueError(
                "A likelihood of discrete levels takes grey values as whole numbers. Expected: "
                'a data set of bytes, loaded with binarisation="none". Received: '
                f"{self.protocol}."
            )
        protocol = dataclasses.replace(self.protocol, scaling="whole numbers, as in the file")
        return DataSet(protocol, *(dataclasses.replace(s, divisor=1.0) for s in parts))


@dataclasses.dataclass(frozen=True)
class _Raw:
    """Values as they are in the file, split: each `[N, *E]` with labels `[N]` or None."""

    parts: tuple[tuple[np.ndarray, np.ndarray | None], ...]
    split: str
    divisor: float
    binarisation: str = "none"


def load(
    name: str | Path,
    data_dir: str | Path | None = None,
    binarisation: str | None = None,
    seed: int = 0,
) -> DataSet:
    """A data set, split, with its protocol.

    Args:
        name: `"digits"` (1,797 images of 8x8, part of the package), `"mnist"`,
            `"fashion_mnist"`, `"binarized_mnist"` (Larochelle's), `"frey_faces"`, the path of an `.npz` file
            (`x_train` and `x_test`, or `x`; optional `x_valid`, and labels as `y...`), or a
            folder of image files (labels from its sub-folders).
        data_dir: where the files of the MNIST sets lie; by default the environment's
            `KERAS_VAE_DATA`. MNIST and Fashion-MNIST that are not there come from
            `keras.datasets`.
        binarisation: `"dynamic"`: each pixel of the training set is drawn anew at each visit,
            1 with its grey value as probability, held-out pixels are drawn once;
            `"static"`: all are drawn once; `"threshold"`: 1 above one half; `"none"`. By
            default dynamic for MNIST, none for the others.
        seed: of random splits and of bits that are drawn once.

    Raises:
        ValueError: if the name is unknown, a file is missing or damaged, or grey values that
            are to be binarised are not in [0, 1].

    Example: `mnist = keras_vae.data.load("mnist"); vae.fit(mnist.train)`

    References: Y. Burda, R. Grosse and R. Salakhutdinov, ICLR 2016 (dynamic binarisation).
    H. Larochelle and I. Murray, The Neural Autoregressive Distribution Estimator, AISTATS 2011.
    """
    if binarisation not in (None, *BINARISATIONS):
        raise ValueError(
            f"`binarisation` is one of {', '.join(BINARISATIONS)}. Received: {binarisation!r}."
        )
    if data_dir is not None and not Path(data_dir).is_dir():
        raise ValueError(f"`data_dir` is no folder. Received: {str(data_dir)!r}.")
    data_dir = data_dir or os.environ.get("KERAS_VAE_DATA")
    raw = _reader(name)(Path(data_dir) if data_dir else None, seed)
    binarisation = binarisation or raw.binarisation
    sources = (
        _source(values, labels, raw.divisor, binarisation, seed + index, training=index == 0)
        for index, (values, labels) in enumerate(raw.parts)
    )
    sizes = ", ".join(
        f"{split} {len(part[0])}" for split, part in zip(SPLITS, raw.parts, strict=True)
    )
    protocol = Protocol(
        data=Path(name).name,
        split=f"{sizes} ({raw.split})",
        scaling="as in the file" if raw.divisor == 1 else f"divided by {raw.divisor:g}",
        binarisation=binarisation,
        seed=seed,
    )
    return DataSet(protocol, *sources)


def _source(
    values: np.ndarray,
    labels: np.ndarray | None,
    divisor: float,
    binarisation: str,
    seed: int,
    training: bool,
) -> Source:
    if binarisation == "none":
        return Source(values, divisor, labels=labels)
    grey = unit_interval(values if divisor == 255 else (values / divisor).astype("float32"))
    if binarisation == "threshold":
        return Source(threshold(grey), labels=labels)
    if binarisation == "dynamic" and training:
        return Source(values, divisor, dynamic=True, labels=labels)
    return Source(binarise(grey, seed), labels=labels)


def _reader(name: str | Path) -> Callable[[Path | None, int], _Raw]:
    if str(name) in READERS:
        return READERS[str(name)]
    path = Path(name)
    if path.suffix == ".npz" and path.is_file():
        return lambda data_dir, seed: _read_npz(path, seed)
    if path.is_dir():
        return lambda data_dir, seed: _read_images(path, seed)
    raise ValueError(
        f"There is no data set {str(name)!r}. Expected: {', '.join(READERS)}, the path of an .npz "
        "file, or a folder of images."
    )


def _read_digits(data_dir: Path | None, seed: int) -> _Raw:
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        return _split_at_random(file["x"][..., None], file["y"], 16.0, seed)


def _read_mnist(data_dir: Path | None, seed: int) -> _Raw:
    return _read_mnist_like("mnist", data_dir, "dynamic")


def _read_fashion_mnist(data_dir: Path | None, seed: int) -> _Raw:
    return _read_mnist_like("fashion_mnist", data_dir, "none")


def _read_mnist_like(name: str, data_dir: Path | None, binarisation: str) -> _Raw:
    files = find_idx(data_dir, name)
    if files is None:
        train, test = _download(name)
    else:
        train, test = (tuple(read_idx(path) for path in files[part]) for part in ("train", "test"))
    (x, y), (x_test, y_test) = train, test
    held_out = len(x) // 6
    return _Raw(
        parts=(
            (x[:-held_out, ..., None], y[:-held_out]),
            (x[-held_out:, ..., None], y[-held_out:]),
            (x_test[..., None], y_test),
        ),
        split="the last sixth of the training images for validation",
        divisor=255.0,
        binarisation=binarisation,
    )


def _download(name: str) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    import keras

    try:
        return getattr(keras.datasets, name).load_data()
    except Exception as error:  # whatever the network, the cache or a proxy says
        raise ValueError(
            f"{name} is neither in the data folder nor could it be downloaded ({error}). Put its "
            "four files *-ubyte.gz into a folder and name it with data_dir, --data-dir or "
            "KERAS_VAE_DATA."
        ) from error


def _read_binarized_mnist(data_dir: Path | None, seed: int) -> _Raw:
    name = "binarized_mnist_larochelle.npz"
    path = None if data_dir is None else data_dir / name
    if path is None or not path.is_file():
        raise ValueError(
            f"binarized_mnist is read from {name}, which is not in the data folder "
            f"({data_dir or 'none was named'}). Put it there and name the folder with data_dir, "
            "--data-dir or KERAS_VAE_DATA; or use mnist with binarisation='static'."
        )
    with _open_npz(path) as file:
        parts = tuple(
            (np.unpackbits(file[f"x_{part}_packed"], axis=1).reshape(-1, 28, 28, 1), None)
            for part in ("train", "valid", "test")
        )
    return _Raw(parts, "Larochelle's, bits drawn once by him", 1.0, "static")


def _read_frey_faces(data_dir: Path | None, seed: int) -> _Raw:
    """Frames of a film in their order: at random, neighbours would lie on both sides."""
    path = None if data_dir is None else data_dir / "frey_faces.npz"
    if path is None or not path.is_file():
        raise ValueError(
            "frey_faces is read from frey_faces.npz (x: 1,965 frames of 28x20 bytes), which is not "
            f"in the data folder ({data_dir or 'none was named'}). Put it there and name the "
            "folder with data_dir, --data-dir or KERAS_VAE_DATA."
        )
    with _open_npz(path) as file:
        x = file["x"][..., None]
    cuts = [len(x) * 7 // 10, len(x) * 8 // 10]
    parts = tuple((part, None) for part in np.split(x, cuts))
    return _Raw(parts, "frames in order, 70 : 10 : 20", 255.0)


def _read_npz(path: Path, seed: int) -> _Raw:
    with _open_npz(path) as file:
        arrays = {key: file[key] for key in file.files}
    if "x" in arrays:
        values = _with_channel(arrays["x"])
        return _split_at_random(values, arrays.get("y"), _divisor(values), seed)
    if not {"x_train", "x_test"} <= set(arrays):
        raise ValueError(
            f"{path} does not say which array is the data. Expected: x, or x_train and x_test. "
            f"Received: {', '.join(arrays) or 'no arrays'}."
        )
    divisor = _divisor(arrays["x_train"])
    if "x_valid" in arrays:
        order = ("train", "valid", "test")
        parts = tuple((_with_channel(arrays[f"x_{p}"]), arrays.get(f"y_{p}")) for p in order)
        return _Raw(parts, "the file's", divisor)
    labelled = [(_with_channel(arrays[f"x_{p}"]), arrays.get(f"y_{p}")) for p in ("train", "test")]
    train, validation = _cut(*labelled[0], shares=(5 / 6, 1 / 6), seed=seed)
    return _Raw(
        (train, validation, labelled[1]),
        "the file's, a random sixth of the training rows for validation",
        divisor,
    )


def _read_images(path: Path, seed: int) -> _Raw:
    values, labels = read_folder(path)
    return _split_at_random(values, labels, 255.0, seed)


def _split_at_random(
    values: np.ndarray,
    labels: np.ndarray | None,
    divisor: float,
    seed: int,
) -> _Raw:
    parts = _cut(values, labels, shares=(0.7, 0.1, 0.2), seed=seed)
    return _Raw(parts, "at random, 70 : 10 : 20", divisor)


def _cut(
    values: np.ndarray, labels: np.ndarray | None, shares: tuple[float, ...], seed: int
) -> tuple[tuple[np.ndarray, np.ndarray | None], ...]:
    """Random parts of the rows with the given shares."""
    order = np.random.default_rng(seed).permutation(len(values))
    cuts = np.cumsum(np.round(np.array(shares[:-1]) * len(values)).astype(int))
    rows = np.split(order, cuts)
    if any(len(part) == 0 for part in rows):
        raise ValueError(f"{len(values)} examples are too few to split into {len(shares)} parts.")
    return tuple((values[part], None if labels is None else labels[part]) for part in rows)


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no .npz file, or is damaged: {error}.") from error


def _divisor(values: np.ndarray) -> float:
    """255 for bytes that are grey values, 1 for everything else, bits among it."""
    return 255.0 if values.dtype == np.uint8 and values.size and values.max() > 1 else 1.0


def _with_channel(values: np.ndarray) -> np.ndarray:
    """Grey images `[N, H, W]` get a channel axis."""
    return values[..., None] if values.ndim == 3 and values.dtype == np.uint8 else values


READERS: dict[str, Callable[[Path | None, int], _Raw]] = {
    "digits": _read_digits,
    "mnist": _read_mnist,
    "fashion_mnist": _read_fashion_mnist,
    "binarized_mnist": _read_binarized_mnist,
    "frey_faces": _read_frey_faces,
}
