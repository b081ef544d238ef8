"""Hand-written JAX and Optax: what a good user of JAX writes for one model, and no more.

The training set lies on the device as uint8, the order is drawn anew for each epoch, and the
weights and Adam's state are donated to the step that replaces them.

Shapes: K samples, B batch, D latent, P = 784 pixels, C numbers for each pixel.
"""

import functools
import itertools
import os
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from protocol import Peer, Work, serve

_PIXELS = 784
_MAP = 7 * 7 * 64
_ROWS = 5000  # latent draws decoded at once in an evaluation: fewer are no faster
_ROWS_TO_ENCODE = 2000  # on a CPU: 0.29 s for 60,000 images, 0.40 in one piece
_CONV = ("NHWC", "HWIO", "NHWC")
_ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh}


class Layer(NamedTuple):
    """A kernel and its bias."""

    kernel: jax.Array
    bias: jax.Array


class Weights(NamedTuple):
    """All that is trained."""

    encoder: list[Layer]
    loc: Layer
    log_scale: Layer
    decoder: list[Layer]


class State(NamedTuple):
    """What one step of training hands to the next."""

    weights: Weights
    adam: Any
    key: jax.Array
    loss: jax.Array  # summed over the images of an epoch


def start(key: jax.Array, work: Work) -> Weights:
    """Glorot uniform kernels and zero biases."""
    outputs = 1 if work.likelihood == "bernoulli" else 3 * work.components
    if work.network == "conv":
        features = _MAP
        encoder = [(4, 4, 1, 32), (4, 4, 32, 64)]
        decoder = [(work.latent, _MAP), (4, 4, 64, 64), (4, 4, 64, 32), (32, outputs)]
    else:
        features = work.hidden[-1]
        encoder = list(itertools.pairwise((_PIXELS, *work.hidden)))
        widths = (work.latent, *reversed(work.hidden), _PIXELS * outputs)
        decoder = list(itertools.pairwise(widths))
    keys = iter(jax.random.split(key, len(encoder) + len(decoder) + 2))
    return Weights(
        encoder=[_layer(next(keys), shape) for shape in encoder],
        loc=_layer(next(keys), (features, work.latent)),
        log_scale=_layer(next(keys), (features, work.latent)),
        decoder=[_layer(next(keys), shape) for shape in decoder],
    )


def _layer(key: jax.Array, shape: tuple[int, ...]) -> Layer:
    kernel = jax.nn.initializers.glorot_uniform()(key, shape, jnp.float32)
    return Layer(kernel, jnp.zeros(shape[-1], jnp.float32))


def encode(weights: Weights, x: jax.Array, work: Work) -> tuple[jax.Array, jax.Array]:
    """The posterior's loc and log of the scale, [B, D], of what `observed` returned."""
    weights, hidden = _cast((weights, x), work)
    if work.network == "conv":
        hidden = hidden.reshape(-1, 28, 28, 1)
        for kernel, bias in weights.encoder:
            x = lax.conv_general_dilated(hidden, kernel, (2, 2), "SAME", dimension_numbers=_CONV)
            hidden = jax.nn.relu(x + bias)
        hidden = hidden.reshape(-1, _MAP)
    else:
        for layer in weights.encoder:
            hidden = _ACTIVATIONS[work.activation](_dense(layer, hidden))
    loc, log_scale = _dense(weights.loc, hidden), _dense(weights.log_scale, hidden)
    return loc.astype(jnp.float32), log_scale.astype(jnp.float32)


def decode(weights: Weights, z: jax.Array, work: Work) -> jax.Array:
    """The parameters of each pixel, [N, P * C], of draws [N, D]."""
    (*layers, last), hidden = _cast((weights.decoder, z), work)
    if work.network == "conv":
        first, *layers = layers
        hidden = jax.nn.relu(_dense(first, hidden)).reshape(-1, 7, 7, 64)
        for kernel, bias in layers:
            hidden = jax.nn.relu(_upsample(kernel, hidden) + bias)
    else:
        for layer in layers:
            hidden = _ACTIVATIONS[work.activation](_dense(layer, hidden))
    return _dense(last, hidden).astype(jnp.float32).reshape(len(z), -1)


def _upsample(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """`lax.conv_transpose` of stride 2.

    On a CPU as one 3x3 convolution to the four phases of the output: half the time there.
    """
    if jax.default_backend() != "cpu":
        return lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=_CONV)
    batch, height, width, inputs = x.shape
    outputs = kernel.shape[-1]
    taps = jnp.zeros((3, 3, inputs, 2, 2, outputs), kernel.dtype)
    for p, q in itertools.product(range(2), range(2)):
        taps = taps.at[p : p + 2, q : q + 2, :, p, q].set(kernel[p::2, q::2])
    taps = taps.reshape(3, 3, inputs, 4 * outputs)
    phases = lax.conv_general_dilated(x, taps, (1, 1), "SAME", dimension_numbers=_CONV)
    phases = phases.reshape(batch, height, width, 2, 2, outputs)
    return phases.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, outputs)


def _cast(tree: Any, work: Work) -> Any:
    """In the networks' precision; the weights themselves stay float32."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(work.precision)), tree)


def _dense(layer: Layer, x: jax.Array) -> jax.Array:
    return x @ layer.kernel + layer.bias


def observed(pixels: jax.Array, work: Work) -> jax.Array:
    """Uint8 pixels as the networks and the likelihood see them, [B, P]: bits, or in [-1, 1]."""
    x = pixels.reshape(-1, _PIXELS).astype(jnp.float32)
    return x * (2.0 / 255.0) - 1.0 if work.values == "grey" else x


def log_likelihood(parameters: jax.Array, x: jax.Array, work: Work) -> jax.Array:
    """log p(x|z), [K, B], of the decoder's [K, B, P * C] and x [B, P]."""
    if work.likelihood == "bernoulli":
        return jnp.sum(x * parameters - jax.nn.softplus(parameters), axis=-1)
    shape = (*parameters.shape[:-1], _PIXELS, 3, work.components)
    weight, loc, log_scale = jnp.moveaxis(parameters.reshape(shape), -2, 0)
    bin_ = _log_bin(x[..., None], loc, jnp.maximum(log_scale, -7.0))
    mixed = jax.nn.logsumexp(jax.nn.log_softmax(weight) + bin_, axis=-1)
    return jnp.sum(mixed, axis=-1)


def _log_bin(x: jax.Array, loc: jax.Array, log_scale: jax.Array) -> jax.Array:
    """Log of a logistic's mass between x - 1/255 and x + 1/255, the two edges open.

    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): nothing cancels.
    """
    precision = jnp.exp(-log_scale)
    above = (x - loc + 1.0 / 255.0) * precision
    below = (x - loc - 1.0 / 255.0) * precision
    first, last = x < -0.999, x > 0.999
    width = jnp.log(-jnp.expm1(-2.0 / 255.0 * precision))
    return (
        jnp.where(last, 0.0, -jax.nn.softplus(-above))
        + jnp.where(first, 0.0, -jax.nn.softplus(below))
        + jnp.where(first | last, 0.0, width)
    )


def bound(
    weights: Weights, key: jax.Array, x: jax.Array, work: Work, objective: str, samples: int
) -> jax.Array:
    """The ELBO, or IWAE's bound, of each image, [B], from `samples` draws."""
    loc, log_scale = encode(weights, x, work)  # [B, D]
    noise = jax.random.normal(key, (samples, *loc.shape))
    z = loc + jnp.exp(log_scale) * noise  # [K, B, D]
    parameters = decode(weights, z.reshape(-1, work.latent), work)
    likelihood = log_likelihood(parameters.reshape(samples, len(x), -1), x, work)  # [K, B]
    if objective == "iwae":
        log_ratio = jnp.sum(0.5 * (noise**2 - z**2) + log_scale, axis=-1)  # log p(z) / q(z|x)
        return jax.nn.logsumexp(likelihood + log_ratio, axis=0) - np.log(samples)
    kl = jnp.sum(0.5 * (jnp.exp(2.0 * log_scale) + loc**2 - 1.0) - log_scale, axis=-1)
    return jnp.mean(likelihood, axis=0) - kl


@functools.partial(jax.jit, static_argnames="work", donate_argnames="state")
def step(state: State, train: jax.Array, rows: jax.Array, work: Work) -> State:
    """Adam's step on the images `rows` of `train`."""
    key, draw_key, bound_key = jax.random.split(state.key, 3)
    pixels = train[rows]
    if work.values == "dynamic":
        grey = pixels.astype(jnp.float32) / 255.0
        pixels = jax.random.uniform(draw_key, pixels.shape) < grey
    x = observed(pixels, work)

    def loss(weights: Weights) -> jax.Array:
        return -jnp.mean(bound(weights, bound_key, x, work, work.objective, work.samples))

    mean, gradients = jax.value_and_grad(loss)(state.weights)
    updates, adam = optax.adam(work.learning_rate).update(gradients, state.adam)
    weights = optax.apply_updates(state.weights, updates)
    return State(weights, adam, key, state.loss + mean * len(rows))


@functools.partial(jax.jit, static_argnames="work", donate_argnames="state")
def epoch(state: State, train: jax.Array, order: jax.Array, work: Work) -> State:
    """Every image once: the whole batches in one scan, then what is left over."""
    full = len(order) // work.batch * work.batch
    batches = order[:full].reshape(-1, work.batch)
    state, _ = lax.scan(lambda s, rows: (step(s, train, rows, work), None), state, batches)
    return step(state, train, order[full:], work) if full < len(order) else state


@functools.partial(jax.jit, static_argnames=("work", "objective", "samples"))
def bounds(
    weights: Weights, key: jax.Array, pixels: jax.Array, work: Work, objective: str, samples: int
) -> jax.Array:
    """`bound` of each image, [N], as many at a time as make `_ROWS` draws."""

    def one(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        x = observed(row[1], work)
        return bound(weights, row[0], x, work, objective, samples)[0]

    return lax.map(
        one, (jax.random.split(key, len(pixels)), pixels), batch_size=max(1, _ROWS // samples)
    )


@functools.partial(jax.jit, static_argnames="work")
def means(weights: Weights, pixels: jax.Array, work: Work) -> jax.Array:
    """The posterior's mean of each image, [N, D]."""
    return encode(weights, observed(pixels, work), work)[0]


class JaxOptax(Peer):
    """JAX and Optax, no layer between them and the user."""

    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        began = time.perf_counter()
        # JAX starts as many threads as there are cores that it may run on.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: work.threads])
        self.work = work
        self.train, self.test = jax.device_put(train), jax.device_put(test)
        self.orders = np.random.default_rng(work.seed)
        start_key, self.key, train_key = jax.random.split(jax.random.key(work.seed), 3)
        weights = start(start_key, work)
        adam = optax.adam(work.learning_rate).init(weights)
        self.state = State(weights, adam, train_key, jnp.zeros(()))
        if work.task in ("log_likelihood", "encode"):
            self._fit()
        self.prepared = time.perf_counter() - began
        return sum(leaf.size for leaf in jax.tree.leaves(weights))

    def device(self) -> str:
        return "cpu" if jax.default_backend() == "cpu" else "gpu"

    def run(self) -> dict[str, Any] | None:
        if self.work.task == "fit":
            return self._fit()
        if self.work.task == "encode":
            self._means()
            return None
        if self.work.task == "log_likelihood":
            return {"log_likelihood": self._mean_bound("iwae", self.work.draws)}
        return self._until()

    def bound(self) -> float:
        return self._mean_bound(self.work.objective, self.work.samples)

    def _fit(self) -> dict[str, Any]:
        for _ in range(self.work.epochs):
            self._train()
        return {"loss": float(self.state.loss) / len(self.train)}

    def _train(self) -> None:
        """One epoch."""
        order = self.orders.permutation(len(self.train)).astype(np.int32)
        self.state = self.state._replace(loss=jnp.zeros(()))
        # On a CPU a scan was no faster for dense layers, and far slower for convolutions.
        if jax.default_backend() == "cpu":
            for row in range(0, len(order), self.work.batch):
                rows = order[row : row + self.work.batch]
                self.state = step(self.state, self.train, rows, self.work)
        else:
            self.state = epoch(self.state, self.train, order, self.work)
        jax.block_until_ready(self.state)

    def _means(self) -> np.ndarray:
        """The posterior's mean of each image of `train`, [N, D]."""
        count = len(self.train)
        size = _ROWS_TO_ENCODE if jax.default_backend() == "cpu" else count
        parts = [self.train[row : row + size] for row in range(0, count, size)]
        found = [means(self.state.weights, part, self.work) for part in parts]
        return np.concatenate([np.asarray(part) for part in found])

    def _mean_bound(self, objective: str, samples: int) -> float:
        self.key, key = jax.random.split(self.key)
        found = bounds(self.state.weights, key, self.test, self.work, objective, samples)
        return float(jnp.mean(found))

    def _until(self) -> dict[str, Any]:
        """Trains until every target is passed; the clock stands while the bound is estimated."""
        seconds, epochs, last = self.prepared, 0, -np.inf
        passed: dict[str, float | None] = {f"{target:g}": None for target in self.work.targets}
        while None in passed.values() and seconds <= self.work.limit:
            began = time.perf_counter()
            self._train()
            seconds += time.perf_counter() - began
            epochs, last = epochs + 1, self.bound()
            for target, when in passed.items():
                if when is None and last >= float(target):
                    passed[target] = seconds
        return {"seconds_to": passed, "epochs": epochs, "bound": last}


if __name__ == "__main__":
    serve(JaxOptax())
