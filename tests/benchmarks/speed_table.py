"""The README's tables of speed, made from `results/speed/*.json` alone: `make results`."""

import json
import statistics
from pathlib import Path

from arithmetic import bytes_moved, flop
from peers.protocol import Work
from workloads import GROWING, title

ROOT = Path(__file__).parents[2]
SPEED = Path(__file__).parent / "results" / "speed"
README = ROOT / "README.md"
BEGIN, END = "<!-- speed: written by make results -->", "<!-- end of speed -->"
OURS = "keras_vae"
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
    lines = [
        f"{machine.get('gpu', machine['processor'])}, {machine['cores']} cores, {report['pairs']} "
        f"runs of each in turn. "
        f"{versions(machine, systems)}",
        "",
        f"| | {OURS}, images/s | " + " | ".join(peers) + " |",
        "|---|---|" + "---|" * len(peers),
    ]
    for _, workload in sorted(report["workloads"].items()):
        if workload["work"]["task"] != "until":
            lines.append(row(workload, peers))
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
        lines.append(
            "| W7: seconds of training until the test bound passes | " + " | ".join(targets) + " |"
        )
        lines.append("|---|" + "---|" * len(targets))
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
    """The seconds from Python's start to the first step, in words."""
    seconds = report.get("start", {})
    medians = {name: statistics.median(seconds[name]) for name in systems if name in seconds}
    words = ", ".join(f"{name} {median:.1f}" for name, median in medians.items())
    return [f"Seconds from starting Python to the end of the first step: {words}."] if words else []


def shares(report: dict, systems: list[str]) -> list[str]:
    """What the products of each workload are, and the share of the machine's rate of them."""
    if "product_rate" not in report:
        return []
    rates = report["product_rate"]
    words = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in rates.items())
    lines = [
        f"| share of the rate of a large product: {words} | MFLOP an image | MB a step | "
        + " | ".join(systems)
        + " |",
        "|---|" + "---|" * (2 + len(systems)),
    ]
    for name, workload in sorted(report["workloads"].items()):
        work = Work(**workload["work"])
        if work.task != "until":
            needed = flop(work)
            bytes_ = bytes_moved(work, workload["systems"][OURS]["weights"]) / 1e6
            cells = [f"{needed / 1e6:,.1f}", f"{bytes_:,.0f}" if work.task == "fit" else ""]
            cells += [
                "" if speed is None else f"{speed * needed / rates[work.precision]:.2f}"
                for speed in _each(workload, systems, "images_per_second")
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def memory(report: dict, systems: list[str]) -> list[str]:
    """The most memory that was resident."""
    lines = ["| peak memory, MiB | " + " | ".join(systems) + " |", "|---|" + "---|" * len(systems)]
    for name, workload in sorted(report["workloads"].items()):
        cells = ["" if m is None else f"{m:,.0f}" for m in _each(workload, systems, "peak_mib")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def growth(report: dict, systems: list[str]) -> list[str]:
    """Images per second of each system, and our memory, as one setting of W1 grows."""
    if "growth" not in report:
        return []
    lines = [
        "| W1, images/s with | " + " | ".join(systems) + f" | {OURS}, MiB |",
        "|---|" + "---|" * (1 + len(systems)),
    ]
    for setting, values in GROWING.items():
        for value in values:
            found = report["growth"][f"{setting}={value}"]
            speeds = _each(found, systems, "images_per_second")
            cells = ["" if speed is None else f"{speed:,.0f}" for speed in speeds]
            cells.append(f"{found['systems'][OURS]['peak_mib']:,.0f}")
            lines.append(f"| {GROWN[setting]} {value:,} | {' | '.join(cells)} |")
    return lines


def _each(workload: dict, systems: list[str], figure: str) -> list[float | None]:
    """A figure of each system; None where it has none."""
    return [workload["systems"].get(name, {}).get(figure) for name in systems]


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
