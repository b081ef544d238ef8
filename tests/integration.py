"""Sums that stand for integrals over each set that z of two dimensions may live in."""

import numpy as np
import tensorflow as tf
from scipy import special, stats

from keras_vae import latents

REACH = 12.0  # of a grid on the real numbers
NEAREST_END, SMALLEST_PART = 1e-6, 1e-30  # the limits of relaxed latents


def reals(points=801, reach=REACH):
    axis = np.linspace(-reach, reach, points)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    return grid, np.full(len(grid), (axis[1] - axis[0]) ** 2)


def circle(points=4000):
    angle = (np.arange(points) + 0.5) * 2 * np.pi / points
    return np.stack([np.cos(angle), np.sin(angle)], -1), np.full(points, 2 * np.pi / points)


def interval(points=601):
    """Nodes in (0, 1), even in the logit; the ends stand for what is nearer, with its probability."""
    end = special.logit(1 - NEAREST_END)
    logits = (np.arange(points) + 0.5) / points * 2 * end - end
    z = special.expit(logits)
    weights = z * (1 - z) * 2 * end / points
    return np.r_[NEAREST_END, z, 1 - NEAREST_END], np.r_[1, weights, 1]


def square():
    z, weights = interval()
    grid = np.stack(np.meshgrid(z, z), -1).reshape(-1, 2)
    return grid, np.outer(weights, weights).ravel()


def segment(points=4000):
    """Two positive numbers that sum to 1, as an integral over the first of them."""
    end = -np.log(SMALLEST_PART)
    logits = (np.arange(points) + 0.5) / points * 2 * end - end
    z = np.stack([special.expit(logits), special.expit(-logits)], -1)
    ends = np.array([[SMALLEST_PART, 1], [1, SMALLEST_PART]])
    return np.r_[ends, z], np.r_[1, 1, z.prod(-1) * 2 * end / points]


def choices():
    return np.eye(2), np.ones(2)


def corners():
    return np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), np.ones(4)


RULES = {
    latents.REALS: reals,
    latents.SPHERE: circle,
    latents.CUBE: square,
    latents.simplices(2): segment,
    latents.one_hots(2): choices,
    latents.BITS: corners,
}


def rule(support):
    """Points `[n, 2]` of a set, and weights `[n]` to sum a density on it with."""
    points, weights = RULES[support]()
    return points.astype("float32"), weights


def expectations(p, support):
    """The total of a density, and a function from functions of z `[n, 2]` to their means."""
    points, weights = rule(support)
    values = np.exp(np.asarray(p.log_prob(points), "float64")).reshape(len(points)) * weights
    return values.sum(), lambda function: values @ function(points)


def assert_draws_are_of_the_density(p, support, count=20_000):
    """The mean of a bounded function of draws is its integral against the density."""
    total, mean = expectations(p, support)
    draws = p.sample(count, seed=0).numpy().reshape(-1, 2)
    for direction in ([1, 0], [0, 1], [1, -2]):
        for bounded in (np.cos, np.sin, np.tanh):
            values = bounded(draws @ direction)
            error = values.std() / np.sqrt(len(values)) + 1e-5
            expected = mean(lambda z, f=bounded, d=direction: f(z @ d)) / total
            assert abs(values.mean() - expected) < 4 * error


def log_p(vae, x, beside, side=121, reach=6.0):
    """log p(x) of a standard Normal z of two dimensions, by the trapezoid rule."""
    grid, weights = reals(side, reach)
    z = np.broadcast_to(grid[:, None].astype("float32"), (len(grid), len(x), 2))
    parts = [
        vae.decode(some, **beside).log_prob(tf.cast(x, tf.float32)).numpy()
        for some in np.array_split(z, 10)
    ]
    log_prior = stats.norm.logpdf(grid).sum(-1) + np.log(weights)
    return special.logsumexp(np.concatenate(parts) + log_prior[:, None], axis=0)
