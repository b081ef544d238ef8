"""Invertible maps whose shift and scale are functions of z itself and of a context."""

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb

# (z, context) -> (shift, log_scale)
Network: TypeAlias = Callable[[tf.Tensor, tf.Tensor | None], tuple[tf.Tensor, tf.Tensor]]


class AffineCoupling(tfb.Bijector):
    """`y = (a, b exp(s(a)) + m(a))` for z = (a, b): one half moves, the other says how.

    Both directions take one pass of the network, `log |det| = sum s(a)`.

    Args:
        network: `(a, context) -> (m, s)`.
        context: `[B, H]`, or None.
        first: how many dimensions a has.
        flipped: whether a is the end of z and b its beginning.

    References: L. Dinh, J. Sohl-Dickstein and S. Bengio, Density Estimation using Real NVP,
    ICLR 2017.
    """

    def __init__(
        self,
        network: Network,
        context: tf.Tensor | None,
        first: int,
        flipped: bool = False,
        name: str = "AffineCoupling",
    ) -> None:
        parameters = dict(locals())
        super().__init__(forward_min_event_ndims=1, parameters=parameters, name=name)
        self._network = network
        self._context = context
        self._first = first
        self._flipped = flipped

    @classmethod
    def _parameter_properties(cls, dtype: object) -> dict:
        return {"context": tfp.util.ParameterProperties(event_ndims=1)}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        still, moved = self._split(x)
        shift, log_scale = self._network(still, self._context)
        return self._joined(still, moved * tf.exp(log_scale) + shift)

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        still, moved = self._split(y)
        shift, log_scale = self._network(still, self._context)
        return self._joined(still, (moved - shift) * tf.exp(-log_scale))

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        _, log_scale = self._network(self._split(x)[0], self._context)
        return tf.reduce_sum(log_scale, axis=-1)

    def _split(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self._flipped:
            return z[..., -self._first :], z[..., : -self._first]
        return z[..., : self._first], z[..., self._first :]

    def _joined(self, still: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        # The context may have axes that z has not.
        still += tf.zeros_like(moved[..., :1])
        return tf.concat([moved, still] if self._flipped else [still, moved], axis=-1)


class AffineAutoregressive(tfb.Bijector):
    """`y_d = z_d exp(s_d(z_<d)) + m_d(z_<d)`: each dimension moves as those before it say.

    Forward is one pass of the network, the inverse D of them, one after another:
    `log |det| = sum_d s_d`.

    Args:
        network: `(z, context) -> (m, s)`, where m_d and s_d depend on z_<d in some order.
        context: `[B, H]`, or None.

    References: D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever and M.
    Welling, Improved Variational Inference with Inverse Autoregressive Flow, NeurIPS 2016.
    """

    def __init__(
        self, network: Network, context: tf.Tensor | None, name: str = "AffineAutoregressive"
    ) -> None:
        parameters = dict(locals())
        super().__init__(forward_min_event_ndims=1, parameters=parameters, name=name)
        self._network = network
        self._context = context

    @classmethod
    def _parameter_properties(cls, dtype: object) -> dict:
        return {"context": tfp.util.ParameterProperties(event_ndims=1)}

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        shift, log_scale = self._network(x, self._context)
        return x * tf.exp(log_scale) + shift

    def _inverse(self, y: tf.Tensor) -> tf.Tensor:
        """After k passes the first k dimensions of the order are exact."""

        def again(x: tf.Tensor) -> tuple[tf.Tensor]:
            shift, log_scale = self._network(x, self._context)
            return ((y - shift) * tf.exp(-log_scale),)

        # The first pass outside the loop: the context may have axes that y has not.
        first = again(tf.zeros_like(y))
        return tf.while_loop(lambda x: True, again, first, maximum_iterations=y.shape[-1] - 1)[0]

    def _forward_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(self._network(x, self._context)[1], axis=-1)
