"""How many steps TensorFlow runs for one call from Python: `steps_per_execution="auto"`."""

from collections.abc import Iterable

import keras

# Measured on 784-400-20-400-784, two cores, batch 128: a call costs 1 to 1.5 ms beside a
# step of 4 to 5. Sixteen at once leave 2 % of that, and a progress bar that still moves.
AT_ONCE = 16

PER_BATCH = tuple(
    f"on_{kind}batch_{moment}"
    for kind in ("", "train_", "test_", "predict_")
    for moment in ("begin", "end")
)


def steps_at_once(callbacks: Iterable[keras.callbacks.Callback], *steps: int | None) -> int:
    """One where something counts steps one by one, else `AT_ONCE`.

    Args:
        callbacks: a user's own hook of a batch is to be called at every batch; Keras's own
            callbacks know that several steps may pass.
        steps: the numbers of steps that the user has set: Keras runs past a number that is
            no multiple.
    """
    counted = any(number is not None for number in steps)
    return 1 if counted or any(map(_hooks_into_batches, callbacks)) else AT_ONCE


def _hooks_into_batches(callback: keras.callbacks.Callback) -> bool:
    return any(not getattr(callback, hook).__module__.startswith("keras.") for hook in PER_BATCH)
