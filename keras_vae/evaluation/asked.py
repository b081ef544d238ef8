"""What an estimate is asked of, checked before its first chunk: the model and the data."""

from typing import Any

from keras_vae.data.source import Source
from keras_vae.evaluation.rows import held_still
from keras_vae.feed import Feed
from keras_vae.vae import VAE


def data_of(vae: VAE, x: Any, optional: tuple[str, ...] = ()) -> Source:
    """All rows of x and what goes with them: what is wrong with the last is said at once.

    Args:
        vae: the model.
        x: `[N, *E]`, or a source. Bits that are drawn at each visit are drawn once.
        optional: names of what may be missing beside x.

    Raises:
        TypeError: if `vae` is no model.
        ValueError: if x is not what the model takes.
    """
    require_model(vae)
    rows = vae.likelihood.as_source(x)
    source, _ = Feed(vae.likelihood, vae.condition, optional).rows(rows)
    return held_still(source)


def require_model(vae: object, argument: str = "vae") -> None:
    """Raises a TypeError if it is none."""
    if not isinstance(vae, VAE):
        raise TypeError(
            f"`{argument}` is the model that is evaluated. Expected: a keras_vae.VAE. Received: "
            f"{vae.__name__ + ', a class' if isinstance(vae, type) else type(vae).__name__}."
        )
