"""The README's tables of speed, made from `results/speed/*.json` alone: `make results`."""

import json
import statistics
from pathlib import Path

from arithmetic import bytes_moved, flop, least_seconds
from peers.protocol import Work
from workloads import GROWING, title

ROOT = Path(__file__).parents[2]
SPEED = Path(__file__).parent / "results" / "speed"
README = ROOT / "README.md"
BEGIN, END = "<!-- speed: written by make results -->", "<!-- end of speed -->"
OURS = "keras_vae"
_PRECISIONS = ("float32", "bfloat16")
GROWN = {"batch": "batches of", "samples": "IWAE, K =", "latent": "latents:"}


def read(folder: Path = SPEED) -> list[dict]:
    """All reports, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def markdown(reports: list[dict]) -> str:
    """A table for each machine."""
    return "\n\n".join(table(report) for report in reports)


def table(report: dict) -> str:
    """A line for each workload, a column for each system."""
    systems = list(dict.fromkeys(n for w in report["workloads"].values() for n in w["systems"]))
    peers = [name for name in systems if name != OURS]
    machine = report["machine"]
    commits = dict.fromkeys(workload["commit"] for workload in report["workloads"].values())
    lines = [
        f"{machine.get('gpu', machine['processor'])}, {machine['cores']} cores, {report['pairs']} "
        f"runs of each in turn. "
        f"{versions(machine, systems)} Commit {', '.join(commits)}.",
        "",
        f"| | {OURS}, images/s | " + " | ".join(peers) + " |",
        "|---|---|" + "---|" * len(peers),
    ]
    lines += [row(workload, peers) for _, workload in _in_order(report)]
    parts = [f(report, systems) for f in (until, start, shares, memory, growth)]
    return "\n\n".join("\n".join(part) for part in [lines, *parts] if part)


def row(workload: dict, peers: list[str]) -> str:
    """How many times as fast as each peer."""
    systems = workload["systems"]
    cells = [f"{systems[OURS]['images_per_second']:,.0f}"]
    cells += [cell(systems.get(peer)) for peer in peers]
    return f"| {title(workload['work'])} | {' | '.join(cells)} |"


def cell(seen: dict | None) -> str:
    """A ratio, median and range; nothing for what a peer does not have."""
    if seen is None or "unsupported" in seen:
        return ""
    middle, low, high = seen["times_as_fast"]
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def until(report: dict, systems: list[str]) -> list[str]:
    """The seconds until each target of the bound."""
    found = [w for w in report["workloads"].values() if w["work"]["task"] == "until"]
    lines = []
    for workload in found:
        targets = [f"{target:g}" for target in workload["work"]["targets"]]
        lines += _head("W7, one run: seconds of training until the test bound passes", targets)
        for name in systems:
            seen = workload["systems"].get(name, {"unsupported": ""})
            if "unsupported" not in seen:
                seconds = [seen["found"]["seconds_to"][target] for target in targets]
                cells = [
                    f"not in {workload['work']['limit']:.0f}" if s is None else f"{s:.0f}"
                    for s in seconds
                ]
                lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def start(report: dict, systems: list[str]) -> list[str]:
    """The seconds from Python's start to the first step, and what they are of."""
    if "start" not in report:
        return []
    lines = _head("seconds from starting Python to the end of the first step", systems)
    for part in report["start"][OURS][0]:
        medians = [statistics.median(s[part] for s in report["start"][name]) for name in systems]
        lines.append(f"| {part} | {' | '.join(f'{seconds:.1f}' for seconds in medians)} |")
    return lines


def shares(report: dict, systems: list[str]) -> list[str]:
    """What each workload needs at least, and the share of that in the time that it took."""
    if "rates" not in report:
        return []
    rates = report["rates"]
    words = ", ".join(f"{rates[name] / 1e9:,.0f} GFLOP/s in {name}" for name in _PRECISIONS)
    words += f", {rates['bytes'] / 1e9:,.0f} GB/s"
    columns = ["MFLOP an image", "MB a step", *systems]
    lines = _head(f"share of what the machine can do: {words}", columns)
    for name, workload in _in_order(report):
        work, weights = Work(**workload["work"]), workload["systems"][OURS]["weights"]
        least = least_seconds(work, weights, rates)
        moved = f"{bytes_moved(work, weights) / 1e6:,.1f}" if work.task == "fit" else ""
        cells = [f"{flop(work) / 1e6:,.1f}", moved]
        cells += _each(workload, systems, "images_per_second", least, digits=2)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def memory(report: dict, systems: list[str]) -> list[str]:
    """The most memory of the host that was resident in a run."""
    lines = _head("peak memory of the host, MiB", systems)
    for name, workload in _in_order(report):
        cells = _each(workload, systems, "peak_mib")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def growth(report: dict, systems: list[str]) -> list[str]:
    """Images per second of each system, and our memory, as one setting of W1 grows."""
    if "growth" not in report:
        return []
    lines = _head("W1, images/s with", [*systems, f"{OURS}, MiB"])
    for setting, values in GROWING.items():
        for value in values:
            found = report["growth"][f"{setting}={value}"]
            cells = _each(found, systems, "images_per_second") + _each(found, [OURS], "peak_mib")
            lines.append(f"| {GROWN[setting]} {value:,} | {' | '.join(cells)} |")
    return lines


def _head(corner: str, columns: list[str]) -> list[str]:
    return [f"| {corner} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]


def _in_order(report: dict) -> list[tuple[str, dict]]:
    """The workloads of which a run is always the same work."""
    found = sorted(report["workloads"].items())
    return [(name, workload) for name, workload in found if workload["work"]["task"] != "until"]


def _each(
    workload: dict, systems: list[str], figure: str, factor: float = 1.0, digits: int = 0
) -> list[str]:
    """A figure of each system, times a factor; empty where it has none."""
    found = [workload["systems"].get(name, {}).get(figure) for name in systems]
    return ["" if value is None else f"{value * factor:,.{digits}f}" for value in found]


def versions(machine: dict, systems: list[str]) -> str:
    """The libraries that the systems are named after."""
    named = {
        name: version
        for name, version in machine["versions"].items()
        if any(name in system.lower() for system in systems)
    }
    return ", ".join(f"{name} {version}" for name, version in named.items()) + "."


def with_tables(readme: str, reports: list[dict]) -> str:
    """The README with its tables replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown(reports)}\n{END}{after}"


def main() -> None:
    """Writes the README's tables."""
    README.write_text(with_tables(README.read_text(encoding="utf-8"), read()), encoding="utf-8")


if __name__ == "__main__":
    main()
