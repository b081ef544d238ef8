"""What the likelihoods with a `loc` and a `scale` have in common: where the scale comes from."""

import tensorflow as tf

from keras_vae.arguments import is_real
from keras_vae.likelihoods.likelihood import Likelihood, mean_to_shape
from keras_vae.networks.projection import inverse_positive, positive
from keras_vae.statement import Statement

SOURCES = {
    "shared": "one learned number, through softplus",
    "per_channel": "one learned number for each channel, through softplus",
    "per_value": "softplus of a linear function of the decoder's features",
    "optimal": "the root of the mean squared error: of the batch in training, else of the last ones",
}


class ScaledLikelihood(Likelihood):
    """A likelihood whose `loc` is linear in the features and whose `scale` is one of:

    - a positive number, fixed;
    - `"shared"`, one learned number;
    - `"per_channel"`, one learned number for each channel, the last axis of x;
    - `"per_value"`, a function of z for each value.

    Args:
        event_shape: E, the shape of one x.
        scale: one of the four.

    Raises:
        ValueError: if `event_shape` is not a tuple of positive integers, or `scale` none of
            the four, or `"per_channel"` where x has no axis.

    Attributes:
        words: what `scale` may be beside a number.
    """

    words: tuple[str, ...] = ("shared", "per_value", "per_channel")

    def __init__(
        self,
        event_shape: tuple[int, ...] = (),
        scale: float | str = 1.0,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(event_shape, name=name, dtype=dtype, trainable=trainable)
        if scale not in self.words and not (is_real(scale) and float(scale) > 0):
            raise ValueError(
                f"`scale` of {type(self).__name__} is the width of p(x|z) around its loc. "
                f"Expected: a positive number or one of {', '.join(map(repr, self.words))}. "
                f"Received: {scale!r}."
            )
        if scale == "per_channel" and not self.event_shape:
            raise ValueError(
                f'`scale` of {type(self).__name__} is "per_channel", but x has no channels. '
                f'Expected: an event_shape with an axis, such as (28, 28, 3), or scale="shared". '
                f"Received: event_shape={self.event_shape}."
            )
        self.scale = scale if isinstance(scale, str) else float(scale)

    def projected(self) -> dict[str, tuple[int, ...]]:
        shapes = {"loc": self.event_shape}
        return {**shapes, "scale": self.event_shape} if self.scale == "per_value" else shapes

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        if self.scale not in ("shared", "per_channel"):
            return {}
        return {"scale": (self.scale_shape, float(inverse_positive(1.0)))}

    @property
    def scale_shape(self) -> tuple[int, ...]:
        """The shape of the scale for one example: it broadcasts to that of x."""
        channels = {"per_value": len(self.event_shape), "per_channel": 1}.get(str(self.scale), 0)
        first = len(self.event_shape) - channels
        return (1,) * first + self.event_shape[first:]

    def scale_from(self, raw: dict[str, tf.Tensor]) -> tf.Tensor:
        """The scale that the raw values mean, for a family's `link`."""
        if "scale" in raw:
            return positive(raw["scale"])
        return self.filled(self.scale, raw["loc"])

    def start_scale(self, scale: tf.Tensor) -> dict[str, tf.Tensor]:
        """The raw scale for a family's `start`; none where it is fixed.

        Args:
            scale: what each value would have for itself, `E`. Values that share one get the
                root of the mean square.
        """
        if isinstance(self.scale, float):
            return {}
        common = tf.sqrt(mean_to_shape(scale**2, self.scale_shape))
        return {"scale": inverse_positive(tf.broadcast_to(common, tf.shape(scale)))}

    def own_scale(self, raw: dict[str, tf.Tensor], like: tf.Tensor) -> tf.Tensor:
        """What `start_scale` means for each value, `E`."""
        if isinstance(self.scale, float):
            return tf.fill(tf.shape(like), tf.constant(self.scale, like.dtype))
        return positive(raw["scale"])

    def stated_with_scale(
        self,
        equation: str,
        loc: str = "linear in the decoder's features",
        parameters: dict[str, str] | None = None,
        learned: tuple[str, ...] = (),
        fixed: tuple[str, ...] = (),
    ) -> Statement:
        """The statement of this family, with what is to be said of loc and scale."""
        is_fixed = isinstance(self.scale, float)
        of_scale = {"per_value": ("scale(z)",)}.get(str(self.scale), ("scale",))
        source = f"fixed at {self.scale}" if is_fixed else SOURCES[str(self.scale)]
        return self.stated(
            equation=equation,
            parameters={"loc": loc, "scale": source, **(parameters or {})},
            learned=("loc(z)", *(() if is_fixed else of_scale), *learned),
            fixed=("values are independent given z", *(of_scale if is_fixed else ()), *fixed),
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


def spread(variance: tf.Tensor) -> tf.Tensor:
    """The standard deviation, `E`, of at least a hundredth of that of the others.

    A value that is constant in the training data still needs a density.
    """
    floor = 1e-4 * tf.reduce_mean(variance) + 1e-12
    return tf.sqrt(tf.maximum(variance, floor))
