"""A prior that is made of posteriors."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.arguments import positive_integer
from keras_vae.distributions.normal_mixture import NormalMixture
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class VampPrior(Prior):
    """`p(z) = 1/K sum_k q(z|u_k)`, the pseudo-inputs u_k learned.

    The prior that maximises the evidence lower bound is the aggregate posterior, the mean of
    q(z|x) over the data; this is its form with K learned inputs in the data's place. It owns
    the pseudo-inputs alone: the encoder is the model's, and every change of it changes the
    prior. The KL is sampled. A draw costs one from each component.

    The pseudo-inputs start at examples of the data where training gives them
    (`start_from`), else at draws from N(0, 1); nothing keeps them in the data's range.

    Args:
        latent_size: D.
        pseudo_inputs: K.

    Raises:
        ValueError: if `latent_size` or `pseudo_inputs` is not a positive integer, when the
            size of the encoder's input is unknown, or when there is no encoder to ask.

    Example: `keras_vae.priors.VampPrior(40, pseudo_inputs=500)`

    References: J. M. Tomczak and M. Welling, VAE with a VampPrior, AISTATS 2018.
    """

    uses_encoder = True

    def __init__(
        self,
        latent_size: int,
        pseudo_inputs: int = 50,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(latent_size, name=name, dtype=dtype, trainable=trainable)
        self.pseudo_inputs = positive_integer(
            pseudo_inputs, "pseudo_inputs", self, "the number of learned inputs"
        )

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        if input_shape is None or None in input_shape[1:]:
            raise ValueError(
                "VampPrior learns inputs of the encoder. Expected: an input_shape [None, ...] "
                f"with fixed axes after the first. Received: {input_shape}."
            )
        self.inputs = self.add_weight(
            (self.pseudo_inputs, *input_shape[1:]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="pseudo_inputs",
        )
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        if encode is None:
            raise ValueError(
                "VampPrior is a mixture of q(z|u) and owns no encoder. Expected: "
                "encode=a function, what the encoder is given -> q(z|.). Received: encode=None. "
                "A VAE passes its own."
            )
        equal = tf.zeros((self.pseudo_inputs,), self.density_dtype)
        components = encode(tf.convert_to_tensor(self.inputs))
        if isinstance(components, tfd.MultivariateNormalDiag):  # a tenth of the time
            return NormalMixture(equal, components.mean(), components.stddev())
        return tfd.MixtureSameFamily(tfd.Categorical(equal), components)

    def start_from(self, inputs: tf.Tensor) -> None:
        """Sets the pseudo-inputs to examples, evenly spaced in `inputs`, repeated if too few."""
        inputs = tf.convert_to_tensor(inputs)
        rows = np.arange(self.pseudo_inputs) * len(inputs) // self.pseudo_inputs
        self.inputs.assign(tf.cast(tf.gather(inputs, rows), self.inputs.dtype))

    def statement(self) -> Statement:
        stated = self.stated(
            equation=r"p(z) = \frac{1}{K} \sum_{k=1}^{K} q(z|u_k)",
            parameters={"u": "the pseudo-inputs, learned", "q": "the model's own posterior"},
            learned=("u", "q, as the posterior"),
            fixed=(f"K = {self.pseudo_inputs} components of equal weight",),
        )
        return dataclasses.replace(stated, support="that of q(z|x)")

    def get_config(self) -> dict:
        return {**super().get_config(), "pseudo_inputs": self.pseudo_inputs}
