"""Which penalties on the coordinates of z make sense for which values of z."""

from tensorflow_probability import distributions as tfd

from keras_vae.divergences import factors
from keras_vae.latents import REALS, SPHERE
from keras_vae.objectives.objective import Objective
from keras_vae.posteriors import Posterior


def refuse_tied_coordinates(objective: Objective, posterior: Posterior) -> None:
    """Raises a ValueError where the coordinates of z depend on each other by their definition."""
    support = posterior.support
    if SPHERE in support or "sum to 1" in support or "one of them 1" in support:
        raise ValueError(
            f"{type(objective).__name__} asks for independent coordinates of z, and those of "
            f"{support} depend on each other by definition. Expected: a posterior on {REALS}, or "
            f"on another product set. Received: {type(posterior).__name__}."
        )


def require_reals(objective: Objective, posterior: Posterior) -> None:
    """Raises a ValueError unless z may be any real vector."""
    if posterior.support != REALS:
        raise ValueError(
            f"{type(objective).__name__} asks for a variance of 1 in each latent dimension, which "
            f"{posterior.support} do not have in general. Expected: a posterior on {REALS}. "
            f"Received: {type(posterior).__name__}."
        )


def require_factors(objective: Objective, density: tfd.Distribution) -> None:
    """Raises a ValueError unless the dimensions of a density of z are known to be independent."""
    try:
        factors(density)
    except NotImplementedError as error:
        raise ValueError(f"{objective!r} does not fit the distributions. {error}") from error
