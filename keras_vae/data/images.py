"""A folder of image files as an array."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


def read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The images under `folder`, in the order of their names, and labels from sub-folders.

    Returns:
        uint8 `[N, H, W, C]`, C = 1 if every image is grey, else 3; and for each image the
        index of its sub-folder, or None if there are no sub-folders.

    Raises:
        ValueError: if there is no image, one cannot be read, or sizes differ.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(
            f"{folder} holds no images. Expected: files ending in {', '.join(SUFFIXES)}."
        )
    images = [_read(path) for path in files]
    size = images[0].size
    for path, image in zip(files, images, strict=True):
        if image.size != size:
            raise ValueError(
                f"The images under {folder} differ in size. Expected: {size[0]}x{size[1]} as "
                f"{files[0].name}. Received: {image.size[0]}x{image.size[1]} in {path.name}. "
                "Resize them first."
            )
    mode = "L" if all(image.mode in ("1", "L") for image in images) else "RGB"
    values = np.stack([np.asarray(image.convert(mode), dtype=np.uint8) for image in images])
    values = values[..., None] if mode == "L" else values
    folders = sorted({path.parent for path in files})
    if len(folders) == 1:
        return values, None
    return values, np.array([folders.index(path.parent) for path in files], dtype=np.int64)


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as file:
            file.load()
            image = file.copy()
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}.") from error
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{path} has more than 8 bits a pixel (mode {image.mode}), which would be cut off. "
            "Convert it to 8 bits first."
        )
    return image
