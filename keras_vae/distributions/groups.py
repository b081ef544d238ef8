"""Several distributions of vectors, one after the other in one vector."""

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd


class Groups(tfd.Distribution):
    """`log p(z) = sum_n log p_n(z_n)`, z the N groups of C values one after the other.

    Batch `[...]`, event `[N * C]`.

    Args:
        groups: batch `[..., N]`, event `[C]`, of known sizes.
        name: the distribution's name.
    """

    def __init__(self, groups: tfd.Distribution, name: str = "Groups") -> None:
        parameters = dict(locals())
        self.groups = groups
        super().__init__(
            dtype=groups.dtype,
            reparameterization_type=groups.reparameterization_type,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: object, num_classes: object = None) -> dict:
        return {"groups": tfp.util.BatchedComponentProperties(event_ndims=1)}

    @property
    def _axes(self) -> tuple[int, int]:
        return self.groups.batch_shape[-1], self.groups.event_shape[0]

    def _event_shape(self) -> tf.TensorShape:
        count, size = self._axes
        return tf.TensorShape([count * size])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant(self._event_shape().as_list())

    def _sample_n(self, n: int | tf.Tensor, seed: object = None) -> tf.Tensor:
        return self._joined(self.groups.sample(n, seed=seed))

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([tf.shape(z)[:-1], self._axes], 0)
        return tf.reduce_sum(self.groups.log_prob(tf.reshape(z, shape)), axis=-1)

    def _mean(self) -> tf.Tensor:
        return self._joined(self.groups.mean())

    def _mode(self) -> tf.Tensor:
        return self._joined(self.groups.mode())

    def _joined(self, groups: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([tf.shape(groups)[:-2], self._event_shape_tensor()], 0)
        return tf.reshape(groups, shape)


@tfd.RegisterKL(Groups, Groups)
def _kl_groups_groups(q: Groups, p: Groups, name: str | None = None) -> tf.Tensor:
    """`sum_n KL(q_n || p_n)`, exact where that of the groups is."""
    if q._axes != p._axes:
        raise NotImplementedError("no closed form between groups of other sizes")
    # No divergence is negative but by rounding, where the two are all but equal.
    return tf.reduce_sum(tf.nn.relu(q.groups.kl_divergence(p.groups)), axis=-1)
