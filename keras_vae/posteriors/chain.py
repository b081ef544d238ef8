"""q(z|x) as a hierarchy, drawn from x upwards."""

import itertools

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import chain
from keras_vae.latents import blocks
from keras_vae.posteriors.hierarchy import Hierarchy
from keras_vae.statement import Statement


# Registered under its slot: `priors.Chain` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class Chain(Hierarchy):
    """`q(z|x) = q(z_1|x) q(z_2|z_1) ... q(z_L|z_{L-1})`, z = [z_1, ..., z_L] side by side.

    x reaches the layers above the first only by way of a draw of the layer below. For
    `priors.Chain` with the same sizes; with two layers it is the two-layer model of Burda
    et al. (2016). The KL is sampled.

    Args:
        heads: z_1 first, from `keras_vae.posteriors`: the first reads the encoder's
            features, each other one its network's.
        networks: for each head after the first a Keras model, the z below `[B, D_i]` ->
            features. They are called as at inference: dropout in them does nothing.

    Parameters: those of the first head.

    Raises:
        ValueError: if a part is not of its kind, if there is not a network for each head
            after the first, or if the precisions differ.

    Example:
        keras_vae.posteriors.Chain(
            heads=[
                keras_vae.posteriors.DiagonalNormal(100),
                keras_vae.posteriors.DiagonalNormal(50),
            ],
            networks=[keras_vae.networks.mlp([100, 100], activation="tanh")],
        )

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders,
    ICLR 2016.
    """

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        self.build_layers(features_shape, beside=0)

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        pairs = zip(self.heads[1:], self.networks, strict=True)
        return chain.Chain(
            first=self.heads[0].distribution(parameters),
            given=[chain.given(head, network) for head, network in pairs],
            sizes=self.sizes,
            upward=True,
            reparameterised=self.reparameterised,
        )

    @property
    def support(self) -> str:
        return blocks([head.support for head in self.heads], self.sizes)

    def statement(self) -> Statement:
        layers = ["x", *(f"z_{i + 1}" for i in range(len(self.heads)))]
        given = [f"{z} given {below}" for below, z in itertools.pairwise(layers)]
        first = self.heads[0].statement().parameters
        return self.stated(
            equation=r"q(z|x) = q(z_1|x) \prod_{i=2}^{L} q(z_i|z_{i-1})",
            parameters={name: f"of z_1, {source}" for name, source in first.items()},
            learned=tuple(given),
            fixed=self.families(given),
        )
