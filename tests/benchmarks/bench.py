"""keras_vae and what a user would pick instead, in turn on the same machine: `make bench`.

    python tests/benchmarks/bench.py                        # W1 to W8, five pairs of runs
    python tests/benchmarks/bench.py --only W1 --only W4 --pairs 9
    python tests/benchmarks/bench.py --size short           # does it run: no figures to quote
    python tests/benchmarks/bench.py --size gpu             # sizes that fill a GPU
    python tests/benchmarks/bench.py --grow --start         # with batch, K and D; until the first step
    python tests/benchmarks/bench.py --only W5 --json speed.json  # one more workload in a report

Every system has the same architecture, data, batch, optimiser and precision, and the runs are
taken A B C A B C, so that what else the machine does falls on all. What is quoted is the
ratio of paired runs. That all train alike is checked: the same number of weights, and the same
bound on the test images after the same number of epochs.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import speed_table
from peers.protocol import Work
from turns import OURS, SYSTEMS, Measured, System, in_turn, ratios, start
from workloads import GROWING, SIZES, WORKLOADS, examples, growing, threads, title, warm, workload

PAIRS = 5
PEERS = Path(__file__).parent / "peers"
NAMED = ("keras", "tensorflow", "torch", "pythae", "jax", "optax")
ASK = """
import importlib.metadata, json, sys
found = {d.name.lower(): d.version for d in importlib.metadata.distributions()}
print(json.dumps({name: found[name] for name in sys.argv[1:] if name in found}))
"""
# Starts and seeds differ in the bound after few epochs, by about what the last one has gained. A
# log K that is forgotten is 3 % of W4's.
ALIKE = 0.028
GROWING_PAIRS = 3


def main() -> int:
    """Prints the tables, writes the JSON file; 1 if a system does not train as the others."""
    options = _options()
    systems = tuple(s for s in SYSTEMS if s == OURS or s.name in options.systems)
    report = begun(options.json, machine(options.size, systems), options.pairs)
    report["rates"] = best(report.get("rates", {}), rates(threads(options.size)))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            work = workload(name, options.size, Path(folder))
            pairs = options.pairs if work.task != "until" else 1
            measured = in_turn(systems, work, pairs, warm(name, options.size))
            commit = report["machine"]["commit"]
            count = examples(work, *SIZES[options.size][name])
            report["workloads"][name] = summary(work, count, measured) | {"commit": commit}
            print(table(report["workloads"][name]), flush=True)
            _write(options.json, report)
        if options.start:
            report["start"] = starts(systems, Path(folder), options.pairs)
            print("\n".join(speed_table.start(report, [s.name for s in systems])), flush=True)
            _write(options.json, report)
        if options.grow:
            report["growth"] = {}
            for name, found in growth(systems, options.size, Path(folder)):
                report["growth"][name] = found
                print(name, flush=True)
                _write(options.json, report)
            print("\n".join(speed_table.growth(report, [s.name for s in systems])))
    return 1 if any(unlike(report["workloads"][name]) for name in options.only) else 0


def begun(path: Path | None, here: dict, pairs: int) -> dict:
    """The report to write to: one of the same machine, libraries and size goes on.

    Each workload keeps the commit that it was measured at.

    Raises:
        SystemExit: if there is a report of others: it is not written over.
    """
    if path is not None and path.exists():
        report = json.loads(path.read_text(encoding="utf-8"))
        passing = ("commit", "load_before")
        same = [{k: v for k, v in m.items() if k not in passing} for m in (report["machine"], here)]
        if same[0] == same[1] and report["pairs"] == pairs:
            return {**report, "machine": here}
        sys.exit(
            f"{path} is of another machine, other systems, libraries, sizes or pairs, and is kept. "
            "Name another file with --json, or delete it."
        )
    return {"machine": here, "pairs": pairs, "workloads": {}}


def summary(work: Work, count: int, measured: dict[str, Measured]) -> dict:
    """Of each system: images per second, the ratio of ours to it, memory, bound.

    Args:
        work: what was done.
        count: images that one run passes over.
        measured: by system.
    """
    ours = measured[OURS.name]
    found = {}
    for name, seen in measured.items():
        if seen.unsupported is not None:
            found[name] = {"unsupported": seen.unsupported}
            continue
        middle = statistics.median(seen.seconds)
        found[name] = {
            "images_per_second": count / middle,
            "times_as_fast": ratios(ours.seconds, seen.seconds),
            "seconds": seen.seconds,
            "peak_mib": seen.peak_mib,
            "weights": seen.weights,
            "bound": seen.bound,
            "gained": seen.gained,
            "found": seen.found,
        }
    return {
        "work": {**dataclasses.asdict(work), "data": WORKLOADS[work.name].data},
        "systems": found,
    }


def unlike(report: dict) -> list[str]:
    """Systems whose weights or bound are not ours."""
    systems, ours = report["systems"], report["systems"][OURS.name]
    noise = max(ALIKE * abs(ours["bound"]), abs(ours["gained"]))
    allowed = {"weights": 0.0} | ({} if report["work"]["task"] == "encode" else {"bound": noise})
    return [
        f"{name}: {key} {seen[key]:.6g}, {OURS.name} {ours[key]:.6g}"
        for name, seen in systems.items()
        for key, most in allowed.items()
        if "unsupported" not in seen and not abs(seen[key] - ours[key]) <= most
    ]


def table(report: dict) -> str:
    """A workload's table in Markdown."""
    rows = [
        f"\n{title(report['work'])}\n",
        "| system | images/s | keras_vae is x as fast | MiB | bound |",
    ]
    rows.append("|---|---|---|---|---|")
    for system, seen in report["systems"].items():
        if "unsupported" in seen:
            rows.append(f"| {system} | - | {seen['unsupported']} | | |")
            continue
        if report["work"]["task"] == "until":
            rows.append(f"| {system} | {seen['found']} | | {seen['peak_mib']:,.0f} | |")
            continue
        middle, low, high = seen["times_as_fast"]
        bound = "" if seen["bound"] is None else f"{seen['bound']:.2f}"
        rows.append(
            f"| {system} | {seen['images_per_second']:,.0f} | {middle:.2f} ({low:.2f} to {high:.2f})"
            f" | {seen['peak_mib']:,.0f} | {bound} |"
        )
    rows += [f"\nNot alike: {difference}" for difference in unlike(report)]
    return "\n".join(rows)


def starts(systems: tuple[System, ...], folder: Path, pairs: int) -> dict[str, list[dict]]:
    """Seconds from starting Python to the end of the first step on one batch, in turn."""
    work = workload("W1", "short", folder)
    work = dataclasses.replace(work, batch=SIZES["short"]["W1"][0], alike=False)
    seconds: dict[str, list[dict]] = {system.name: [] for system in systems}
    for _ in range(pairs):
        for system in systems:
            seconds[system.name].append(start(system, work))
    return seconds


def growth(systems: tuple[System, ...], size: str, folder: Path) -> Iterator[tuple[str, dict]]:
    """What `summary` says of W1, as one setting grows, by setting."""
    for setting, values in GROWING.items():
        for value in values:
            work, count = growing(setting, value, size, folder)
            yield f"{setting}={value}", summary(work, count, in_turn(systems, work, GROWING_PAIRS))


def machine(size: str, systems: tuple[System, ...]) -> dict:
    """What the figures are of."""
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": versions(systems),
        "size": size,
        **gpu(),
    }


def rates(threads: int) -> dict[str, float]:
    """What the machine can do with so many cores, or its GPU; asked in a process that ends."""
    command = [sys.executable, str(PEERS.parent / "arithmetic.py"), str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def best(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """What the machine can do is the most that it has done: workloads of other days keep theirs."""
    return {name: max(rate, before.get(name, 0.0)) for name, rate in now.items()}


def gpu() -> dict[str, str]:
    """The first one's name, where there is one."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return {"gpu": names[0]} if names else {}


def versions(systems: tuple[System, ...]) -> dict[str, str]:
    """Of the libraries, as each environment has them; of ours where two have one."""
    found: dict[str, str] = {}
    for python in {system.environment: system.python() for system in reversed(systems)}.values():
        command = [python, "-c", ASK, *NAMED]
        found |= json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    return found


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, cwd=PEERS).stdout.strip()


def _write(path: Path | None, report: dict) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="a workload; all")
    parser.add_argument("--systems", action="append", help="a peer by name; all")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="counted runs of each")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--start", action="store_true", help="time until the first step, too")
    parser.add_argument("--grow", action="store_true", help="with batch, K and D, too")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    options.only = options.only or list(WORKLOADS)
    options.systems = options.systems or [system.name for system in SYSTEMS]
    return options


if __name__ == "__main__":
    sys.exit(main())
