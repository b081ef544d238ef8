"""What the bound loses: to the encoder, and to the family of q(z|x)."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.arguments import floats, integer_seed, positive_integer
from keras_vae.conditions import Given
from keras_vae.data.source import Source
from keras_vae.evaluation.annealing import require_labels
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.bound import Estimate, estimate
from keras_vae.evaluation.draws import DRAWS_AT_ONCE, blocks
from keras_vae.evaluation.log_likelihood import FEW_SAMPLES, TOO_FEW_SAMPLES, LogLikelihood
from keras_vae.evaluation.own_posterior import OwnPosterior, Parameters
from keras_vae.evaluation.rows import MEMORY, Rows, identity_of
from keras_vae.evaluation.weights import summary, warn_of_few
from keras_vae.vae import VAE


@dataclasses.dataclass(frozen=True, eq=False)
class InferenceGaps:
    """log p(x) and two bounds on it, of each example, in nats.

    Attributes:
        log_likelihood: log p(x), given or estimated, `[N]`.
        optimised_bound: with q(z|x) optimised for this x alone, `[N]`.
        amortised_bound: with the encoder's q(z|x), `[N]`.
        num_samples: K draws of z for each.
    """

    log_likelihood: np.ndarray
    optimised_bound: np.ndarray
    amortised_bound: np.ndarray
    num_samples: int

    @property
    def approximation_gaps(self) -> np.ndarray:
        """log p(x) - optimised bound, `[N]`: what no q(z|x) of the family can help."""
        return self.log_likelihood - self.optimised_bound

    @property
    def amortisation_gaps(self) -> np.ndarray:
        """Optimised bound - amortised bound, `[N]`: what a better encoder would win."""
        return self.optimised_bound - self.amortised_bound

    @property
    def approximation(self) -> Estimate:
        """The mean approximation gap."""
        return estimate(self.approximation_gaps)

    @property
    def amortisation(self) -> Estimate:
        """The mean amortisation gap."""
        return estimate(self.amortisation_gaps)

    @property
    def inference(self) -> Estimate:
        """The mean of their sum, log p(x) - amortised bound."""
        return estimate(self.log_likelihood - self.amortised_bound)

    def __str__(self) -> str:
        return (
            f"inference gap {self.inference}: approximation {self.approximation}, "
            f"amortisation {self.amortisation}"
        )


def inference_gaps(
    vae: VAE,
    x: Any,
    log_likelihood: Any = None,
    num_samples: int = 2_000,
    num_steps: int = 1_000,
    learning_rate: float = 0.01,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> InferenceGaps:
    """`log p(x) - L[q*] >= 0` and `L[q*] - L[q] >= 0` of each x: approximation, amortisation.

    L is the bound, q the encoder's q(z|x), q* the best of its family for this x. The
    parameters of q* start at the encoder's and are optimised by Adam, before the links that
    keep them legal (a scale positive), on the bound from 10 draws a step, the learning
    rate falling to 0 as a cosine. What is reported of q* is from draws that it was not
    optimised on, the same noise as for q: no optimism, and little noise in the difference.
    Too few steps leave a part of the amortisation gap to the approximation gap: a value moves
    by about `num_steps * learning_rate / 2`, 5 by default. Twice the steps should change
    nothing.

    Free for each x is what the head gives for each x. Weights that all x share, of the
    networks of a flow or of the layers of a hierarchy but the first, stay as they are: what
    better ones would win counts as approximation.

    Args:
        vae: the model; a draw of its q(z|x) is a differentiable function of the parameters.
        x: `[N, *E]`, or a source, with its condition and size factor where there are such. Where
            labels are the condition, each row has one, and everything is of log p(x, label).
        log_likelihood: log p(x), `[N]`, or the result of `annealed_importance_sampling`. None
            for importance sampling with q* from the same draws as its bound: too low in the
            mean, and so the approximation gap, where K is too small for a q* that misses a
            part of p(z|x).
        num_samples: K draws of z for each x and bound.
        num_steps: of the optimisation.
        learning_rate: at its start, of the values before the links.
        seed: of all draws; those of a row follow from it and the row's number.
        memory: bytes that the tensors of one chunk may take; a row and 250 draws is the least.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Warns:
        UserWarning: see `log_likelihood`, of q* where log p(x) is estimated with it.

    Raises:
        ValueError: if the draws of q(z|x) have no gradient, a label is not known, an argument is
            out of range, x is not what the model takes, or `checkpoint` is of another run.

    Example: `print(keras_vae.evaluation.inference_gaps(vae, mnist.test[:100]))`

    References: C. Cremer, X. Li and D. Duvenaud, Inference Suboptimality in Variational
    Autoencoders, ICML 2018.
    """
    source, seed = data_of(vae, x), integer_seed(seed)
    positive_integer(num_samples, "num_samples", vae, "the number of draws of z")
    log_label = require_labels(vae, source.condition)
    log_p = _checked(log_likelihood, len(source))
    own = OwnPosterior(vae, num_steps, learning_rate, seed)
    found = Rows(memory, progress, checkpoint)(
        _Bounds(own, num_samples),
        source,
        own.bytes_of_row(source, min(num_samples, DRAWS_AT_ONCE)),
        "inference gaps",
        functools.partial(
            identity_of,
            vae,
            source,
            num_samples=num_samples,
            num_steps=num_steps,
            learning_rate=learning_rate,
            seed=seed,
        ),
    )
    if log_p is None:
        sizes = found["effective_sample_sizes"]
        warn_of_few(sizes, num_samples, FEW_SAMPLES, "samples", TOO_FEW_SAMPLES)
    return InferenceGaps(
        log_likelihood=found["log_mean"] + log_label if log_p is None else log_p,
        optimised_bound=found["optimised"] + log_label,
        amortised_bound=found["amortised"] + log_label,
        num_samples=num_samples,
    )


class _Bounds:
    """Both bounds, and log p(x) by importance sampling from q*, of some rows, `[n]` each."""

    def __init__(self, own: OwnPosterior, num_samples: int) -> None:
        self.own = own
        self.sizes = blocks(num_samples)

    def __call__(self, source: Source, numbers: tf.Tensor) -> dict[str, np.ndarray]:
        x, given = self.own.checked(source)
        raw = self.own.amortised(x, given)
        amortised = self._log_weights(x, given, raw, numbers)
        raw = self.own.optimised(x, given, raw, numbers)
        optimised = self._log_weights(x, given, raw, numbers)
        return {
            "amortised": amortised.mean(0),
            "optimised": optimised.mean(0),
            **summary(optimised),
        }

    def _log_weights(
        self, x: tf.Tensor, given: Given, raw: Parameters, numbers: tf.Tensor
    ) -> np.ndarray:
        """`log p(x, z) - log q(z|x)`, `[K, n]`."""
        parts = [
            self.own.log_weights(x, given, raw, numbers, tf.constant(i), size).numpy()
            for i, size in enumerate(self.sizes)
        ]
        return np.concatenate(parts).astype("float64")


def _checked(log_likelihood: Any, count: int) -> np.ndarray | None:
    if log_likelihood is None:
        return None
    if isinstance(log_likelihood, LogLikelihood):
        log_likelihood = log_likelihood.per_example
    values = floats(log_likelihood, "log_likelihood", f"[{count}]")
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(
            "`log_likelihood` is log p(x) of each x. Expected: finite numbers of shape "
            f"[{count}]. Received: shape {list(values.shape)}"
            f"{'' if np.isfinite(values).all() else ', not all finite'}. Give it the `per_example` "
            "of evaluation.annealed_importance_sampling, or nothing."
        )
    return values
