"""From words to a model: what the command line says, as data, and the model it means."""

import abc
import dataclasses
import inspect
import re
from types import ModuleType
from typing import Any

import keras
import numpy as np

from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.data import DataSet, load
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import Objective
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior
from keras_vae.vae import VAE

NETWORKS = ("mlp", "conv")
SMALL: dict[str, Any] = {"units": (128,), "latent_size": 8, "epochs": 100, "batch_size": 64}
LARGE: dict[str, Any] = {"units": (400,), "latent_size": 20, "epochs": 50, "batch_size": 128}


def families(module: ModuleType, kind: type) -> dict[str, type]:
    """The final classes of a slot by their names on the command line: `diagonal-normal`."""
    return {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, kind) and abc.ABC not in value.__bases__
        if not inspect.isabstract(value)
    }


POSTERIORS = families(posteriors, Posterior)
PRIORS = families(priors, Prior)
LIKELIHOODS = families(likelihoods, Likelihood)
OBJECTIVES = families(objectives, Objective)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run in words. None stands for the default of the data or of the part."""

    data: str = "digits"
    data_dir: str | None = None
    binarisation: str | None = None
    network: str = "mlp"
    units: tuple[int, ...] | None = None
    latent_size: int | None = None
    posterior: str = "diagonal-normal"
    prior: str = "standard-normal"
    likelihood: str | None = None
    scale: float | str | None = None
    objective: str = "elbo"
    beta: float | None = None
    warm_up: int | None = None
    num_samples: int | None = None
    free_bits: float | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 1e-3
    precision: str = "float32"
    jit_compile: str = "auto"
    seed: int = 0
    data_seed: int = 0

    def with_defaults(self, data: DataSet) -> "Recipe":
        """Every None that depends on the data replaced by what suits it."""
        defaults = dict(SMALL if np.prod(data.event_shape) <= 256 else LARGE)
        if self.network == "conv":
            defaults["units"] = (32, 64)
        defaults["likelihood"] = "bernoulli" if _is_binary(data) else "normal"
        if (self.likelihood or defaults["likelihood"]) == "normal":
            defaults["scale"] = "shared"
        missing = {name: v for name, v in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    def load_data(self) -> DataSet:
        """The data set that the recipe names."""
        return load(self.data, self.data_dir, self.binarisation, self.data_seed)

    def build(self, data: DataSet) -> VAE:
        """The compiled model, untrained."""
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(self.precision)
        steps = -(-len(data.train) // (self.batch_size or 1))
        vae = VAE(
            encoder=self._network(data.event_shape, "encoder"),
            decoder=self._network(data.event_shape, "decoder"),
            posterior=POSTERIORS[self.posterior](self.latent_size),
            prior=PRIORS[self.prior](self.latent_size),
            likelihood=_make(LIKELIHOODS, str(self.likelihood), data.event_shape, scale=self.scale),
            objective=_make(
                OBJECTIVES,
                self.objective,
                beta=self._beta(steps),
                num_samples=self.num_samples,
                free_bits=self.free_bits,
            ),
            seed=self.seed,
        )
        optimizer = keras.optimizers.Adam(self.learning_rate)
        vae.compile(optimizer, jit_compile={"on": True, "off": False}.get(self.jit_compile, "auto"))
        return vae

    def _network(self, event_shape: tuple[int, ...], place: str) -> keras.Sequential:
        units = list(self.units or ())
        if self.network == "mlp":
            return networks.mlp(units if place == "encoder" else units[::-1], name=place)
        if len(event_shape) != 3:
            raise ValueError(
                f"--network conv needs images, (H, W, C). Received: data of shape {event_shape}. "
                "Use --network mlp."
            )
        if place == "encoder":
            return networks.conv(units, name=place)
        return networks.conv_transpose(units[::-1], shape=event_shape, name=place)

    def _beta(self, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule | None:
        if not self.warm_up:
            return self.beta
        if self.objective != "elbo":
            raise ValueError(f"--warm-up has no meaning for {self.objective}.")
        last = 1.0 if self.beta is None else self.beta
        return keras.optimizers.schedules.PolynomialDecay(0.0, self.warm_up * steps, last)


def _make(slot: dict[str, type], name: str, *positional: object, **options: object) -> Any:
    """The part of this name, with the options that were given."""
    given = {option: value for option, value in options.items() if value is not None}
    accepted = inspect.signature(slot[name]).parameters
    for option in given:
        if option not in accepted:
            raise ValueError(f"--{option.replace('_', '-')} has no meaning for {name}.")
    return slot[name](*positional, **given)


def _is_binary(data: DataSet) -> bool:
    if data.train.dynamic:
        return True
    return data.train.divisor == 1 and bool(np.isin(data.train.values[:1000], (0, 1)).all())
