"""The IDX files in which MNIST and its relatives are distributed."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

PARTS = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, plain or gzipped.

    Raises:
        ValueError: if the file is damaged or is no IDX file of bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no gzip file, or is damaged: {error}.") from error
    # Two zero bytes, a type (8: unsigned byte), the number of axes, each axis in 4 bytes.
    axes = data[3] if len(data) > 3 and data[:3] == b"\0\0\x08" else 0
    shape = tuple(np.frombuffer(data, ">u4", axes, 4).tolist()) if len(data) >= 4 + 4 * axes else ()
    if not shape or len(data) != 4 + 4 * axes + math.prod(shape):
        raise ValueError(
            f"{path} is no IDX file of bytes, or is cut short: {len(data)} bytes. Get it again."
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def find_idx(folder: Path | None, name: str) -> dict[str, tuple[Path, Path]] | None:
    """The images' and labels' files of each part in `folder/name` or `folder`, if all are there."""
    if folder is None:
        return None
    for place in (folder / name, folder / name.replace("_", "-"), folder):
        for suffix in (".gz", ""):
            files = {
                part: (
                    place / f"{prefix}-images-idx3-ubyte{suffix}",
                    place / f"{prefix}-labels-idx1-ubyte{suffix}",
                )
                for part, prefix in PARTS.items()
            }
            if all(path.is_file() for pair in files.values() for path in pair):
                return files
    return None
