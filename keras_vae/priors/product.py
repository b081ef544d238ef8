"""p(z) of blocks of different families."""

from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.distributions.blocks import Blocks, require_blocks, require_precision
from keras_vae.latents import blocks as supports
from keras_vae.priors.prior import Encode, Prior
from keras_vae.statement import Statement


@keras.saving.register_keras_serializable(package="keras_vae.priors")
class Product(Prior):
    """`p(z) = prod_i p_i(b_i)`, z = [b_1, b_2, ...] side by side, independent.

    For latents of several kinds, with a `posteriors.Product` of the same kinds. D is the sum
    of the blocks' sizes. It is conditional if a block is, and that block alone is given the
    condition's information.

    Args:
        blocks: from `keras_vae.priors`, in the order in which they lie in z.

    Raises:
        ValueError: if `blocks` is not a list of one or more priors, if one of them is made
            of posteriors, which are of the whole of z, or if their precisions differ.

    Example:
        keras_vae.priors.Product(
            [
                keras_vae.priors.UniformCategorical(10, classes=10, temperature=0.5),
                keras_vae.priors.StandardNormal(20),
            ]
        )

    References: E. Dupont, Learning Disentangled Joint Continuous and Discrete
    Representations, NeurIPS 2018.
    """

    def __init__(
        self,
        blocks: Sequence[Prior],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        require_blocks(blocks, Prior, "keras_vae.priors")
        _require_own(blocks)
        size = sum(block.latent_size for block in blocks)
        super().__init__(size, name=name, dtype=dtype, trainable=trainable)
        require_precision(self, self.density_dtype, blocks)
        self.blocks = list(blocks)
        self.conditional = any(block.conditional for block in blocks)
        self.xla = all(block.xla for block in blocks)

    @property
    def support(self) -> str:
        return supports(
            [block.support for block in self.blocks], [block.latent_size for block in self.blocks]
        )

    def build(self, input_shape: tuple[int | None, ...], condition_size: int = 0) -> None:
        for block in self.blocks:
            if not block.built:
                block.build(input_shape, condition_size)
        self.built = True

    def distribution(
        self, condition: tf.Tensor | None = None, encode: Encode | None = None
    ) -> tfd.Distribution:
        return Blocks([block.distribution(condition, encode) for block in self.blocks])

    def start_from(self, inputs: tf.Tensor) -> None:
        for block in self.blocks:
            block.start_from(inputs)

    def statement(self) -> Statement:
        statements = [block.statement() for block in self.blocks]
        return self.stated(
            equation=r"p(z) = \prod_{i} p_i(b_i),\quad z = [b_0, b_1, \ldots]",
            parameters={
                f"{i}/{name}": source
                for i, s in enumerate(statements)
                for name, source in s.parameters.items()
            },
            learned=tuple(f"{i}/{name}" for i, s in enumerate(statements) for name in s.learned),
            fixed=(
                "no dependence between blocks",
                *(f"block {i}: {s.family}, {s.equation}" for i, s in enumerate(statements)),
                *(f"{i}/{name}" for i, s in enumerate(statements) for name in s.fixed),
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


def _require_own(blocks: Sequence[Prior]) -> None:
    for index, block in enumerate(blocks):
        if block.uses_encoder:
            raise ValueError(
                f"A block of Product is p(z) of a part of z. Expected: priors of their own. "
                f"Received: {type(block).__name__} at index {index}, which is made of q(z|x), "
                "the posterior of the whole of z. Use it alone."
            )
