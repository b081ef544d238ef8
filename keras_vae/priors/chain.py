"""p(z) as a hierarchy, drawn from the top down."""

import itertools
from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions import chain
from keras_vae.head import Head
from keras_vae.latents import blocks
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


# Registered under its slot: `posteriors.Chain` has the same name, and Keras keeps one of a name.
@keras.saving.register_keras_serializable(package="keras_vae.priors")
class Chain(Prior):
    """`p(z) = p(z_L) p(z_{L-1}|z_L) ... p(z_1|z_2)`, z = [z_1, ..., z_L] side by side.

    z_1 is the layer next to x, z_L the top. With `posteriors.Chain` of the same sizes, two
    layers, and a decoder that reads the first block of z alone, it is the two-layer model of
    Burda et al. (2016); a decoder that reads all of z has connections that skip layers. The
    KL is sampled.

    Args:
        top: p(z_L), from `keras_vae.priors`; it may be conditional.
        heads: z_{L-1} first, z_1 last, from `keras_vae.posteriors`: each is only a head,
            features -> a distribution.
        networks: for each head a Keras model, the z above `[B, D_i]` -> features. They are
            called as at inference: dropout in them does nothing.

    Raises:
        ValueError: if a part is not of its kind, if there is not a network for each head,
            if `top` is made of posteriors, or if the precisions differ.

    Example:
        keras_vae.priors.Chain(
            top=keras_vae.priors.StandardNormal(50),
            heads=[keras_vae.posteriors.DiagonalNormal(100)],
            networks=[keras_vae.networks.mlp([100, 100], activation="tanh")],
        )

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders,
    ICLR 2016.
    """

    def __init__(
        self,
        top: Prior,
        heads: Sequence[Head],
        networks: Sequence[keras.layers.Layer],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        chain.require_heads("Chain", heads, networks, first=0)
        _require_top(top)
        sizes = [top.latent_size, *(chain.size_of(head) for head in heads)]
        super().__init__(sum(sizes), name=name, dtype=dtype, trainable=trainable)
        parts: list[Prior | Head] = [top, *heads]
        chain.require_precision(self, self.density_dtype, parts)
        self.top = top
        self.heads = list(heads)
        self.networks = list(networks)
        self.sizes = sizes
        self.conditional = top.conditional
        self.xla = all(part.xla for part in parts)

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        if not self.top.built:
            self.top.build(input_shape, condition_size)
        for head, network, above in zip(self.heads, self.networks, self.sizes, strict=False):
            chain.build_given(head, network, above)
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        pairs = zip(self.heads, self.networks, strict=True)
        return chain.Chain(
            first=self.top.distribution(condition),
            given=[chain.given(head, network) for head, network in pairs],
            sizes=self.sizes,
            upward=False,
        )

    @property
    def support(self) -> str:
        statements = [part.statement() for part in self._upward()]
        return blocks([part.support for part in statements], self.sizes[::-1])

    def statement(self) -> Statement:
        upward = self._upward()
        layers = [f"z_{i + 1}" for i in range(len(upward))]
        given = [f"{z} given {above}" for z, above in itertools.pairwise(layers)]
        parameters = {
            name: f"{type(part).__name__}, {size} values"
            for name, part, size in zip([*given, layers[-1]], upward, self.sizes[::-1], strict=True)
        }
        return self.stated(
            equation=r"p(z) = p(z_L) \prod_{i=1}^{L-1} p(z_i|z_{i+1})",
            parameters=parameters,
            learned=(*given, *(f"{name} of {layers[-1]}" for name in self.top.statement().learned)),
            fixed=("each layer depends on the one above alone",),
        )

    def _upward(self) -> list[Prior | Head]:
        """The parts in the order of z, z_1 first."""
        return [*self.heads[::-1], self.top]

    def get_config(self) -> dict:
        config = super().get_config()
        del config["latent_size"]  # the sum of the parts'
        for name in ("top", "heads", "networks"):
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return config

    @classmethod
    def from_config(cls, config: dict) -> "Chain":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("top", "heads", "networks")
        }
        return super().from_config({**config, **parts})


def _require_top(top: object) -> None:
    if not isinstance(top, Prior) or top.uses_encoder:
        raise ValueError(
            "`top` of Chain is p(z_L). Expected: a prior from keras_vae.priors that is not made "
            f"of posteriors, which are of all layers. Received: {top!r}."
        )
