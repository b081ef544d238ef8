"""The variational autoencoder: three distributions and a bound.

Letters: K samples of z, B batch, D latent dimensions, E event shape of x. All
log-densities are in nats per example: summed over the event, averaged over the batch.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import advice
from keras_vae.arguments import positive_integer, require_parts, require_same
from keras_vae.assumptions import Assumptions, state
from keras_vae.divergences import is_exact, kl_divergence
from keras_vae.feed import as_sample, check_source
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import ELBO, Objective, Terms
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior
from keras_vae.randomness import draw_seed, split_seed
from keras_vae.trainer import Trainer

PARTS = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective")


@keras.saving.register_keras_serializable(package="keras_vae")
class VAE(Trainer):
    """`log p(x) >= E_{z ~ q(z|x)}[log p(x|z)] - KL(q(z|x) || p(z))`.

    The three distributions and the bound are arguments; the loss, its constants and its
    gradient follow. A beta-VAE, an importance-weighted autoencoder or a sigma-VAE is a
    different argument, never another class. `vae.assumptions()` prints what was chosen.

    `fit`, `evaluate` and `predict` take `x` alone: NumPy arrays, a `keras_vae.data` source,
    a `tf.data.Dataset` or a generator of batches. They log, in nats per example:

    - `log_likelihood`: the mean of log p(x|z) over the draws of z;
    - `kl`: KL(q(z|x) || p(z));
    - `elbo`: their difference, whatever the objective, so that runs compare;
    - `loss`: what is minimised: minus the objective's bound, plus the networks' own losses
      (regularisers).

    With `sample_weight` the gradient is that of the mean of `weight * loss`, as everywhere
    in Keras, and all four logs are weighted means, still nats per example.

    Args:
        encoder: any Keras model, x `[B, *E]` -> features of any shape.
        decoder: any Keras model, z `[B, D]` -> features of any shape.
        posterior: features -> q(z|x), from `keras_vae.posteriors`.
        prior: p(z), from `keras_vae.priors`.
        likelihood: features -> p(x|z), from `keras_vae.likelihoods`.
        objective: the bound, from `keras_vae.objectives`.
        seed: an integer that fixes the draws of z and the order of the data.
        name: the model's name.
        dtype: the model's dtype policy; by default the global one.

    Raises:
        TypeError: if a part is not of its kind.
        ValueError: if the latent sizes of posterior and prior differ, or a network does not
            accept the shapes that its place implies.

    Example:
        vae = keras_vae.VAE(
            encoder=keras_vae.networks.mlp([400]),
            decoder=keras_vae.networks.mlp([400]),
            posterior=keras_vae.posteriors.DiagonalNormal(20),
            prior=keras_vae.priors.StandardNormal(20),
            likelihood=keras_vae.likelihoods.Bernoulli((28, 28, 1)),
        )
        vae.compile(optimizer="adam")
        vae.fit(x_train, validation_data=x_test, epochs=20)

    References: D. P. Kingma and M. Welling, Auto-Encoding Variational Bayes, ICLR 2014.
    D. J. Rezende, S. Mohamed and D. Wierstra, Stochastic Backpropagation, ICML 2014.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        posterior: Posterior,
        prior: Prior,
        likelihood: Likelihood,
        objective: Objective = ELBO(),  # noqa: B008, a frozen value
        seed: int | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        require_parts(
            encoder=(encoder, keras.layers.Layer),
            decoder=(decoder, keras.layers.Layer),
            posterior=(posterior, Posterior),
            prior=(prior, Prior),
            likelihood=(likelihood, Likelihood),
            objective=(objective, Objective),
        )
        require_same("latent_size", posterior=posterior, prior=prior)
        require_same("density_dtype", posterior=posterior, prior=prior, likelihood=likelihood)
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.objective = objective
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed, name="seed_generator")
        self.trackers = [
            keras.metrics.Mean(name=name) for name in ("loss", "elbo", "log_likelihood", "kl")
        ]
        self.build((None, *likelihood.event_shape))

    def build(self, x_shape: tuple[int | None, ...]) -> None:
        """Makes every weight now: `fit` runs the custom step alone and would never do it."""
        self.prior.build(None)
        z_shape = (None, self.prior.latent_size)
        for argument, network, head, shape in (
            ("encoder", self.encoder, self.posterior, x_shape),
            ("decoder", self.decoder, self.likelihood, z_shape),
        ):
            try:
                head(network(keras.KerasTensor(shape)))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"`{argument}` does not fit the distributions. Expected: a network of "
                    f"{list(shape)}. Received: {error}"
                ) from error
        self.built = True

    # The equation

    def compute_loss(
        self,
        x: tf.Tensor | None = None,
        y: None = None,
        y_pred: None = None,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """`-E_{z ~ q(z|x)}[log p(x|z)] + KL(q(z|x) || p(z))`, or minus the chosen bound.

        Args:
            x: `[B, *E]`. `y` and `y_pred` have no meaning here; Keras passes them.
            sample_weight: `[B]` or None.
            training: passed on to the networks.

        Returns:
            The scalar to minimise: the mean over the batch, plus the networks' own losses.
        """
        q = self._posterior(x, training)  # q(z|x): batch [B], event [D]
        p = self.prior.distribution()  # p(z): event [D]
        z = q.sample(self.objective.num_samples, seed=self._seed())  # z ~ q(z|x): [K, B, D]
        x_given_z = self.decode(z, training)  # p(x|z): batch [K, B], event E
        terms = Terms(
            log_likelihood=x_given_z.log_prob(x),  # log p(x|z): [K, B]
            log_prior=p.log_prob(z),  # log p(z): [K, B]
            log_posterior=q.log_prob(z),  # log q(z|x): [K, B]
            kl=kl_divergence(q, p, z),  # KL(q(z|x) || p(z)): [B]
        )
        loss = -self.objective.bound(terms, self._step())  # [B]
        added = self._network_losses()  # a scalar: regularisers and the like
        self._track(loss + added, terms, sample_weight)
        return self._mean(loss, sample_weight) + added / self._num_replicas

    # The distributions

    def encode(self, x: np.ndarray | tf.Tensor, training: bool = False) -> tfd.Distribution:
        """q(z|x): batch `[B]`, event `[D]`, for x `[B, *E]`."""
        return self._posterior(self._batch(x), training)

    def decode(self, z: np.ndarray | tf.Tensor, training: bool = False) -> tfd.Distribution:
        """p(x|z): batch `[B]` or `[K, B]`, event `E`, for z `[B, D]` or `[K, B, D]`."""
        z = tf.cast(tf.convert_to_tensor(z), self.prior.density_dtype)
        if z.shape.rank not in (2, 3) or z.shape[-1] != self.prior.latent_size:
            raise ValueError(
                f"`z` of decode has the wrong shape. Expected: [B, {self.prior.latent_size}] or "
                f"[K, B, {self.prior.latent_size}]. Received: {z.shape.as_list()}."
            )
        folded = tf.reshape(z, (-1, z.shape[-1]))  # networks know one batch axis: [K * B, D]
        parameters = self.likelihood(self.decoder(folded, training=training))
        if z.shape.rank == 3:
            samples = z.shape[0] or tf.shape(z)[0]
            parameters = {
                name: tf.reshape(value, (samples, -1, *value.shape[1:]))
                for name, value in parameters.items()
            }
        return self.likelihood.distribution(parameters)

    def reconstruct(
        self, x: np.ndarray | tf.Tensor, draw: bool = False, seed: int | None = None
    ) -> tf.Tensor:
        """The mean of p(x|z) at the mean of q(z|x); with `draw`, a draw of x at a draw of z.

        Args:
            x: `[B, *E]`.
            draw: whether to draw. Squared error is the error of the mean, never of a draw.
            seed: an integer, for the same draw each time; None for a new one.

        Returns:
            `[B, *E]`
        """
        q = self.encode(x)
        if not draw:
            return self.decode(q.mean()).mean()
        z_seed, x_seed = split_seed(self._seed(seed))
        return self.decode(q.sample(seed=z_seed)).sample(seed=x_seed)

    def sample(
        self, num_samples: int = 1, draw: bool = False, seed: int | None = None
    ) -> tf.Tensor:
        """z from the prior, then the mean of p(x|z) or, with `draw`, a draw of x: `[n, *E]`."""
        count = positive_integer(num_samples, "num_samples", self, "the number of draws")
        z_seed, x_seed = split_seed(self._seed(seed))
        x_given_z = self.decode(self.prior.distribution().sample(count, seed=z_seed))
        return x_given_z.sample(seed=x_seed) if draw else x_given_z.mean()

    def elbo(
        self, x: np.ndarray | tf.Tensor, num_samples: int = 1, seed: int | None = None
    ) -> tf.Tensor:
        """`E_q[log p(x|z)] - KL(q(z|x) || p(z))` of each x, `[B]`, in nats, from K draws."""
        positive_integer(num_samples, "num_samples", self, "the number of draws of z")
        x = self._batch(x)
        q = self._posterior(x)
        z = q.sample(num_samples, seed=self._seed(seed))
        log_likelihood = self.decode(z).log_prob(x)  # [K, B]
        return tf.reduce_mean(log_likelihood, 0) - kl_divergence(q, self.prior.distribution(), z)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The mean of p(x|z) at the mean of q(z|x), `[B, *E]`: what `predict` returns."""
        return self.decode(self.encode(x, training).mean(), training).mean()

    # What was assumed

    def assumptions(self) -> Assumptions:
        """The three distributions, the bound and what follows from them, as data and Markdown."""
        q = self._posterior(tf.zeros((1, *self.likelihood.event_shape)))
        return state(
            self.posterior,
            self.prior,
            self.likelihood,
            self.objective,
            self._step(),
            kl_is_exact=is_exact(q, self.prior.distribution()),
        )

    def check(self, x: Any) -> advice.Advice:
        """How many latent directions a linear model with this likelihood would keep.

        Args:
            x: `[N, *E]`, a source, or a `tf.data.Dataset`, of which the first batches are
                read. Under a schedule beta is taken at its end.
        """
        source = as_sample(x)
        check_source(self.likelihood, source)
        beta = float(self.objective.beta_at(advice.END))
        return advice.linear_directions(source, self.likelihood, self.prior.latent_size, beta)

    # Optimisation

    def train_step(self, data: object) -> dict[str, tf.Tensor]:
        """One step on the gradient of `compute_loss`."""
        x, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, sample_weight=sample_weight, training=True)
            loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return self.get_metrics_result()

    def test_step(self, data: object) -> dict[str, tf.Tensor]:
        """The same without the tape."""
        x, sample_weight = self._unpack(data)
        self.compute_loss(x, sample_weight=sample_weight, training=False)
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.trackers

    def _track(self, loss: tf.Tensor, terms: Terms, sample_weight: tf.Tensor | None) -> None:
        log_likelihood = tf.reduce_mean(terms.log_likelihood, axis=0)
        values = (loss, log_likelihood - terms.kl, log_likelihood, terms.kl)
        for tracker, value in zip(self.trackers, values, strict=True):
            tracker.update_state(value, sample_weight=sample_weight)

    def _posterior(self, x: tf.Tensor, training: bool = False) -> tfd.Distribution:
        return self.posterior.distribution(self.posterior(self.encoder(x, training=training)))

    def _seed(self, seed: int | None = None) -> tf.Tensor:
        return draw_seed(self.seed_generator, seed)

    def _step(self) -> tf.Tensor | int:
        return self.optimizer.iterations if self.compiled else 0

    # Saving

    def get_config(self) -> dict:
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in PARTS}
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        return {**parts, "seed": self.seed, "name": self.name, "dtype": policy}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "VAE":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in PARTS
        }
        return cls(**{**config, **parts})
