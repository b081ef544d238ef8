"""The programs of `serving/`, which a wheel carries inside the package."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
FOLDERS = (PACKAGE / "serving", PACKAGE.parent / "serving")  # in a wheel, in a checkout


def shipped(name: str) -> ModuleType:
    """A program as a module.

    They run by themselves, too, and import one another by bare names: hence their folder
    on the path instead of a package.
    """
    folder = next(folder for folder in FOLDERS if (folder / f"{name}.py").exists())
    sys.path.insert(0, str(folder))
    return importlib.import_module(name)
