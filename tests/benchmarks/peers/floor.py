"""The floor: TensorFlow alone, one function for one epoch, with neither Keras nor TFP.

Raw variables, hand-written densities and Adam's own kernel: what is left when everything that
a library adds is gone. The batch is gathered from a uint8 tensor inside the function.

Shapes: K samples, B batch, D latent, P = 784 pixels, C numbers for each pixel.
"""

import itertools
import math
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from protocol import Peer, Work, serve

_PIXELS = 784
_MAP = 7 * 7 * 64
_ROWS = 5000  # latent draws decoded at once in an evaluation: fewer are slower


class Layer(NamedTuple):
    """A kernel and its bias."""

    kernel: tf.Variable
    bias: tf.Variable


class Moments(NamedTuple):
    """Adam's two running means for one variable."""

    first: tf.Variable
    second: tf.Variable


class Model(tf.Module):
    """The networks and the bound."""

    def __init__(self, work: Work):
        super().__init__()
        self.work = work
        self.dtype = tf.as_dtype(work.precision)
        outputs = 1 if work.likelihood == "bernoulli" else 3 * work.components
        self.event = _PIXELS * outputs
        if work.network == "conv":
            features = _MAP
            encoder = [(4, 4, 1, 32), (4, 4, 32, 64)]
            # A transposed convolution's kernel ends with (outputs, inputs).
            decoder = [(work.latent, _MAP), (4, 4, 64, 64), (4, 4, 32, 64), (32, outputs)]
        else:
            features = work.hidden[-1]
            encoder = list(itertools.pairwise((_PIXELS, *work.hidden)))
            widths = (work.latent, *reversed(work.hidden), self.event)
            decoder = list(itertools.pairwise(widths))
        self.encoder = [_layer(shape) for shape in encoder]
        self.loc = _layer((features, work.latent))
        self.log_scale = _layer((features, work.latent))
        self.decoder = [_layer(shape, transposed=len(shape) == 4) for shape in decoder]

    def encode(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The posterior's loc and log of the scale, [B, D], of what `observed` returned."""
        hidden = tf.cast(x, self.dtype)
        if self.work.network == "conv":
            hidden = tf.reshape(hidden, [-1, 28, 28, 1])
            for layer in self.encoder:
                hidden = tf.nn.conv2d(hidden, tf.cast(layer.kernel, self.dtype), 2, "SAME")
                hidden = tf.nn.relu(tf.nn.bias_add(hidden, tf.cast(layer.bias, self.dtype)))
            hidden = tf.reshape(hidden, [-1, _MAP])
        else:
            for layer in self.encoder:
                hidden = self._activate(self._dense(layer, hidden))
        loc, log_scale = self._dense(self.loc, hidden), self._dense(self.log_scale, hidden)
        return tf.cast(loc, tf.float32), tf.cast(log_scale, tf.float32)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """The parameters of each pixel, [N, P * C], of draws [N, D]."""
        first, *layers, last = self.decoder
        hidden = tf.cast(z, self.dtype)
        if self.work.network == "conv":
            hidden = tf.reshape(tf.nn.relu(self._dense(first, hidden)), [-1, 7, 7, 64])
            for layer in layers:
                hidden = self._upsample(layer, hidden)
            hidden = tf.reshape(hidden, [-1, 32])
        else:
            for layer in (first, *layers):
                hidden = self._activate(self._dense(layer, hidden))
        parameters = tf.cast(self._dense(last, hidden), tf.float32)
        return tf.reshape(parameters, [-1, self.event])

    def _dense(self, layer: Layer, x: tf.Tensor) -> tf.Tensor:
        kernel, bias = tf.cast(layer.kernel, self.dtype), tf.cast(layer.bias, self.dtype)
        return tf.nn.bias_add(tf.matmul(x, kernel), bias)

    def _upsample(self, layer: Layer, x: tf.Tensor) -> tf.Tensor:
        size, outputs = 2 * x.shape[1], layer.kernel.shape[2]
        kernel = tf.cast(layer.kernel, self.dtype)
        shape = [tf.shape(x)[0], size, size, outputs]
        x = tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME")
        return tf.nn.relu(tf.nn.bias_add(x, tf.cast(layer.bias, self.dtype)))

    def _activate(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x) if self.work.activation == "relu" else tf.tanh(x)

    def bound(self, x: tf.Tensor, objective: str, samples: int) -> tf.Tensor:
        """The ELBO, or IWAE's bound, of each image, [B], from `samples` draws."""
        loc, log_scale = self.encode(x)  # [B, D]
        noise = tf.random.normal([samples, tf.shape(x)[0], self.work.latent])
        z = loc + tf.exp(log_scale) * noise  # [K, B, D]
        parameters = self.decode(tf.reshape(z, [-1, self.work.latent]))
        parameters = tf.reshape(parameters, [samples, -1, self.event])
        likelihood = self._log_likelihood(parameters, x)  # [K, B]
        if objective == "iwae":
            log_ratio = 0.5 * (tf.square(noise) - tf.square(z)) + log_scale
            log_weight = likelihood + tf.reduce_sum(log_ratio, -1)  # log p(x, z) / q(z|x)
            return tf.reduce_logsumexp(log_weight, 0) - math.log(samples)
        kl = 0.5 * (tf.exp(2.0 * log_scale) + tf.square(loc) - 1.0) - log_scale
        return tf.reduce_mean(likelihood, 0) - tf.reduce_sum(kl, -1)

    def _log_likelihood(self, parameters: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        if self.work.likelihood == "bernoulli":
            return tf.reduce_sum(x * parameters - tf.nn.softplus(parameters), -1)
        shape = [*tf.unstack(tf.shape(parameters)[:-1]), _PIXELS, 3, self.work.components]
        weight, loc, log_scale = tf.unstack(tf.reshape(parameters, shape), axis=-2)
        bin_ = _log_bin(x[..., None], loc, tf.maximum(log_scale, -7.0))
        mixed = tf.reduce_logsumexp(tf.nn.log_softmax(weight) + bin_, -1)
        return tf.reduce_sum(mixed, -1)


def _layer(shape: tuple[int, ...], transposed: bool = False) -> Layer:
    """Glorot uniform kernel and zero bias."""
    field = math.prod(shape[:-2])
    limit = math.sqrt(6.0 / (field * (shape[-2] + shape[-1])))
    kernel = tf.Variable(tf.random.uniform(shape, -limit, limit))
    return Layer(kernel, tf.Variable(tf.zeros(shape[-2] if transposed else shape[-1])))


def _log_bin(x: tf.Tensor, loc: tf.Tensor, log_scale: tf.Tensor) -> tf.Tensor:
    """Log of a logistic's mass between x - 1/255 and x + 1/255, the two edges open.

    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): nothing cancels.
    """
    precision = tf.exp(-log_scale)
    above = (x - loc + 1.0 / 255.0) * precision
    below = (x - loc - 1.0 / 255.0) * precision
    first, last = x < -0.999, x > 0.999
    width = tf.math.log(-tf.math.expm1(-2.0 / 255.0 * precision))
    return (
        tf.where(last, 0.0, -tf.nn.softplus(-above))
        + tf.where(first, 0.0, -tf.nn.softplus(below))
        + tf.where(first | last, 0.0, width)
    )


class Floor(Peer):
    """A training loop that is one TensorFlow function."""

    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        began = time.perf_counter()
        tf.config.threading.set_intra_op_parallelism_threads(work.threads)
        tf.config.threading.set_inter_op_parallelism_threads(work.threads)
        tf.random.set_seed(work.seed)
        self.work = work
        # No kernel gathers bytes of a tensor on a GPU; of a variable one does.
        self.train = tf.Variable(train, trainable=False)
        self.test = tf.constant(test)
        self.model = Model(work)
        self.weights = self.model.trainable_variables
        self.moments = [
            Moments(*(tf.Variable(tf.zeros_like(w), trainable=False) for _ in Moments._fields))
            for w in self.weights
        ]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.loss = tf.Variable(0.0, trainable=False)  # summed over the images of an epoch
        # On a CPU not through XLA: the convolutions took thrice as long, the rest about as long.
        xla = self.device() == "gpu"
        self.step = tf.function(self._step, jit_compile=xla)
        self.epoch = tf.function(self._epoch, jit_compile=xla)
        self.bounds = tf.function(self._bounds)
        self.means = tf.function(self._means)
        if work.task in ("log_likelihood", "encode"):
            self._fit()
        self.prepared = time.perf_counter() - began
        return sum(int(tf.size(weight)) for weight in self.weights)

    def device(self) -> str:
        return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"

    def run(self) -> dict[str, Any] | None:
        if self.work.task == "fit":
            return self._fit()
        if self.work.task == "encode":
            self.means().numpy()
            return None
        if self.work.task == "log_likelihood":
            found = self.bounds("iwae", self.work.draws)
            return {"log_likelihood": float(tf.reduce_mean(found))}
        return self._until()

    def bound(self) -> float:
        return float(tf.reduce_mean(self.bounds(self.work.objective, self.work.samples)))

    def _fit(self) -> dict[str, Any]:
        for _ in range(self.work.epochs):
            self.loss.assign(0.0)
            self.epoch()
        return {"loss": float(self.loss) / self.train.shape[0]}  # a GPU is waited for

    def _epoch(self) -> None:
        """Every image once, in an order drawn anew."""
        count = self.train.shape[0]
        order = tf.random.shuffle(tf.range(count))
        full = count // self.work.batch * self.work.batch
        for rows in tf.range(0, full, self.work.batch):
            self.step(tf.gather(self.train, tf.slice(order, [rows], [self.work.batch])))
        if full < count:
            self.step(tf.gather(self.train, order[full:]))

    def _step(self, pixels: tf.Tensor) -> None:
        if self.work.values == "dynamic":
            grey = tf.cast(pixels, tf.float32) / 255.0
            pixels = tf.random.uniform(tf.shape(grey)) < grey
        x = self._observed(pixels)
        with tf.GradientTape() as tape:
            bound = self.model.bound(x, self.work.objective, self.work.samples)
            loss = -tf.reduce_mean(bound)
        self.loss.assign_sub(tf.reduce_sum(bound))
        gradients = tape.gradient(loss, self.weights)
        steps = tf.cast(self.steps.assign_add(1), tf.float32)
        for weight, moments, gradient in zip(self.weights, self.moments, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=moments.first.handle,
                v=moments.second.handle,
                beta1_power=0.9**steps,
                beta2_power=0.999**steps,
                lr=self.work.learning_rate,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=gradient,
            )

    def _observed(self, pixels: tf.Tensor) -> tf.Tensor:
        """Pixels as the networks and the likelihood see them, [B, P]: bits, or in [-1, 1]."""
        x = tf.cast(tf.reshape(pixels, [-1, _PIXELS]), tf.float32)
        return x * (2.0 / 255.0) - 1.0 if self.work.values == "grey" else x

    def _bounds(self, objective: str, samples: int) -> tf.Tensor:
        """The bound of each image of `test`, a part at a time."""
        images = max(1, _ROWS // samples)
        found = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)
        for row in tf.range(0, len(self.test), images):
            x = self._observed(self.test[row : row + images])
            found = found.write(found.size(), self.model.bound(x, objective, samples))
        return found.concat()

    def _means(self) -> tf.Tensor:
        """The posterior's mean of each image of `train`, [N, D]."""
        return self.model.encode(self._observed(self.train))[0]

    def _until(self) -> dict[str, Any]:
        """Trains until every target is passed; the clock stands while the bound is estimated."""
        seconds, epochs, last = self.prepared, 0, -math.inf
        passed: dict[str, float | None] = {f"{target:g}": None for target in self.work.targets}
        while None in passed.values() and seconds <= self.work.limit:
            began = time.perf_counter()
            self._fit()
            seconds += time.perf_counter() - began
            epochs, last = epochs + 1, self.bound()
            for target, when in passed.items():
                if when is None and last >= float(target):
                    passed[target] = seconds
        return {"seconds_to": passed, "epochs": epochs, "bound": last}


if __name__ == "__main__":
    serve(Floor())
