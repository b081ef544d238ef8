"""The inputs and outputs of a served model, for programs that send requests."""

from typing import Any

import numpy as np

from keras_vae.exported.examples import Case
from keras_vae.exported.signatures import Signatures

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MEANINGS = {
    "encode": "q(z|x): its parameters, and the value that stands for it.",
    "encode_sample": "A draw of z from q(z|x).",
    "decode": "p(x|z): its parameters, and the value that stands for it.",
    "decode_sample": "A draw of x from p(x|z).",
    "reconstruct": "The mean of p(x|z) at the mean of q(z|x).",
    "generate": "z from p(z), the mean of p(x|z), and a draw of x from it.",
    "score": "The bound, the importance-weighted log-likelihood and the KL, in nats.",
}


def schema(served: Signatures, cases: dict[str, Case]) -> dict[str, Any]:
    """Names, dtypes, shapes and meanings, and a JSON schema of the body of each REST request."""
    return {
        "model": served.vae.name,
        "num_samples": served.num_samples,
        "signatures": {name: _signature(served, name, case) for name, case in cases.items()},
    }


def _signature(served: Signatures, name: str, case: Case) -> dict[str, Any]:
    inputs = {
        key: _array(value, _meaning(served, key, "x" in case.inputs))
        for key, value in case.inputs.items()
    }
    outputs = {key: _array(value) for key, value in case.outputs.items()}
    return {
        "description": MEANINGS[name],
        "inputs": inputs,
        "outputs": outputs,
        "request": _request(name, inputs),
        "response": _response(outputs),
    }


def _array(value: np.ndarray, description: str = "") -> dict[str, Any]:
    spec = {"dtype": value.dtype.name, "shape": [None, *value.shape[1:]]}
    return {**spec, "description": description} if description else spec


def _meaning(served: Signatures, name: str, beside_x: bool) -> str:
    vae = served.vae
    if name == "x":
        divided = "" if served.divisor is None else f", times {served.divisor:g}"
        return f"values in {vae.likelihood.support.name}{divided}"
    if name == "condition":
        return served.condition_beside(beside_x)
    return {
        "z": vae.posterior.support,
        "seed": "an integer for each row, which fixes the row's draw",
        "size_factor": "a number > 0 for each row",
    }[name]


def _request(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """By rows, `instances`, or by columns, `inputs`."""
    row, column = (
        {
            "type": "object",
            "properties": {key: json(spec) for key, spec in inputs.items()},
            "required": list(inputs),
            "additionalProperties": False,
        }
        for json in (_one, _all)
    )
    signature = {"const": name}
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": {
            "signature_name": signature,
            "instances": {"type": "array", "items": _or_alone(row, inputs, _one), "minItems": 1},
            "inputs": _or_alone(column, inputs, _all),
        },
        "required": ["signature_name"],
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        "additionalProperties": False,
    }


def _response(outputs: dict[str, Any]) -> dict[str, Any]:
    row, column = (
        {
            "type": "object",
            "properties": {key: json(spec) for key, spec in outputs.items()},
            "required": list(outputs),
        }
        for json in (_one, _all)
    )
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": _or_alone(row, outputs, _one)},
            "outputs": _or_alone(column, outputs, _all),
        },
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    }


def _or_alone(named: dict, arrays: dict[str, Any], json: Any) -> dict[str, Any]:
    """A single array may come without its name; TensorFlow Serving answers so, too."""
    if len(arrays) > 1:
        return named
    return {"anyOf": [named, json(next(iter(arrays.values())))]}


def _all(spec: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _one(spec)}


def _one(spec: dict[str, Any]) -> dict[str, Any]:
    """One row of an array: lists in lists, of their lengths."""
    found: dict[str, Any] = {"type": "number" if "float" in spec["dtype"] else "integer"}
    if found["type"] == "integer":
        limits = np.iinfo(spec["dtype"])
        found |= {"minimum": int(limits.min), "maximum": int(limits.max)}
    for size in reversed(spec["shape"][1:]):
        found = {"type": "array", "items": found, "minItems": size, "maxItems": size}
    return found
