"""Words name a family and its options, and make it."""

import contextlib
import inspect

import numpy as np
import pytest

from keras_vae import likelihoods, objectives, posteriors, priors
from keras_vae.objectives import ELBO
from keras_vae.recipe import (
    LIKELIHOODS,
    OBJECTIVES,
    POSTERIORS,
    PRIORS,
    Recipe,
    make,
    named,
    options_of,
)

E = (4, 4, 1)
SLOTS = {
    "posterior": (POSTERIORS, posteriors),
    "prior": (PRIORS, priors),
    "likelihood": (LIKELIHOODS, likelihoods),
    "objective": (OBJECTIVES, objectives),
}
FAMILIES = [(slot, name) for slot, (table, _) in SLOTS.items() for name in table]
# What must be given in words, for a z of 4 values.
NEEDED = {
    ("posterior", "relaxed-one-hot"): ":classes=2",
    ("posterior", "one-hot"): ":classes=2",
    ("prior", "uniform-categorical"): ":classes=2",
    ("likelihood", "categorical"): ":classes=3",
    ("objective", "beta-tcvae"): ":beta=2",
    ("objective", "dipvae"): ":lambda_offdiagonal=2,lambda_diagonal=3",
    ("objective", "info-vae"): ":alpha=0.5,lambda_=2",
}
# What needs another event shape.
SHAPES = {"one-hot-categorical": (4, 4, 3)}


def given(slot, name):
    """What a recipe gives beside the words."""
    if slot == "likelihood":
        return {"event_shape": SHAPES.get(name, E)}
    if slot == "objective":
        taken = inspect.signature(OBJECTIVES[name]).parameters
        return {"dataset_size": 100} if "dataset_size" in taken else {}
    return {"latent_size": 4}


@pytest.mark.parametrize(("slot", "name"), FAMILIES)
def test_every_family_is_made_from_words(slot, name):
    table, module = SLOTS[slot]
    words = name + NEEDED.get((slot, name), "")
    part = make(table, words, **given(slot, name))
    assert type(part) is table[name]
    assert type(part).__name__ in vars(module)
    assert name.replace("-", "") == type(part).__name__.lower()


@pytest.mark.parametrize(("slot", "name"), FAMILIES)
def test_every_option_with_a_default_can_be_said(slot, name):
    """The defaults, as `keras-vae families` prints them, make the same part."""
    table, _ = SLOTS[slot]
    needed = NEEDED.get((slot, name), "")[1:]
    listed = [item for item in options_of(table[name]).split(", ") if "=" in item]
    words = ",".join(item for item in [needed, *listed] if item and "<" not in item)
    part = make(table, f"{name}:{words}" if words else name, **given(slot, name))
    plain = make(table, name + NEEDED.get((slot, name), ""), **given(slot, name))
    own, expected = part.get_config(), plain.get_config()
    assert {k: v for k, v in own.items() if k != "name"} == {
        k: v for k, v in expected.items() if k != "name"
    }


@pytest.mark.parametrize(("slot", "name"), FAMILIES)
def test_a_needed_option_that_is_missing_is_one_line(slot, name):
    table, _ = SLOTS[slot]
    if (slot, name) not in NEEDED:
        assert make(table, name, **given(slot, name)) is not None
        return
    option = NEEDED[slot, name][1:].partition("=")[0]
    with pytest.raises(
        ValueError, match=f"^{name} needs {option}. Expected: {name}:{option}=VALUE.$"
    ):
        make(table, name, **given(slot, name))


def test_only_what_words_can_make_is_in_the_tables():
    for table, left_out in (
        (POSTERIORS, {"chain", "top-down", "product"}),
        (PRIORS, {"chain", "product", "conditional-normal"}),
        (LIKELIHOODS, {"table", "missing"}),
    ):
        assert not left_out & set(table)
    assert all(not inspect.isabstract(f) for table, _ in SLOTS.values() for f in table.values())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("low-rank-normal:rank=3", {"rank": 3}),
        ("low-rank-normal: rank=3", {"rank": 3}),
        ("low-rank-normal", {}),
    ],
)
def test_words_become_options(words, expected):
    family, options = named(POSTERIORS, words)
    assert family is posteriors.LowRankNormal
    assert options == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("elbo:beta=4", {"beta": 4}),
        ("elbo:beta=4.5,num-samples=3", {"beta": 4.5, "num_samples": 3}),
        ("elbo:num_samples=3,gradient=stl", {"num_samples": 3, "gradient": "stl"}),
        (
            "elbo:free-bits=1,free-bits-per=dimension",
            {"free_bits": 1, "free_bits_per": "dimension"},
        ),
        ("elbo:free-bits=1,free-bits-per=(2,2)", {"free_bits": 1, "free_bits_per": (2, 2)}),
        ("elbo:free-bits-per=[3,1],beta=2", {"free_bits_per": [3, 1], "beta": 2}),
        ("elbo:capacity=None", {"capacity": None}),
    ],
)
def test_values_are_numbers_words_and_tuples(words, expected):
    assert named(OBJECTIVES, words) == (ELBO, expected)
    made = make(OBJECTIVES, words)
    for name, value in expected.items():
        found = getattr(made, name)
        assert found == (tuple(value) if isinstance(value, list) else value)


WRONG = {
    "no such family": (
        POSTERIORS,
        "vampire",
        r"There is no 'vampire'\. Expected one of: .*diagonal-normal",
    ),
    "nothing": (POSTERIORS, "", r"There is no ''\. Expected one of"),
    "a class's name": (POSTERIORS, "DiagonalNormal", r"There is no 'DiagonalNormal'"),
    "no such option": (
        POSTERIORS,
        "low-rank-normal:depth=3",
        r"low-rank-normal has no option 'depth'\. Expected one of: rank\.",
    ),
    "an option of one that has none": (
        POSTERIORS,
        "diagonal-normal:rank=3",
        r"diagonal-normal has no option 'rank'\. Expected no options\.",
    ),
    "what the recipe sets": (
        POSTERIORS,
        "low-rank-normal:latent_size=3",
        r"has no option 'latent_size'",
    ),
    "what Keras sets": (POSTERIORS, "diagonal-normal:dtype=float64", r"has no option 'dtype'"),
    "no value": (
        POSTERIORS,
        "low-rank-normal:rank",
        r"'rank' is no option\. Expected: option=value",
    ),
    "no option": (POSTERIORS, "low-rank-normal:", r"'' is no option"),
    "an empty value": (POSTERIORS, "low-rank-normal:rank=", r"`rank` of LowRankNormal.*rank=''"),
    "a trailing comma": (POSTERIORS, "low-rank-normal:rank=2,", r"'' is no option"),
    "twice": (
        POSTERIORS,
        "low-rank-normal:rank=2,rank=3",
        r"'low-rank-normal:rank=2,rank=3' says an option twice",
    ),
    "a word for a number": (POSTERIORS, "low-rank-normal:rank=two", r"`rank` of LowRankNormal"),
    "a number out of range": (POSTERIORS, "low-rank-normal:rank=0", r"`rank` of LowRankNormal"),
    "a wrong word": (LIKELIHOODS, "normal:scale=wide", r"`scale` of Normal.*'wide'"),
    "a word for beta": (OBJECTIVES, "elbo:beta=big", r"`beta` of ELBO.*'big'"),
    "a list for beta": (OBJECTIVES, "elbo:beta=[1,2]", r"`beta` of ELBO"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_words_are_one_line(wrong):
    table, words, message = WRONG[wrong]
    extra = {"event_shape": E} if table is LIKELIHOODS else {"latent_size": 4}
    with pytest.raises(ValueError, match=rf"(?s){message}") as error:
        make(table, words, **({} if table is OBJECTIVES else extra))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("slot", "name"), FAMILIES)
@pytest.mark.parametrize("value", ["nonsense", "[1,'a']", "{}", "-3", "None", "True"])
def test_no_value_of_an_option_is_worse_than_an_error_of_one_kind(slot, name, value):
    """Made, or refused with a ValueError, which the command line prints: never a traceback."""
    table, _ = SLOTS[slot]
    needed = dict(item.split("=") for item in NEEDED.get((slot, name), "")[1:].split(",") if item)
    for item in options_of(table[name]).split(", "):
        option = item.partition("=")[0]
        if not option:
            continue
        words = ",".join(f"{k}={v}" for k, v in {**needed, option: value}.items())
        with contextlib.suppress(ValueError):
            make(table, f"{name}:{words}", **given(slot, name))


def test_what_has_no_meaning_for_a_family_is_refused():
    with pytest.raises(ValueError, match=r"^--free-bits has no meaning for iwae\.$"):
        make(OBJECTIVES, "iwae", free_bits=2.0)
    with pytest.raises(ValueError, match=r"^--scale has no meaning for bernoulli\.$"):
        make(LIKELIHOODS, "bernoulli", event_shape=E, scale="shared")


def test_what_is_said_twice_is_refused():
    with pytest.raises(
        ValueError, match=r"^--beta is said twice, the other time in elbo:beta=2\.$"
    ):
        make(OBJECTIVES, "elbo:beta=2", beta=3.0)
    recipe = Recipe(units=(4,), latent_size=4, objective="elbo:beta=4", warm_up=2)
    data = recipe.load_data()
    with pytest.raises(ValueError, match=r"^--warm-up goes with --beta\. Expected: --beta 4\.$"):
        recipe.with_defaults(data).build(data)


def test_the_options_are_listed_with_their_defaults():
    assert options_of(posteriors.DiagonalNormal) == ""
    assert "rank" in options_of(posteriors.LowRankNormal)
    assert options_of(objectives.IWAE).startswith("num_samples=5, beta=1.0")
    assert "classes" in options_of(likelihoods.Categorical).split(", ")
    assert options_of(likelihoods.Poisson) == ""  # no size factor can be given in words


# A recipe


@pytest.mark.parametrize(
    "words",
    [
        {"posterior": "low-rank-normal:rank=2"},
        {"posterior": "inverse-autoregressive-flow", "prior": "mixture-of-normals:components=3"},
        {"prior": "vamp-prior:pseudo-inputs=5", "likelihood": "laplace"},
        {"posterior": "power-spherical", "prior": "uniform-sphere"},
        {
            "posterior": "relaxed-one-hot:classes=2,temperature=0.5",
            "prior": "uniform-categorical:classes=2,temperature=0.5",
        },
        {"likelihood": "discretised-logistic", "objective": "beta-tcvae:beta=2"},
        {"objective": "elbo:gradient=stl,kl=sampled", "warm_up": 2},
        {"objective": "info-vae:alpha=0.5,lambda_=10"},
    ],
)
def test_a_recipe_of_words_is_a_model(words):
    recipe = Recipe(units=(4,), latent_size=4, **words)
    data = recipe.load_data()
    vae = recipe.with_defaults(data).build(data)
    assert np.isfinite(vae.elbo(data.test[:3], seed=0)).all()


def test_parts_that_do_not_go_together_are_one_line():
    recipe = Recipe(units=(4,), latent_size=4, posterior="power-spherical")
    data = recipe.load_data()
    with pytest.raises(ValueError, match="must live on the same set") as error:
        recipe.with_defaults(data).build(data)
    assert "\n" not in str(error.value)


def test_a_warm_up_of_a_bound_without_beta_is_refused():
    recipe = Recipe(units=(4,), latent_size=4, objective="renyi", warm_up=2)
    data = recipe.load_data()
    with pytest.raises(ValueError, match="--warm-up has no meaning for renyi"):
        recipe.with_defaults(data).build(data)
