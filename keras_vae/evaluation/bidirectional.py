"""log p(x) of a model's own samples, from below and from above."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import integer_seed, positive_integer
from keras_vae.data.source import Source
from keras_vae.evaluation.annealing import BACKWARD, FORWARD, PILOT, Annealer, require_labels
from keras_vae.evaluation.asked import require_model
from keras_vae.evaluation.bound import Estimate, estimate
from keras_vae.evaluation.rows import MEMORY, Rows, identity_of
from keras_vae.evaluation.weights import summary
from keras_vae.randomness import draw_seed, split_seed
from keras_vae.vae import VAE

SAMPLES = 2**20  # folded into the seed for z and x, which are of no group


@dataclasses.dataclass(frozen=True, eq=False)
class LogLikelihoodBounds:
    """Bounds on log p(x) of examples that the model drew, in nats.

    Attributes:
        x: the examples, `[N, *E]`.
        lower: at most log p(x) in the mean, `[N]`.
        upper: at least log p(x) in the mean, `[N]`.
        acceptance_rates: of the transitions, forward and backward, `[N]`.
        num_chains: C, each way.
        num_steps: T, the number of temperatures.
    """

    x: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    acceptance_rates: np.ndarray
    num_chains: int
    num_steps: int

    @property
    def gap(self) -> Estimate:
        """The mean of upper - lower: at least the mean error of the lower bound."""
        return estimate(self.upper - self.lower)

    def __str__(self) -> str:
        return (
            f"log p(x) of {len(self.lower)} samples of the model: {self.lower.mean():.3f} to "
            f"{self.upper.mean():.3f} nats, gap {self.gap.mean:.3f} +- "
            f"{self.gap.standard_error:.3f} ({self.num_chains} chains of {self.num_steps} steps)"
        )


def bidirectional_monte_carlo(
    vae: VAE,
    num_examples: int = 100,
    num_chains: int = 16,
    num_steps: int = 1000,
    num_leapfrog_steps: int = 10,
    schedule: str = "sigmoid",
    start: str = "prior",
    condition: Any = None,
    size_factor: Any = None,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> LogLikelihoodBounds:
    """`log 1/C sum_c w_c <= log p(x) <= -log 1/C sum_c 1/w'_c` in the mean, for x ~ p(x).

    Says how good `annealed_importance_sampling` with the same arguments is. For a pair
    `z ~ p(z)`, `x ~ p(x|z)` that the model drew, z is an exact draw of p(z|x). The annealed chains
    w of x alone give a lower bound; chains w' that start at z and are annealed backwards give
    an upper one. The gap is at least the sum of both errors, so that a small one proves
    both; on real data, which may be less like the model than its samples are, it is good
    evidence, no proof (Wu et al. 2017).

    The step sizes depend on x, never on z, and not on the draws of either run: both bounds
    hold exactly, in the mean. Groups, memory and seed as in `annealed_importance_sampling`.

    Args:
        vae: the model; its z is a real vector.
        num_examples: N pairs. The prior is the one of the bound, not that of `fit_prior`.
        num_chains: C each way.
        num_steps: T.
        num_leapfrog_steps: of the path of each transition.
        schedule: of beta, `"sigmoid"` or `"linear"`.
        start: what beta = 0 is, `"prior"` or `"posterior"`.
        condition: of a conditional model: N values, or one for all. Of labels the bounds are on
            log p(x, label).
        size_factor: of a likelihood that takes one: N values, or one for all.
        seed: of all draws.
        memory: bytes that the tensors of one density may take, beside the N examples; a chain of
            each row of a group is the least.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Raises:
        ValueError: as `annealed_importance_sampling`, or if what goes with x is not there.

    Example: `print(keras_vae.evaluation.bidirectional_monte_carlo(vae, num_steps=2000))`

    References: R. B. Grosse, Z. Ghahramani and R. P. Adams, Sandwiching the Marginal
    Likelihood Using Bidirectional Monte Carlo, 2015. R. B. Grosse, S. Ancha and D. M. Roy,
    Measuring the Reliability of MCMC Inference with Bidirectional Monte Carlo, NeurIPS 2016.
    """
    require_model(vae)
    positive_integer(num_examples, "num_examples", vae, "the number of samples")
    source, z = _drawn(vae, num_examples, condition, size_factor, integer_seed(seed))
    log_label = require_labels(vae, source.condition)
    annealer = Annealer(
        vae, source, num_chains, num_steps, num_leapfrog_steps, schedule, start, seed, memory
    )
    found = Rows(progress=progress, checkpoint=checkpoint)(
        _BothWays(annealer, z),
        source,
        0,  # a group at once, whatever the memory
        "log p(x) from both sides",
        functools.partial(identity_of, vae, source, both_ways=True, **annealer.arguments),
        most=annealer.rows_at_once,
    )
    return LogLikelihoodBounds(
        x=source.values,
        lower=found["lower"] + log_label,
        upper=found["upper"] + log_label,
        acceptance_rates=found["acceptance_rates"],
        num_chains=num_chains,
        num_steps=num_steps,
    )


class _BothWays:
    """The bounds of some rows, whose exact z are known, `[n]` each."""

    def __init__(self, annealer: Annealer, z: tf.Tensor) -> None:
        self.annealer = annealer
        self.z = z

    def __call__(self, source: Source, numbers: tf.Tensor) -> dict[str, np.ndarray]:
        group = self.annealer.group(source, numbers)
        z = tf.gather(self.z, tf.gather(numbers, group.rows))
        steps = self.annealer.step_sizes(group.x, group.given, group.stage(PILOT))
        forward, rates = self.annealer.forward(group.x, group.given, steps, group.stage(FORWARD))
        backward, rates_back = self.annealer.backward(
            group.x, group.given, z, steps, group.stage(BACKWARD)
        )
        found = {
            "lower": summary(forward.numpy())["log_mean"],
            "upper": -summary(-backward.numpy())["log_mean"],
            "acceptance_rates": (rates + rates_back).numpy() / 2,
        }
        return {name: value[: group.count] for name, value in found.items()}


def _drawn(
    vae: VAE, count: int, condition: Any, size_factor: Any, seed: int
) -> tuple[Source, tf.Tensor]:
    """x ~ p(x|z), with what goes with it, and the z ~ p(z) behind it."""
    beside = {"condition": condition, "size_factor": size_factor}
    values = {name: value for name, value in beside.items() if value is not None}
    values = vae.beside.repeated(values, count)
    given = vae._given(count, condition, size_factor)
    seeds = split_seed(tf.random.fold_in(draw_seed(vae.seed_generator, seed), SAMPLES))
    p = vae._prior(given)
    z = p.sample(seed=seeds[0]) if p.batch_shape.rank else p.sample(count, seed=seeds[0])
    x = vae._likelihood(z, given).sample(seed=seeds[1])
    return Source(x.numpy(), **values), z
