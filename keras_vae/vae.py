"""The variational autoencoder: three distributions and a bound.

Letters: K samples of z, B batch, D latent dimensions, E event shape of x. All
log-densities are in nats per example: summed over the event, averaged over the batch.
"""

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import advice
from keras_vae.arguments import require_parts
from keras_vae.assumptions import Assumptions, state
from keras_vae.beside import Beside
from keras_vae.conditions import Condition, Given
from keras_vae.divergences import is_exact, kl_divergence
from keras_vae.feed import as_sample, check_source
from keras_vae.legality import require_legal
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import ELBO, Objective, Terms
from keras_vae.path import Path
from keras_vae.posteriors import Posterior
from keras_vae.priors import ExPost, Prior
from keras_vae.replicas import mean_of_batch, reported
from keras_vae.running_means import add_to_means, running_means
from keras_vae.trainer import Trainer

NOTHING = Given()  # beside x
PARTS = ("encoder", "decoder", "posterior", "prior", "likelihood", "objective", "condition")


@keras.saving.register_keras_serializable(package="keras_vae")
class VAE(Trainer):
    """`log p(x) >= E_{z ~ q(z|x)}[log p(x|z)] - KL(q(z|x) || p(z))`.

    The three distributions and the bound are arguments; the loss, its constants and its
    gradient follow. A beta-VAE, an importance-weighted autoencoder or a sigma-VAE is a
    different argument, never another class. `vae.assumptions()` prints what was chosen.

    `fit`, `evaluate` and `predict` take `x`: NumPy arrays, a `keras_vae.data` source, a
    `tf.data.Dataset` or a generator of batches; a conditional model takes the condition
    beside it, `fit(x, condition)`. They log, in nats per example:

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
        condition: what each density is conditional on, from `keras_vae.conditions`, or None.
            The networks are given it appended to the last axis of x and of z.
        seed: an integer that fixes the draws of z and the order of the data.
        name: the model's name.
        dtype: the model's dtype policy; by default the global one.

    Raises:
        TypeError: if a part is not of its kind.
        ValueError: if posterior and prior differ in latent size or support, if the bound has
            no meaning for them, or if a network does not accept the shapes that its place
            implies.

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
        condition: Condition | None = None,
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
        if condition is not None:
            require_parts(condition=(condition, Condition))
        require_legal(posterior, prior, likelihood, objective, condition)
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.objective = objective
        self.condition = condition
        self.objective_networks = list(objective.networks())  # for Keras to find their weights
        self.beside = Beside(likelihood, condition)
        self.ex_post: ExPost | None = None
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed, name="seed_generator")
        self.trackers = running_means(("loss", "elbo", "log_likelihood", "kl"))
        self.build((None, *likelihood.event_shape))
        objective.require_densities(self._densities)

    def build(self, x_shape: tuple[int | None, ...]) -> None:
        """Makes every weight now: `fit` runs the custom step alone and would never do it."""
        inputs = self.likelihood.encoder_input(tf.zeros((1, *x_shape[1:]), self.density_dtype))
        if self.condition is not None and not self.condition.built:
            self.condition.build((None, *inputs.shape[1:]))
        size = 0 if self.condition is None else self.condition.size
        input_shape = (None, *inputs.shape[1:-1], inputs.shape[-1] + size)
        z_shape = (None, self.prior.latent_size + size)
        for argument, network, head, shape in (
            ("encoder", self.encoder, self.posterior, input_shape),
            ("decoder", self.decoder, self.likelihood, z_shape),
        ):
            try:
                head(network(keras.KerasTensor(shape)))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"`{argument}` does not fit the distributions. Expected: a network of "
                    f"{list(shape)}. Received: {error}"
                ) from error
        if not self.prior.built:  # a loaded one is
            self.prior.build(input_shape, size)
        for network in self.objective_networks:
            network(keras.KerasTensor((None, self.prior.latent_size)))
        self.built = True

    # The equation

    def compute_loss(
        self,
        x: tf.Tensor | None = None,
        y: Given | None = None,
        y_pred: None = None,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """`-E_{z ~ q(z|x)}[log p(x|z)] + KL(q(z|x) || p(z))`, or minus the chosen bound.

        Args:
            x: `[B, *E]`.
            y: what goes with x; in a conditional model each density is one given it.
            y_pred: has no meaning here; Keras passes it.
            sample_weight: `[B]` or None.
            training: passed on to the networks.

        Returns:
            The scalar to minimise: the mean over the batch, plus the networks' own losses.
        """
        given = NOTHING if y is None else y
        seed, path = self._seed(), Path()
        p = self._prior(given)  # p(z): event [D]; first, so that x is what the encoder saw last
        q = self._posterior(x, given, training)  # q(z|x): batch [B], event [D]
        z = q.sample(self.objective.num_samples, seed=seed)  # z ~ q(z|x): [K, B, D]
        z = z if self.objective.differentiates_bound else path(z)
        x_given_z = self._likelihood(z, given, training)  # p(x|z): batch [K, B], event E
        added = self._network_losses()  # a scalar: regularisers and the like
        if training:
            x_given_z = self.likelihood.adapt(x_given_z, x, sample_weight)
        terms = Terms(
            log_likelihood=x_given_z.log_prob(x),  # log p(x|z): [K, B]
            log_prior=p.log_prob(z) + given.log_prior,  # log p(z): [K, B]
            log_posterior=q.log_prob(z) + given.log_posterior,  # log q(z|x): [K, B]
            kl=kl_divergence(q, p, z) + given.log_posterior - given.log_prior,  # KL(q || p): [B]
            z=z,
            q=q,
            p=p,
            seed=tf.random.fold_in(seed, 1),
            kl_of_condition=given.log_posterior - given.log_prior,
        )
        bound = self.objective.bound(terms, self._step())  # [B]
        self._track(given.loss - bound + added, terms, sample_weight)
        loss = given.loss - self._estimated(bound, terms, path)
        return mean_of_batch(loss, sample_weight) + added / self._num_replicas

    def _estimated(self, bound: tf.Tensor, terms: Terms, path: Path) -> tf.Tensor:
        """The value of the bound, `[B]`, with the gradient of the objective's estimator."""
        if self.objective.differentiates_bound:
            return bound
        surrogate = self.objective.surrogate(terms, self._step())
        path.weight = self.objective.path_weight(terms, self._step())
        return surrogate + tf.stop_gradient(bound - surrogate)

    # What was assumed

    def assumptions(self) -> Assumptions:
        """The three distributions, the bound and what follows from them, as data and Markdown."""
        return state(
            self.posterior,
            self.prior,
            self.likelihood,
            self.objective,
            self._step(),
            kl_is_exact=is_exact(*self._densities()),
            condition=self.condition,
            ex_post=self.ex_post,
        )

    def _densities(self) -> tuple[tfd.Distribution, tfd.Distribution]:
        """q(z|x) of some x, and p(z)."""
        given = NOTHING
        if self.condition is not None:
            given = Given(condition=tf.zeros((1, self.condition.size), self.density_dtype))
        x = tf.broadcast_to(self.likelihood.support.inside, (1, *self.likelihood.event_shape))
        return self._posterior(tf.cast(x, self.density_dtype), given), self._prior(given)

    def check(self, x: Any) -> advice.Advice:
        """How many latent directions a linear model with this likelihood would keep.

        Args:
            x: `[N, *E]`, a source, or a `tf.data.Dataset`, of which the first batches are
                read. Under a schedule beta is taken at its end.
        """
        source = as_sample(self.likelihood, x)
        check_source(self.likelihood, source)
        beta = float(self.objective.beta_at(advice.END))
        return advice.linear_directions(source, self.likelihood, self.prior.latent_size, beta)

    # Optimisation

    def train_step(self, data: object) -> dict[str, tf.Tensor]:
        """One step on the gradient of `compute_loss`."""
        self.posterior.anneal(self._step())
        x, given, sample_weight = self._unpack(data)
        with tf.GradientTape() as tape:
            cases = self._cases(x, given, sample_weight, training=True)
            loss = self.compute_loss(cases.x, cases.given, None, cases.sample_weight)
            loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, self.trainable_weights)
        # A weight that is updated while its gradients are computed is copied first.
        with tf.control_dependencies(gradients):
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        cases.track()
        return reported(self.get_metrics_result())

    def test_step(self, data: object) -> dict[str, tf.Tensor]:
        """The same without the tape."""
        x, given, sample_weight = self._unpack(data)
        cases = self._cases(x, given, sample_weight)
        self.compute_loss(cases.x, cases.given, None, cases.sample_weight, training=False)
        cases.track()
        return reported(self.get_metrics_result())

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.trackers + ([] if self.condition is None else self.condition.trackers())

    def _track(self, loss: tf.Tensor, terms: Terms, sample_weight: tf.Tensor | None) -> None:
        log_likelihood = tf.reduce_mean(terms.log_likelihood, axis=0)
        values = (loss, log_likelihood - terms.kl, log_likelihood, terms.kl)
        add_to_means(self.trackers, values, sample_weight)

    @property
    def xla(self) -> bool:
        """Whether XLA can compile a step."""
        return self.posterior.xla and self.prior.xla and self.likelihood.xla

    @property
    def density_dtype(self) -> str:
        """The precision of all densities."""
        return self.likelihood.density_dtype

    def _step(self) -> tf.Tensor | int:
        return self.optimizer.iterations if self.compiled else 0

    # Saving

    def get_config(self) -> dict:
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in PARTS}
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        own = {"seed": self.seed, "name": self.name, "dtype": policy}
        return {**parts, **own, "ex_post": keras.saving.serialize_keras_object(self.ex_post)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "VAE":
        made = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in (*PARTS, "ex_post")
            if name in config
        }
        ex_post = made.pop("ex_post", None)
        vae = cls(**{**{k: v for k, v in config.items() if k != "ex_post"}, **made})
        if ex_post is not None:
            if not ex_post.built:
                ex_post.build((None, ex_post.latent_size))
            vae._hold(ex_post)
        return vae
