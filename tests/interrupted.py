"""A computation of chunks of rows that is stopped, and goes on from its checkpoint."""

from collections.abc import Callable
from typing import Any

import pytest

from keras_vae.evaluation import rows


def resumed(
    monkeypatch: pytest.MonkeyPatch, computer: type, chunks: int, run: Callable[[], Any]
) -> tuple[Any, list[int]]:
    """What `run` finds that was stopped after so many chunks, and each chunk's first row.

    Args:
        monkeypatch: pytest's.
        computer: the class whose objects compute one chunk, of `(source, numbers)`.
        chunks: how many are done when it is stopped.
        run: the computation, with a checkpoint.
    """
    compute, done = computer.__call__, []

    def noted(self, source, numbers):
        if len(done) == chunks and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        done.append(int(numbers[0]))
        return compute(self, source, numbers)

    stopped: list[bool] = []
    monkeypatch.setattr(rows, "SECONDS", 0.0)  # each chunk is written at once
    monkeypatch.setattr(computer, "__call__", noted)
    with pytest.raises(KeyboardInterrupt):
        run()
    return run(), done
