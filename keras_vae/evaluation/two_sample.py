"""The outcome of a test of whether two sets of examples come from one distribution."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TwoSampleTest:
    """The outcome of a test of "both sets come from one distribution".

    Attributes:
        statistic: MMD^2, or the accuracy of a classifier: larger says they do not.
        p_value: how often, were it true, a statistic as large would come out.
    """

    statistic: float
    p_value: float

    def __str__(self) -> str:
        return f"{self.statistic:.4g}, p = {self.p_value:.3g}"


def require_rows(least: int, **sets: int) -> None:
    """Raises a ValueError if a set has fewer examples than that."""
    for argument, rows in sets.items():
        if rows < least:
            raise ValueError(
                f"`{argument}` is too small for a test. Expected: {least} examples at least. "
                f"Received: {rows}."
            )
