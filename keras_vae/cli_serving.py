"""`keras-vae export` and `keras-vae serve`."""

from pathlib import Path

import click

from keras_vae.exported import export
from keras_vae.exported.precision import PRECISIONS
from keras_vae.exported.signatures import INPUTS
from keras_vae.opened import trained_run
from keras_vae.options import Names
from keras_vae.shipped import shipped


@click.command("export", short_help="Write a run's model for TensorFlow Serving.")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="Folder of versions [default: models/NAME of RUN].",
)
@click.option("--signatures", type=Names(INPUTS), help="Which, e.g. encode,score [default: all].")
@click.option(
    "--num-samples", type=click.IntRange(min=1), default=50, help="Draws of z for each x in score."
)
@click.option("--uint8", is_flag=True, help="Take x as bytes, as the data set has them.")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of the served networks.")
def export_command(
    run: Path,
    to: Path | None,
    signatures: tuple[str, ...] | None,
    num_samples: int,
    uint8: bool,
    precision: str | None,
) -> None:
    """Write the next version of a trained RUN's model for TensorFlow Serving, checked."""
    vae, data = trained_run(run)
    to = to or Path("models") / run.resolve().name
    divisor = data.train.divisor if uint8 else None
    try:
        version = export(vae, to, signatures, num_samples, divisor, precision, data.test)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Version:         {version}")
    click.echo(f"Serve it:        keras-vae serve {to}")


@click.command(
    "serve",
    short_help="Answer requests on this machine, for development.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve_command(arguments: tuple[str, ...]) -> None:
    """Answer the calls of TensorFlow Serving on this machine, for development."""
    try:
        server = shipped("local_server")
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"The server needs {error.name}. Expected: pip install 'keras-vae[serving]'."
        ) from error
    server.main(arguments)
