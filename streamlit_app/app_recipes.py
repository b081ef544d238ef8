"""What a visitor may train: recipes in the words of `keras-vae train`, and why some are refused."""

import dataclasses
import re
import threading

import click
import streamlit as st

from keras_vae.data import DataSet, load
from keras_vae.feed import check_source
from keras_vae.recipe import LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS, Recipe, named

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
DATA = ("digits", "mnist", "fashion_mnist", "binarized_mnist")
MAX_EPOCHS = 200
MOST_LAYERS = 16
LARGEST = 1000  # number in the options of a family: weights are made before they are refused
_building = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a recipe makes a model.

    Attributes:
        refusal: why not, or None.
        parameters: how many weights the model has.
        summary: what it assumes, in four lines.
    """

    refusal: str | None
    parameters: int = 0
    summary: str = ""


@st.cache_resource(max_entries=8, show_spinner="Reading the data ...")
def data_set(name: str, binarisation: str | None, likelihood: str | None) -> DataSet:
    """A data set, for all visitors."""
    data = load(name, binarisation=binarisation)
    return data.levels() if (likelihood or "").startswith("discretised") else data


@st.cache_data(max_entries=64, show_spinner="Building the model ...")
def verdict(recipe: Recipe) -> Verdict:
    """Builds the model, as training would, and says what comes of it."""
    try:
        _require_modest(recipe)
        data = data_set(recipe.data, recipe.binarisation, recipe.likelihood)
        with _building:  # large ones are built one at a time
            vae = recipe.with_defaults(data).make(data)
        check_source(vae.likelihood, data.train, f"--data {recipe.data}")
    except (ValueError, TypeError, click.ClickException) as error:
        return Verdict(" ".join(str(error).split()))
    return Verdict(None, vae.count_params(), vae.assumptions().summary())


def _require_modest(recipe: Recipe) -> None:
    slots = (
        (POSTERIORS, recipe.posterior),
        (PRIORS, recipe.prior),
        (LIKELIHOODS, recipe.likelihood),
        (OBJECTIVES, recipe.objective),
    )
    for slot, said in slots:
        _, options = named(slot, said) if said else (None, {})
        for name, value in options.items():
            limit = MOST_LAYERS if name == "layers" else LARGEST
            if any(number > limit for number in _numbers(value)):
                raise ValueError(
                    f"The page trains small models. Expected: {name} of at most {limit}. Received: "
                    f"{value}. Train larger ones with keras-vae train."
                )


def _numbers(value: object) -> list[float]:
    """The numbers of an option: of a tuple all that are in it."""
    if isinstance(value, tuple | list | set):
        return [number for each in value for number in _numbers(each)]
    return [abs(value)] if isinstance(value, int | float) else []


def words(recipe: Recipe) -> list[str]:
    """The options of `keras-vae train` that say this recipe."""
    defaults = dataclasses.asdict(Recipe())
    said = {k: v for k, v in dataclasses.asdict(recipe).items() if v != defaults[k]}
    return [
        word
        for name, value in said.items()
        for word in (f"--{name.replace('_', '-')}", _word(value))
    ]


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
