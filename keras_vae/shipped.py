"""The programs of `serving/` and `streamlit_app/`, which a wheel carries inside the package."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent


def shipped_folder(name: str) -> Path:
    """A folder of programs: inside the package in a wheel, beside it in a checkout."""
    return next(place / name for place in (PACKAGE, PACKAGE.parent) if (place / name).is_dir())


def shipped(name: str) -> ModuleType:
    """A program of `serving/` as a module.

    They run by themselves, too, and import one another by bare names: hence their folder
    on the path instead of a package.
    """
    folder = str(shipped_folder("serving"))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)
