"""The README's tables of results, made from `results/*.json` alone: `make results`.

A result goes into a table with those of its study that were made in the same way: the same data,
split, scaling, binarisation and, for log p(x), the same number of draws. What differs in any of
these stands in a table of its own.
"""

import json
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

from keras_vae.reproductions import STUDIES

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
README = ROOT / "README.md"
PICTURE = ROOT / ".github" / "bound-by-examples.png"
BEGIN, END = "<!-- results: written by make results -->", "<!-- end of results -->"


def read(folder: Path = RESULTS) -> list[dict]:
    """All results, by study and variant as the package lists them."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    order = {
        (study.name, variant.name): (i, j)
        for i, study in enumerate(STUDIES.values())
        for j, variant in enumerate(study.variants)
    }
    return sorted(found, key=lambda r: (*order[r["study"], r["variant"]], r["epochs"], r["seed"]))


def protocol_of(result: dict) -> tuple:
    """What must be equal for two numbers to stand in one table."""
    protocol = tuple(sorted(result["protocol"].items()))
    likelihood = result["figures"].get("-log p(x)", {}).get("how")
    return result["study"], protocol, likelihood


def grouped(results: list[dict]) -> list[list[dict]]:
    """The results table by table."""
    groups = defaultdict(list)
    for result in results:
        groups[protocol_of(result)].append(result)
    return list(groups.values())


def markdown(results: list[dict]) -> str:
    """All tables."""
    return "\n\n".join(table(group) for group in grouped(results))


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
        "; ".join(described(name, group) for name in names) + ". " + study.reading,
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
    how = " or ".join(dict.fromkeys(figure["how"] for figure in figures))
    unit = "" if figures[0]["unit"].startswith("of ") else f"in {figures[0]['unit']}, "
    return f"{name}: {unit}{how}"


def with_tables(readme: str, results: list[dict]) -> str:
    """The README with its tables replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}"


def picture(results: list[dict]) -> Figure:
    """The bound against examples seen, as figure 2 of Kingma and Welling (2014) has it."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    curves = [result for result in results if result["curve"]]
    for axes, data in zip(figure.subplots(1, 2), ("mnist", "frey_faces"), strict=True):
        for index, result in enumerate(r for r in curves if r["protocol"]["data"] == data):
            curve, colour = result["curve"], f"C{index}"
            latents = result["variant"].split("-")[1]
            axes.plot(
                curve["examples_seen"], curve["test_elbo"], color=colour, label=f"{latents} latents"
            )
            axes.plot(curve["examples_seen"], curve["training_elbo"], color=colour, linestyle=":")
        axes.set(title=data, xlabel="training examples seen", ylabel="ELBO, nats", xscale="log")
        axes.grid(alpha=0.3)
        axes.legend(title="test (training dotted)")
    figure.axes[0].set_ylim(-150, -95)
    return figure


def main() -> None:
    """Writes the README's tables and the picture."""
    results = read()
    README.write_text(with_tables(README.read_text(encoding="utf-8"), results), encoding="utf-8")
    picture(results).savefig(PICTURE, dpi=100)


if __name__ == "__main__":
    main()
