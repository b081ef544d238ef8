"""The last, linear step from a network's features to the parameters of a distribution."""

import math

import keras
import tensorflow as tf

# Smaller scales make (x - loc) / scale overflow float32 for ordinary x before they
# make a model any better.
SCALE_FLOOR = 1e-6


def positive(raw: tf.Tensor) -> tf.Tensor:
    """`softplus(raw) + 1e-6`: a scale that no network output makes zero or infinite.

    `exp` of an unbounded output overflows float32 at 88; softplus grows linearly.
    """
    return tf.math.softplus(raw) + SCALE_FLOOR


def inverse_positive(scale: tf.Tensor) -> tf.Tensor:
    """The `raw` for which `positive(raw)` is `scale`; scales at the floor map to it."""
    above_floor = tf.maximum(tf.convert_to_tensor(scale) - SCALE_FLOOR, 1e-3 * SCALE_FLOOR)
    # log(exp(s) - 1), written so that neither a large nor a small s loses digits.
    return above_floor + tf.math.log(-tf.math.expm1(-above_floor))


def density_dtype(layer: keras.layers.Layer) -> str:
    """The precision of a layer's parameters and densities: float32 at least, whatever it computes in."""
    return keras.backend.result_type(layer.variable_dtype, "float32")


@keras.saving.register_keras_serializable(package="keras_vae")
class Projection(keras.layers.Layer):
    """An affine map from features of any shape to a tensor of `shape` per example.

    Where the features already have the spatial shape of the result (`[B, 28, 28, C]` for
    `(28, 28, 1)`, `[B, F]` for `(D,)`) only the last axis is projected, as a 1x1
    convolution does. Otherwise the features are flattened, projected and reshaped.

    The result is float32 (float64 under a float64 policy): the product may be computed in
    half precision, the density that follows must not be.

    Args:
        shape: the shape of the result for one example, at least one axis.

    Call: features `[B, ...]` -> `[B, *shape]`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self.shape = tuple(shape)
        self.result_dtype = density_dtype(self)

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        features = tuple(axis for axis in features_shape[1:] if axis is not None)
        if not features or len(features) != len(features_shape) - 1:
            raise ValueError(
                "A network must return features of a known size for each example. "
                f"Expected: [B, ...] with fixed axes after the first. Received: "
                f"{tuple(features_shape)}. Pool or flatten the variable axes."
            )
        self.keeps_space = bool(self.shape) and features[:-1] == self.shape[:-1]
        size_in = features[-1] if self.keeps_space else math.prod(features)
        size_out = self.shape[-1] if self.keeps_space else math.prod(self.shape)
        self.kernel = self.add_weight(
            (size_in, size_out), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight((size_out,), initializer="zeros", name="bias")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        if not self.keeps_space:
            features = keras.ops.reshape(features, (-1, self.kernel.shape[0]))
        # Not `+`: Keras makes a BiasAdd of it, whose gradient takes a quarter of that of a sum.
        projected = keras.ops.add(keras.ops.matmul(features, self.kernel), self.bias)
        projected = keras.ops.cast(projected, self.result_dtype)
        return keras.ops.reshape(projected, (-1, *self.shape))

    @property
    def untrained(self) -> bool:
        """Whether the bias is where it was made, at zero: one step of training moves it."""
        return not bool(tf.reduce_any(self.bias != 0))

    def set_bias(self, value: tf.Tensor) -> None:
        """Sets the bias so that features of zero give `value`, of `shape`.

        Where one bias serves every position (`keeps_space`), it takes the mean of `value`
        over the positions.
        """
        channels = tf.reshape(value, (-1, self.bias.shape[0]))
        self.bias.assign(tf.reduce_mean(channels, axis=0))

    def compute_output_shape(
        self, features_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return (features_shape[0], *self.shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "shape": self.shape}
