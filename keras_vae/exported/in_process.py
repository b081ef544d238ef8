"""The served contract answered in this process: what a server says, without a server."""

import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_vae.exported.signatures import INPUTS, Signatures
from keras_vae.vae import VAE


class InProcess:
    """A model's signatures, NumPy in and NumPy out; threads may share it.

    Equal requests have equal answers: a draw is fixed by the seed of its row. See
    `keras_vae.export` for the signatures.

    Args:
        vae: the model.
        num_samples: K, the draws of z that `score` takes for each x.

    Example:
        served = InProcess(vae)
        served.predict("generate", {"seed": [0, 1, 2]})["mean"]  # [3, *E]
    """

    def __init__(self, vae: VAE, num_samples: int = 1) -> None:
        self._served = Signatures(vae, num_samples)
        self._graphs: dict[str, tf.types.experimental.PolymorphicFunction] = {}
        self._tracing = threading.Lock()

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        """The inputs of a signature: names, shapes, dtypes."""
        if signature not in INPUTS:
            raise ValueError(
                f"There is no such signature. Expected: one of {', '.join(INPUTS)}. Received: "
                f"{signature!r}."
            )
        return self._served.inputs(signature)

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The answer to a request, by the names of the outputs.

        Raises:
            ValueError: if there is no such signature, or its inputs are not these.
        """
        specs = self.inputs(signature)
        if set(inputs) != set(specs):
            raise ValueError(
                f"These are not the inputs of {signature}. Expected: {', '.join(specs)}. "
                f"Received: {', '.join(inputs)}."
            )
        tensors = [_tensor(name, inputs[name], spec) for name, spec in specs.items()]
        try:
            answer = self._graph(signature, specs)(*tensors)
        except tf.errors.OpError as error:
            raise ValueError(_said(error)) from None
        return {name: value.numpy() for name, value in answer.items()}

    def _graph(
        self, signature: str, specs: dict[str, tf.TensorSpec]
    ) -> tf.types.experimental.PolymorphicFunction:
        """Traced once, for every number of rows."""
        with self._tracing:
            if signature not in self._graphs:
                function = tf.function(
                    self._served.function(signature), input_signature=list(specs.values())
                )
                function.get_concrete_function()
                self._graphs[signature] = function
            return self._graphs[signature]


def _tensor(name: str, value: Any, spec: tf.TensorSpec) -> tf.Tensor:
    array = np.asarray(value)
    expected = f"Expected: {spec.dtype.name}, {spec.shape}."
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` is no array of numbers. {expected} Received: {array.dtype}.")
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(f"`{name}` has the wrong shape. {expected} Received: {list(array.shape)}.")
    return tf.constant(array.astype(spec.dtype.as_numpy_dtype))


def _said(error: tf.errors.OpError) -> str:
    """What the graph's own check said, without TensorFlow's frame around it."""
    found = re.search(r"assertion failed: \[(.*?)\]\s*(\[\[|$)", error.message, re.DOTALL)
    return found.group(1) if found else error.message.splitlines()[0]
