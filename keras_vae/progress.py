"""What training prints."""

import sys
from typing import Any

import click
import keras


class Progress(keras.callbacks.Callback):
    """One bar over all epochs on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Any = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Opens the bar at the first epoch of this run."""
        if self.bar is None and sys.stdout.isatty():
            self.bar = click.progressbar(
                length=self.params["epochs"],
                label="training",
                item_show_func=lambda line: line or "",
                width=24,
            )
            self.bar.update(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Moves on by an epoch."""
        logs, epochs = logs or {}, self.params["epochs"]
        line = f"elbo {logs['elbo']:.2f}, validation {logs['val_elbo']:.2f}, KL {logs['kl']:.2f}"
        if self.bar is not None:
            self.bar.update(1, line)
        elif (epoch + 1) % max(1, epochs // 10) == 0 or epoch + 1 == epochs:
            click.echo(f"epoch {epoch + 1}/{epochs}: {line}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.render_finish()


class Opening(keras.callbacks.Callback):
    """Prints what the model assumes before it is trained."""

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Prints the three distributions and the bound."""
        click.echo(self.model.assumptions().summary())
