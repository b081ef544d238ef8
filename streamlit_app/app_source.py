"""Lines of code for the page to show, read from the files at run time and never copied."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Excerpt(NamedTuple):
    """Some lines of a file.

    Attributes:
        file: its path, from the package on.
        first: the number of the first line.
        last: of the last.
        code: the lines, their common indentation taken off.
    """

    file: str
    first: int
    last: int
    code: str


def whole(function: Any) -> Excerpt:
    """All lines of a function, a method, a property or a class.

    Raises:
        OSError: if its source is not at hand.
    """
    function = function.fget if isinstance(function, property) else function
    lines, first = inspect.getsourcelines(function)
    return _excerpt(function, lines, first)


def assignments(function: Callable[..., Any], *names: str) -> Excerpt:
    """The lines of a function's body from the first that assigns one of the names to the last.

    Raises:
        ValueError: if the function assigns one of the names nowhere.
    """
    lines, first = inspect.getsourcelines(function)
    (definition,) = ast.parse(textwrap.dedent("".join(lines))).body
    found = [
        node
        for node in ast.iter_child_nodes(definition)
        if isinstance(node, ast.Assign) and _targets(node) & set(names)
    ]
    missing = set(names) - {name for node in found for name in _targets(node)}
    if missing:
        raise ValueError(
            f"{function.__qualname__} does not assign what is to be shown of it. Expected: "
            f"{', '.join(names)}. Received a function without: {', '.join(sorted(missing))}."
        )
    start = min(node.lineno for node in found) - 1
    end = max(node.end_lineno or node.lineno for node in found)
    return _excerpt(function, lines[start:end], first + start)


def _targets(node: ast.Assign) -> set[str]:
    names = [n for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def _excerpt(owner: Callable[..., Any] | type, lines: list[str], first: int) -> Excerpt:
    code = textwrap.dedent("".join(lines)).rstrip()
    return Excerpt(_file(owner), first, first + len(lines) - 1, code)


def _file(owner: Callable[..., Any] | type) -> str:
    """The path of what is defined in `a.b.c`, from the package a on."""
    path = Path(inspect.getsourcefile(owner) or "")
    depth = len(owner.__module__.split(".")) + (path.name == "__init__.py")
    return "/".join(path.parts[-depth:])
