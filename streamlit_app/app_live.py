"""The numbers of the derivation for one x: what the contract answers, and what the model itself."""

from typing import NamedTuple

import app_state
import numpy as np
import tensorflow as tf
from app_formulas import kl_of_normals
from app_model import Shown
from tensorflow_probability import distributions as tfd

from keras_vae.divergences import factors, kl_divergence, kl_per_dimension
from keras_vae.objectives import Terms
from keras_vae.randomness import stateless_seed
from keras_vae.vae import VAE

DRAWS = 200  # of z, and of x


class Asked(NamedTuple):
    """What any model answers by the contract, for one x.

    Attributes:
        x: `E`.
        posterior: the parameters of q(z|x).
        z: a draw from q(z|x), `[D]`.
        likelihood: the parameters of p(x|z) at that z.
        mean: what stands for p(x|z), its mean where it has one, `E`.
        draws: from p(x|z), `[DRAWS, *E]`.
        score: what a server says of the bound, or None where the model itself is at hand.
    """

    x: np.ndarray
    posterior: dict[str, np.ndarray]
    z: np.ndarray
    likelihood: dict[str, np.ndarray]
    mean: np.ndarray
    draws: np.ndarray
    score: dict[str, float] | None

    @property
    def error_of_mean(self) -> float:
        """`||x - mean||^2`."""
        return float(np.sum((self.x.astype("float64") - self.mean) ** 2))

    @property
    def errors_of_draws(self) -> np.ndarray:
        """`||x - draw||^2` of each draw."""
        squares = (self.x.astype("float64") - self.draws) ** 2
        return np.reshape(squares, (len(squares), -1)).sum(1)


class Known(NamedTuple):
    """What only the model itself can tell, in nats.

    Attributes:
        log_likelihood: log p(x|z) at the draws of z, `[DRAWS]`, the first of which is `Asked.z`.
        log_prior: log p(z) likewise.
        log_posterior: log q(z|x) likewise.
        kl: KL(q(z|x) || p(z)) as the package computes it.
        kl_per_dimension: `[D]`, or None where the dimensions are not independent.
        kl_by_formula: `[D]`, the formula of two Normals, or None if they are none.
        has_mean: whether what stands for p(x|z) is its mean: of categories it is none.
        variance: of p(x|z) at the first z, `E`, or None where it has no formula.
        bound: the objective's, of its K first draws; None where it needs a batch.
        log_likelihood_in_bound: the mean of log p(x|z) over these.
        kl_in_bound: the KL that is logged with it.
    """

    log_likelihood: np.ndarray
    log_prior: np.ndarray
    log_posterior: np.ndarray
    kl: float
    kl_per_dimension: np.ndarray | None
    kl_by_formula: np.ndarray | None
    has_mean: bool
    variance: np.ndarray | None
    bound: float | None
    log_likelihood_in_bound: float
    kl_in_bound: float

    @property
    def log_weights(self) -> np.ndarray:
        """`log p(x|z) + log p(z) - log q(z|x)`, in double precision."""
        terms = (self.log_likelihood, self.log_prior, self.log_posterior)
        likelihood, prior, posterior = (term.astype("float64") for term in terms)
        return likelihood + prior - posterior


def asked(shown: Shown, x: np.ndarray, seed: int) -> Asked:
    """The answers about one x, `E`."""
    row = x[None]
    posterior = app_state.ask(shown, "encode", x=row)
    z = app_state.ask(shown, "encode_sample", x=row, seed=np.array([seed]))["z"]
    likelihood = app_state.ask(shown, "decode", z=z)
    seeds = np.arange(DRAWS) + DRAWS * seed
    draws = app_state.ask(shown, "decode_sample", z=z.repeat(DRAWS, 0), seed=seeds)["x"]
    score = None
    if shown.vae is None:
        found = app_state.ask(shown, "score", x=row, seed=np.array([seed]))
        score = {name: float(value[0]) for name, value in found.items()}
    mean = likelihood["mean"][0]
    return Asked(x, _parameters(posterior), z[0], _parameters(likelihood), mean, draws, score)


def _parameters(answer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value[0] for name, value in answer.items() if name != "mean"}


def known(vae: VAE, x: np.ndarray, z: np.ndarray, seed: int) -> Known:
    """The densities at z and at more draws, and the terms of the bound. Changes nothing.

    Args:
        vae: the model.
        x: `E`.
        z: a draw from q(z|x), `[D]`: the first.
        seed: of the other draws.
    """
    q, p = vae.latents(x[None])
    count = max(DRAWS, vae.objective.num_samples)
    others = q.sample(count - 1, seed=stateless_seed(tf.constant(seed, tf.int64)))
    z = tf.concat([tf.cast(z[None, None], others.dtype), others], 0)  # [K, 1, D]
    x_given_z = vae.decode(z)
    terms = Terms(
        log_likelihood=x_given_z.log_prob(tf.cast(x[None], others.dtype)),
        log_prior=p.log_prob(z),
        log_posterior=q.log_prob(z),
        kl=kl_divergence(q, p, z),
        z=z,
        q=q,
        p=p,
        seed=stateless_seed(tf.constant(seed + 1, tf.int64)),
    )
    bound, in_bound = _bound(vae, terms)
    has_mean, variance = _moments(vae, z[0])
    return Known(
        log_likelihood=terms.log_likelihood[:, 0].numpy(),
        log_prior=terms.log_prior[:, 0].numpy(),
        log_posterior=terms.log_posterior[:, 0].numpy(),
        kl=float(terms.kl[0]),
        kl_per_dimension=_per_dimension(q, p, z),
        kl_by_formula=_by_formula(q, p),
        variance=variance,
        has_mean=has_mean,
        bound=bound,
        log_likelihood_in_bound=float(tf.reduce_mean(in_bound.log_likelihood)),
        kl_in_bound=float(in_bound.kl[0]),
    )


def _bound(vae: VAE, terms: Terms) -> tuple[float | None, Terms]:
    """The objective's bound from its K draws, the first ones, and these terms."""
    first = slice(vae.objective.num_samples)
    z = terms.z[first]
    some = terms._replace(
        log_likelihood=terms.log_likelihood[first],
        log_prior=terms.log_prior[first],
        log_posterior=terms.log_posterior[first],
        kl=kl_divergence(terms.q, terms.p, z),
        z=z,
    )
    if vae.objective.aggregates:
        return None, some
    step = vae.optimizer.iterations if vae.compiled else 0
    return float(vae.objective.bound(some, step)[0]), some


def _per_dimension(q: tfd.Distribution, p: tfd.Distribution, z: tf.Tensor) -> np.ndarray | None:
    try:
        return kl_per_dimension(q, p, z)[0].numpy()
    except NotImplementedError:
        return None


def _by_formula(q: tfd.Distribution, p: tfd.Distribution) -> np.ndarray | None:
    try:
        (of_q,), (of_p,) = factors(q), factors(p)
    except (NotImplementedError, ValueError):  # not independent; blocks of several families
        return None
    if not (isinstance(of_q, tfd.Normal) and isinstance(of_p, tfd.Normal)):
        return None
    return kl_of_normals(of_q.loc[0], of_q.scale[0], of_p.loc, of_p.scale)


def _moments(vae: VAE, z: tf.Tensor) -> tuple[bool, np.ndarray | None]:
    """Whether what stands for p(x|z) is its mean, and its variance, `E`, if it has a formula."""
    p = vae.decode(z)  # at one z alone: some families' moments are long sums
    try:
        has_mean = bool(np.allclose(p.mean(), vae.likelihood.centre(p)))
        variance = p.variance()[0].numpy()
    except NotImplementedError:
        return True, None
    return has_mean, variance if np.isfinite(variance).all() else None
