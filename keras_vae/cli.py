"""`keras-vae`: train, evaluate, reconstruct, sample and explain a model from the shell."""

import dataclasses
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from keras_vae import __version__, evaluation
from keras_vae.cli_app import app_command
from keras_vae.cli_reproduce import reproduce_command
from keras_vae.cli_serving import export_command, serve_command
from keras_vae.completion import bash_completion
from keras_vae.data import Protocol
from keras_vae.data.sets import BINARISATIONS, READERS, SPLITS, DataSet
from keras_vae.feed import check_source
from keras_vae.opened import started_run, trained_model, trained_run
from keras_vae.options import Data, Family, Scale, Units
from keras_vae.progress import Opening, Progress
from keras_vae.recipe import (
    LIKELIHOODS,
    NETWORKS,
    OBJECTIVES,
    POSTERIORS,
    PRIORS,
    Recipe,
    options_of,
)
from keras_vae.runs import Run, reconstruction_figure, sample_figure, train
from keras_vae.vae import VAE

POSITIVE = click.IntRange(min=1)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def cli() -> None:
    """Variational autoencoders: choose q(z|x), p(z), p(x|z) and a bound, and train.

    Start with `keras-vae train`: it trains on real images of digits in a minute and writes
    a folder with the model, its numbers and its pictures.
    """


@cli.command("train", short_help="Train a model, write a run folder.")
@click.option(
    "--data",
    type=Data(),
    default="digits",
    help=f"{', '.join(READERS)}, an .npz, or a folder of images.",
)
@click.option("--data-dir", help="Folder with the MNIST files [default: $KERAS_VAE_DATA].")
@click.option("--binarisation", type=click.Choice(BINARISATIONS), help="Grey to bits.")
@click.option(
    "--data-seed", type=click.IntRange(min=0), default=0, help="Of splits and held-out bits."
)
@click.option("--network", type=click.Choice(NETWORKS), default="mlp", help="Encoder and decoder.")
@click.option(
    "--units",
    type=Units(),
    help="Widths of their layers, e.g. 200,200 [default: 128, conv 32,64; 400 for large data].",
)
@click.option(
    "--latent-size", type=POSITIVE, help="D, the dimensions of z [default: 8, 20 for large data]."
)
@click.option("--posterior", type=Family(POSTERIORS), default="diagonal-normal", help="q(z|x).")
@click.option("--prior", type=Family(PRIORS), default="standard-normal", help="p(z).")
@click.option(
    "--likelihood",
    type=Family(LIKELIHOODS),
    help="p(x|z) [default: what suits the data].",
)
@click.option(
    "--scale",
    type=Scale(),
    help="Of a normal likelihood: a number, shared, per_channel, per_value or optimal [default: shared].",
)
@click.option("--objective", type=Family(OBJECTIVES), default="elbo", help="The bound.")
@click.option("--beta", type=click.FloatRange(min=0), help="Weight of the KL [default: 1].")
@click.option(
    "--warm-up", type=click.IntRange(min=0), help="Epochs in which beta rises from 0 [default: 0]."
)
@click.option(
    "--num-samples", type=POSITIVE, help="K, draws of z for each x [default: the bound's]."
)
@click.option(
    "--free-bits", type=click.FloatRange(min=0), help="Nats of KL that cost nothing [default: 0]."
)
@click.option(
    "--epochs",
    type=POSITIVE,
    help="Passes over the training data [default: 100, 50 for large data].",
)
@click.option(
    "--batch-size", type=POSITIVE, help="Examples in a step [default: 64, 128 for large data]."
)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, help="Of Adam."
)
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="float32", help="Of the networks."
)
@click.option(
    "--jit-compile", type=click.Choice(("auto", "on", "off")), default="auto", help="XLA."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of weights, draws and order.")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Folder to write [default: runs/DATA]."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in that folder.")
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Continue this run; only --epochs may be changed.",
)
@click.pass_context
def train_command(
    context: click.Context, folder: Path | None, overwrite: bool, resume: Path | None, **words: Any
) -> None:
    """Train a model and write one run folder: model, assumptions, numbers, pictures."""
    if resume is not None:
        run, recipe = _resumed(context, resume, words)
        data = recipe.load_data()
        vae = recipe.build(data)
    else:
        run, recipe, data, vae = _started(folder, overwrite, Recipe(**words))
    click.echo(f"Run folder: {run.folder}")
    try:
        metrics = train(run, recipe, data, vae, [Progress(), Opening()])
    except KeyboardInterrupt:
        click.echo(f"\nStopped. Continue with: keras-vae train --resume {run.folder}", err=True)
        sys.exit(130)
    _report(run, metrics)


def _started(
    folder: Path | None, overwrite: bool, recipe: Recipe
) -> tuple[Run, Recipe, DataSet, VAE]:
    """Checks everything before an earlier run is touched or a new folder made."""
    run = Run(folder or Path("runs") / Path(recipe.data).stem)
    if (run.folder / "recipe.json").exists() and not overwrite:
        raise click.UsageError(
            f"{run.folder} holds a run. Continue it with --resume {run.folder}, replace it "
            "with --overwrite, or name another folder with --run."
        )
    data = recipe.load_data()
    recipe = recipe.with_defaults(data)
    vae = recipe.build(data)
    check_source(vae.likelihood, data.train, f"--data {recipe.data}")
    run.clear()
    run.start(recipe)
    return run, recipe, data, vae


def _resumed(context: click.Context, folder: Path, words: dict[str, Any]) -> tuple[Run, Recipe]:
    given = click.core.ParameterSource.COMMANDLINE
    for option in context.command.params:
        name = str(option.name)
        if context.get_parameter_source(name) == given and name not in ("resume", "epochs"):
            raise click.UsageError(
                f"--resume continues the run as it was started; {option.opts[0]} cannot change. "
                "Start a new run for it."
            )
    run = started_run(folder)
    recipe = run.recipe
    if words["epochs"] is not None:
        recipe = dataclasses.replace(recipe, epochs=words["epochs"])
        run.start(recipe)
    return run, recipe


def _report(run: Run, metrics: dict[str, Any]) -> None:
    test = metrics["test"]
    bound, baseline = (evaluation.Estimate(**test[k]) for k in ("elbo", "independent_baseline"))
    click.echo(f"Data:            {Protocol(**metrics['protocol'])}")
    click.echo(f"Bound (test):    {bound}")
    click.echo(f"No latent:       {baseline}   (independent values)")
    click.echo(f"Margin:          {test['margin']:.3f} nats per example")
    click.echo(f"Pictures:        {run.folder}/*.png")


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
