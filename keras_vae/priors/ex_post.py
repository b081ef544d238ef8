"""A prior that is fitted after training."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions.normals import MultivariateNormalTriL
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class ExPost(Prior):
    """`p(z) = sum_k pi_k N(z; loc_k, L_k L_k^T)`, set by `fit`, never by training.

    Until `fit` it is N(0, I). `fit` estimates it by maximum likelihood from draws of the
    aggregate posterior, the mean of q(z|x) over the data, which a model that is trained
    with a weak KL, or none, leaves far from N(0, I): draws from the prior then decode to
    what the decoder has seen. The KL is sampled.

    Args:
        latent_size: D.
        components: the number of Normals.

    Raises:
        ValueError: if `latent_size` or `components` is not a positive integer, or when
            `fit` is given draws of another size, or fewer than components.

    Example:
        vae = keras_vae.VAE(..., prior=keras_vae.priors.ExPost(20), ...)
        vae.fit(x_train)
        vae.prior.fit(vae.encode(x_train).sample(seed=0))

    References: P. Ghosh, M. S. M. Sajjadi, A. Vergari, M. Black and B. Schoelkopf, From
    Variational to Deterministic Autoencoders, ICLR 2020.
    """

    def __init__(
        self,
        latent_size: int,
        components: int = 10,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.components = positive_integer(
            components, "components", self, "the number of Normals in the mixture"
        )

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        count, size = self.components, self.latent_size
        self.logits = self._fixed((count,), "logits")
        self.loc = self._fixed((count, size), "loc")
        self.scale_tril = self._fixed((count, size, size), "scale_tril")
        self.scale_tril.assign(np.broadcast_to(np.eye(size), (count, size, size)))
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        logits, loc, scale_tril = (
            tf.cast(weight, self.density_dtype)
            for weight in (self.logits, self.loc, self.scale_tril)
        )
        return tfd.MixtureSameFamily(
            tfd.Categorical(logits), MultivariateNormalTriL(loc, scale_tril)
        )

    def fit(self, z: np.ndarray | tf.Tensor, seed: int = 0) -> None:
        """The mixture of maximum likelihood for draws of z, by expectation maximisation.

        Args:
            z: draws of the aggregate posterior, `[N, D]`: one or more for each example.
            seed: of the start, k-means from random centres.
        """
        from sklearn.mixture import GaussianMixture  # a second to import, and for this alone

        draws = np.asarray(z, "float64")
        if draws.ndim != 2 or draws.shape[1] != self.latent_size or len(draws) < self.components:
            raise ValueError(
                f"`z` of fit is draws of q(z|x). Expected: [N, {self.latent_size}] with N >= "
                f"components={self.components}. Received: {list(draws.shape)}."
            )
        mixture = GaussianMixture(self.components, covariance_type="full", random_state=seed)
        mixture.fit(draws)
        self.logits.assign(np.log(mixture.weights_))
        self.loc.assign(mixture.means_)
        self.scale_tril.assign(np.linalg.cholesky(mixture.covariances_))

    def statement(self) -> Statement:
        return self.stated(
            equation=r"p(z) = \sum_{k} \pi_k\, \mathcal{N}(z;\ \mathrm{loc}_k,\ L_k L_k^\top)",
            parameters={
                "logits": "log of the weights pi, by `fit`, first equal",
                "loc": "by `fit`, first 0",
                "scale_tril": "L, by `fit`, first I",
            },
            fixed=("logits", "loc", "scale_tril", f"{self.components} components"),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "components": self.components}

    def _fixed(self, shape: tuple[int, ...], name: str) -> keras.Variable:
        return self.add_weight(shape, initializer="zeros", trainable=False, name=name)
