"""The best q(z|x) of a family for one x."""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vae.arguments import is_real, positive_integer
from keras_vae.conditions import Given
from keras_vae.conditions.condition import join
from keras_vae.data.source import Source
from keras_vae.divergences import is_exact
from keras_vae.evaluation.draws import seed_of_row
from keras_vae.evaluation.rows import bytes_of
from keras_vae.vae import VAE

DRAWS = 10  # of z for the gradient of a step
OPTIMISATION, EVALUATION = 0, 1  # draws of a row's own seed

Parameters = dict[str, tf.Tensor]


class OwnPosterior:
    """q(z|x) with parameters that are free for each x, as values before the head's links.

    Rows stay apart: the gradient of a row's values is of its own bound, Adam scales each
    value by itself, and the draws of a row follow from the seed and its number.

    Args:
        vae: the model.
        num_steps: of the optimisation.
        learning_rate: of Adam, at its start.
        seed: of all draws.
    """

    def __init__(self, vae: VAE, num_steps: int, learning_rate: float, seed: int) -> None:
        positive_integer(num_steps, "num_steps", vae, "the number of steps of Adam")
        _require_rate(learning_rate)
        _require_gradient(vae)
        self.vae = vae
        self.num_steps = num_steps
        self.learning_rate = learning_rate
        self.seed = seed
        self.ascents: dict[int, _Ascent] = {}

    def checked(self, source: Source) -> tuple[tf.Tensor, Given]:
        """x and what goes with it, the condition as the networks take it."""
        x, given = self.vae._checked(source)
        return x, self.vae._known(x, given)

    def bytes_of_row(self, source: Source, count: int) -> int:
        """Of the tensors of one row, of a step's gradient or of so many draws."""
        x, given = self.checked(source[:1])
        numbers, zero = tf.zeros(1, tf.int64), tf.constant(0)
        raw = self.amortised(x, given)
        return max(
            bytes_of(self._gradient, x, given, raw, numbers, zero),
            bytes_of(self.log_weights, x, given, raw, numbers, zero, count),
        )

    @tf.function(reduce_retracing=True)
    def amortised(self, x: tf.Tensor, given: Given) -> Parameters:
        """The encoder's values."""
        inputs = join(self.vae.likelihood.encoder_input(x), given.condition)
        return self.vae.posterior.raw(self.vae.encoder(inputs, training=False))

    def optimised(
        self, x: tf.Tensor, given: Given, raw: Parameters, numbers: tf.Tensor
    ) -> Parameters:
        """Those of the best bound, by Adam from `raw`, the learning rate falling to 0."""
        rows = len(numbers)
        if rows not in self.ascents:  # one graph for all chunks of a size
            rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.num_steps)
            self.ascents[rows] = _Ascent(raw, rate, self.num_steps, self._gradient)
        return self.ascents[rows](raw, x, given, numbers)

    @tf.function(reduce_retracing=True)
    def _gradient(
        self, x: tf.Tensor, given: Given, raw: Parameters, numbers: tf.Tensor, step: tf.Tensor
    ) -> Parameters:
        """Of minus the bound of each row by its own values."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(raw)
            parameters = self.vae.posterior.link(raw)
            q, p = self.vae.posterior.distribution(parameters), self.vae._prior(given)
            z, log_q = self._drawn(parameters, DRAWS, numbers, OPTIMISATION, step)
            ratio = log_q - p.log_prob(z)
            kl = q.kl_divergence(p) if is_exact(q, p) else tf.reduce_mean(ratio, 0)
            log_likelihood = self.vae._likelihood(z, given).log_prob(x)
            loss = tf.reduce_sum(kl - tf.reduce_mean(log_likelihood, 0))  # rows stay apart
        return tape.gradient(loss, raw, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    @tf.function(reduce_retracing=True)
    def log_weights(
        self,
        x: tf.Tensor,
        given: Given,
        raw: Parameters,
        numbers: tf.Tensor,
        block: tf.Tensor,
        size: int,
    ) -> tf.Tensor:
        """`log p(x|z) + log p(z) - log q(z|x)`, `[K, n]`, of draws that no step has seen."""
        parameters = self.vae.posterior.link(raw)
        z, log_q = self._drawn(parameters, size, numbers, EVALUATION, block)
        log_prior = self.vae._prior(given).log_prob(z)
        return self.vae._likelihood(z, given).log_prob(x) + log_prior - log_q

    def _drawn(
        self,
        parameters: Parameters,
        count: int,
        numbers: tf.Tensor,
        stage: int,
        index: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """z ~ q(z|x), `[K, n, D]`, and its density, `[K, n]`: row by row, each from its own seed.

        Together, because the density of a flow's own draw asks for no inverse.
        """
        size, dtype = self.vae.prior.latent_size, self.vae.density_dtype

        def of_row(row: tuple[Parameters, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            seed = tf.random.fold_in(
                tf.random.fold_in(seed_of_row(self.seed, row[1]), stage), index
            )
            # A batch of one: some families ask for one.
            one = {name: value[None] for name, value in row[0].items()}
            q = self.vae.posterior.distribution(one)
            z, log_q = q.experimental_sample_and_log_prob(count, seed=seed)
            return z[:, 0], log_q[:, 0]

        spec = tf.TensorSpec((count, size), dtype), tf.TensorSpec((count,), dtype)
        z, log_q = tf.map_fn(of_row, (parameters, numbers), fn_output_signature=spec)
        return tf.transpose(z, (1, 0, 2)), tf.transpose(log_q)


class _Ascent:
    """Adam on values of a given shape, from any start.

    Args:
        raw: values of that shape.
        rate: the learning rate.
        num_steps: how many steps.
        gradient: `(x, given, raw, numbers, step)` -> of what is minimised, by `raw`.
    """

    def __init__(
        self,
        raw: Parameters,
        rate: keras.optimizers.schedules.LearningRateSchedule,
        num_steps: int,
        gradient: Callable[..., Parameters],
    ) -> None:
        self.free = {name: keras.Variable(value) for name, value in raw.items()}
        self.optimizer = keras.optimizers.Adam(rate)
        self.optimizer.build(list(self.free.values()))
        self.num_steps = num_steps
        self.gradient = gradient

    def __call__(
        self, raw: Parameters, x: tf.Tensor, given: Given, numbers: tf.Tensor
    ) -> Parameters:
        for name, value in raw.items():
            self.free[name].assign(value)
        for variable in self.optimizer.variables:  # the moments, and how many steps there were
            variable.assign(keras.ops.zeros_like(variable))
        self._run(x, given, numbers)
        return self._now()

    @tf.function
    def _run(self, x: tf.Tensor, given: Given, numbers: tf.Tensor) -> None:
        for step in tf.range(self.num_steps):
            gradients = self.gradient(x, given, self._now(), numbers, step)
            self.optimizer.apply([gradients[name] for name in self.free])

    def _now(self) -> Parameters:
        return {name: tf.convert_to_tensor(value.value) for name, value in self.free.items()}


def _require_rate(value: object) -> None:
    if not is_real(value) or value <= 0:  # type: ignore[operator]  # a number here
        raise ValueError(
            "`learning_rate` is that of Adam at its start. Expected: a positive number. Received: "
            f"{value!r}."
        )


def _require_gradient(vae: VAE) -> None:
    if not vae.posterior.reparameterised:
        raise ValueError(
            "The best q(z|x) for one x is found along the gradient of its draws. Expected: a "
            "posterior whose draws have one. Received: "
            f"{type(vae.posterior).__name__}, whose draws are choices. evaluation.log_likelihood "
            "less evaluation.elbo is the inference gap as a whole."
        )
