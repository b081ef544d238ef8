"""`keras-vae reproduce`."""

import json
from pathlib import Path

import click

from keras_vae.reproductions import STUDIES, Study
from keras_vae.reproductions.running import Job, run
from keras_vae.reproductions.study import Variant

POSITIVE = click.IntRange(min=1)


@click.command("reproduce", short_help="Train and measure what a paper reports.")
@click.argument("name", required=False, type=click.Choice(tuple(STUDIES)))
@click.option("--only", multiple=True, help="A variant; may be said several times [default: all].")
@click.option("--epochs", type=POSITIVE, help="The budget [default: the variant's].")
@click.option(
    "--num-samples", type=POSITIVE, default=5_000, help="Draws of z for the held-out log p(x)."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of weights, draws and order.")
@click.option("--data-dir", help="Folder with the data [default: $KERAS_VAE_DATA].")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs/reproduce"),
    help="Folder of the checkpoints.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("runs/reproduce/results"),
    help="Folder of the numbers, a JSON file each.",
)
def reproduce_command(
    name: str | None,
    only: tuple[str, ...],
    epochs: int | None,
    num_samples: int,
    seed: int,
    data_dir: str | None,
    folder: Path,
    results: Path,
) -> None:
    """Train and measure what the paper NAME reports, and write a result for each variant.

    Checkpoints are kept: the same command goes on where it was stopped, and leaves alone what has a
    result. Without a NAME it lists what there is.
    """
    if name is None:
        if only:
            raise click.UsageError("--only chooses among the variants of a NAME. Name a study.")
        click.echo("\n\n".join(_described(study) for study in STUDIES.values()))
        return
    for variant in _chosen(STUDIES[name], only):
        job = Job(STUDIES[name], variant, epochs or variant.epochs, num_samples, seed, data_dir)
        path = run(job, folder, results, click.echo)
        click.echo("\n".join([f"Result: {path}", *_told(path)]))


def _told(path: Path) -> list[str]:
    """The figures of a result, beside the published ones."""
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    lines = []
    for name, figure in figures.items():
        error, published = figure["standard_error"], figure["published"]
        line = f"  {name}: {figure['value']:.3f}" + ("" if error is None else f" +- {error:.3f}")
        line += f" {figure['unit']} ({figure['how']})"
        lines.append(line + (f"; published {published['value']:g}" if published else ""))
    return lines


def _described(study: Study) -> str:
    lines = [f"{study.name}: {study.title}", f"  {study.reference}"]
    lines += [f"  {v.name:24}{v.model}; {v.epochs} epochs" for v in study.variants]
    return "\n".join(lines)


def _chosen(study: Study, only: tuple[str, ...]) -> list[Variant]:
    return [study.variant(name) for name in only] or list(study.variants)
