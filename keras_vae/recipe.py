"""From words to a model: what the command line says, as data, and the model it means."""

import abc
import ast
import dataclasses
import inspect
import re
import typing
from types import ModuleType
from typing import Any

import keras
import numpy as np

from keras_vae import likelihoods, networks, objectives, posteriors, priors
from keras_vae.data import DataSet, load
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import Objective
from keras_vae.objectives.objective import Schedule
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior
from keras_vae.vae import VAE

NETWORKS = ("mlp", "conv")
OUTER_COMMA = re.compile(r",(?![^(\[]*[)\]])")  # of those not within a tuple or a list
HIDDEN = ("latent_size", "event_shape", "size_factor", "dataset_size", "name", "dtype", "trainable")
SMALL: dict[str, Any] = {"units": (128,), "latent_size": 8, "epochs": 100, "batch_size": 64}
LARGE: dict[str, Any] = {"units": (400,), "latent_size": 20, "epochs": 50, "batch_size": 128}


def families(module: ModuleType, kind: type) -> dict[str, Any]:
    """The final classes of a slot that words can make, by their names: `diagonal-normal`."""
    return {
        re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower(): value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, kind) and abc.ABC not in value.__bases__
        if not inspect.isabstract(value) and _needs_words_alone(value)
    }


def parameters_of(family: type) -> dict[str, inspect.Parameter]:
    """What a family is made of.

    Not the class's own signature: Keras's layers have a `__new__`, and some releases of
    Python show that one's instead, `(*args, **kwargs)`.
    """
    found = dict(inspect.signature(family.__init__).parameters)  # type: ignore[misc]
    del found["self"]
    return found


def _needs_words_alone(family: type) -> bool:
    """Whether every argument that must be given is a size, a number or a word."""
    parameters = parameters_of(family).values()
    required = [p for p in parameters if p.default is inspect.Parameter.empty]
    words = (int, float, str, tuple[int, ...])
    return all(p.annotation in words for p in required)


POSTERIORS = families(posteriors, Posterior)
PRIORS = {n: f for n, f in families(priors, Prior).items() if not f.conditional}
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
            defaults["scale"] = "shared"  # one that is in the likelihood's own words stays
        missing = {name: v for name, v in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    def load_data(self) -> DataSet:
        """The data set that the recipe names."""
        data = load(self.data, self.data_dir, self.binarisation, self.data_seed)
        return data.levels() if (self.likelihood or "").startswith("discretised") else data

    def build(self, data: DataSet) -> VAE:
        """The compiled model, untrained: its weights are those of the seed."""
        keras.utils.set_random_seed(self.seed)
        keras.config.set_dtype_policy(self.precision)
        vae = self.make(data)
        optimizer = keras.optimizers.Adam(self.learning_rate)
        vae.compile(optimizer, jit_compile={"on": True, "off": False}.get(self.jit_compile, "auto"))
        return vae

    def make(self, data: DataSet) -> VAE:
        """The model, with whatever weights: what `build` does without setting seeds for all."""
        steps = -(-len(data.train) // (self.batch_size or 1))
        return VAE(
            encoder=self._network(data.event_shape, "encoder"),
            decoder=self._network(data.event_shape, "decoder"),
            posterior=make(POSTERIORS, self.posterior, latent_size=self.latent_size),
            prior=make(PRIORS, self.prior, latent_size=self.latent_size),
            likelihood=make(
                LIKELIHOODS, str(self.likelihood), event_shape=data.event_shape, scale=self.scale
            ),
            objective=make(
                OBJECTIVES,
                self.objective,
                beta=self._beta(steps),
                num_samples=self.num_samples,
                free_bits=self.free_bits,
                dataset_size=len(data.train) if self._takes_dataset_size() else None,
            ),
            seed=self.seed,
        )

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
        family, options = named(OBJECTIVES, self.objective)
        if "beta" in options:
            raise ValueError(f"--warm-up goes with --beta. Expected: --beta {options['beta']}.")
        beta = parameters_of(family).get("beta")
        if beta is None or Schedule not in typing.get_args(beta.annotation):
            raise ValueError(f"--warm-up has no meaning for {self.objective}.")
        last = 1.0 if self.beta is None else self.beta
        return objectives.LinearWarmUp(self.warm_up * steps, last)

    def _takes_dataset_size(self) -> bool:
        family, _ = named(OBJECTIVES, self.objective)
        return "dataset_size" in parameters_of(family)


def options_of(family: type) -> str:
    """The options of a family and their defaults, as they are written."""
    return ", ".join(
        name if p.default is inspect.Parameter.empty else f"{name}={p.default}"
        for name, p in _options(family).items()
    )


def _options(family: type) -> dict[str, inspect.Parameter]:
    """The parameters of a family that words may set; the data or the recipe sets the others."""
    return {name: p for name, p in parameters_of(family).items() if name not in HIDDEN}


def named(slot: dict[str, type], words: str) -> tuple[type, dict[str, Any]]:
    """The family and the options of `name` or `name:option=value,option=value`.

    Raises:
        ValueError: if there is no such family, or it has no such option.
    """
    name, colon, rest = words.partition(":")
    if name not in slot:
        raise ValueError(f"There is no {name!r}. Expected one of: {', '.join(slot)}.")
    items = [_option(item) for item in OUTER_COMMA.split(rest)] if colon else []
    options = dict(items)
    if len(options) < len(items):
        raise ValueError(f"{words!r} says an option twice. Expected: each at most once.")
    accepted = _options(slot[name])
    for option in options:
        if option not in accepted:
            expected = f"one of: {', '.join(accepted)}" if accepted else "no options"
            raise ValueError(f"{name} has no option {option!r}. Expected {expected}.")
    return slot[name], options


def make(slot: dict[str, type], words: str, **given: object) -> Any:
    """The part of these words, and of what else is given and not None."""
    family, options = named(slot, words)
    accepted = parameters_of(family)
    for option, value in given.items():
        if value is None:
            continue
        if option not in accepted:
            raise ValueError(f"--{option.replace('_', '-')} has no meaning for {words}.")
        if option in options:
            raise ValueError(
                f"--{option.replace('_', '-')} is said twice, the other time in {words}."
            )
        options[option] = value
    missing = [
        name
        for name, parameter in accepted.items()
        if parameter.default is inspect.Parameter.empty and name not in options
    ]
    if missing:
        name = words.partition(":")[0]
        raise ValueError(f"{words} needs {missing[0]}. Expected: {name}:{missing[0]}=VALUE.")
    return family(**options)


def _option(item: str) -> tuple[str, Any]:
    name, equals, value = item.partition("=")
    name = name.strip().replace("-", "_")
    if not equals:
        raise ValueError(f"{item!r} is no option. Expected: option=value.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _is_binary(data: DataSet) -> bool:
    if data.train.dynamic:
        return True
    return data.train.divisor == 1 and bool(np.isin(data.train.values[:1000], (0, 1)).all())
