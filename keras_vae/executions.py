"""How the steps of `fit`, `evaluate` and `predict` are run: what is left "auto" in `compile`."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_vae.compilation import pays
from keras_vae.data.pipeline import EpochSeed, batches
from keras_vae.data.resident import ResidentRows, can_lie
from keras_vae.data.source import Source
from keras_vae.devices import has_gpu
from keras_vae.memory import keep_freed_memory
from keras_vae.resident_training import ResidentTraining

# Measured on 784-400-20-400-784, two cores, batch 128: a call costs 1 to 1.5 ms beside a
# step of 4 to 5. Sixteen at once leave 2 % of that, and a progress bar that still moves.
STEPS_AT_ONCE = 16
# On a GPU, where a step of batch 1,024 takes 0.4 ms, and where XLA compiles the loop of the steps:
# there, on that CPU, `fit` is 1.02 to 1.13 times as fast as with sixteen (three rounds of five).
STEPS_AT_ONCE_COMPILED = 64

PER_BATCH = tuple(
    f"on_{kind}batch_{moment}"
    for kind in ("", "train_", "test_", "predict_")
    for moment in ("begin", "end")
)


class Executions:
    """How the steps of one model are run, from `compile` to `compile`.

    Args:
        model: whose functions and number of steps per execution are set.
        automatic: whether TensorFlow may run several steps for one call from Python.
        compiles: whether XLA may compile the steps of a `fit` where `compilation.pays` says so.
    """

    def __init__(self, model: keras.Model, automatic: bool = True, compiles: bool = False) -> None:
        self.model, self.automatic, self.compiles = model, automatic, compiles
        self._fits = False
        self._kept: dict[bool, ResidentTraining] = {}  # the latest without XLA, and with it

    @contextlib.contextmanager
    def several(
        self, callbacks: list, *steps: int | None, compiled: bool = False
    ) -> Iterator[None]:
        """Within it one call from Python runs several steps, where that is left to the model.

        What a callback of `fit` evaluates runs as many as `fit`, unless its steps are counted.
        """
        before = self.model.steps_per_execution
        counted = any(number is not None for number in steps)
        if self.automatic and (counted or not self._fits):
            self._run_at_once(steps_at_once(callbacks, *steps, compiled=compiled))
        try:
            yield
        finally:
            if self._fits:
                self._run_at_once(before)

    def fed(
        self,
        source: Source,
        sample_weight: np.ndarray | None,
        batch_size: int,
        shuffle: bool,
        epochs: int,
        steps: int | None,
    ) -> tuple[tf.data.Dataset, EpochSeed | ResidentTraining]:
        """What `fit` feeds of rows in memory, and what is told of each new epoch."""
        model = self.model
        # A fixed number of steps goes on in the next epoch where it has stopped.
        elsewhere = steps is not None or model.run_eagerly or not model.compiled
        if elsewhere or not can_lie(source, sample_weight):
            seed = EpochSeed()
            return batches(source, batch_size, sample_weight, seed, shuffle), seed
        all_steps = epochs * -(-len(source) // batch_size)
        xla = model.jit_compile or (self.compiles and pays(model, all_steps, batch_size))
        resident = self._kept.get(xla)
        if resident is None or not resident.rows.take(source, sample_weight, shuffle):
            resident = ResidentTraining(model, ResidentRows(source, sample_weight, shuffle), xla)
        self._kept[xla] = resident
        return resident.start(batch_size), resident

    @contextlib.contextmanager
    def fitting(
        self, passes: EpochSeed | ResidentTraining, callbacks: list, *steps: int | None
    ) -> Iterator[None]:
        """Keras's `fit` runs within it, with the steps of `passes` if it has its own."""
        keep_freed_memory()
        compiled = isinstance(passes, ResidentTraining) and passes.xla
        with self.several(callbacks, *steps, compiled=compiled):
            keras_function, self._fits = self.model.train_function, True
            if isinstance(passes, ResidentTraining):
                self.model.train_function = passes
            try:
                yield
            finally:
                self._fits = False
                # What Keras has made for its own feed stays, for the next `fit`.
                if isinstance(passes, ResidentTraining):
                    self.model.train_function = keras_function
                    passes.rows.release()

    def _run_at_once(self, number: int) -> None:
        model = self.model
        if number != model.steps_per_execution:
            model.steps_per_execution = number
            model.test_function = model.predict_function = None
            if not self._fits:
                model.train_function = None


def steps_at_once(
    callbacks: Iterable[keras.callbacks.Callback], *steps: int | None, compiled: bool = False
) -> int:
    """One where something counts steps one by one, else `STEPS_AT_ONCE`, or more.

    Args:
        callbacks: a user's own hook of a batch is to be called at every batch; Keras's own
            callbacks know that several steps may pass.
        steps: the numbers of steps that the user has set: Keras runs past a number that is
            no multiple.
        compiled: whether XLA compiles their loop.
    """
    counted = any(number is not None for number in steps)
    if counted or any(map(_hooks_into_batches, callbacks)):
        return 1
    return STEPS_AT_ONCE_COMPILED if compiled or has_gpu() else STEPS_AT_ONCE


def _hooks_into_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a hook is a user's: a function of Python's own, such as `seen.append`, is, too."""
    modules = [getattr(callback, hook).__module__ or "" for hook in PER_BATCH]
    return any(not module.startswith("keras.") for module in modules)
