"""What the latent dimensions are used for."""

import dataclasses
import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae import divergences
from keras_vae.arguments import integer_seed, is_real
from keras_vae.conditions import Given
from keras_vae.data.source import Source, scaled
from keras_vae.data.sparse import dense
from keras_vae.evaluation.asked import data_of
from keras_vae.evaluation.draws import draws, seeds_of_rows
from keras_vae.evaluation.rows import MEMORY, Rows, bytes_of, identity_of
from keras_vae.vae import VAE

DRAWS = 10  # of z for each x, where a KL has no closed form
BLOCK = 2**24  # bytes of the tensors of a block of rows, two of which are encoded side by side
ACTIVE = 0.01  # the variance of E[z_d|x] above which Burda et al. (2016) call a dimension active

Of = Callable[[VAE, tfd.Distribution], tf.Tensor]
_COMPILED: weakref.WeakKeyDictionary[VAE, dict[tuple, tuple[Callable, int]]] = (
    weakref.WeakKeyDictionary()
)


def latent_means(
    vae: VAE,
    x: Any,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> np.ndarray:
    """The centre of q(z|x), its mean where it has one, for each x, `[N, D]`.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source.
        memory: bytes that one chunk of rows may take.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Raises:
        ValueError: if x is not what the model takes, or `checkpoint` is of another run.

    Example: `keras_vae.plots.latent_map(keras_vae.evaluation.latent_means(vae, x_test))`
    """
    rows = Rows(memory, progress, checkpoint)
    return _of_posteriors(vae, x, rows, _centre, "latent means")


def kl_per_dimension(
    vae: VAE,
    x: Any,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> np.ndarray:
    """The mean over x of KL(q(z_d|x) || p(z_d)), `[D]`, in nats; sampled where it must be.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source.
        seed: of the draws, where there is no closed form: those of a row follow from it and the
            row's number.
        memory: bytes that one chunk of rows may take.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Raises:
        NotImplementedError: if the dimensions of q(z|x), or of p(z), are not independent: what
            correlations cost has no dimension to be booked on.
    """
    source, seed = data_of(vae, x, optional=("size_factor",)), integer_seed(seed)

    @tf.function(reduce_retracing=True, autograph=False)
    def block(x: tf.Tensor, given: Given, numbers: tf.Tensor) -> tf.Tensor:
        given = vae._known(x, given)
        parameters = vae._posterior_parameters(x, given)
        z = draws(vae, parameters, DRAWS, seeds_of_rows(seed, numbers, tf.constant(0)))
        return divergences.kl_per_dimension(
            vae.posterior.distribution(parameters), vae._prior(given), z
        )

    def compute(some: Source, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"kl": block(*vae._checked(some, optional=("size_factor",)), numbers)}

    one = vae._checked(source[:1], optional=("size_factor",))
    row = bytes_of(block, *one, tf.zeros(1, tf.int64))
    identity = functools.partial(identity_of, vae, source, seed=seed)
    found = Rows(memory, progress, checkpoint)(compute, source, row, "KL per dimension", identity)
    return found["kl"].mean(axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class ActiveUnits:
    """Which latent dimensions tell the examples apart.

    Attributes:
        variances: of E[z_d|x] over the examples, `[D]`.
        threshold: above which a dimension is active.
    """

    variances: np.ndarray
    threshold: float = ACTIVE

    @property
    def active(self) -> np.ndarray:
        """Whether each dimension is active, `[D]`."""
        return self.variances > self.threshold

    @property
    def count(self) -> int:
        """How many are."""
        return int(self.active.sum())

    def __str__(self) -> str:
        return (
            f"{self.count} of {len(self.variances)} latents active (variance of E[z|x] above "
            f"{self.threshold:g})"
        )


def active_units(
    vae: VAE,
    x: Any,
    threshold: float = ACTIVE,
    memory: int = MEMORY,
    progress: bool = False,
    checkpoint: str | Path | None = None,
) -> ActiveUnits:
    """The dimensions with `Var_x(E_q[z_d|x])` above a threshold, Burda's 0.01.

    Where the two groups of a histogram of the logarithms of these variances lie apart, which
    threshold is taken between them does not matter. Of a posterior whose mean has no closed form,
    such as a flow's, it is the variance of its centre.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source; at least 2.
        threshold: on the variance.
        memory: bytes that one chunk of rows may take.
        progress: whether a bar is shown, on a terminal.
        checkpoint: a file for finished rows, `.npz`: a run that was stopped goes on from it.

    Raises:
        ValueError: if there are fewer than two x, they are not what the model takes, the
            threshold is none, or `checkpoint` is of another run.

    Example: `print(keras_vae.evaluation.active_units(vae, mnist.test))`

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders,
    ICLR 2016, section 5.
    """
    if not is_real(threshold) or threshold < 0:
        raise ValueError(
            "`threshold` is on a variance. Expected: a number >= 0, Burda's is 0.01. Received: "
            f"threshold={threshold!r}."
        )
    rows = Rows(memory, progress, checkpoint)
    means = _of_posteriors(vae, x, rows, _mean, "active units")
    if len(means) < 2:
        raise ValueError(f"A variance over x needs at least 2 of them. Received: {len(means)}.")
    return ActiveUnits(means.astype("float64").var(axis=0, ddof=1), threshold)


def _centre(vae: VAE, q: tfd.Distribution) -> tf.Tensor:
    return vae.posterior.centre(q)


def _mean(vae: VAE, q: tfd.Distribution) -> tf.Tensor:
    """E[z|x], `[B, D]`: of a choice the probabilities, which its centre is not."""
    try:
        return q.mean()
    except NotImplementedError:
        return vae.posterior.centre(q)


def _of_posteriors(vae: VAE, x: Any, rows: Rows, of: Of, label: str) -> np.ndarray:
    """`of` each q(z|x), `[N, ...]`: all rows are checked, then scaled where they are encoded."""
    source = data_of(vae, x, optional=("size_factor",))
    encoder = _Encoder(vae, of, source[:1])
    identity = functools.partial(identity_of, vae, source)
    return rows(encoder, source, encoder.bytes_of_row, label, identity)["found"]


class _Encoder:
    """What is made of q(z|x) of some rows, `[n, ...]`.

    Compiled once for a model and a kind of data, and for the model's life: it is asked for
    often, of few rows.

    Args:
        vae: the model.
        of: what is made of it.
        one: a row like all others.

    Attributes:
        bytes_of_row: of the tensors of one row.
    """

    def __init__(self, vae: VAE, of: Of, one: Source) -> None:
        kept, kind = _COMPILED.setdefault(vae, {}), (of, one.values.dtype, *one.beside())
        if kind not in kept:
            encoded = _compiled(vae, of)
            kept[kind] = _in_blocks(encoded, *_tensors(one))
        self.vae = vae
        self.compiled, self.bytes_of_row = kept[kind]

    def __call__(self, source: Source, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"found": self.compiled(*_tensors(source))}


def _tensors(source: Source) -> tuple[dict[str, tf.Tensor], float]:
    """The rows and what goes with them, and what they are divided by."""
    values = {"x": dense(source.values), **source.beside()}
    return {name: tf.constant(value) for name, value in values.items()}, source.divisor


def _compiled(vae: VAE, of: Of) -> Any:
    model = weakref.ref(vae)  # what is kept for a model must not keep it

    @tf.function(reduce_retracing=True)
    def encoded(rows: dict[str, tf.Tensor], divisor: float) -> tf.Tensor:
        vae = cast(VAE, model())  # the caller has it
        x = scaled(rows["x"], divisor, vae.likelihood.density_dtype)
        given = vae._as_given({name: value for name, value in rows.items() if name != "x"})
        return of(vae, vae._posterior(x, vae._known(x, given)))

    return encoded


def _in_blocks(encoded: Any, one: dict[str, tf.Tensor], divisor: float) -> tuple[Callable, int]:
    """The same of blocks of rows, and the bytes of the tensors of one row.

    TensorFlow runs two turns of the loop side by side: one multiplies while the other is cast
    or handed over. 60,000 digits through 784-400-20 on two cores took 113 ms, and 132 ms in
    calls of 5,000 rows, one after the other.
    """
    bytes_of_row = bytes_of(encoded, one, divisor)
    size = max(1, BLOCK // bytes_of_row)
    dtype = encoded.get_concrete_function(one, divisor).structured_outputs.dtype

    @tf.function(reduce_retracing=True)
    def in_blocks(rows: dict[str, tf.Tensor], divisor: float) -> tf.Tensor:
        found = tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False)
        for start in tf.range(0, tf.shape(rows["x"])[0], size):
            tf.autograph.experimental.set_loop_options(parallel_iterations=2)
            block = {name: value[start : start + size] for name, value in rows.items()}
            found = found.write(found.size(), encoded(block, divisor))
        return found.concat()

    return in_blocks, bytes_of_row
