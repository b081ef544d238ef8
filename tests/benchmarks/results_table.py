"""The README's tables of results, made from `results/*.json` alone: `make results`.

A result goes into a table with those of its study that were made in the same way: the same data,
split, scaling and binarisation, and log p(x) and the bound by the same estimators. What differs
in any of these stands in a table of its own.
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_vae.reproductions import STUDIES

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
TITLES = {"mnist": "MNIST", "frey_faces": "Frey Faces"}
PICTURE = ROOT / ".github" / "bound-by-examples.png"
BEGIN, END = "<!-- results: written by make results -->", "<!-- end of results -->"
ERRORS = "Behind a ± stands the standard error over the examples; each row is one seed."


def read(folder: Path = RESULTS) -> list[dict]:
    """All results, by study and variant as the package lists them."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    order = {
        (study.name, variant.name): (i, j)
        for i, study in enumerate(STUDIES.values())
        for j, variant in enumerate(study.variants)
    }
    return sorted(found, key=lambda r: (*order[r["study"], r["variant"]], r["epochs"], r["seed"]))


def comparable(one: dict, other: dict) -> bool:
    """Whether two results may stand in one table: of one protocol, their figures made alike."""
    both = one["figures"].keys() & other["figures"].keys()
    alike = all(one["figures"][name]["how"] == other["figures"][name]["how"] for name in both)
    return alike and all(one[key] == other[key] for key in ("study", "protocol"))


def grouped(results: list[dict]) -> list[list[dict]]:
    """The results table by table."""
    groups: list[list[dict]] = []
    for result in results:
        fitting = (group for group in groups if all(comparable(result, each) for each in group))
        group = next(fitting, None)
        if group is None:
            groups.append(group := [])
        group.append(result)
    return groups


def markdown(results: list[dict]) -> str:
    """All tables, and below the last of each study how to read them."""
    groups = grouped(results)
    last = {group[0]["study"]: group for group in groups}
    parts = []
    for group in groups:
        parts.append(table(group))
        if group is last[group[0]["study"]]:
            parts.append(STUDIES[group[0]["study"]].reading)
    return "\n\n".join(parts)


def table(group: list[dict]) -> str:
    """One protocol's table, below its study, its protocol and how its figures were made."""
    study, protocol = STUDIES[group[0]["study"]], group[0]["protocol"]
    names = list(dict.fromkeys(name for result in group for name in result["figures"]))
    words = [protocol["data"], protocol["split"], protocol["scaling"]]
    words += [f"binarisation: {protocol['binarisation']}", f"data seed {protocol['seed']}"]
    lines = [
        f"**{study.title}** (`keras-vae reproduce {study.name}`). {study.reference}. "
        f"Data: {'; '.join(words)}.",
        "",
        "| model | training | " + " | ".join(names) + " | published |",
        "|---|---|" + "---|" * (len(names) + 1),
        *(row(result, names) for result in group),
        "",
        "; ".join(described(name, group) for name in names) + f". {ERRORS}",
    ]
    return "\n".join(lines)


def row(result: dict, names: list[str]) -> str:
    """A line of a table."""
    training = (
        f"{result['epochs']} epochs, batches of {result['batch_size']}, {result['optimiser']}, "
        f"seed {result['seed']}"
    )
    cells = [cell(result["figures"].get(name)) for name in names]
    return f"| {' | '.join([result['model'], training, *cells, published(result)])} |"


def cell(figure: dict | None) -> str:
    """A figure with its standard error."""
    if figure is None:
        return ""
    digits = 0 if figure["unit"].startswith("of ") else 3 if abs(figure["value"]) < 1 else 2
    text = f"{figure['value']:.{digits}f}"
    error = figure["standard_error"]
    unit = f" {figure['unit']}" if figure["unit"].startswith("of ") else ""
    return text + ("" if error is None else f" ± {error:.2f}") + unit


def published(result: dict) -> str:
    """The published figures, their source, and what was done otherwise there."""
    found = {n: f["published"] for n, f in result["figures"].items() if f["published"]}
    values = ", ".join(f"{name} {p['value']:g}" for name, p in found.items())
    sources = {p["source"] + (f": {p['differs']}" if p["differs"] else "") for p in found.values()}
    return f"{values} ({'; '.join(sorted(sources))})" if found else ""


def described(name: str, group: list[dict]) -> str:
    """How the figures of a column were made."""
    figures = [result["figures"][name] for result in group if name in result["figures"]]
    how = figures[0]["how"]  # in one table they are made alike
    unit = "" if figures[0]["unit"].startswith("of ") else f"in {figures[0]['unit']}, "
    return f"{name}: {unit}{how}"


def with_tables(readme: str, results: list[dict]) -> str:
    """The README with its tables replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}"


def picture(results: list[dict]) -> Figure:
    """The bound against examples seen, as figure 2 of Kingma and Welling (2014) has it."""
    curves = defaultdict(list)
    for result in results:
        if result["curve"]:
            curves[result["protocol"]["data"]].append(result)
    figure = Figure(figsize=(5.5 * len(curves), 4.6), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (data, found) in zip(panels, curves.items(), strict=True):
        for index, result in enumerate(found):
            _draw(axes, result, f"C{index}")
        tests = np.concatenate([result["curve"]["test_elbo"] for result in found])
        low, high = np.quantile(tests, 0.15), tests.max()  # the first epochs are far below
        axes.set(
            title=TITLES[data], xlabel="training examples seen", ylabel="ELBO, nats", xscale="log"
        )
        axes.set_ylim(low, high + 0.1 * (high - low))
        axes.grid(alpha=0.3)
        # Below: the curves fill the panel.
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.15), "ncols": 5}
        axes.legend(title="latents; dotted: training, on the way", frameon=False, **below)
    return figure


def digest(results: list[dict]) -> str:
    """Of the curves that the picture shows: it lies in the file, to tell an old one."""
    curves = [(r["study"], r["variant"], r["curve"]) for r in results if r["curve"]]
    return hashlib.sha256(json.dumps(curves, sort_keys=True).encode()).hexdigest()


def _draw(axes: Axes, result: dict, colour: str) -> None:
    curve, latents = result["curve"], result["variant"].split("-")[1]
    seen = curve["examples_seen"]
    axes.plot(seen, curve["test_elbo"], color=colour, label=latents)
    axes.plot(seen, curve["training_elbo"], color=colour, linestyle=":")


def main() -> None:
    """Writes the README's tables and the picture."""
    results = read()
    README.write_text(with_tables(README.read_text(encoding="utf-8"), results), encoding="utf-8")
    picture(results).savefig(PICTURE, dpi=100, metadata={"Description": digest(results)})


if __name__ == "__main__":
    main()
