"""Chains of z from a distribution that is known to p(z|x), by annealing.

`log pi_beta(z) = (1 - beta) log p_0(z) + beta log p(x, z)`, beta from 0 to 1: the geometric
path from p_0, the prior or q(z|x), to the posterior. Each temperature has one transition of
Hamiltonian Monte Carlo that leaves it invariant. The weight of a chain is
`log w = sum_t (beta_t - beta_{t-1}) [log p(x, z_{t-1}) - log p_0(z_{t-1})]`; over chains that
start from p_0 the mean of w is p(x) exactly, whatever the step sizes, so long as they were
fixed beforehand (Neal 2001).
"""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special

from keras_vae.arguments import integer_seed, positive_integer
from keras_vae.conditions import Given, Labels
from keras_vae.data.source import Source
from keras_vae.evaluation.annealed_path import AnnealedPath
from keras_vae.evaluation.draws import seed_of_row
from keras_vae.evaluation.rows import Rows, bytes_of
from keras_vae.latents import REALS
from keras_vae.vae import VAE

SCHEDULES = ("sigmoid", "linear")
STARTS = ("prior", "posterior")
STEEPNESS = 4.0  # of the sigmoid, as in Wu et al. 2017
CHAINS_AT_ONCE = 256  # chains that are computed together, of all rows of a group
LEAST_PILOTS = 4  # chains of the run that finds the step sizes
TARGET = 0.65  # of the acceptance rate
RATE = 0.2  # of the adaptation of the logarithm of a step size
PILOT, FORWARD, BACKWARD = 0, 1, 2  # draws of a group's own seed


def temperatures(schedule: str, num_steps: int) -> np.ndarray:
    """`beta_0 = 0 < ... < beta_T = 1`, `[T + 1]`.

    `"linear"`: t / T. `"sigmoid"`: the logistic function of equidistant points from -4 to 4,
    scaled to [0, 1]: slow at both ends, where the density changes most.
    """
    _require_one_of("schedule", schedule, SCHEDULES)
    linear = np.linspace(0, 1, num_steps + 1)
    if schedule == "linear":
        return linear
    curve = special.expit(STEEPNESS * (2 * linear - 1))
    return (curve - curve[0]) / (curve[-1] - curve[0])


class Annealer:
    """Annealed chains of groups of rows.

    The rows of a group are computed together, always as many, the last ones repeated where
    there are fewer: what a row gets depends on its number and on the seed, not on the rows
    beside it, to the last bit. Where memory is short, densities are those of some chains after
    others, whose draws are the same.

    Args:
        vae: the model.
        source: all rows.
        num_chains: C of each row.
        num_steps: T temperatures after 0, of a transition each.
        num_leapfrog_steps: of each transition.
        schedule: of the temperatures, see `temperatures`.
        start: p_0, `"prior"` or `"posterior"`.
        seed: of all draws.
        memory: bytes that the tensors of one density may take; a chain of each row of a group is
            the least.
    """

    def __init__(
        self,
        vae: VAE,
        source: Source,
        num_chains: int,
        num_steps: int,
        num_leapfrog_steps: int,
        schedule: str,
        start: str,
        seed: int,
        memory: int,
    ) -> None:
        positive_integer(num_chains, "num_chains", vae, "the number of chains for each x")
        positive_integer(num_steps, "num_steps", vae, "the number of temperatures")
        positive_integer(num_leapfrog_steps, "num_leapfrog_steps", vae, "the length of a path")
        _require_one_of("start", start, STARTS)
        _require_real(vae)
        seed = integer_seed(seed)
        betas = temperatures(schedule, num_steps)
        self.arguments = {
            "num_chains": num_chains,
            "num_steps": num_steps,
            "num_leapfrog_steps": num_leapfrog_steps,
            "schedule": schedule,
            "start": start,
            "seed": seed,
        }
        self.vae = vae
        self.betas = tf.constant(betas[1:], vae.density_dtype)  # of the transitions
        self.gains = tf.constant(np.diff(betas), tf.float64)
        self.num_chains = num_chains
        self.num_leapfrog_steps = num_leapfrog_steps
        self.start = start
        self.seed = seed
        self.chains_at_once = Rows(memory).at_once(self._bytes_of_chain(source), num_chains)

    @property
    def rows_at_once(self) -> int:
        """How many rows a group has."""
        return max(1, CHAINS_AT_ONCE // self.num_chains)

    @property
    def pilots(self) -> int:
        """How many chains of each row find the step sizes."""
        return max(LEAST_PILOTS, self.num_chains // 4)

    def group(self, source: Source, numbers: tf.Tensor) -> "Group":
        """Some rows, as a group."""
        rows = np.minimum(np.arange(self.rows_at_once), len(source) - 1)
        x, given = self.vae._checked(source.take(rows))
        return Group(x, given, rows, seed_of_row(self.seed, numbers[0] // self.rows_at_once))

    def _bytes_of_chain(self, source: Source) -> int:
        """Of the tensors of a gradient at one chain of each row of a group."""
        x, given = self.vae._checked(source.take(np.zeros(self.rows_at_once, int)))
        z = tf.zeros((1, len(x), self.vae.prior.latent_size), self.vae.density_dtype)
        return bytes_of(self._gradient, x, given, z)

    @tf.function
    def step_sizes(self, x: tf.Tensor, given: Given, seed: tf.Tensor) -> tf.Tensor:
        """A step size for each transition and row, `[T, B]`, from chains that are thrown away.

        `log step += 0.2 (acceptance rate of the row's chains - 0.65)` after each transition.
        """
        path = AnnealedPath(self.vae, x, given, self.start, self.chains_at_once)
        z = path.drawn(self.pilots, seed)
        log_step = tf.fill(tf.shape(x)[:1], tf.math.log(path.first_step))
        found = tf.TensorArray(z.dtype, len(self.betas))
        for t in tf.range(len(self.betas)):
            found = found.write(t, tf.exp(log_step))
            z, rate = self._moved(path, z, t, tf.exp(log_step), seed)
            log_step += RATE * (rate - TARGET)
        return found.stack()

    @tf.function
    def forward(
        self, x: tf.Tensor, given: Given, step_sizes: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """log w of chains from p_0, `[C, B]` float64, and their acceptance rates, `[B]`."""
        path = AnnealedPath(self.vae, x, given, self.start, self.chains_at_once)
        z = path.drawn(self.num_chains, seed)
        log_weights, total = _zeros(z)
        for t in tf.range(len(self.betas)):
            log_weights += self._gain(path, z, t)
            z, rate = self._moved(path, z, t, step_sizes[t], seed)
            total += rate
        return log_weights, total / len(self.betas)

    @tf.function
    def backward(
        self, x: tf.Tensor, given: Given, z: tf.Tensor, step_sizes: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """log w of chains from a draw z `[B, D]` of p(z|x) back to p_0, likewise.

        The transitions are reversible, so that these are the chains of `forward` in reverse:
        the mean of 1 / w is 1 / p(x) exactly.
        """
        path = AnnealedPath(self.vae, x, given, self.start, self.chains_at_once)
        z = tf.repeat(z[None], self.num_chains, 0)
        log_weights, total = _zeros(z)
        for t in tf.range(len(self.betas) - 1, -1, -1):
            z, rate = self._moved(path, z, t, step_sizes[t], seed)
            log_weights += self._gain(path, z, t)
            total += rate
        return log_weights, total / len(self.betas)

    def _gain(self, path: AnnealedPath, z: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        return self.gains[t] * tf.cast(path.gain(z), tf.float64)

    def _moved(
        self, path: AnnealedPath, z: tf.Tensor, t: tf.Tensor, step_size: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """z after a transition, `[C, B, D]`, and the mean acceptance probability, `[B]`."""
        kernel = tfp.mcmc.HamiltonianMonteCarlo(
            lambda z: path.log_prob(z, self.betas[t]),
            step_size[:, None],  # of a row, for all its chains and dimensions
            self.num_leapfrog_steps,
        )
        # Not sample_annealed_importance_chain: it has one step size for all temperatures.
        seed = tf.random.fold_in(seed, t + 1)
        z, results = kernel.one_step(z, kernel.bootstrap_results(z), seed=seed)
        return z, tf.reduce_mean(tf.exp(tf.minimum(results.log_accept_ratio, 0)), 0)

    @tf.function
    def _gradient(self, x: tf.Tensor, given: Given, z: tf.Tensor) -> tf.Tensor:
        path = AnnealedPath(self.vae, x, given, self.start, 1)
        return tfp.math.value_and_gradient(lambda z: path.log_prob(z, self.betas[0]), z)[1]


class Group:
    """Rows that are annealed together.

    Args:
        x: `[B, *E]`.
        given: what goes with x.
        rows: which of those that were asked for each of them is, `[B]`.
        seed: of the group, `[2]`.
    """

    def __init__(self, x: tf.Tensor, given: Given, rows: np.ndarray, seed: tf.Tensor) -> None:
        self.x = x
        self.given = given
        self.rows = rows
        self.count = rows[-1] + 1  # those after the last are repeated ones
        self.seed = seed

    def stage(self, number: int) -> tf.Tensor:
        """The seed of a stage."""
        return tf.random.fold_in(self.seed, number)


def _require_real(vae: VAE) -> None:
    """Raises a ValueError unless z is a real vector, which a Hamiltonian chain moves in."""
    if vae.prior.support != REALS:
        raise ValueError(
            "Annealed importance sampling moves z along the gradient of its density. Expected: a "
            f"prior whose z are {REALS}. Received: {type(vae.prior).__name__}, of "
            f"{vae.prior.support}. Take evaluation.log_likelihood."
        )


def require_labels(vae: VAE, labels: np.ndarray | None) -> float:
    """log p(c) of a row's label, 0 without labels; a ValueError where a label is not known."""
    if not isinstance(vae.condition, Labels):
        return 0.0
    if labels is None or np.any(np.asarray(labels) < 0):
        raise ValueError(
            "A label that is not known is a latent variable, too, and no chain moves along the "
            "gradient of a class. Expected: a label for each row, for log p(x, label). Received: "
            f"{'none' if labels is None else 'rows without one'}. Give Source(x, condition=labels) "
            "all labels, or take evaluation.log_likelihood, which sums over them."
        )
    return -float(np.log(vae.condition.size))


def _zeros(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.zeros(tf.shape(z)[:2], tf.float64), tf.zeros(tf.shape(z)[1:2], z.dtype)


def _require_one_of(argument: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        names = " or ".join(f'"{name}"' for name in known)
        raise ValueError(f"`{argument}` is a name. Expected: {names}. Received: {value!r}.")
