"""The files of the client's shell: arrays and pictures in, arrays and pictures out.

Pillow is imported for pictures alone.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from client_parts import InvalidInput, TensorSpec

__all__ = ["check_target", "read", "read_array", "write"]

PICTURES = (".png", ".jpg", ".jpeg")
ARRAYS = (".npy", ".npz")
GAP = 2  # pixels between the pictures of a grid
MODES = {1: "L", 3: "RGB"}


def read(
    path: Path, name: str, spec: TensorSpec, resize: bool = False, threshold: float | None = None
) -> np.ndarray:
    """The rows of a file, for the input `name` of a signature.

    A picture becomes one row: grey or RGB as the model has it, in [0, 1] where it takes floats,
    in 0 to 255 where it takes bytes. An array is taken as it is.

    Args:
        path: .npy, .npz (its array called `name`, or its only one), .png or .jpg.
        name: of the input.
        spec: what the model takes.
        resize: whether to bring a picture to the model's size; else another size is an error.
        threshold: pixels and values above it are 1, the others 0; None leaves them.

    Raises:
        InvalidInput: if the file cannot be read as that.
    """
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        rows = read_array(path, name)
    elif suffix in PICTURES:
        rows = _picture(path, spec, resize)
    else:
        raise InvalidInput(
            f"{path} is of an unknown kind. Expected: {', '.join(ARRAYS + PICTURES)}."
        )
    if threshold is None:
        return rows
    return (rows > threshold).astype(np.float32)


def read_array(path: Path, name: str) -> np.ndarray:
    """The array of an .npy file, or of an .npz the one called `name`, or the only one."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInput(f"{path} cannot be read as an array: {error}") from error
    if isinstance(found, np.ndarray):
        return found
    with found as arrays:
        if name not in arrays.files and len(arrays.files) != 1:
            raise InvalidInput(
                f"{path} has several arrays. Expected: one called {name}, or one alone. "
                f"Received: {', '.join(arrays.files) or 'none'}."
            )
        return arrays[name if name in arrays.files else arrays.files[0]]


def _picture(path: Path, spec: TensorSpec, resize: bool) -> np.ndarray:
    """A picture as one row, `[1, H, W, C]`, or `[1, H, W]` if the model's x is that."""
    event = spec.shape[1:]
    channels = event[2] if len(event) == 3 else 1
    if len(event) not in (2, 3) or channels not in MODES or None in event:
        raise InvalidInput(
            f"The model's x is no picture: a row of it has shape {event}. Send an array: .npy."
        )
    height, width = event[:2]
    pixels = _pixels(path, MODES[channels], (width, height), resize)
    row = pixels.reshape(1, *event)
    return row if spec.dtype == np.uint8 else row.astype(np.float32) / np.float32(255)


def _pixels(path: Path, mode: str, size: tuple[Any, Any], resize: bool) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{path} cannot be read as a picture: {error}") from error
    if image.mode[0] in "IF":
        raise InvalidInput(
            f"{path} has more than 8 bits for a pixel. Expected: 8. Convert it, or send .npy."
        )
    if image.size != size and not resize:
        raise InvalidInput(
            f"{path} has another size than the model's pictures. Expected: {size[0]} x {size[1]} "
            f"pixels. Received: {image.size[0]} x {image.size[1]}. Add --resize to scale it."
        )
    image = image.convert(mode)
    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BOX))


def check_target(path: Path) -> None:
    """Whether `write` can write there, before anything is asked.

    Raises:
        InvalidInput: if the kind of file is unknown, or its folder does not exist.
    """
    if path.suffix.lower() not in (*ARRAYS, ".png"):
        raise InvalidInput(f"--to writes .npy, .npz and .png. Received: {path}.")
    if not path.parent.is_dir():
        raise InvalidInput(f"--to writes into a folder that exists. Received: {path}.")


def write(path: Path, outputs: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """Writes outputs: all as .npz, the one called `name` as .npy or, in a grid, as .png.

    Returns:
        What was done, for the report; `clipped` is the share of values that a picture cannot
        show since they are outside [0, 1].
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        np.savez(path, **outputs)  # type: ignore[arg-type]  # names of arrays, no options
        return {"wrote": str(path), "outputs": sorted(outputs)}
    if suffix == ".npy":
        np.save(path, outputs[name])
        return {"wrote": str(path), "output": name}
    return {"wrote": str(path), "output": name, "clipped": _write_grid(path, outputs[name])}


def _write_grid(path: Path, rows: np.ndarray) -> float:
    from PIL import Image

    shape = rows.shape[1:]
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or channels not in MODES:
        raise InvalidInput(f"Rows of shape {shape} are no pictures. Write .npy or .npz.")
    pixels = rows.reshape(len(rows), *shape[:2], channels)
    outside = 0.0
    if pixels.dtype != np.uint8:
        outside = float(np.mean((pixels < 0) | (pixels > 1) | np.isnan(pixels)))
        pixels = np.rint(np.nan_to_num(pixels).clip(0, 1) * 255).astype(np.uint8)
    grid = _grid(pixels)
    Image.fromarray(grid[..., 0] if channels == 1 else grid).save(path)
    return outside


def _grid(pixels: np.ndarray) -> np.ndarray:
    """`[B, H, W, C]` side by side, in rows of equal length, white between them."""
    count, height, width, channels = pixels.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    shape = (down * (height + GAP) - GAP, across * (width + GAP) - GAP, channels)
    grid = np.full(shape, 255, np.uint8)
    for index, picture in enumerate(pixels):
        top, left = index // across * (height + GAP), index % across * (width + GAP)
        grid[top : top + height, left : left + width] = picture
    return grid
