"""q(z|x) of blocks of different families."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.blocks import Blocks, require_blocks, require_precision
from keras_vae.latents import blocks as supports
from keras_vae.posteriors.posterior import Posterior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae.posteriors")
class Product(Posterior):
    """`q(z|x) = prod_i q_i(b_i|x)`, z = [b_1, b_2, ...] side by side, independent given x.

    For latents of several kinds: a class beside a style, a direction beside a size. Each
    block reads the encoder's features itself. D is the sum of the blocks' sizes. The KL to a
    `priors.Product` of equal sizes is the sum of the blocks', exact if each of them is, else
    sampled as a whole.

    Args:
        blocks: from `keras_vae.posteriors`, in the order in which they lie in z.

    Parameters: those of block i as `"i/name"`, counted from 0.

    Raises:
        ValueError: if `blocks` is not a list of one or more posteriors, or if their
            precisions differ.

    Example:
        keras_vae.posteriors.Product(
            [
                keras_vae.posteriors.RelaxedOneHot(10, classes=10, temperature=0.5),
                keras_vae.posteriors.DiagonalNormal(20),
            ]
        )

    References: E. Dupont, Learning Disentangled Joint Continuous and Discrete
    Representations, NeurIPS 2018.
    """

    def __init__(
        self,
        blocks: Sequence[Posterior],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        require_blocks(blocks, Posterior, "keras_vae.posteriors")
        size = sum(block.latent_size for block in blocks)
        super().__init__(size, name=name, dtype=dtype, trainable=trainable)
        require_precision(self, self.density_dtype, blocks)
        self.blocks = list(blocks)
        self.reparameterised = all(block.reparameterised for block in blocks)
        self.xla = all(block.xla for block in blocks)

    @property
    def support(self) -> str:
        return supports(
            [block.support for block in self.blocks], [block.latent_size for block in self.blocks]
        )

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        for block in self.blocks:
            if not block.built:
                block.build(features_shape)

    def raw(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return _numbered([block.raw(features) for block in self.blocks])

    def projected(self) -> dict[str, tuple[int, ...]]:
        return _numbered([block.projected() for block in self.blocks])

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return _numbered([block.link(_of(i, raw)) for i, block in enumerate(self.blocks)])

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return Blocks(
            [block.distribution(_of(i, parameters)) for i, block in enumerate(self.blocks)]
        )

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        """The centre of each block."""
        pairs = zip(self.blocks, distribution.blocks, strict=True)
        return tf.concat([block.centre(own) for block, own in pairs], axis=-1)

    def anneal(self, step: tf.Tensor | int) -> None:
        for block in self.blocks:
            block.anneal(step)

    def statement(self) -> Statement:
        statements = [block.statement() for block in self.blocks]
        return self.stated(
            equation=r"q(z|x) = \prod_{i} q_i(b_i|x),\quad z = [b_0, b_1, \ldots]",
            parameters=_numbered([statement.parameters for statement in statements]),
            learned=tuple(f"{i}/{name}" for i, s in enumerate(statements) for name in s.learned),
            fixed=(
                "no dependence between blocks given x",
                *(f"block {i}: {s.family}, {s.equation}" for i, s in enumerate(statements)),
            ),
        )

    def get_config(self) -> dict:
        config = super().get_config()
        del config["latent_size"]  # the sum of the blocks'
        return {**config, "blocks": keras.saving.serialize_keras_object(self.blocks)}

    @classmethod
    def from_config(cls, config: dict) -> "Product":
        blocks = keras.saving.deserialize_keras_object(config["blocks"])
        return super().from_config({**config, "blocks": blocks})


def _numbered(blocks: Sequence[dict]) -> dict:
    """One dict of those of the blocks, their keys led by the block's number."""
    return {f"{i}/{name}": value for i, own in enumerate(blocks) for name, value in own.items()}


def _of(number: int, values: dict) -> dict:
    """What `_numbered` took from one block."""
    start = f"{number}/"
    return {
        name.removeprefix(start): value for name, value in values.items() if name.startswith(start)
    }
