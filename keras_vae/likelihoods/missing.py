"""p(x|z) of values that are not all observed."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from keras_vae.data.source import Source
from keras_vae.distributions.chain import require_precision
from keras_vae.distributions.observed import Observed, of_single_values
from keras_vae.likelihoods.likelihood import Likelihood
from keras_vae.likelihoods.table import Table
from keras_vae.statement import Statement
from keras_vae.support import Support


@keras.saving.register_keras_serializable(package="keras_vae")
class Missing(Likelihood):
    """`log p(x_o|z) = sum_{i observed} log p(x_i|z)`, NaN in x saying that a value is missing.

    The values of x are independent given z, so those that are missing are integrated out by
    leaving out their terms: nothing is imputed in training. It is the bound of a missing
    value's being missing at random, that is for no reason that lies in the value itself.
    The encoder is given 0 where a value is missing, and not told so; `vae.impute(x)` fills
    the values in.

    Args:
        likelihood: p(x|z) of all values, from `keras_vae.likelihoods`, one whose values are
            independent given z; or a `Table` of such columns.

    Parameters: those of `likelihood`.

    Raises:
        ValueError: if `likelihood` is none, if its values are not independent given z, if the
            precisions differ, or when data has a value that is neither in its support nor NaN.

    Example: `keras_vae.likelihoods.Missing(keras_vae.likelihoods.Normal((10,), "shared"))`

    References: P.-A. Mattei and J. Frellsen, MIWAE: Deep Generative Modelling and Imputation
    of Incomplete Data Sets, ICML 2019. A. Nazabal, P. M. Olmos, Z. Ghahramani and I. Valera,
    Handling Incomplete Heterogeneous Data using VAEs, Pattern Recognition 2020.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        name: str | None = None,
        dtype: object = None,
        trainable: bool = True,
    ) -> None:
        _require_likelihood(likelihood)
        super().__init__(likelihood.event_shape, name=name, dtype=dtype, trainable=trainable)
        require_precision(self, self.density_dtype, [likelihood])
        _require_independent(likelihood)
        self.likelihood = likelihood
        self.takes_size_factor = likelihood.takes_size_factor
        self.takes_columns = likelihood.takes_columns
        self.xla = likelihood.xla

    # The head: all of it is the likelihood's, but for the density

    def build(self, features_shape: tuple[int | None, ...]) -> None:
        if not self.likelihood.built:
            self.likelihood.build(features_shape)

    def raw(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.likelihood.raw(features)

    def projected(self) -> dict[str, tuple[int, ...]]:
        return self.likelihood.projected()

    def shared(self) -> dict[str, tuple[tuple[int, ...], float]]:
        return self.likelihood.shared()

    def link(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.likelihood.link(raw)

    def observed(
        self, parameters: dict[str, tf.Tensor], size_factor: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        return self.likelihood.observed(parameters, size_factor)

    def distribution(self, parameters: dict[str, tf.Tensor]) -> tfd.Distribution:
        return self._masked(self.likelihood.distribution(parameters))

    def adapt(
        self, distribution: tfd.Distribution, x: tf.Tensor, weight: tf.Tensor | None = None
    ) -> tfd.Distribution:
        return self._masked(self.likelihood.adapt(distribution.whole, x, weight))

    def _masked(self, whole: tfd.Distribution) -> tfd.Distribution:
        return Observed(whole, self.support.inside)

    def centre(self, distribution: tfd.Distribution) -> tf.Tensor:
        return self.likelihood.centre(distribution.whole)

    def average(self, distribution: tfd.Distribution, weights: tf.Tensor) -> tf.Tensor:
        return self.likelihood.average(distribution.whole, weights)

    # Where training starts

    def start(self, mean: tf.Tensor, variance: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.likelihood.start(mean, variance)

    def start_from(self, mean: tf.Tensor, variance: tf.Tensor, size_factor: float = 1.0) -> None:
        self.likelihood.start_from(mean, variance, size_factor)

    @property
    def untrained(self) -> bool:
        return self.likelihood.untrained

    # Data

    @property
    def support(self) -> Support:
        own = self.likelihood.support
        return Support(
            name=f"{own.name}, or NaN where missing",
            contains=lambda x: own.contains(x) | (x != x),  # NaN alone differs from itself
            discrete=own.discrete,
            remedy=lambda x: own.remedy(self._filled(x)),
            inside=own.inside,
        )

    @property
    def code_size(self) -> int | None:
        return None  # another number of values is there in each x

    def check(self, x: np.ndarray, argument: str = "x") -> None:
        # The likelihood's own words, which for a table name the column.
        self.likelihood.check(self._filled(x), argument)

    def _filled(self, x: np.ndarray) -> np.ndarray:
        """x with legal values in place of NaN, as far as it is numbers of the right shape."""
        if "float" not in x.dtype.name or x.shape[1:] != self.event_shape:
            return x
        return np.where(np.isnan(x), np.asarray(self.support.inside, x.dtype), x)

    def encoder_input(self, x: tf.Tensor) -> tf.Tensor:
        if not isinstance(self.likelihood, Table):
            return _observed_input(self.likelihood, x)
        parts = [_observed_input(head, column) for head, column in self.likelihood.split(x)]
        return keras.ops.concatenate(parts, axis=-1)

    def as_source(self, x: object) -> Source:
        return self.likelihood.as_source(x)

    def given_back(self, x: tf.Tensor) -> object:
        return self.likelihood.given_back(x)

    def statement(self) -> Statement:
        whole = self.likelihood.statement()
        return self.stated(
            equation=rf"p(x_o|z) = \int p(x|z)\,dx_m,\quad {whole.equation}",
            parameters=whole.parameters,
            learned=whole.learned,
            fixed=(
                *whole.fixed,
                f"x is {whole.family}, of which x_o is observed and x_m is missing",
                "values are missing at random",
                "the encoder is given 0 where a value is missing",
            ),
        )

    def get_config(self) -> dict:
        config = super().get_config()
        del config["event_shape"]  # the likelihood's
        return {**config, "likelihood": keras.saving.serialize_keras_object(self.likelihood)}

    @classmethod
    def from_config(cls, config: dict) -> "Missing":
        likelihood = keras.saving.deserialize_keras_object(config["likelihood"])
        return super().from_config({**config, "likelihood": likelihood})


def _observed_input(likelihood: Likelihood, x: tf.Tensor) -> tf.Tensor:
    """What the encoder is given, 0 where x is NaN: all that comes of one value, such as one-hot."""
    known = ~keras.ops.isnan(x)
    inside = keras.ops.convert_to_tensor(likelihood.support.inside, x.dtype)
    inputs = likelihood.encoder_input(keras.ops.where(known, x, inside))
    known = keras.ops.repeat(known, inputs.shape[-1] // x.shape[-1], axis=-1)
    return keras.ops.where(known, inputs, keras.ops.zeros_like(inputs))


def _require_likelihood(likelihood: object) -> None:
    if not isinstance(likelihood, Likelihood) or isinstance(likelihood, Missing):
        raise ValueError(
            "`likelihood` of Missing is that of the values, were they all observed. Expected: a "
            f"likelihood from keras_vae.likelihoods, such as Normal((10,)). Received: {likelihood!r}."
        )


def _require_independent(likelihood: Likelihood) -> None:
    """Raises a ValueError if the likelihood's class does not factorise into single values."""
    moment = tf.ones(likelihood.event_shape, likelihood.density_dtype)
    parameters = likelihood.independent(moment / 2, moment / 4)
    if not of_single_values(likelihood.distribution(parameters)):
        raise ValueError(
            "`likelihood` of Missing must say how likely a part of x is. Expected: values that "
            "are independent given z, such as those of Normal, Bernoulli or Table. Received: "
            f"{type(likelihood).__name__}, whose values are not. Remove the rows with missing "
            "values, or impute them."
        )
