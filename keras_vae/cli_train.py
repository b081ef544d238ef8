"""`keras-vae train`."""

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import click
import tensorflow as tf

from keras_vae import evaluation
from keras_vae.data import Protocol
from keras_vae.data.sets import BINARISATIONS, READERS, DataSet
from keras_vae.feed import check_source
from keras_vae.opened import started_run
from keras_vae.options import Data, Family, Scale, Units
from keras_vae.progress import Opening, Progress
from keras_vae.recipe import LIKELIHOODS, NETWORKS, OBJECTIVES, POSTERIORS, PRIORS, Recipe
from keras_vae.runs import Run, train, write_results
from keras_vae.vae import VAE
from keras_vae.workers import LOST, Workers, train_together, workers_of

POSITIVE = click.IntRange(min=1)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
FREE = ("resume", "epochs", "addresses", "worker_index")  # what may be said beside --resume


@click.command("train", short_help="Train a model, write a run folder.")
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
    "--jit-compile",
    type=click.Choice(("auto", "on", "off")),
    default="auto",
    help="XLA; auto: where it is the faster.",
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
@click.option(
    "--workers",
    "addresses",
    metavar="HOST:PORT,...",
    help="All processes that train together; each runs this command.",
)
@click.option("--worker-index", type=int, help="Which of --workers this one is, from 0.")
@click.pass_context
def train_command(
    context: click.Context,
    folder: Path | None,
    overwrite: bool,
    resume: Path | None,
    addresses: str | None,
    worker_index: int | None,
    **words: Any,
) -> None:
    """Train a model and write one run folder: model, assumptions, numbers, pictures.

    With --workers the batches are divided among several processes, which see the same --run
    folder. The first of them writes it. When one has died, start all again with the same command:
    they go on from the last epoch.
    """
    workers = workers_of(addresses, worker_index)
    if workers is not None:
        _train_together(workers, *_shared(context, folder, overwrite, resume, words))
        return
    if resume is not None:
        run, recipe = _resumed(context, resume, words)
        run.start(recipe)
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


def _run(folder: Path | None, recipe: Recipe) -> Run:
    return Run(folder or Path("runs") / Path(recipe.data).stem)


def _started(
    folder: Path | None, overwrite: bool, recipe: Recipe
) -> tuple[Run, Recipe, DataSet, VAE]:
    """Checks everything before an earlier run is touched or a new folder made."""
    run = _run(folder, recipe)
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
        if context.get_parameter_source(name) == given and name not in FREE:
            raise click.UsageError(
                f"--resume continues the run as it was started; {option.opts[0]} cannot change. "
                "Start a new run for it."
            )
    run = started_run(folder)
    recipe = run.recipe
    if words["epochs"] is not None:
        recipe = dataclasses.replace(recipe, epochs=words["epochs"])
    return run, recipe


def _shared(
    context: click.Context,
    folder: Path | None,
    overwrite: bool,
    resume: Path | None,
    words: dict[str, Any],
) -> tuple[Run, Recipe]:
    """The run of several workers, new or to be continued: a worker that comes back says the same
    words as at first.
    """
    if overwrite:
        raise click.UsageError(
            "--overwrite does not go with --workers: a worker that comes back would delete the "
            "checkpoint. Delete the folder, or name another with --run."
        )
    if resume is not None:
        return _resumed(context, resume, words)
    recipe = Recipe(**words)
    run = _run(folder, recipe)
    if not (run.folder / "recipe.json").exists():
        return run, recipe
    for name, value in dataclasses.asdict(recipe).items():
        own = name == "data_dir"  # each worker may have the data somewhere else
        if value is not None and not own and value != getattr(run.recipe, name):
            raise click.UsageError(
                f"{run.folder} holds a run with another --{name.replace('_', '-')}. Expected: "
                f"{getattr(run.recipe, name)}. Received: {value}. Name another folder with --run."
            )
    return run, dataclasses.replace(run.recipe, data_dir=recipe.data_dir)


def _train_together(workers: Workers, run: Run, recipe: Recipe) -> None:
    """Trains with the others what is left to train; the chief then writes the results, alone."""
    place = f"Worker {workers.index} of {len(workers.addresses)}"
    click.echo(f"{place}. Run folder: {run.folder}")
    data = recipe.load_data()
    recipe = recipe.with_defaults(data)
    if run.epochs_done < (recipe.epochs or 0):
        click.echo(f"Training begins when all are there: {', '.join(workers.addresses)}")
        callbacks = [Progress(), Opening()] if workers.is_chief else []
        try:
            train_together(workers, run, recipe, data, callbacks)
        except LOST as error:
            click.echo(f"{place} has lost another. {_reason(error)}", err=True)
            click.echo(f"Start all again: they go on from {run.folder}.", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\nStopped. Continue with the same commands, for all workers.", err=True)
            sys.exit(130)
    if workers.is_chief:
        _report(run, _results(run, recipe, data))


def _results(run: Run, recipe: Recipe, data: DataSet) -> dict[str, Any]:
    """Writes the results by a model of this process alone: the other workers may be gone."""
    vae = recipe.build(data)
    run.load_checkpoint(vae)
    return write_results(run, recipe, data, vae)


def _reason(error: tf.errors.OpError) -> str:
    """The first line of what TensorFlow says, without the operation that it says it of."""
    return re.sub(r"\{\{.*?\}\} ", "", error.message).strip().splitlines()[0]


def _report(run: Run, metrics: dict[str, Any]) -> None:
    test = metrics["test"]
    bound, baseline = (evaluation.Estimate(**test[k]) for k in ("elbo", "independent_baseline"))
    click.echo(f"Data:            {Protocol(**metrics['protocol'])}")
    click.echo(f"Bound (test):    {bound}")
    click.echo(f"No latent:       {baseline}   (independent values)")
    click.echo(f"Margin:          {test['margin']:.3f} nats per example")
    click.echo(f"Pictures:        {run.folder}/*.png")
