"""What a visitor may train: recipes in the words of `keras-vae train`, and why some are refused."""

import dataclasses
import re
import threading

import click
import keras
import streamlit as st

from keras_vae.data import DataSet, load
from keras_vae.feed import check_source
from keras_vae.recipe import Recipe

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
DATA = ("digits", "mnist", "fashion_mnist", "binarized_mnist")
MAX_EPOCHS = 200
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
        with _building:  # a recipe sets Keras's precision while it builds
            vae = recipe.with_defaults(data).build(data)
            keras.config.set_dtype_policy("float32")
        check_source(vae.likelihood, data.train, f"--data {recipe.data}")
    except (ValueError, TypeError, click.ClickException) as error:
        return Verdict(" ".join(str(error).split()))
    return Verdict(None, vae.count_params(), vae.assumptions().summary())


def _require_modest(recipe: Recipe) -> None:
    said = " ".join(str(value) for value in dataclasses.astuple(recipe) if isinstance(value, str))
    large = [
        number for number in re.findall(r"\d+(?:\.\d+)?(?:e\d+)?", said) if float(number) > LARGEST
    ]
    if large:
        raise ValueError(
            f"The page trains small models. Expected: options of at most {LARGEST}. Received: "
            f"{large[0]}. Train larger ones with keras-vae train."
        )


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
