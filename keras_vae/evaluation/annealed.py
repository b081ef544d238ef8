"""Held-out log p(x), by annealed importance sampling."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.data.source import Source
from keras_vae.evaluation.annealing import FORWARD, PILOT, Annealer, require_labels
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.log_likelihood import LogLikelihood
from keras_vae.evaluation.rows import MEMORY, Rows, identity_of
from keras_vae.evaluation.weights import standard_errors, summary, warn_of_few
from keras_vae.vae import VAE

FEW_CHAINS = 2  # effective chains: below them one alone is the estimate
TOO_FEW_CHAINS = (
    "the chains do not follow the temperature, and neither their log p(x) nor its standard error is "
    "to be trusted. Take more steps."
)


@dataclasses.dataclass(frozen=True, eq=False)
class AnnealedLogLikelihood(LogLikelihood):
    """log p(x) of each example, in nats, from annealed chains; `num_samples` is their number C.

    Attributes:
        acceptance_rates: of the transitions, `[N]`; about 0.65 where the step sizes are right.
        num_steps: T, the number of temperatures.
    """

    acceptance_rates: np.ndarray
    num_steps: int


def annealed_importance_sampling(
    vae: VAE,
    x: Any,
    num_chains: int = 16,
    num_steps: int = 1000,
    num_leapfrog_steps: int = 10,
    schedule: str = "sigmoid",
    start: str = "prior",
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> AnnealedLogLikelihood:
    """`log 1/C sum_c w_c` of each x, in nats, w_c the weights of chains from p(z) to p(z|x).

    A lower bound on log p(x) in the mean, tight where the chains mix, that asks nothing of
    q(z|x): so it tells how good a generative model is whose encoder is not, and how far
    `log_likelihood` can be believed. A chain goes through `num_steps` distributions
    `p(z) p(x|z)^beta`, beta from 0 to 1, with a transition of Hamiltonian Monte Carlo at each;
    `w = prod_t p(x|z_{t-1})^(beta_t - beta_{t-1})`.

    The step size of each transition and row comes from a run before, of a quarter as many
    chains that are then thrown away, which moves it towards an acceptance rate of 65 %. The
    chains that count have draws of their own: for them the step sizes are given, and the
    mean of w is p(x) exactly. (Adapted on the way, as Wu et al. do, it would not be.)

    Rows are computed in groups of 256 chains, counted from row 0, the last group filled up
    with copies. What a row gets follows from its number and the seed: not from the rows
    beside it, and not from `memory`, but for the rounding of float32. Of 100 rows of binary
    digits and a decoder of two layers of 200 units the defaults take some minutes on two
    cores.

    Args:
        vae: the model; its z is a real vector.
        x: `[N, *E]`, or a source, with its condition and size factor where there are such. Bits
            that are drawn at each visit are drawn once. Where labels are the condition, each
            row has one, and the result is log p(x, label).
        num_chains: C for each x.
        num_steps: T.
        num_leapfrog_steps: of the path of each transition.
        schedule: of beta: `"sigmoid"`, the logistic function from -4 to 4 scaled to [0, 1], or
            `"linear"`.
        start: where chains start and what beta = 0 is: `"prior"`, or `"posterior"` for q(z|x),
            which is nearer to p(z|x) if the encoder is good, and worse if it is too narrow.
        seed: of all draws.
        memory: bytes that the tensors of one density may take; a chain of each row of a group is
            the least.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Warns:
        UserWarning: if fewer than 2 chains of an example are effective.

    Raises:
        ValueError: if z is not a real vector, a label is not known, an argument is out of
            range, x is not what the model takes, or `checkpoint` is of another run.

    Example: `print(keras_vae.evaluation.annealed_importance_sampling(vae, mnist.test[:100]))`

    References: R. M. Neal, Annealed Importance Sampling, Statistics and Computing 2001.
    Y. Wu, Y. Burda, R. Salakhutdinov and R. Grosse, On the Quantitative Analysis of
    Decoder-Based Generative Models, ICLR 2017.
    """
    source = data_of(vae, x)
    log_label = require_labels(vae, source.condition)
    annealer = Annealer(
        vae, source, num_chains, num_steps, num_leapfrog_steps, schedule, start, seed, memory
    )
    found = Rows(progress=progress, checkpoint=checkpoint)(
        _Forward(annealer),
        source,
        0,  # a group at once, whatever the memory
        "log p(x) by annealing",
        functools.partial(identity_of, vae, source, **annealer.arguments),
        most=annealer.rows_at_once,
    )
    sizes = found["effective_sample_sizes"]
    warn_of_few(sizes, num_chains, FEW_CHAINS, "chains", TOO_FEW_CHAINS)
    return AnnealedLogLikelihood(
        per_example=found["log_mean"] + log_label,
        standard_errors=standard_errors(sizes, num_chains),
        effective_sample_sizes=sizes,
        num_samples=num_chains,
        code_size=vae.likelihood.code_size,
        acceptance_rates=found["acceptance_rates"],
        num_steps=num_steps,
    )


class _Forward:
    """What the weights of some rows' chains say, `[n]` each."""

    def __init__(self, annealer: Annealer) -> None:
        self.annealer = annealer

    def __call__(self, source: Source, numbers: tf.Tensor) -> dict[str, np.ndarray]:
        group = self.annealer.group(source, numbers)
        steps = self.annealer.step_sizes(group.x, group.given, group.stage(PILOT))
        weights, rates = self.annealer.forward(group.x, group.given, steps, group.stage(FORWARD))
        found = {**summary(weights.numpy()), "acceptance_rates": rates.numpy()}
        return {name: value[: group.count] for name, value in found.items()}
