"""A Normal prior that depends on the condition."""

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import normals
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class ConditionalNormal(Prior):
    """`p(z|c) = prod_d N(z_d; loc_d(c), scale_d(c)^2)`, c the condition.

    Lets the condition say where in the latent space its examples lie, where a prior without
    it asks z to be independent of c. loc and scale are affine in the condition, or in the
    features that a network makes of it; their kernels start at zero, so that the prior
    starts as N(0, I). The KL of a Normal posterior to it is exact.

    Args:
        latent_size: D.
        network: any Keras model, the condition `[B, C]` -> features of any shape; None for
            the condition itself. It is called as at inference: dropout in it does nothing.

    Raises:
        ValueError: if `latent_size` is not a positive integer, if `network` is no Keras
            layer, or when there is no condition.

    Example: `keras_vae.priors.ConditionalNormal(20, keras_vae.networks.mlp([100]))`

    References: K. Sohn, H. Lee and X. Yan, Learning Structured Output Representation using
    Deep Conditional Generative Models, NeurIPS 2015.
    """

    conditional = True

    def __init__(
        self,
        latent_size: int,
        network: keras.layers.Layer | None = None,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        if network is not None and not isinstance(network, keras.layers.Layer):
            raise ValueError(
                "`network` of ConditionalNormal reads the condition. Expected: a Keras model, "
                f"or None. Received: {network!r}."
            )
        self.network = network

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        if not condition_size:
            raise ValueError(
                "ConditionalNormal is p(z|condition). Expected: a model with a condition. "
                "Received: condition_size=0. Without one use priors.LearnedNormal."
            )
        one = keras.initializers.Constant(float(inverse_positive(1.0)))
        self.flatten = keras.layers.Flatten(name="flatten", dtype=self.dtype_policy)
        self.loc = self._dense("zeros", "loc")
        self.raw_scale = self._dense(one, "raw_scale")
        features = self._features(keras.KerasTensor((None, condition_size)))
        self.loc.build(features.shape)
        self.raw_scale.build(features.shape)
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        if condition is None:
            raise ValueError(
                "ConditionalNormal is p(z|condition). Expected: condition=[B, C]. Received: "
                "condition=None. Pass the condition along with x."
            )
        features = self._features(condition)
        return normals.MultivariateNormalDiag(
            tf.cast(self.loc(features), self.density_dtype),
            positive(tf.cast(self.raw_scale(features), self.density_dtype)),
        )

    def _features(self, condition: tf.Tensor) -> tf.Tensor:
        features = condition if self.network is None else self.network(condition)
        return self.flatten(features)

    def _dense(self, first: object, name: str) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.latent_size,
            kernel_initializer="zeros",
            bias_initializer=first,
            name=name,
            dtype=self.dtype_policy,
        )

    def statement(self) -> Statement:
        of = "the condition" if self.network is None else "features of the condition"
        return self.stated(
            equation=r"p(z|c) = \prod_{d} \mathcal{N}(z_d;\ \mathrm{loc}_d(c),\ \mathrm{scale}_d(c)^2)",
            parameters={
                "loc": f"affine in {of}, first 0",
                "scale_diag": f"softplus of an affine function of {of}, first 1",
            },
            learned=("loc(c)", "scale_diag(c)"),
            fixed=("no correlation between latent dimensions given c",),
        )

    def get_config(self) -> dict:
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config: dict) -> "ConditionalNormal":
        network = keras.saving.deserialize_keras_object(config["network"])
        return super().from_config({**config, "network": network})
