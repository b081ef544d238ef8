"""A latent vector of several layers, each drawn given the one before."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from keras_vae.head import Head

Given = Callable[[tf.Tensor], tfd.Distribution]


class Chain(tfd.Distribution):
    """`log p(z) = log p(b_1) + sum_i log p(b_i | b_{i-1})`, z the blocks b side by side.

    Batch as that of `first`, event `[D]`, D the sum of the sizes.

    Args:
        first: the distribution of the block that is drawn first, event `[sizes[0]]`.
        given: for each further block, from the value of the block before, `[..., D_{i-1}]`,
            to its distribution, batch `[...]`, event `[D_i]`.
        sizes: the blocks' sizes, in the order in which they are drawn.
        upward: whether the block that is drawn first lies first in z; else last.
        reparameterised: whether a draw is a differentiable function of the parameters.
        name: the distribution's name.
    """

    def __init__(
        self,
        first: tfd.Distribution,
        given: Sequence[Given],
        sizes: Sequence[int],
        upward: bool,
        reparameterised: bool = True,
        name: str = "Chain",
    ) -> None:
        parameters = dict(locals())
        self.first = first
        self.given = list(given)
        self.sizes = list(sizes)
        self.upward = upward
        kind = tfd.FULLY_REPARAMETERIZED if reparameterised else tfd.NOT_REPARAMETERIZED
        super().__init__(
            dtype=first.dtype,
            reparameterization_type=kind,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    def walk(self, choices: Sequence[Callable[[tfd.Distribution], tf.Tensor]]) -> tf.Tensor:
        """z, made by choosing a value for each block in turn from its distribution."""
        blocks = [choices[0](self.first)]
        for given, choose in zip(self.given, choices[1:], strict=True):
            blocks.append(choose(given(blocks[-1])))
        return tf.concat(self._in_order(blocks), axis=-1)

    def _in_order(self, blocks: list) -> list:
        return blocks if self.upward else blocks[::-1]

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        seeds = tf.unstack(tfp.random.split_seed(seed, n=len(self.sizes)))
        draws = [lambda p, seed=seed: p.sample(seed=seed) for seed in seeds[1:]]
        return self.walk([lambda p: p.sample(n, seed=seeds[0]), *draws])

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        blocks = self._in_order(tf.split(z, self._in_order(self.sizes), axis=-1))
        total = self.first.log_prob(blocks[0])
        for given, above, block in zip(self.given, blocks, blocks[1:], strict=False):
            total += given(above).log_prob(block)
        return total

    def _batch_shape(self) -> tf.TensorShape:
        return self.first.batch_shape

    def _batch_shape_tensor(self) -> tf.Tensor:
        return self.first.batch_shape_tensor()

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([sum(self.sizes)])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([sum(self.sizes)])


def given(head: Head, network: keras.layers.Layer, features: tf.Tensor | None = None) -> Given:
    """From a block of z, `[..., D_i]`, to the distribution that `head` reads off `network` of it.

    Args:
        head: features -> a distribution.
        network: z, or z beside `features`, -> the features that the head reads.
        features: `[..., F]` of x, if the distribution is given x as well.
    """

    def distribution(z: tf.Tensor) -> tfd.Distribution:
        known = z if features is None else _beside(z, features)
        # Networks know one batch axis: [..., D_i] -> [N, D_i].
        parameters = head(network(tf.reshape(known, (-1, known.shape[-1]))))
        leading = _leading(known)
        return head.distribution(
            {
                name: tf.reshape(value, (*leading, *value.shape[1:]))
                for name, value in parameters.items()
            }
        )

    return distribution


def build_given(head: Head, network: keras.layers.Layer, size: int) -> None:
    """Makes the weights of a head and of the network before it, which reads `[B, size]`."""
    head(network(keras.KerasTensor((None, size))))


def size_of(head: Head) -> int:
    """The size of the block that a head is the distribution of.

    Raises:
        ValueError: if it is not a distribution of vectors.
    """
    shape = head.statement().event_shape
    if len(shape) != 1:
        raise ValueError(
            "`heads` of Chain are distributions of vectors. Expected: heads from "
            f"keras_vae.posteriors. Received: {type(head).__name__} of shape {list(shape)}."
        )
    return shape[0]


def require_heads(
    owner: str, heads: object, networks: object, first: int, kind: type = Head
) -> None:
    """Raises a ValueError unless there are heads, and networks for all but the `first` ones."""
    _require_list(owner, "heads", heads, kind, "heads from keras_vae.posteriors", first + 1)
    _require_list(owner, "networks", networks, keras.layers.Layer, "Keras models", 1)
    if len(networks) != len(heads) - first:  # type: ignore[arg-type]
        which = "each head after the first" if first else "each head"
        raise ValueError(
            f"`networks` of {owner} has one for {which}. Expected: "
            f"{len(heads) - first}. Received: {len(networks)}."  # type: ignore[arg-type]
        )


def require_precision(owner: keras.layers.Layer, dtype: str, parts: Sequence) -> None:
    """Raises a ValueError if the densities of the parts are not all of one precision."""
    found = [part.density_dtype for part in parts]
    if set(found) != {dtype}:
        raise ValueError(
            f"The layers of {type(owner).__name__} must agree. Expected: {dtype} densities, as "
            f"its own. Received: {', '.join(found)}. Give all of them the same dtype."
        )


def _require_list(
    owner: str, argument: str, values: object, kind: type, words: str, least: int
) -> None:
    good = isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)
    if not good or len(values) < least:  # type: ignore[arg-type]
        raise ValueError(
            f"`{argument}` of {owner} has one for each layer of latents. Expected: a list of "
            f"{least} or more {words}. Received: {values!r}."
        )


def _beside(z: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    """`[..., D]` and `[..., F]`, their leading axes broadcast -> `[..., D + F]`."""
    z, features = z + tf.zeros_like(features[..., :1]), features + tf.zeros_like(z[..., :1])
    return tf.concat([z, features], axis=-1)


def _leading(z: tf.Tensor) -> list:
    """The axes before the last, as numbers where they are known."""
    dynamic = tf.shape(z)
    return [dynamic[i] if axis is None else axis for i, axis in enumerate(z.shape[:-1])]
