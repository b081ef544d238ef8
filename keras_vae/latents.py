"""The sets that z may live in, in words: posterior and prior must name the same one."""

from keras_vae.arguments import is_real, positive_integer

REALS = "all real vectors"
SPHERE = "unit vectors"
CUBE = "vectors in (0, 1)"
BITS = "vectors of 0 and 1"


def simplices(classes: int) -> str:
    """Groups of `classes` positive numbers, each of which sums to one."""
    return f"groups of {classes} positive numbers that sum to 1"


def one_hots(classes: int) -> str:
    """Groups of `classes` numbers, one of them 1 and the others 0."""
    return f"groups of {classes} numbers, one of them 1, the others 0"


def blocks(supports: list[str], sizes: list[int]) -> str:
    """Blocks of z one after the other; neighbours in the same set are one block.

    Not so spheres: two of them are no sphere in more dimensions.
    """
    merged: list[tuple[str, int]] = []
    for support, size in zip(supports, sizes, strict=True):
        if merged and merged[-1][0] == support != SPHERE:
            merged[-1] = (support, merged[-1][1] + size)
        else:
            merged.append((support, size))
    if len(merged) == 1:
        return merged[0][0]
    return "; ".join(f"{support} ({size} values)" for support, size in merged)


def require_sphere(latent_size: int, owner: object) -> None:
    """Raises a ValueError if there is no sphere with a density in so many dimensions."""
    if latent_size < 2:
        raise ValueError(
            f"`latent_size` of {type(owner).__name__} is the dimension of the space that the "
            "sphere lies in. Expected: 2 or more. Received: "
            f"latent_size={latent_size}. For a single number use a family on the real numbers."
        )


def groups_of(latent_size: int, classes: object, owner: object) -> int:
    """The number of groups of `classes` values in z.

    Raises:
        ValueError: if `classes` is not an integer of 2 or more that divides `latent_size`.
    """
    count = positive_integer(classes, "classes", owner, "the number of values in a group")
    if count < 2 or latent_size % count:
        raise ValueError(
            f"`classes` of {type(owner).__name__} is the number of values in a group. Expected: "
            f"2 or more, a divisor of latent_size={latent_size}. Received: classes={classes!r}. "
            "latent_size is the number of groups times the classes."
        )
    return latent_size // count


def require_temperature(temperature: object, owner: object, alternative: str) -> None:
    """Raises a ValueError if `temperature` is not a positive number.

    Args:
        temperature: what was received.
        owner: the part whose argument it is.
        alternative: what it takes beside a number, in words.
    """
    if not is_real(temperature) or temperature <= 0:  # type: ignore[operator]  # a number here
        raise ValueError(
            f"`temperature` of {type(owner).__name__} says how far from one class a draw may "
            f"be. Expected: a positive number, or {alternative}. Received: "
            f"temperature={temperature!r}."
        )
