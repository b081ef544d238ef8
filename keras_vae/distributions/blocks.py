"""Distributions of unlike kinds, one after the other in one vector."""

from collections.abc import Sequence

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class Blocks(tfd.Distribution):
    """`log p(z) = sum_i log p_i(b_i)`, z the independent blocks b one after the other.

    Batch: that of the blocks, which may broadcast, so that one block of a prior can depend
    on a condition and another not. Event `[D]`, D the sum of the blocks' sizes.

    `tfd.Blockwise` is the same for blocks of equal batch shape.

    Args:
        blocks: each of a known event `[D_i]`.
        name: the distribution's name.
    """

    def __init__(self, blocks: Sequence[tfd.Distribution], name: str = "Blocks") -> None:
        parameters = dict(locals())
        self.blocks = list(blocks)
        kinds = {block.reparameterization_type for block in blocks}
        super().__init__(
            dtype=self.blocks[0].dtype,
            reparameterization_type=kinds.pop() if len(kinds) == 1 else tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: object = None) -> dict:
        each = lambda self: [0 for _ in self.blocks]  # noqa: E731, as TFP takes it
        return {"blocks": tfp.util.BatchedComponentProperties(event_ndims=each)}

    @property
    def sizes(self) -> list[int]:
        """The sizes of the blocks."""
        return [block.event_shape[0] for block in self.blocks]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([sum(self.sizes)])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([sum(self.sizes)])

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        seeds = tf.unstack(tfp.random.split_seed(seed, n=len(self.blocks)))
        pairs = zip(self._spread(), seeds, strict=True)
        return tf.concat([block.sample(n, seed=each) for block, each in pairs], axis=-1)

    def _spread(self) -> list[tfd.Distribution]:
        """The blocks, each with the whole batch, so that no draw stands for two examples."""
        whole = self.batch_shape
        return [
            block
            if block.batch_shape == whole
            else tfd.BatchBroadcast(block, to_shape=self.batch_shape_tensor())
            for block in self.blocks
        ]

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        parts = zip(self.blocks, tf.split(z, self.sizes, axis=-1), strict=True)
        return sum(block.log_prob(part) for block, part in parts)

    def _mean(self) -> tf.Tensor:
        return self.joined([block.mean() for block in self.blocks])

    def _variance(self) -> tf.Tensor:
        return self.joined([block.variance() for block in self.blocks])

    def _mode(self) -> tf.Tensor:
        return self.joined([block.mode() for block in self.blocks])

    def joined(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """A value for each block, batch `[...]` -> z `[..., D]`."""
        batch = self.batch_shape_tensor()
        return tf.concat(
            [tf.broadcast_to(part, tf.concat([batch, part.shape[-1:]], 0)) for part in parts],
            axis=-1,
        )


def require_blocks(blocks: object, kind: type, place: str) -> None:
    """Raises a ValueError if `blocks` is not a list of one or more parts of a kind."""
    good = isinstance(blocks, list | tuple) and all(isinstance(block, kind) for block in blocks)
    if not good or not blocks:
        raise ValueError(
            "`blocks` of Product are the parts of z, one after the other. Expected: a list of "
            f"one or more parts from {place}. Received: {blocks!r}."
        )


def require_precision(owner: keras.layers.Layer, dtype: str, blocks: Sequence) -> None:
    """Raises a ValueError if the densities of the blocks are not all of one precision."""
    found = [block.density_dtype for block in blocks]
    if set(found) != {dtype}:
        raise ValueError(
            f"The blocks of {type(owner).__name__} must agree. Expected: {dtype} densities, as "
            f"its own. Received: {', '.join(found)}. Give all of them the same dtype."
        )


@tfd.RegisterKL(Blocks, Blocks)
def _kl_blocks_blocks(q: Blocks, p: Blocks, name: str | None = None) -> tf.Tensor:
    """`sum_i KL(q_i || p_i)`, exact if every one of them is."""
    if q.sizes != p.sizes:
        raise NotImplementedError("no closed form between blocks of other sizes")
    return sum(one.kl_divergence(other) for one, other in zip(q.blocks, p.blocks, strict=True))
