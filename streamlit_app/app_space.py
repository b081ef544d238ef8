"""The set that z lives in, and how to move without leaving it."""

import dataclasses
import re

import numpy as np
from app_model import Shown

from keras_vae import latents


@dataclasses.dataclass(frozen=True)
class Space:
    """The values of z with a density.

    Attributes:
        support: in the words of `keras_vae.latents`.
    """

    support: str

    @property
    def is_real(self) -> bool:
        """Whether z may be any real vector."""
        return self.support == latents.REALS

    @property
    def is_sphere(self) -> bool:
        """Whether |z| = 1."""
        return self.support == latents.SPHERE

    @property
    def is_bits(self) -> bool:
        """Whether each z_d is 0 or 1, free of the others."""
        return self.support == latents.BITS

    @property
    def classes(self) -> int | None:
        """The size of the groups that sum to 1, if z consists of such."""
        found = re.fullmatch(r"groups of (\d+) .*", self.support)
        return int(found.group(1)) if found else None

    @property
    def is_one_hot(self) -> bool:
        """Whether each group of z is 1 at one place."""
        return self.classes is not None and self.support == latents.one_hots(self.classes)

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """Each row of z `[N, D]` brought back to the set, where it is outside."""
        if self.is_sphere:
            return _unit(z)
        if self.is_bits:
            return (z > 0.5).astype(z.dtype)
        if self.support == latents.CUBE:
            return np.clip(z, 0, 1)
        if self.classes is None:
            return z
        groups = z.reshape(len(z), -1, self.classes)
        if self.is_one_hot:
            return np.eye(self.classes, dtype=z.dtype)[groups.argmax(-1)].reshape(z.shape)
        positive = np.maximum(groups, 1e-6)  # a group of zeros is shared evenly
        return (positive / positive.sum(-1, keepdims=True)).reshape(z.shape)

    def path(self, start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
        """Points from `start` to `end`, `[steps, D]`, at equal distances, the ends among them.

        On a line; on a sphere along the great circle; codes of 0 and 1 have nothing between
        them and are the nearest to the points of the line.
        """
        times = np.linspace(0, 1, steps, dtype=start.dtype)[:, None]
        if self.is_sphere:
            return great_circle(start, end, times)
        line = (1 - times) * start + times * end
        return self.nearest(line) if self.is_one_hot or self.is_bits else line


def great_circle(start: np.ndarray, end: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`cos(t w) a + sin(t w) u`, w the angle between a and b, u the unit vector from a to b.

    Of opposite points all ways are as short; this is one of them.

    References: K. Shoemake, Animating Rotation with Quaternion Curves, SIGGRAPH 1985.
    """
    cosine = float(start @ end)
    across = end - cosine * start
    sine = float(np.linalg.norm(across))
    if sine < 1e-6:
        axis = np.eye(len(start), dtype=start.dtype)[np.abs(start).argmin()]
        across = axis - (axis @ start) * start
    angle = times * np.arctan2(sine, cosine)
    return (np.cos(angle) * start + np.sin(angle) * _unit(across[None])).astype(start.dtype)


def _unit(z: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    if (length < 1e-6).any():
        raise ValueError("z = 0 has no direction, and z is a unit vector here. Move a slider.")
    return z / length


def space_of(shown: Shown, draws: np.ndarray) -> Space:
    """Where z lives: as the model states it, or as its draws `[N, D]` show it."""
    if shown.vae is not None:
        return Space(shown.vae.posterior.support)
    return Space(support_of(draws))


def support_of(draws: np.ndarray) -> str:
    """The smallest of the sets of `keras_vae.latents` that holds all draws, `[N, D]`."""
    discrete = bool(np.isin(draws, (0, 1)).all())
    if (draws >= 0).all():
        for classes in range(2, draws.shape[1] + 1):
            if draws.shape[1] % classes == 0:
                sums = draws.reshape(len(draws), -1, classes).sum(-1)
                if np.allclose(sums, 1, atol=1e-4):
                    words = latents.one_hots if discrete else latents.simplices
                    return words(classes)
    if discrete:
        return latents.BITS
    if draws.shape[1] > 1 and np.allclose(np.linalg.norm(draws, axis=1), 1, atol=1e-4):
        return latents.SPHERE
    return latents.CUBE if ((draws >= 0) & (draws <= 1)).all() else latents.REALS
