"""What is freed in one step is there for the next."""

import os
import subprocess
import sys

import pytest

import keras_vae.memory

# Blocks as a step has them, freed together; counted are the pages that come from the system.
PROGRAM = """
import resource, runpy, sys
import numpy as np

if sys.argv[1] == "keep":
    runpy.run_path(sys.argv[2])["keep_freed_memory"]()

def step():
    blocks = [np.ones(160_000) for _ in range(4)]

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50)
"""


def faults(what, **environment) -> float:
    """Pages a step."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROGRAM, what, keras_vae.memory.__file__]
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_memory_stays_between_steps_unless_the_user_has_tuned_it():
    assert faults("leave") > 500
    assert faults("keep") < 10
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072") > 500
