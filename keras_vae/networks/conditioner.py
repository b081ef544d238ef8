"""Networks inside normalising flows: they give the shift and the log scale of an affine map."""

import itertools

import keras
import numpy as np
import tensorflow as tf

# One layer of a flow scales by exp(-2) to exp(2): a few in a row reach any scale that is
# of use, and their product does not overflow.
LOG_SCALE_BOUND = 2.0
# An untrained flow is nearly the identity. Not exactly: with a kernel of zeros no gradient
# would reach the weights before it.
LAST_STDDEV = 0.01


class Conditioner(keras.layers.Layer):
    """`(z, context) -> (shift, log_scale)`: three dense layers, the hidden ones through tanh.

    tanh keeps shift and log scale bounded in z: far out the flow is affine, its density has
    a Normal's tails, and its inverse does not blow up. The log scale is within +-2.

    With `order` the network is a MADE: kernels are masked so that shift and log scale of
    dimension d depend on those dimensions alone that come before d in the order.

    Args:
        size_in: of z.
        size_out: of shift and of log scale.
        units: the width of the two hidden layers.
        order: the place of each dimension of z, 0 to D - 1, for `size_in == size_out == D`;
            or None, if everything may depend on everything.

    Call: z `[..., size_in]` and context `[..., H]` or None, which broadcast, -> two tensors
    `[..., size_out]`.

    References: M. Germain, K. Gregor, I. Murray and H. Larochelle, MADE: Masked Autoencoder
    for Distribution Estimation, ICML 2015.
    """

    def __init__(
        self,
        size_in: int,
        size_out: int,
        units: int,
        order: tuple[int, ...] | None = None,
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.sizes = (size_in, units, units, 2 * size_out)
        self.masks = (None, None, None) if order is None else masks(order, units)

    def build(
        self,
        z_shape: tuple[int | None, ...],
        context_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        last = keras.initializers.RandomNormal(stddev=LAST_STDDEV)
        self.kernels = [
            self.add_weight(shape, initializer=initializer, name=f"kernel_{index}")
            for index, (shape, initializer) in enumerate(
                zip(
                    itertools.pairwise(self.sizes),
                    ("glorot_uniform", "glorot_uniform", last),
                    strict=True,
                )
            )
        ]
        self.biases = [
            self.add_weight((size,), initializer="zeros", name=f"{index}_bias")
            for index, size in enumerate(self.sizes[1:])
        ]
        self.from_context = (
            self.add_weight(
                (context_shape[-1], self.sizes[1]),
                initializer="glorot_uniform",
                name="kernel_context",
            )
            if context_shape is not None
            else None
        )

    def call(self, z: tf.Tensor, context: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        hidden = self.affine(0, z)
        if context is not None:
            hidden += tf.linalg.matmul(context[..., None, :], self.from_context)[..., 0, :]
        hidden = self.affine(1, tf.tanh(hidden))
        shift, raw = tf.split(self.affine(2, tf.tanh(hidden)), 2, axis=-1)
        return shift, LOG_SCALE_BOUND * tf.tanh(raw / LOG_SCALE_BOUND)

    def affine(self, index: int, values: tf.Tensor) -> tf.Tensor:
        """The dense layer `index`, without its activation."""
        kernel, mask = tf.convert_to_tensor(self.kernels[index]), self.masks[index]
        if mask is not None:
            kernel *= tf.cast(mask, kernel.dtype)
        # Not tensordot: XLA has no gradient of it in a loop, as the inverse of a flow is, where
        # the size of the batch is not known.
        rows = tf.linalg.matmul(tf.reshape(values, (-1, values.shape[-1])), kernel)
        shape = tf.concat([tf.shape(values)[:-1], tf.shape(kernel)[1:]], axis=0)
        result = tf.ensure_shape(tf.reshape(rows, shape), [*values.shape[:-1], kernel.shape[1]])
        return result + self.biases[index]


def masks(order: tuple[int, ...], units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which entries of the three kernels of a MADE are used.

    A hidden unit of degree m sees the first m dimensions of the order, of degrees 0 to
    D - 1. Those of degree 0 see the context alone, without which the first dimension would
    be the same for every context.
    """
    place = np.asarray(order)
    degree = np.arange(units) * len(place) // units
    first = place[:, None] < degree[None, :]
    second = degree[:, None] <= degree[None, :]
    last = degree[:, None] <= place[None, :]
    return first, second, np.concatenate([last, last], axis=1)
