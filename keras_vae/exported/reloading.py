"""A written version, loaded where there is TensorFlow and nothing else."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.exported.examples import Case

PROGRAM = Path(__file__).with_name("reload.py")


def verify(version: Path, cases: dict[str, Case]) -> None:
    """Raises a RuntimeError if it does not answer each case as the Python model does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.npz"
        arrays: dict[str, Any] = {
            f"{signature}:{side}:{name}": value
            for signature, case in cases.items()
            for side, values in zip(case._fields, case, strict=True)
            for name, value in values.items()
        }
        np.savez(path, **arrays)
        # -I: neither this folder nor the environment puts the package on its path first.
        program = [sys.executable, "-I", str(PROGRAM), str(version), str(path)]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The exported model could not be loaded again:\n{done.stderr[-4000:]}")
    problems = json.loads(done.stdout.splitlines()[-1])
    if problems:
        raise RuntimeError(
            "The exported model does not answer as the Python model does, and was not kept:\n- "
            + "\n- ".join(problems)
        )
