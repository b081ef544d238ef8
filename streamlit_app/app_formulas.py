"""Closed forms in NumPy, to hold what the package computes against the formulas of the text."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

Parameters = Mapping[str, np.ndarray]


class Part(NamedTuple):
    """One term of a formula, as TeX, and its value in nats."""

    tex: str
    value: float


def log_density(family: str, parameters: Parameters, x: np.ndarray) -> list[Part] | None:
    """The terms whose sum is log p(x|z), for a family with a short formula, else None.

    Args:
        family: the likelihood's class.
        parameters: of p(x|z) at one z, each of a shape that broadcasts to that of x.
        x: `E`.
    """
    formula = {
        "Normal": _normal,
        "Bernoulli": _bernoulli,
        "ContinuousBernoulli": _continuous_bernoulli,
        "Laplace": _laplace,
        "Poisson": _poisson,
    }.get(family)
    if formula is None:
        return None
    wide = {name: np.asarray(value, "float64") for name, value in parameters.items()}
    return formula(wide, np.asarray(x, "float64"))


def one_scale(parameters: Parameters) -> float | None:
    """The scale that all values of x have in common, or None."""
    scale = np.unique(parameters["scale"])
    return float(scale[0]) if scale.size == 1 else None


def _normal(p: Parameters, x: np.ndarray) -> list[Part]:
    scale = np.broadcast_to(p["scale"], x.shape)
    error = -np.sum((x - p["loc"]) ** 2 / (2 * scale**2))
    constant = -np.sum(np.log(2 * np.pi * scale**2)) / 2
    if one_scale(p) is not None:
        return [
            Part(r"-\|x - \mathrm{loc}\|^2 / 2\sigma^2", error),
            Part(r"-\tfrac{d}{2} \log 2\pi\sigma^2", constant),
        ]
    return [
        Part(r"-\sum_i (x_i - \mathrm{loc}_i)^2 / 2\,\mathrm{scale}_i^2", error),
        Part(r"-\tfrac{1}{2} \sum_i \log 2\pi\,\mathrm{scale}_i^2", constant),
    ]


def _bernoulli(p: Parameters, x: np.ndarray) -> list[Part]:
    return [
        Part(r"\sum_i x_i \log m_i", -np.sum(x * np.logaddexp(0, -p["logits"]))),
        Part(r"\sum_i (1 - x_i) \log(1 - m_i)", -np.sum((1 - x) * np.logaddexp(0, p["logits"]))),
    ]


def _continuous_bernoulli(p: Parameters, x: np.ndarray) -> list[Part]:
    # C = 2 artanh(t) / t with t = 1 - 2m = -tanh(logits / 2), so that 2 artanh(t) = -logits.
    near_zero = np.abs(p["logits"]) < 1e-3
    logits = np.where(near_zero, 1.0, p["logits"])
    constant = np.where(
        near_zero, np.log(2.0) + p["logits"] ** 2 / 24, np.log(logits / np.tanh(logits / 2))
    )
    return [*_bernoulli(p, x), Part(r"\sum_i \log C(m_i)", float(np.sum(constant)))]


def _laplace(p: Parameters, x: np.ndarray) -> list[Part]:
    scale = np.broadcast_to(p["scale"], x.shape)
    return [
        Part(
            r"-\sum_i |x_i - \mathrm{loc}_i| / \mathrm{scale}_i",
            -np.sum(np.abs(x - p["loc"]) / scale),
        ),
        Part(r"-\sum_i \log 2\,\mathrm{scale}_i", -np.sum(np.log(2 * scale))),
    ]


def _poisson(p: Parameters, x: np.ndarray) -> list[Part]:
    return [
        Part(r"\sum_i x_i \log \mathrm{rate}_i", np.sum(x * np.log(p["rate"]))),
        Part(r"-\sum_i \mathrm{rate}_i", -np.sum(p["rate"])),
        Part(r"-\sum_i \log x_i!", -np.sum(gammaln(x + 1))),
    ]


def kl_of_normals(
    loc: np.ndarray, scale: np.ndarray, prior_loc: np.ndarray, prior_scale: np.ndarray
) -> np.ndarray:
    """`KL(N(loc, scale^2) || N(prior_loc, prior_scale^2))` of each dimension, `[D]`, in nats."""
    loc, scale, prior_loc, prior_scale = (
        np.asarray(value, "float64") for value in (loc, scale, prior_loc, prior_scale)
    )
    ratio = (scale / prior_scale) ** 2
    return (ratio + ((loc - prior_loc) / prior_scale) ** 2 - 1 - np.log(ratio)) / 2
