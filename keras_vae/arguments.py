"""Checks of constructor arguments that several parts share."""


def positive_integer(value: object, argument: str, owner: object, meaning: str) -> int:
    """`value`, if it is a positive integer.

    Raises:
        ValueError: naming the argument, what was expected and what was received.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{argument}` of {type(owner).__name__} is {meaning}, a positive integer. "
            f"Received: {argument}={value!r}."
        )
    return value
