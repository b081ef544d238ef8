"""The ELBO with a weight on each of the three parts of its KL."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.arguments import positive_integer
from keras_vae.divergences import log_prob_per_dimension
from keras_vae.objectives.coordinates import refuse_tied_coordinates, require_factors
from keras_vae.objectives.knobs import keep, keep_samples, keep_weight
from keras_vae.objectives.objective import Densities, Objective, Terms
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class BetaTCVAE(Objective):
    """`E_q[log p(x|z)] - alpha I(x; z) - beta TC(z) - gamma sum_d KL(q(z_d) || p(z_d))`, in nats.

    With `q(z) = 1/N sum_n q(z|x_n)` over the data, the mean KL is the sum of the mutual
    information `I = E[log q(z|x) - log q(z)]`, the total correlation
    `TC = E[log q(z) - sum_d log q(z_d)]` and the KL of the dimensions one by one,
    `E[sum_d log q(z_d) - log p(z)]` (Chen et al. 2018). With all weights 1 this is the ELBO
    with the sampled KL, whatever the estimate of q(z). With `beta > 1` alone it is the ELBO less
    `(beta - 1) TC`, on average over the data a lower bound on log p(x) if TC were known;
    its estimate from a batch is biased, and may be negative where TC is small, so the reported
    value is no bound. It is one for `alpha >= beta = gamma >= 1`.

    q(z) is estimated by minibatch stratified sampling: of the B examples of a batch, the one
    that z was drawn for has the weight `1/N` and the others `(N - 1) / (N (B - 1))`: unbiased
    for q(z), as are the weights of Chen et al., which prefer one of the others by its place
    in the batch; these are their mean over the places. B is the batch on one device.

    Args:
        beta: the weight of the total correlation.
        dataset_size: N, the number of training examples.
        alpha: the weight of the mutual information.
        gamma: the weight of the KL of the dimensions.
        num_samples: K.

    Raises:
        ValueError: if an argument is out of range.

    Example: `keras_vae.objectives.BetaTCVAE(beta=6.0, dataset_size=60_000)`

    References: R. T. Q. Chen, X. Li, R. Grosse and D. Duvenaud, Isolating Sources of
    Disentanglement in Variational Autoencoders, NeurIPS 2018.
    """

    beta: float
    dataset_size: int
    alpha: float = 1.0
    gamma: float = 1.0
    num_samples: int = 1

    aggregates = True

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_weight(self, "beta", "the weight of the total correlation")
        keep_weight(self, "alpha", "the weight of the mutual information")
        keep_weight(self, "gamma", "the weight of the KL of the dimensions")
        meaning = "the number of training examples"
        keep(self, dataset_size=positive_integer(self.dataset_size, "dataset_size", self, meaning))

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        information, correlation, by_dimension = self.parts(terms)
        cost = self.alpha * information + self.beta * correlation + self.gamma * by_dimension
        return tf.reduce_mean(terms.log_likelihood - cost, axis=0)

    def parts(self, terms: Terms) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Mutual information, total correlation and the dimensions' KL of each draw, `[K, B]`.

        They add up to `log q(z|x) - log p(z)`.
        """
        pairs = log_prob_per_dimension(terms.q, terms.z[:, :, None])  # q(z_i|x_j): [K, B, B, D]
        weights = self._log_weights(tf.shape(pairs)[1], pairs.dtype)  # [B, B]
        joint = tf.reduce_logsumexp(tf.reduce_sum(pairs, -1) + weights, axis=2)  # log q(z)
        marginals = tf.reduce_logsumexp(pairs + weights[..., None], axis=2)  # log q(z_d)
        product = tf.reduce_sum(marginals, axis=-1)
        return terms.log_posterior - joint, joint - product, product - terms.log_prior

    def _log_weights(self, batch: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Those of example j in the estimate of q(z_i), `[B, B]`: in every row they sum to 1."""
        size = tf.constant(self.dataset_size, dtype)
        others = tf.maximum(tf.cast(batch, dtype) - 1, 1)
        # A data set of one example has no others; a batch of one example stands for all.
        other = tf.math.log(tf.maximum(size - 1, tf.ones_like(size))) - tf.math.log(size * others)
        own = tf.where(batch > 1, -tf.math.log(size), tf.zeros_like(size))
        weights = tf.fill((batch, batch), other)
        return tf.linalg.set_diag(weights, tf.fill((batch,), own))

    def require_densities(self, densities: Densities) -> None:
        require_factors(self, densities()[0])

    def beta_at(self, step: tf.Tensor | int) -> float:
        """That of the mutual information: what the KL is where the dimensions match the prior."""
        return self.alpha

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        """Where the cost is a multiple of the KL, and of the information, which is overestimated.

        The estimates of the other two parts may be negative.
        """
        return self.alpha >= self.beta == self.gamma >= 1

    def equation(self) -> str:
        return (
            rf"\mathbb{{E}}_{{q(z|x)}}[\log p(x|z)] - {self.alpha:g}\, I(x; z) - {self.beta:g}\, "
            rf"\mathrm{{KL}}(q(z)\,\|\,\textstyle\prod_d q(z_d)) - {self.gamma:g} \sum_d "
            r"\mathrm{KL}(q(z_d)\,\|\,p(z_d)),\quad q(z) = \frac{1}{N} \sum_n q(z|x_n)"
        )

    def require(self, posterior: Posterior, prior: Prior) -> None:
        super().require(posterior, prior)
        refuse_tied_coordinates(self, posterior)
