"""Arrows between modules point one way, and importing the package does nothing else."""

import ast
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "keras_vae"

# A module imports from the layers before its own, and within its own layer.
LAYERS = [
    [
        "randomness",
        "arguments",
        "completion",
        "support",
        "latents",
        "replicas",
        "running_means",
        "progress",
        "devices",
    ],
    ["data", "memory"],
    ["networks"],
    ["statement", "distributions", "head"],
    ["posteriors", "priors", "likelihoods"],
    ["divergences", "conditions"],
    ["objectives", "path"],
    ["beside"],
    ["feed", "advice", "assumptions", "legality", "imputation", "ex_post"],
    ["densities"],
    ["generative"],
    ["native_adam", "resident_training", "compilation"],
    ["executions"],
    ["trainer"],
    ["vae"],
    ["evaluation", "plots", "exported"],
    ["keras_vae"],  # the names that users see, and the version
    ["recipe", "options", "shipped"],
    ["measurement"],
    ["runs"],
    ["opened", "workers", "reproductions"],
    ["cli_serving", "cli_app", "cli_reproduce", "cli_train"],
    ["cli"],
]
ORDER = {name: level for level, names in enumerate(LAYERS) for name in names}
# They may import each other's layer, never each other.
SIBLINGS = {"posteriors", "priors", "likelihoods"}


def modules():
    """Every source file of the package but its front door, with the layer's name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts[0]


def imported(path):
    """The layers of the package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its arrow"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "keras_vae":
                of_a_module = len(parts) > 1 and parts[1] != "__version__"
                yield parts[1] if of_a_module else "keras_vae"


def wrong_arrow(layer, other):
    """Why `layer` must not import `other`, or None."""
    if other not in ORDER:
        return f"{other!r} has no layer"
    if ORDER[other] > ORDER[layer]:
        return f"{other!r} comes after {layer!r}"
    if layer != other and {layer, other} <= SIBLINGS:
        return f"{other!r} and {layer!r} know nothing of each other"
    return None


def test_every_module_has_a_place():
    unknown = {name for _, name in modules()} - set(ORDER)
    assert not unknown, f"Say in LAYERS of {__file__} between which layers these belong: {unknown}"


def test_a_module_imports_only_what_lies_before_it():
    wrong = [
        f"{path.relative_to(ROOT)}: {wrong_arrow(layer, other)}"
        for path, layer in modules()
        if layer in ORDER
        for other in imported(path)
        if wrong_arrow(layer, other)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_arrows_are_really_looked_at():
    assert set(imported(PACKAGE / "vae.py")) >= {"trainer", "objectives", "divergences"}
    assert wrong_arrow("data", "vae")
    assert wrong_arrow("vae", "never_heard_of")
    assert wrong_arrow("priors", "posteriors")
    assert wrong_arrow("vae", "priors") is None


def python(code, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_another_backend_is_refused_in_words(tmp_path):
    # No other backend is installed, not even all that Keras's own "numpy" needs.
    code = "import keras; keras.backend.backend = lambda: 'jax'; import keras_vae"
    ended = python(code, tmp_path)
    assert ended.returncode != 0
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: keras_vae computes with TensorFlow")
    assert "Expected: the Keras backend 'tensorflow'. Received: 'jax'" in message
    assert "KERAS_BACKEND=tensorflow" in message


QUIET_IMPORT = """
import os, random, sys
import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability
from tensorflow_probability import distributions, bijectors

made, opened = [], []
keras.Variable.__init__ = lambda self, *args, **kwargs: made.append(args)
tf.Variable.__init__ = lambda self, *args, **kwargs: made.append(args)

def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        opened.append(arguments[0])

policy, threads = keras.config.dtype_policy().name, tf.config.threading.get_intra_op_parallelism_threads()
states = random.getstate(), str(np.random.get_state())
environment = dict(os.environ)
sys.addaudithook(watch)
import keras_vae

assert made == [], f"variables: {made}"
assert opened == [], f"files: {opened}"
assert random.getstate() == states[0], "Python's random state"
assert str(np.random.get_state()) == states[1], "NumPy's random state"
assert keras.src.backend.common.global_state.get_global_attribute("global_seed_generator") is None
assert dict(os.environ) == environment, "the environment"
assert keras.config.dtype_policy().name == policy
print("quiet")
"""


def test_importing_makes_no_variable_no_draw_and_no_file(tmp_path):
    ended = python(QUIET_IMPORT, tmp_path, KERAS_BACKEND="tensorflow", PYTHONDONTWRITEBYTECODE="1")
    assert ended.stdout == "quiet\n", ended.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []
