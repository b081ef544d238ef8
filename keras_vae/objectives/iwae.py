"""The importance-weighted bound."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.objectives.knobs import at, keep_samples, keep_weight, log_mean_exp, require_choice
from keras_vae.objectives.objective import Objective, Schedule, Terms


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class IWAE(Objective):
    """`E[log 1/K sum_k p(x|z_k) (p(z_k) / q(z_k|x))^beta]`, `z_k ~ q(z|x)`, in nats per example.

    With `beta = 1` the bound of Burda et al. (2016): the ELBO at K = 1; it grows with K and
    tends to log p(x). With another beta it is that of the beta-VAE at K = 1, and grows with
    K towards `log E_q[p(x|z) (p(z) / q(z|x))^beta]`. That is no likelihood and, with more
    than one draw, no bound on log p(x): not for beta > 1 either, as a beta-VAE's is. A
    schedule that ends at 1 ends at a bound.

    Args:
        num_samples: K.
        beta: the power of the ratio of prior and posterior, a number >= 0 or a schedule.
        gradient: how it is estimated. `"reparameterised"`: that of the value that is
            reported; as K grows, the encoder's drowns in noise (Rainforth et al. 2018).
            `"dreg"`: doubly reparameterised (Tucker et al. 2019), equal in the mean, through z
            alone with the squared weights, without that flaw. `"stl"`: sticking the landing
            (Roeder et al. 2017), through z alone with the plain weights: of low variance, but
            biased for the encoder where K > 1.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.IWAE(num_samples=50, gradient="dreg")`

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders,
    ICLR 2016. G. Tucker, D. Lawson, S. Gu and C. J. Maddison, Doubly Reparameterized Gradient
    Estimators for Monte Carlo Objectives, ICLR 2019. G. Roeder, Y. Wu and D. Duvenaud,
    Sticking the Landing, NeurIPS 2017. T. Rainforth et al., Tighter Variational Bounds are
    Not Necessarily Better, ICML 2018.
    """

    num_samples: int = 5
    beta: float | Schedule = 1.0
    gradient: str = "reparameterised"

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_weight(self, "beta", "the power of p(z) / q(z|x)", schedule=True)
        require_choice(self, "gradient", ("reparameterised", "stl", "dreg"))

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        return log_mean_exp(self._log_weights(terms, step))

    @property
    def differentiates_bound(self) -> bool:
        return self.gradient == "reparameterised"

    def surrogate(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        plain = self.gradient == "reparameterised"
        return self.bound(terms if plain else terms.without_score(), step)

    def path_weight(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor | None:
        """`1 - beta + beta w_k`, of the normalised weights w.

        The gradient reaches z_k with the weight `w_k`. The score that was left out,
        `-beta E[sum_k w_k d log q(z_k)]`, is the mean of `-beta (1 - w_k)` times that,
        because the derivative of w_k by its own log-weight is `w_k (1 - w_k)`.
        """
        if self.gradient != "dreg":
            return None
        beta = at(self.beta, step, terms.log_likelihood.dtype)
        return 1 - beta + beta * tf.nn.softmax(self._log_weights(terms, step), axis=0)

    def _log_weights(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        if self.beta == 1.0:
            return terms.log_weights
        beta = at(self.beta, step, terms.log_likelihood.dtype)
        return terms.log_likelihood + beta * (terms.log_prior - terms.log_posterior)

    def beta_at(self, step: tf.Tensor | int) -> tf.Tensor | float:
        return self.beta(step) if isinstance(self.beta, Schedule) else self.beta

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        beta = float(self.beta_at(step))
        return beta == 1 or (self.num_samples == 1 and beta > 1)  # the ELBO of a beta-VAE

    def equation(self) -> str:
        power = r"\beta_t" if isinstance(self.beta, Schedule) else f"{self.beta:g}"
        ratio = r"\frac{p(x|z_k)\,p(z_k)}{q(z_k|x)}"
        if self.beta != 1.0:
            ratio = rf"p(x|z_k) \left(\frac{{p(z_k)}}{{q(z_k|x)}}\right)^{{{power}}}"
        return (
            rf"\mathbb{{E}}\left[\log \frac{{1}}{{{self.num_samples}}} \sum_{{k=1}}^{{{self.num_samples}}} "
            rf"{ratio}\right],\quad z_k \sim q(z|x)"
        )

    def estimator(self) -> str:
        if self.gradient == "dreg":
            return "doubly reparameterised: through z alone, with the squared importance weights"
        if self.gradient == "stl":
            bias = "" if self.num_samples == 1 else "; biased for the encoder, for K > 1"
            return f"sticking the landing: through z alone, without the score of q(z|x){bias}"
        return super().estimator()
