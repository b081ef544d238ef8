"""q(z|x) as a hierarchy, drawn from the top down, as the prior is."""

import itertools
import math

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import chain
from keras_vae.latents import blocks
from keras_vae.posteriors.hierarchy import Hierarchy
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae")
class TopDown(Hierarchy):
    """`q(z|x) = q(z_L|x) q(z_{L-1}|z_L, x) ... q(z_1|z_2, x)`, z = [z_1, ..., z_L] side by side.

    Drawn in the order of `priors.Chain`, as in the ladder VAE of Sonderby et al. (2016), but
    for its sharing of weights with the prior: each layer sees x, and the layer above. The
    KL is sampled.

    Args:
        heads: z_L first, z_1 last, from `keras_vae.posteriors`: the first reads the
            encoder's features, each other one its network's.
        networks: for each head after the first a Keras model, the z above beside the
            encoder's features flattened, `[B, D_i + F]` -> features. They are called as at
            inference: dropout in them does nothing.

    Parameters: those of the first head; `features` `[B, F]`.

    Raises:
        ValueError: if a part is not of its kind, if there is not a network for each head
            after the first, or if the precisions differ.

    Example:
        keras_vae.posteriors.TopDown(
            heads=[
                keras_vae.posteriors.DiagonalNormal(50),
                keras_vae.posteriors.DiagonalNormal(100),
            ],
            networks=[keras_vae.networks.mlp([200])],
        )

    References: C. K. Sonderby, T. Raiko, L. Maaloe, S. K. Sonderby and O. Winther, Ladder
    Variational Autoencoders, NeurIPS 2016.
    """

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        # Axes of unknown size are counted here and refused by the first head.
        self.features_size = math.prod(axis or 1 for axis in features_shape[1:])
        self.build_layers(features_shape, beside=self.features_size)

    def raw(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        flat = keras.ops.reshape(features, (-1, self.features_size))
        return {
            **self.heads[0].raw(features),
            "features": keras.ops.cast(flat, self.density_dtype),
        }

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**self.heads[0].link(_of_first(raw)), "features": raw["features"]}

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        first = _of_first(parameters)
        pairs = zip(self.heads[1:], self.networks, strict=True)
        return chain.Chain(
            first=self.heads[0].distribution(first),
            given=[chain.given(head, network, parameters["features"]) for head, network in pairs],
            sizes=self.sizes,
            upward=False,
            reparameterised=self.reparameterised,
        )

    @property
    def support(self) -> str:
        return blocks([head.support for head in self.heads[::-1]], self.sizes[::-1])

    def statement(self) -> Statement:
        layers = [f"z_{i}" for i in range(len(self.heads), 0, -1)]
        below = [f"{z} given {above}, x" for above, z in itertools.pairwise(layers)]
        given = [f"{layers[0]} given x", *below]
        first = self.heads[0].statement().parameters
        return self.stated(
            equation=r"q(z|x) = q(z_L|x) \prod_{i=1}^{L-1} q(z_i|z_{i+1}, x)",
            parameters={
                **{name: f"of {layers[0]}, {source}" for name, source in first.items()},
                "features": "the encoder's, which the layers below read beside the z above",
            },
            learned=tuple(given),
            fixed=self.families(given),
        )


def _of_first(values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What is the first head's."""
    return {name: value for name, value in values.items() if name != "features"}
