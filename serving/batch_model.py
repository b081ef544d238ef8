"""The model in Beam: a handler for RunInference that answers a shard of rows at a time."""

import re
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler
from batch_parts import BadRow, Job, Slice
from batch_rows import in_batches

__all__ = ["SavedModel", "SavedModelHandler"]


@final
class SavedModel:
    """A signature of a loaded SavedModel, arrays to arrays. BadRow if the graph refuses them."""

    def __init__(self, folder: str, signature: str) -> None:
        self._loaded = tf.saved_model.load(folder)  # owns the variables
        self._signature = self._loaded.signatures[signature]

    def __call__(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = {name: tf.constant(value) for name, value in values.items()}
        try:
            answer = self._signature(**inputs)
        except tf.errors.InvalidArgumentError as error:
            raise BadRow("refused", _reason(error)) from error
        return {name: value.numpy() for name, value in answer.items()}


def _reason(error: tf.errors.OpError) -> str:
    """The model's own words in TensorFlow's text, without the names of nodes and functions."""
    text = error.message.rpartition("<stack traces unavailable>")[2]
    return re.sub(r"\s*\[\[\{\{.*?\}\}\]\]|\s*\[Op:[^\]]*\]", "", text).strip()


@final
class SavedModelHandler(ModelHandler[Slice, Slice, SavedModel]):
    """Answers shards. Beam loads one model in a process and shares it among the threads."""

    def __init__(self, job: Job) -> None:
        # An element is a shard, which is also what is written as one: batches are made in here.
        super().__init__(min_batch_size=1, max_batch_size=1)
        self.job = job

    def load_model(self) -> SavedModel:
        return SavedModel(self.job.model, self.job.signature)

    def run_inference(
        self,
        batch: Sequence[Slice],
        model: SavedModel,
        inference_args: dict[str, Any] | None = None,
    ) -> list[Slice]:
        return [self._answer(rows, model) for rows in batch]

    def get_num_bytes(self, batch: Sequence[Slice]) -> int:
        return sum(value.nbytes for rows in batch for value in rows["values"].values())

    def _answer(self, rows: Slice, model: SavedModel) -> Slice:
        def call(some: slice) -> dict[str, np.ndarray]:
            return model({name: value[some] for name, value in rows["values"].items()})

        keys, values, bad = in_batches(rows["keys"], self.job.batch_size, call)
        return Slice(shard=rows["shard"], keys=keys, values=values, bad=rows["bad"] + bad)
