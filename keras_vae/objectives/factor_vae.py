"""The ELBO less the total correlation of z, which a discriminator estimates."""

import dataclasses

import keras
import tensorflow as tf

from keras_vae.objectives.coordinates import refuse_tied_coordinates
from keras_vae.objectives.knobs import keep_samples, keep_weight
from keras_vae.objectives.objective import Objective, Terms
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior
from keras_vae.randomness import uniform_noise


@keras.saving.register_keras_serializable(package="keras_vae")
@dataclasses.dataclass(frozen=True)
class FactorVAE(Objective):
    """`E_q[log p(x|z)] - KL(q(z|x) || p(z)) - gamma E[logit D(z)]`, in nats per example.

    A discriminator D tells draws of `q(z) = E_x[q(z|x)]` from draws of `prod_d q(z_d)`; at its
    best `E_q(z)[logit D(z)]` is the total correlation `KL(q(z) || prod_d q(z_d))` (Kim and
    Mnih 2018). Were it so, this would be a lower bound on log p(x) on average over the data;
    a discriminator in training makes it none.

    Model and discriminator learn in the same step: the penalty's gradient goes to the
    model alone, the gradient of the discriminator's cross-entropy to the discriminator
    alone, and the reported value holds the penalty and not the cross-entropy. Draws of
    `prod_d q(z_d)` are those of the batch with each dimension permuted by itself, where Kim
    and Mnih permute a second batch.

    Args:
        gamma: the weight of the total correlation.
        discriminator: a Keras model, z `[B, D]` -> one logit `[B, 1]`, positive where z
            looks like a draw of q(z).
        num_samples: K.

    Raises:
        ValueError: if an argument is out of range or of the wrong kind.

    Example:
        keras_vae.objectives.FactorVAE(
            gamma=10.0,
            discriminator=keras.Sequential(
                [keras_vae.networks.mlp([200, 200]), keras.layers.Dense(1)]
            ),
        )

    References: H. Kim and A. Mnih, Disentangling by Factorising, ICML 2018.
    """

    gamma: float
    discriminator: keras.layers.Layer
    num_samples: int = 1

    aggregates = True

    def __post_init__(self) -> None:
        keep_samples(self)
        keep_weight(self, "gamma", "the weight of the total correlation")
        if not isinstance(self.discriminator, keras.layers.Layer):
            raise ValueError(
                "`discriminator` of FactorVAE is a network. Expected: a Keras model, z [B, D] -> "
                f"[B, 1]. Received: {self.discriminator!r}."
            )

    def bound(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        return self._penalised(terms, self._logits(terms.z))

    @property
    def differentiates_bound(self) -> bool:
        return False

    def surrogate(self, terms: Terms, step: tf.Tensor | int) -> tf.Tensor:
        still = tf.stop_gradient(terms.z)
        permuted = self._permuted(still, terms.seed)
        cross_entropy = tf.math.softplus(-self._logits(still))
        cross_entropy += tf.math.softplus(self._logits(permuted))
        penalised = self._penalised(terms, self._logits(terms.z, learn=False))
        return penalised - tf.reduce_mean(cross_entropy, axis=0) / 2

    def _penalised(self, terms: Terms, logits: tf.Tensor) -> tf.Tensor:
        value = terms.log_likelihood - self.gamma * logits
        return tf.reduce_mean(value, axis=0) - terms.kl

    def _logits(self, z: tf.Tensor, learn: bool = True) -> tf.Tensor:
        """`[K, B, D] -> [K, B]`, in the precision of z; a gradient reaches z, and D if it is to."""
        folded = tf.reshape(z, (-1, z.shape[-1]))
        logits = self.discriminator(folded) if learn else self._with_still_weights(folded)
        return tf.cast(tf.reshape(logits, tf.shape(z)[:-1]), z.dtype)

    def _with_still_weights(self, z: tf.Tensor) -> tf.Tensor:
        weights = [tf.stop_gradient(w.value) for w in self.discriminator.trainable_variables]
        fixed = [w.value for w in self.discriminator.non_trainable_variables]
        return self.discriminator.stateless_call(weights, fixed, z)[0]

    def _permuted(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The same values, each dimension in an order of its own, `[K, B, D]`."""
        columns = tf.transpose(tf.reshape(z, (-1, z.shape[-1])))  # [D, K * B]
        order = tf.argsort(uniform_noise(tf.shape(columns), seed, tf.float32), axis=-1)
        permuted = tf.gather(columns, order, batch_dims=1)
        return tf.reshape(tf.transpose(permuted), tf.shape(z))

    def beta_at(self, step: tf.Tensor | int) -> float:
        return 1.0

    def is_lower_bound(self, step: tf.Tensor | int) -> bool:
        """Not with a penalty: the logits of a discriminator in training may have any mean."""
        return self.gamma == 0

    def equation(self) -> str:
        return (
            r"\mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,p(z)) - "
            rf"{self.gamma:g}\, \mathbb{{E}}_{{q(z)}}\left[\log \frac{{D(z)}}{{1 - D(z)}}\right],"
            r"\quad D(z) \approx \frac{q(z)}{q(z) + \prod_d q(z_d)}"
        )

    def estimator(self) -> str:
        return (
            "reparameterisation for the model; the discriminator descends its own cross-entropy "
            "in the same step"
        )

    def networks(self) -> tuple[keras.layers.Layer, ...]:
        return (self.discriminator,)

    def require(self, posterior: Posterior, prior: Prior) -> None:
        """Also makes the discriminator's weights."""
        super().require(posterior, prior)
        refuse_tied_coordinates(self, posterior)
        shape = self.discriminator(keras.KerasTensor((None, posterior.latent_size))).shape
        if shape != (None, 1):
            raise ValueError(
                "`discriminator` of FactorVAE gives one logit for each z. Expected: "
                f"[None, {posterior.latent_size}] -> [None, 1]. Received: {list(shape)}. Add "
                "keras.layers.Dense(1) as its last layer."
            )
