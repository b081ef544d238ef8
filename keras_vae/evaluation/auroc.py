"""How well a score tells two sets of examples apart."""

import dataclasses
import math
from typing import Any

import numpy as np
from scipy import stats

from keras_vae.arguments import floats


@dataclasses.dataclass(frozen=True)
class AUROC:
    """The area under the receiver operating characteristic, and its standard error.

    Attributes:
        value: P(a score of the second set > one of the first) + P(they are equal) / 2.
        standard_error: over the examples of both sets; NaN where one has a single example.
    """

    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} +- {self.standard_error:.3f}"


def auroc(scores_in: Any, scores_out: Any) -> AUROC:
    """The probability that an anomaly has a larger score than an example of the data.

    0.5 is chance; below it the score points the wrong way. The standard error is DeLong's, of a
    U-statistic: with `v_j` the share of `scores_in` below anomaly j, and `w_i` the share of
    `scores_out` above example i, ties as halves, it is `(var(v) / M + var(w) / N)^(1/2)`.

    Args:
        scores_in: of examples like the training data, `[N]`.
        scores_out: of anomalies, `[M]`.

    Raises:
        ValueError: if there are no scores, or one is no number.

    Example:
        score = keras_vae.evaluation.anomaly_scores
        keras_vae.evaluation.auroc(score(vae, mnist.test), score(vae, fashion.test))

    References: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Comparing the Areas under
    Two or More Correlated Receiver Operating Characteristic Curves, Biometrics 1988.
    """
    inside, outside = _scores(scores_in, "scores_in"), _scores(scores_out, "scores_out")
    below_out = _others_below(outside, inside) / len(inside)
    above_in = 1 - _others_below(inside, outside) / len(outside)
    variance = sum(
        share.var(ddof=1) / len(share) if len(share) > 1 else math.nan
        for share in (below_out, above_in)
    )
    return AUROC(float(below_out.mean()), math.sqrt(variance))


def _others_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of the others are below each score, an equal one counting half."""
    ranks = stats.rankdata(np.concatenate([scores, others]))[: len(scores)]
    return ranks - stats.rankdata(scores)


def _scores(scores: Any, argument: str) -> np.ndarray:
    values = floats(scores, argument, "numbers of shape [N]")
    if values.ndim != 1 or not len(values) or np.isnan(values).any():
        raise ValueError(
            f"`{argument}` has a score for each example. Expected: numbers of shape [N], none of "
            f"them NaN. Received: shape {list(values.shape)}, {np.isnan(values).sum()} NaN."
        )
    return values
