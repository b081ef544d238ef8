"""What can be asked of a model: its distributions, their means and their draws."""

import abc
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.beside import NAMES
from keras_vae.conditions import Given, Labels
from keras_vae.densities import Densities
from keras_vae.divergences import kl_divergence
from keras_vae.ex_post import fitted
from keras_vae.imputation import imputed
from keras_vae.latents import REALS
from keras_vae.priors import ExPost
from keras_vae.randomness import split_seed


class GenerativeModel(Densities, abc.ABC):
    """`p(x, z) = p(z) p(x|z)` with q(z|x), made of parts that `VAE` is given.

    Wherever x is taken it may be an array, a `keras_vae.data` source (whose condition and
    size factor are then used), or what the likelihood takes beside these, such as the
    columns of a table.
    """

    ex_post: ExPost | None

    # The distributions

    def encode(self, x: Any, condition: Any = None, training: bool = False) -> tfd.Distribution:
        """q(z|x): batch `[B]`, event `[D]`, for x `[B, *E]`."""
        x, given = self._checked(x, condition, optional=("size_factor",))
        return self._posterior(x, self._known(x, given), training)

    def decode(
        self,
        z: np.ndarray | tf.Tensor,
        condition: Any = None,
        size_factor: Any = None,
        training: bool = False,
    ) -> tfd.Distribution:
        """p(x|z): batch `[B]` or `[K, B]`, event `E`, for z `[B, D]` or `[K, B, D]`."""
        z = tf.cast(tf.convert_to_tensor(z), self.prior.density_dtype)
        if z.shape.rank not in (2, 3) or z.shape[-1] != self.prior.latent_size:
            raise ValueError(
                f"`z` of decode has the wrong shape. Expected: [B, {self.prior.latent_size}] or "
                f"[K, B, {self.prior.latent_size}]. Received: {z.shape.as_list()}."
            )
        given = self._given(z.shape[-2], condition, size_factor)
        return self._likelihood(z, given, training)

    def classify(self, x: Any) -> tfd.Categorical:
        """q(c|x), batch `[B]`, of a model whose condition is partly observed labels."""
        if not isinstance(self.condition, Labels):
            raise ValueError(
                "`classify` needs a classifier q(c|x). Expected: a model with "
                f"condition=keras_vae.conditions.Labels(...). Received: condition={self.condition}."
            )
        x, _ = self._checked(x, optional=NAMES)
        return tfd.Categorical(self.condition.log_probs(self.likelihood.encoder_input(x)))

    def latents(self, x: Any, condition: Any = None) -> tuple[tfd.Distribution, tfd.Distribution]:
        """q(z|x) and the p(z) that it is compared with, batches `[B]` and `[]` or `[B]`."""
        x, given = self._checked(x, condition, optional=("size_factor",))
        given = self._known(x, given)
        return self._posterior(x, given), self._prior(given)

    def prior_given(self, condition: Any = None) -> tfd.Distribution:
        """p(z), batch `[]`; or p(z|condition), batch `[B]`."""
        if condition is None:
            return self._prior(Given())
        return self._prior(self._given(None, condition, None))

    def reconstruct(
        self,
        x: Any,
        draw: bool = False,
        seed: int | None = None,
        condition: Any = None,
        size_factor: Any = None,
    ) -> Any:
        """The mean of p(x|z) at the mean of q(z|x); with `draw`, a draw of x at a draw of z.

        Args:
            x: `[B, *E]`.
            draw: whether to draw. Squared error is the error of the mean, never of a draw.
            seed: an integer, for the same draw each time; None for a new one.
            condition: of a conditional model, for each x.
            size_factor: of a likelihood that takes one, for each x.

        Returns:
            `[B, *E]`
        """
        x, given = self._checked(x, condition, size_factor)
        given = self._known(x, given)
        if not draw:
            return self.likelihood.given_back(self._centre(x, given))
        z_seed, x_seed = split_seed(self._seed(seed))
        z = self._posterior(x, given).sample(seed=z_seed)
        return self.likelihood.given_back(self._likelihood(z, given).sample(seed=x_seed))

    def sample(
        self,
        num_samples: int = 1,
        draw: bool = False,
        seed: int | None = None,
        condition: Any = None,
        size_factor: Any = None,
    ) -> Any:
        """z from the prior, then the mean of p(x|z) or, with `draw`, a draw of x: `[n, *E]`.

        Args:
            num_samples: n.
            draw: whether to draw x, too.
            seed: an integer, for the same draw each time; None for a new one.
            condition: of a conditional model: n values, or one for all.
            size_factor: of a likelihood that takes one: n values, or one for all.
        """
        count = positive_integer(num_samples, "num_samples", self, "the number of draws")
        z_seed, x_seed = split_seed(self._seed(seed))
        if self.condition is not None and condition is None:
            condition = self.condition.drawn(count, tf.random.fold_in(z_seed, 1)).numpy()
        given = self._given(count, condition, size_factor)
        p = self._prior(given) if self.ex_post is None else self.ex_post.distribution()
        z = p.sample(seed=z_seed) if p.batch_shape.rank else p.sample(count, seed=z_seed)
        x_given_z = self._likelihood(z, given)
        x = x_given_z.sample(seed=x_seed) if draw else self.likelihood.centre(x_given_z)
        return self.likelihood.given_back(x)

    def elbo(
        self,
        x: Any,
        num_samples: int = 1,
        seed: int | None = None,
        condition: Any = None,
        size_factor: Any = None,
    ) -> tf.Tensor:
        """`E_q[log p(x|z)] - KL(q(z|x) || p(z))` of each x, `[B]`, in nats, from K draws.

        Where a label is not known it is a latent variable, too, and is summed over.
        """
        positive_integer(num_samples, "num_samples", self, "the number of draws of z")
        x, given = self._checked(x, condition, size_factor)
        cases = self._cases(x, given)
        p = self._prior(cases.given)
        q = self._posterior(cases.x, cases.given)
        z = q.sample(num_samples, seed=self._seed(seed))
        log_likelihood = self._likelihood(z, cases.given).log_prob(cases.x)  # [K, B]
        kl = kl_divergence(q, p, z) + cases.given.log_posterior - cases.given.log_prior
        return cases.folded(tf.reduce_mean(log_likelihood, 0) - kl)

    def impute(
        self,
        x: Any,
        num_samples: int = 100,
        draw: bool = False,
        seed: int | None = None,
        condition: Any = None,
        size_factor: Any = None,
    ) -> Any:
        """x with its missing values filled in, `[B, *E]`; see `keras_vae.imputation`.

        Args:
            x: with NaN where a value is missing.
            num_samples: K draws of z, weighted by importance.
            draw: a draw of the missing values; else their mean.
            seed: an integer, for the same draw each time; None for a new one.
            condition: of a conditional model, for each x.
            size_factor: of a likelihood that takes one, for each x.
        """
        positive_integer(num_samples, "num_samples", self, "the number of draws of z")
        x, given = self._checked(x, condition, size_factor)
        given = self._known(x, given)
        p, q = self._prior(given), self._posterior(x, given)
        z_seed, x_seed = split_seed(self._seed(seed))
        z = q.sample(num_samples, seed=z_seed)
        x_given_z = self._likelihood(z, given)
        log_weights = x_given_z.log_prob(x) + p.log_prob(z) - q.log_prob(z)  # [K, B]
        filled = imputed(x, self.likelihood, x_given_z, log_weights, x_seed if draw else None)
        return self.likelihood.given_back(filled)

    def call(self, x: Any, training: bool = False) -> tf.Tensor:
        """The mean of p(x|z) at the mean of q(z|x), `[B, *E]`: what `predict` returns."""
        batch = x if isinstance(x, dict) else {"x": x}
        values = keras.ops.cast(batch["x"], self.likelihood.density_dtype)
        beside = {name: batch[name] for name in NAMES if name in batch}
        given = self._known(values, self._as_given(beside))
        return self._centre(values, given, training)

    # The prior after training

    def fit_prior(self, x: Any, num_components: int = 10, seed: int | None = None) -> None:
        """Fits a mixture of Normals to draws of q(z|x) over the data; `sample` then draws from it.

        The bound keeps the prior that the model was trained with. The mixture is saved with
        the model.

        Args:
            x: `[N, *E]`.
            num_components: of the mixture.
            seed: of the draws and the fit.

        References: P. Ghosh, M. S. M. Sajjadi, A. Vergari, M. Black and B. Scholkopf, From
        Variational to Deterministic Autoencoders, ICLR 2020.
        """
        if self.posterior.support != REALS or self.condition is not None:
            raise ValueError(
                "`fit_prior` fits Normals to z, and the condition has no part in them. Expected: "
                f"z in {REALS} and no condition. Received: {self.posterior.support}, condition="
                f"{self.condition}."
            )
        positive_integer(num_components, "num_components", self, "the number of Normals")
        source = self.likelihood.as_source(x)
        self._hold(fitted(self.encode, source, self.prior, num_components, self._seed(seed)))

    def _hold(self, ex_post: ExPost) -> None:
        self._tracker.unlock()  # Keras lets a built model have no new layer, as in enable_lora
        if self.ex_post is not None:
            self._tracker.untrack(self.ex_post)
        self.ex_post = ex_post
        self._tracker.lock()
