"""What one part of a model assumes, as data."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Statement:
    """One distribution of a model, in words and as an equation.

    Attributes:
        family: the class's name.
        equation: the density, in Markdown mathematics.
        event_shape: the shape of one value.
        support: the set of values with positive density.
        parameters: each parameter and where its value comes from.
        learned: what training changes.
        fixed: what it does not.
    """

    family: str
    equation: str
    event_shape: tuple[int, ...]
    support: str
    parameters: dict[str, str]
    learned: tuple[str, ...]
    fixed: tuple[str, ...] = ()
