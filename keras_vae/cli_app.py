"""`keras-vae app`."""

import os
import socket
from pathlib import Path

import click

from keras_vae.opened import started_run
from keras_vae.shipped import shipped_folder


@click.command("app", short_help="Open the page on a trained model.")
@click.argument(
    "run", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--port", type=click.IntRange(1, 65535), default=8601, help="Of the page.")
@click.option("--address", default="localhost", help="To listen at; 0.0.0.0 for everyone.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Other runs.")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser.")
def app_command(run: Path | None, port: int, address: str, runs: Path, browser: bool) -> None:
    """Open the page on a trained RUN and those of a folder.

    Where there is none it trains a model of digits in front of you.
    """
    try:
        from streamlit.web import cli as streamlit
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"The page needs {error.name}. Expected: pip install 'keras-vae[app]'."
        ) from error
    if run is not None:
        if not started_run(run).model_path.exists():
            raise click.UsageError(
                f"{run} has no model yet. Finish its training: keras-vae train --resume {run}"
            )
        os.environ["KERAS_VAE_RUN"] = str(run)
    os.environ["KERAS_VAE_RUNS"] = str(runs)
    _require_free(address, port)
    page = shipped_folder("streamlit_app") / "app.py"
    options = {"port": port, "address": address, "headless": str(not browser).lower()}
    words = [word for name, value in options.items() for word in (f"--server.{name}", str(value))]
    streamlit.main(["run", str(page), *words], prog_name="keras-vae app")


def _require_free(address: str, port: int) -> None:
    """Streamlit would end without a word that names the remedy."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((address, port))
        except OSError as error:
            raise click.UsageError(
                f"{address}:{port} cannot be listened at ({error.strerror}). Name another --port."
            ) from error
