"""Loads a SavedModel with TensorFlow alone and compares its answers: `reload.py VERSION CASES`.

A program of its own, never imported: it shows that a server needs neither Keras nor this
package. It prints a JSON list of what is wrong.
"""

import importlib.abc
import json
import sys

import numpy as np
import tensorflow as tf

ABSENT = ("keras", "tf_keras", "tensorflow_probability", "keras_vae")
RTOL, ATOL = 1e-3, 1e-4  # of a graph, against the same operations one by one


class Absent(importlib.abc.MetaPathFinder):
    """Keeps out what a server does not have."""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raises an ImportError for it."""
        if name.split(".")[0] in ABSENT:
            raise ImportError(f"{name} is not there for a served model")


def problems_of(signature: tf.types.experimental.ConcreteFunction, case: dict) -> list[str]:
    """What is wrong with the answer to a case, to all rows and to each of them alone."""
    inputs, expected = case["inputs"], case["outputs"]
    specs = signature.structured_input_signature[1]
    found = []
    for name, value in inputs.items():
        if specs[name].shape[0] is not None or specs[name].dtype != value.dtype:
            found.append(f"the input {name} is {specs[name]}, not {value.dtype} of any batch")
    whole = signature(**{name: tf.constant(value) for name, value in inputs.items()})
    if set(whole) != set(expected):
        found.append(f"the outputs are {sorted(whole)}, not {sorted(expected)}")
    for name, value in expected.items():
        found += differing(name, whole[name].numpy(), value)
    rows = len(next(iter(inputs.values())))
    for row in range(rows):
        alone = signature(**{k: tf.constant(v[row : row + 1]) for k, v in inputs.items()})
        for name, value in expected.items():
            found += differing(f"{name} of row {row} alone", alone[name].numpy(), value[[row]])
    return found


def differing(name: str, received: np.ndarray, expected: np.ndarray) -> list[str]:
    """How two arrays differ, if they do."""
    if received.dtype != expected.dtype or received.shape != expected.shape:
        return [
            f"{name} is {received.dtype} {received.shape}, not {expected.dtype} {expected.shape}"
        ]
    if np.allclose(received, expected, rtol=RTOL, atol=ATOL, equal_nan=True):
        return []
    far = np.nanmax(np.abs(received.astype("float64") - expected))
    return [f"{name} is up to {far:.3g} away from the Python model's"]


def main(version: str, cases: str) -> None:
    """Prints the problems of every case."""
    for name in [name for name in sys.modules if name.split(".")[0] in ABSENT]:
        del sys.modules[name]  # TensorFlow brings Keras if it is installed
    sys.meta_path.insert(0, Absent())
    model = tf.saved_model.load(version)
    arrays: dict[str, dict] = {}
    with np.load(cases) as file:
        for key in file.files:
            signature, side, name = key.split(":", 2)
            arrays.setdefault(signature, {"inputs": {}, "outputs": {}})[side][name] = file[key]
    found = []
    for name, case in arrays.items():
        found += [f"{name}: {problem}" for problem in problems_of(model.signatures[name], case)]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
