"""The ELBO with less of its KL, and a distance of q(z) from p(z) in its place."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vae.arguments import is_real
from keras_vae.divergences import mmd_squared
from keras_vae.objectives.knobs import keep, keep_samples, require_choice
from keras_vae.objectives.objective import Objective, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class InfoVAE(Objective):
    """`E_q[log p(x|z)] - (1 - alpha) KL(q(z|x) || p(z)) - (alpha + lambda_ - 1) MMD(q(z), p(z))`.

    `alpha` is the weight that mutual information between x and z is preferred with, `lambda_`
    that of the distance between `q(z) = E_x[q(z|x)]` and p(z) (Zhao et al. 2019), for which
    the squared maximum mean discrepancy stands. `alpha = 0, lambda_ = 1` is the ELBO. `alpha = 1`
    has no KL: the MMD-VAE, and with a Normal likelihood of fixed scale the WAE-MMD of
    Tolstikhin et al. (2018), with `lambda_` their lambda divided by `2 scale^2`. For
    `alpha > 0` it is no bound on log p(x).

    The discrepancy is estimated without bias from the batch on one device and as many draws
    of p(z); the batch's estimate is taken off each example, and is 0 for a batch of one.

    Args:
        alpha: a number <= 1.
        lambda_: a number >= 1 - alpha.
        kernel: of squared distances r^2: `"imq"`, `1 / (1 + r^2 / 2 width^2)`, whose tails
            reach draws that are far off; or `"rbf"`, `exp(-r^2 / 2 width^2)`.
        width: the kernel's; None for `sqrt(D)`, with which `2 width^2` is the mean squared
            distance of two draws of a standard Normal, the choice of Tolstikhin et al.
        num_samples: K; the discrepancy is the mean of those of the K sets of B draws.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.InfoVAE(alpha=1.0, lambda_=1_000.0)`

    References: S. Zhao, J. Song and S. Ermon, InfoVAE: Balancing Learning and Inference in
    Variational Autoencoders, AAAI 2019. I. Tolstikhin, O. Bousquet, S. Gelly and B. Schoelkopf,
    Wasserstein Auto-Encoders, ICLR 2018.
    """

    alpha: float
    lambda_: float
    kernel: str = "imq"
    width: float | None = None
    num_samples: int = 1

    aggregates = True

    def __post_init__(self) -> None:
        keep_samples(self)
        require_choice(self, "kernel", ("imq", "rbf"))
        if not is_real(self.alpha) or self.alpha > 1:
            self._refuse("alpha", "one minus the weight of the KL", "a finite number <= 1")
        if not is_real(self.lambda_) or self.lambda_ + self.alpha < 1:
            meaning = "the weight of the discrepancy, with alpha - 1"
            self._refuse("lambda_", meaning, "a finite number >= 1 - alpha")
        if self.width is not None:
            if not is_real(self.width) or self.width <= 0:
                self._refuse("width", "the kernel's", "None, or a finite number > 0")
            keep(self, width=float(self.width))
        keep(self, alpha=float(self.alpha), lambda_=float(self.lambda_))

    def _refuse(self, argument: str, meaning: str, expected: str) -> None:
        raise ValueError(
            f"`{argument}` of InfoVAE is {meaning}. Expected: {expected}. "
            f"Received: {getattr(self, argument)!r}."
        )

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        cost = (1 - self.alpha) * terms.kl + (self.alpha + self.lambda_ - 1) * self._mmd(terms)
        return tf.reduce_mean(terms.log_likelihood, axis=0) - cost

    def _mmd(self, terms: Terms) -> tf.Tensor:
        """A scalar: the mean over the K sets of draws, each of B examples."""
        draws, batch = tf.unstack(tf.shape(terms.z)[:-1])
        of_each = terms.p.batch_shape.rank == 1  # a prior that is given a condition
        count = self.num_samples if of_each else (draws, batch)
        prior_z = terms.p.sample(count, seed=terms.seed)
        return tf.reduce_mean(mmd_squared(terms.z, prior_z, self._kernel(terms.z.shape[-1])))

    def _kernel(self, size: int) -> Callable[[tf.Tensor], tf.Tensor]:
        double_square = 2 * (size if self.width is None else self.width**2)
        if self.kernel == "imq":
            return lambda r2: 1 / (1 + r2 / double_square)
        return lambda r2: tf.exp(-r2 / double_square)

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1 - self.alpha

    def equation(self) -> str:
        return (
            rf"\mathbb{{E}}_{{q(z|x)}}[\log p(x|z)] - {1 - self.alpha:g}\, "
            rf"\mathrm{{KL}}(q(z|x)\,\|\,p(z)) - {self.alpha + self.lambda_ - 1:g}\, "
            r"\mathrm{MMD}^2(q(z),\ p(z)),\quad q(z) = \mathbb{E}_x[q(z|x)]"
        )
