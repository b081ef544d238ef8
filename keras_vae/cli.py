"""`keras-vae`: train, evaluate, reconstruct, sample and explain a model from the shell."""

import sys
import warnings
from pathlib import Path

import click

from keras_vae import __version__, evaluation
from keras_vae.cli_app import app_command
from keras_vae.cli_reproduce import reproduce_command
from keras_vae.cli_serving import export_command, serve_command
from keras_vae.cli_train import train_command
from keras_vae.completion import bash_completion
from keras_vae.data.sets import SPLITS
from keras_vae.opened import trained_model, trained_run
from keras_vae.recipe import LIKELIHOODS, OBJECTIVES, POSTERIORS, PRIORS, options_of
from keras_vae.runs import reconstruction_figure, sample_figure

POSITIVE = click.IntRange(min=1)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def cli() -> None:
    """Variational autoencoders: choose q(z|x), p(z), p(x|z) and a bound, and train.

    Start with `keras-vae train`: it trains on real images of digits in a minute and writes
    a folder with the model, its numbers and its pictures.
    """


@cli.command("evaluate", short_help="Print a run's held-out bound.")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--split", type=click.Choice(SPLITS), default="test", help="Which part of the data.")
@click.option("--num-samples", type=POSITIVE, default=10, help="Draws of z for each x.")
@click.option(
    "--log-likelihood",
    "importance_samples",
    type=POSITIVE,
    help="Also log p(x), importance-weighted, of so many draws, such as 5000.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the draws.")
def evaluate_command(
    run: Path, split: str, num_samples: int, importance_samples: int | None, seed: int
) -> None:
    """Print the bound of a trained RUN on held-out data, with its standard error."""
    vae, data = trained_run(run)
    x = getattr(data, split)
    bound = evaluation.elbo(vae, x, num_samples, seed)
    click.echo(f"Data:            {data.protocol}")
    click.echo(f"Bound ({split}):    {bound}  ({bound.num_examples} examples, {num_samples} draws)")
    if importance_samples is not None:
        found = evaluation.log_likelihood(vae, x, importance_samples, seed)
        click.echo(f"log p(x):        {found}")
    baseline = evaluation.independent_baseline(vae.likelihood, data.train, x)
    click.echo(f"No latent:       {baseline}   (independent values)")


@cli.command("reconstruct", short_help="Draw x beside p(x|z).")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--count", type=POSITIVE, default=10, help="How many held-out examples.")
@click.option(
    "--to", type=click.Path(path_type=Path), help="Picture [default: RUN/reconstruct.png]."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the draw.")
def reconstruct_command(run: Path, count: int, to: Path | None, seed: int) -> None:
    """Show held-out examples beside the mean of p(x|z) and beside a draw from it."""
    vae, data = trained_run(run)
    to = to or run / "reconstruct.png"
    reconstruction_figure(vae, data.test.array(count), seed).savefig(to, dpi=120)
    click.echo(f"Picture:         {to}")


@cli.command("sample", short_help="Draw from the prior.")
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--count", type=POSITIVE, default=36, help="How many.")
@click.option("--to", type=click.Path(path_type=Path), help="Picture [default: RUN/sample.png].")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the draws.")
def sample_command(run: Path, count: int, to: Path | None, seed: int) -> None:
    """Draw z from the prior and show the means of p(x|z) beside draws from it."""
    to = to or run / "sample.png"
    vae, data = trained_run(run)
    sample_figure(vae, data.test.array(), count, seed).savefig(to, dpi=120)
    click.echo(f"Picture:         {to}")


@cli.command("explain", short_help="Print a model's assumptions.")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
def explain_command(model: Path) -> None:
    """Print what a saved MODEL (a run folder or a .keras file) assumes."""
    click.echo(trained_model(model).assumptions().as_markdown())


cli.add_command(train_command)
cli.add_command(export_command)
cli.add_command(serve_command)
cli.add_command(app_command)
cli.add_command(reproduce_command)


@cli.command("families", short_help="List the distributions and bounds.")
def families_command() -> None:
    """List what --posterior, --prior, --likelihood and --objective take, and their options."""
    slots = {
        "posterior": POSTERIORS,
        "prior": PRIORS,
        "likelihood": LIKELIHOODS,
        "objective": OBJECTIVES,
    }
    for slot, families in slots.items():
        click.echo(f"--{slot}")
        for name, family in families.items():
            click.echo(f"  {name:32} {options_of(family)}")


@cli.command("completion", short_help="Print a script for TAB.")
def completion_command() -> None:
    """Print a script that completes commands, options and choices.

    Once, for bash: keras-vae completion > ~/.keras-vae-completion, and in ~/.bashrc:
    source ~/.keras-vae-completion. In ~/.zshrc, before that: autoload -U bashcompinit;
    bashcompinit.
    """
    click.echo(bash_completion(cli, "keras-vae"))


def main() -> None:
    """Runs the command line; a bad argument is one clear line and exit code 2."""
    warnings.formatwarning = lambda message, *place: f"keras-vae: {message}\n"
    try:
        cli.main(standalone_mode=False)
    except click.Abort:
        sys.exit(130)
    except (click.ClickException, ValueError, OSError) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"keras-vae: {' '.join(message.split())}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
