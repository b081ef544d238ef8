"""Training in front of a visitor: a process of its own, whose history the page follows."""


def first_model() -> None:
    """Trains the digits model, live, where there is no run yet."""
