"""The served contract: what an exported model answers, a function of a batch each.

Row b of every answer is what the Python model gives for row b alone, with that row's own
seed: no row depends on the others of its batch. Hence each draw is made row by row, with a
stateless seed, from the parameters that the networks gave for the whole batch at once.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_vae.conditions import Given, Labels
from keras_vae.divergences import kl_divergence
from keras_vae.evaluation.draws import draws
from keras_vae.randomness import split_seed, stateless_seed
from keras_vae.vae import VAE

# What each signature is given, beside what the model is conditional on.
INPUTS = {
    "encode": ("x",),
    "encode_sample": ("x", "seed"),
    "decode": ("z",),
    "decode_sample": ("z", "seed"),
    "reconstruct": ("x",),
    "generate": ("seed",),
    "score": ("x", "seed"),
}
DECODING = ("decode", "decode_sample", "reconstruct", "generate", "score")
# Of x and of the parameters of p(x|z), that one call of the decoder makes: 16 MB of each float32.
VALUES_AT_ONCE = 2**22

Answer = dict[str, tf.Tensor]


class Rows(NamedTuple):
    """The inputs of a request; None is what its signature does not take."""

    x: tf.Tensor | None = None
    z: tf.Tensor | None = None
    seed: tf.Tensor | None = None
    condition: tf.Tensor | None = None
    size_factor: tf.Tensor | None = None


class Signatures:
    """What is asked of a served model.

    Args:
        vae: the model.
        num_samples: K, the draws of z that `score` takes for each x.
        divisor: of x where that is given as bytes, or None where it is given as numbers.
    """

    def __init__(self, vae: VAE, num_samples: int, divisor: float | None = None) -> None:
        self.vae = vae
        self.num_samples = num_samples
        self.divisor = divisor
        self.dtype = vae.density_dtype

    def inputs(self, name: str) -> dict[str, tf.TensorSpec]:
        """The inputs of a signature: names, shapes, dtypes."""
        vae = self.vae
        specs = {
            "x": tf.TensorSpec(
                (None, *vae.likelihood.event_shape), self.dtype if self.divisor is None else "uint8"
            ),
            "z": tf.TensorSpec((None, vae.prior.latent_size), self.dtype),
            "seed": tf.TensorSpec((None,), tf.int64),
        }
        found = {name: specs[name] for name in INPUTS[name]}
        if vae.condition is not None:
            vector = vae.condition.value_axes == 1
            found["condition"] = (
                tf.TensorSpec((None, vae.condition.size), self.dtype)
                if vector
                else tf.TensorSpec((None,), tf.int64)
            )
        if vae.likelihood.takes_size_factor and name in DECODING:
            found["size_factor"] = tf.TensorSpec((None,), self.dtype)
        return found

    def function(self, name: str) -> Callable[..., Answer]:
        """The function of a signature, of the tensors of `inputs(name)` in their order."""
        names = tuple(self.inputs(name))
        answer = getattr(self, name)

        def checked(*tensors: tf.Tensor) -> Answer:
            rows = self._checked(Rows(**dict(zip(names, tensors, strict=True))))
            return answer(rows)

        return checked

    def condition_beside(self, x: bool) -> str:
        """What the condition is, in words, beside an x and without one."""
        condition = self.vae.condition
        if isinstance(condition, Labels) and not x:
            return f"a class of {condition.size}, known, since there is no x to infer it from"
        return "" if condition is None else condition.describe()

    # The signatures

    def encode(self, rows: Rows) -> Answer:
        """The parameters of q(z|x), and the value that stands for it."""
        parameters = self.vae._posterior_parameters(rows.x, self._given(rows))
        q = self.vae.posterior.distribution(parameters)
        return _with_mean(parameters, self.vae.posterior.centre(q))

    def encode_sample(self, rows: Rows) -> Answer:
        """z ~ q(z|x)."""
        parameters = self.vae._posterior_parameters(rows.x, self._given(rows))
        return {"z": self._z(parameters, stateless_seed(rows.seed))}

    def decode(self, rows: Rows) -> Answer:
        """The parameters of p(x|z), and the value that stands for it."""
        parameters = self.vae._likelihood_parameters(rows.z, self._given(rows))
        p = self.vae.likelihood.distribution(parameters)
        return _with_mean(parameters, self.vae.likelihood.centre(p))

    def decode_sample(self, rows: Rows) -> Answer:
        """x ~ p(x|z)."""
        parameters = self.vae._likelihood_parameters(rows.z, self._given(rows))
        return {"x": self._x(parameters, stateless_seed(rows.seed))}

    def reconstruct(self, rows: Rows) -> Answer:
        """The mean of p(x|z) at the mean of q(z|x): no draw."""
        return {"mean": self.vae._centre(rows.x, self._given(rows))}

    def generate(self, rows: Rows) -> Answer:
        """z ~ p(z), the mean of p(x|z), and x ~ p(x|z)."""
        seeds = tf.map_fn(
            lambda seed: tf.stack(split_seed(seed)),
            stateless_seed(rows.seed),
            fn_output_signature=tf.TensorSpec((2, 2), tf.int32),
        )
        given = self._given(rows)
        z = self._z_of_prior(given, seeds[:, 0])
        parameters = self.vae._likelihood_parameters(z, given)
        mean = self.vae.likelihood.centre(self.vae.likelihood.distribution(parameters))
        return {"z": z, "mean": mean, "x": self._x(parameters, seeds[:, 1])}

    def score(self, rows: Rows) -> Answer:
        """The bound, the importance-weighted log-likelihood and the KL of each x, in nats.

        `log p(x) ~ log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)`, `z_k ~ q(z|x)`. The decoder is
        given the K draws of as many rows in one call as fit in `VALUES_AT_ONCE`, of one at least.
        """
        count = tf.shape(rows.x)[0]
        size = self._rows_at_once()

        def chunk(start: tf.Tensor) -> tf.Tensor:
            part = Rows(*(None if rows_ is None else rows_[start : start + size] for rows_ in rows))
            return self._score(part)

        starts = tf.range(0, tf.maximum(count, 1), size)
        spec = tf.RaggedTensorSpec((None, 3), self.dtype, ragged_rank=0)
        scores = tf.map_fn(chunk, starts, parallel_iterations=1, fn_output_signature=spec)
        elbo, log_likelihood, kl = tf.unstack(scores.values, axis=1)
        return {"elbo": elbo, "log_likelihood": log_likelihood, "kl": kl}

    def _rows_at_once(self) -> int:
        condition, likelihood = self.vae.condition, self.vae.likelihood
        copies = condition.size if isinstance(condition, Labels) else 1
        shapes = (likelihood.event_shape, *likelihood.projected().values())
        values = sum(math.prod(shape) for shape in shapes)
        return max(1, VALUES_AT_ONCE // (self.num_samples * copies * values))

    def _score(self, rows: Rows) -> tf.Tensor:
        """The three numbers of each row, `[B, 3]`."""
        vae = self.vae
        cases = vae._cases(rows.x, Given(rows.condition, rows.size_factor))
        given = cases.given
        p = vae._prior(given)
        parameters = vae._posterior_parameters(cases.x, given)
        q = vae.posterior.distribution(parameters)
        z = draws(vae, parameters, self.num_samples, stateless_seed(rows.seed), cases.copies)
        log_likelihood = vae._likelihood(z, given).log_prob(cases.x)  # [K, B]
        kl = kl_divergence(q, p, z) + given.log_posterior - given.log_prior
        log_weights = (
            log_likelihood
            + (p.log_prob(z) + given.log_prior)
            - (q.log_prob(z) + given.log_posterior)
        )
        count = tf.cast(tf.shape(z)[0], log_weights.dtype)
        estimate = tf.reduce_logsumexp(log_weights, 0) - tf.math.log(count)
        return tf.stack(
            [
                cases.folded(tf.reduce_mean(log_likelihood, 0) - kl),
                cases.folded_exponentials(estimate),
                cases.folded(kl),
            ],
            axis=1,
        )

    # Draws, row by row

    def _z(self, parameters: Answer, seeds: tf.Tensor) -> tf.Tensor:
        """z ~ q(z|x) of each row, `[B, D]`."""
        draw = lambda row, seed: self.vae.posterior.distribution(row).sample(seed=seed)  # noqa: E731
        return self._each(draw, parameters, seeds, (self.vae.prior.latent_size,))

    def _x(self, parameters: Answer, seeds: tf.Tensor) -> tf.Tensor:
        """x ~ p(x|z) of each row, `[B, *E]`."""
        draw = lambda row, seed: self.vae.likelihood.distribution(row).sample(seed=seed)  # noqa: E731
        return self._each(draw, parameters, seeds, self.vae.likelihood.event_shape)

    def _z_of_prior(self, given: Given, seeds: tf.Tensor) -> tf.Tensor:
        """z ~ p(z), or p(z|condition), of each row, `[B, D]`; of the ex-post prior, if there is one."""
        vae = self.vae
        if not vae.prior.conditional or vae.ex_post is not None:
            p = vae._prior(given) if vae.ex_post is None else vae.ex_post.distribution()
            draw = lambda row, seed: p.sample(1, seed=seed)  # noqa: E731
            return self._each(draw, {}, seeds, (vae.prior.latent_size,))

        def draw_given(row: Answer, seed: tf.Tensor) -> tf.Tensor:
            return vae._prior(Given(row["condition"])).sample(seed=seed)

        return self._each(
            draw_given, {"condition": given.condition}, seeds, (vae.prior.latent_size,)
        )

    def _each(
        self,
        draw: Callable[[Answer, tf.Tensor], tf.Tensor],
        parameters: Answer,
        seeds: tf.Tensor,
        shape: tuple[int, ...],
    ) -> tf.Tensor:
        """`draw` of each row alone, as a batch of 1: what it draws cannot depend on the others."""

        def one(row: tuple[Answer, tf.Tensor]) -> tf.Tensor:
            alone = {name: value[None] for name, value in row[0].items()}
            return tf.cast(draw(alone, row[1]), self.dtype)[0]

        spec = tf.TensorSpec(shape, self.dtype)
        return tf.map_fn(one, (parameters, seeds), fn_output_signature=spec)

    # What is given

    def _given(self, rows: Rows) -> Given:
        given = Given(rows.condition, rows.size_factor)
        if rows.x is not None:
            return self.vae._known(rows.x, given)
        if self.vae.condition is None:
            return given
        return given._replace(condition=self.vae.condition(given.condition))

    def _checked(self, rows: Rows) -> Rows:
        """The rows, x as numbers; refused by the graph if a value is none that has a density."""
        given = {name: value for name, value in rows._asdict().items() if value is not None}
        count = tf.shape(next(iter(given.values())))[0]
        for name, value in given.items():
            _require(tf.shape(value)[0] == count, f"`{name}` has another number of rows.")
        if rows.x is not None:
            x = tf.cast(rows.x, self.dtype)
            rows = rows._replace(x=x if self.divisor is None else x / self.divisor)
            likelihood = self.vae.likelihood
            _require(
                likelihood.contains(rows.x),
                f"`x` is outside the support of {type(likelihood).__name__}. Expected: values in "
                f"{likelihood.support.name}{_divided(self.divisor)}.",
            )
        if rows.z is not None:
            _require(
                tf.reduce_all(tf.math.is_finite(rows.z)),
                "`z` is not finite. Expected: real numbers.",
            )
        self._require_beside(rows)
        return rows

    def _require_beside(self, rows: Rows) -> None:
        condition = self.vae.condition
        if condition is not None and rows.condition is not None:
            legal = condition.contains(rows.condition)
            if isinstance(condition, Labels) and rows.x is None:
                legal &= tf.reduce_all(rows.condition >= 0)
            what = self.condition_beside(rows.x is not None)
            _require(legal, f"`condition` is not what the model takes. Expected: {what}.")
        if rows.size_factor is not None:
            legal = self.vae.beside.contains({"size_factor": rows.size_factor})
            _require(legal, "`size_factor` is not positive and finite. Expected: numbers > 0.")


def _with_mean(parameters: Answer, mean: tf.Tensor) -> Answer:
    if "mean" in parameters:
        raise ValueError("its family has a parameter called mean, which is the answer's name, too.")
    return {**parameters, "mean": mean}


def _require(legal: tf.Tensor, message: str) -> None:
    tf.debugging.Assert(legal, [message])


def _divided(divisor: float | None) -> str:
    return "" if divisor is None else f" after division by {divisor:g}"
