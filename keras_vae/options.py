"""What an option of the command line may be, beyond Click's own types."""

from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from keras_vae.data.sets import READERS
from keras_vae.likelihoods import Normal
from keras_vae.recipe import named


class Scale(click.ParamType):
    """A positive number, or one of the words for a learned scale."""

    name = "number|shared|per_channel|per_value|optimal"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        """The number or the word."""
        if value in Normal.words or isinstance(value, float):
            return value
        try:
            return float(value)
        except ValueError:
            words = " nor ".join(Normal.words)
            return self.fail(f"{value!r} is neither a number nor {words}.", param, ctx)


class Family(click.ParamType):
    """A family of one slot, with its options: `low-rank-normal:rank=3`.

    Args:
        slot: the families by name.
    """

    name = "name[:option=value,...]"

    def __init__(self, slot: dict[str, type]) -> None:
        self.slot = slot

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The words, if they name a family and its options."""
        try:
            named(self.slot, str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """The families."""
        return [CompletionItem(name) for name in self.slot if name.startswith(incomplete)]


class Data(click.ParamType):
    """The name of a data set, or a path."""

    name = "name|path"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Any text: what it is shows when it is loaded."""
        return str(value)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """The named data sets."""
        return [CompletionItem(name) for name in READERS if name.startswith(incomplete)]


class Units(click.ParamType):
    """Layer widths, separated by commas."""

    name = "widths"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The widths, each at least 1."""
        try:
            widths = value if isinstance(value, tuple) else tuple(map(int, value.split(",")))
        except ValueError:
            widths = ()
        if not widths or min(widths) < 1:
            self.fail(f"{value!r} is no list of layer widths such as 400 or 200,200.", param, ctx)
        return widths


class Names(click.ParamType):
    """Some of several names, separated by commas.

    Args:
        names: all of them.
    """

    name = "name,..."

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Those that were named."""
        words = value if isinstance(value, tuple) else tuple(value.split(","))
        for word in words:
            if word not in self.names:
                self.fail(f"{word!r} is none of {', '.join(self.names)}.", param, ctx)
        return words

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """The names."""
        return [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
