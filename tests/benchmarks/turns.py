"""Systems that are timed in turn: each a process of its own that waits while it is not its turn."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from peers.protocol import Work

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".bench"


@dataclass(frozen=True)
class System:
    """A script that speaks the protocol, and the environment that it runs in.

    Attributes:
        name: as the table has it.
        script: in `peers`.
        arguments: to it.
        environment: whose pins are in `peers/requirements-ENVIRONMENT.txt`; None for the
            package's own.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    environment: str | None = None

    def python(self) -> str:
        """The interpreter; its environment is made if it is not there, or its pins changed."""
        if self.environment is None:
            return sys.executable
        folder = ENVIRONMENTS / self.environment
        pins = _pins(self.environment)
        made = folder / "pins.txt"
        if not made.exists() or made.read_text() != pins.read_text():
            print(f"Making {folder}: once, a few minutes.", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", pins]
            subprocess.run(pip, check=True)
            made.write_text(pins.read_text())
        return str(folder / "bin" / "python")


OURS = System("keras_vae", "ours.py")
SYSTEMS = (
    OURS,
    System("TensorFlow, by hand", "floor.py"),
    System("Keras guide", "keras_guide.py"),
    System("PyTorch", "pytorch.py", ("eager",), "torch"),
    System("PyTorch, compiled", "pytorch.py", ("compile",), "torch"),
    System("Pythae", "pythae_peer.py", (), "torch"),
    System("JAX", "jax_optax.py", (), "jax"),
)


@dataclass
class Measured:
    """What was seen of one system on one workload.

    Attributes:
        seconds: of each counted run.
        weights: how many trainable numbers.
        bound: on the test images after the runs, nats per image.
        gained: how much of it in the last run.
        peak_mib: resident memory, of the host.
        found: what the last run returned.
        unsupported: why there is nothing.
    """

    seconds: list[float] = field(default_factory=list)
    weights: int = 0
    bound: float | None = None
    gained: float = 0.0
    peak_mib: float = 0.0
    found: Any = None
    unsupported: str | None = None


class Process:
    """A system at work on one workload."""

    def __init__(self, system: System, work: Work) -> None:
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": str(work.threads),
            # Of a GPU's memory each takes what it needs, not all that there is.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        self.system = system
        self.child = subprocess.Popen(
            [system.python(), str(HERE / "peers" / system.script), *system.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.work = work

    def ask(self, do: str) -> dict[str, Any]:
        """The answer to `prepare`, `run` or `bound`.

        Raises:
            RuntimeError: if the system failed, with what it printed.
        """
        asked = {"do": do, "work": asdict(self.work)} if do == "prepare" else {"do": do}
        self.child.stdin.write(json.dumps(asked) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended with {self.child.wait()}"}
        if "error" in answer:
            raise RuntimeError(f"{self.system.name}, {self.work.name}, {do}: {answer['error']}")
        return answer

    def quit(self) -> None:
        """Ends the process, also one that has failed."""
        with contextlib.suppress(BrokenPipeError):
            self.child.communicate(json.dumps({"do": "quit"}) + "\n", timeout=60)


def in_turn(
    systems: tuple[System, ...], work: Work, pairs: int, warm: int = 1
) -> dict[str, Measured]:
    """Each system, `warm` times off the clock and `pairs` times to be counted: A B C A B C.

    Raises:
        RuntimeError: if a system fails, or does not compute on what the others compute on.
    """
    measured = {system.name: Measured() for system in systems}
    processes = {system.name: Process(system, work) for system in systems}
    try:
        answers = _prepared(processes, work, warm)
        devices = {name: found["device"] for name, found in answers.items() if "device" in found}
        if len(set(devices.values())) > 1:
            raise RuntimeError(f"All must compute on the same. Received: {devices}.")
        for name, answer in answers.items():
            if "unsupported" in answer:
                measured[name].unsupported = answer["unsupported"]
                processes.pop(name).quit()
            else:
                measured[name].weights = answer["weights"]
        earlier: dict[str, float] = {}
        for pair in range(pairs):
            if 0 < pair == pairs - 1:
                earlier = _bounds(processes)
            for name, process in processes.items():
                answer = process.ask("run")
                measured[name].seconds.append(answer["seconds"])
                if not earlier:  # a bound may have taken more than a run
                    measured[name].peak_mib = answer["peak_mib"]
                measured[name].found = answer["found"]
        for name, bound in _bounds(processes).items():
            measured[name].bound = bound
            measured[name].gained = bound - earlier.get(name, bound)
    finally:
        for process in processes.values():
            process.quit()
    return measured


def _prepared(processes: dict[str, Process], work: Work, warm: int) -> dict[str, dict[str, Any]]:
    """What each answers to `prepare`, and has run `warm` times: all of them at once.

    Where preparing and compiling are on the clock, one after the other, and none has run.
    """

    def prepare(process: Process) -> dict[str, Any]:
        answer = process.ask("prepare")
        if "unsupported" not in answer and work.task != "until":
            for _ in range(warm):
                process.ask("run")
        return answer

    with ThreadPoolExecutor(1 if work.task == "until" else len(processes)) as pool:
        return dict(zip(processes, pool.map(prepare, processes.values()), strict=True))


def _bounds(processes: dict[str, Process]) -> dict[str, float]:
    return {name: process.ask("bound")["bound"] for name, process in processes.items()}


def start(system: System, work: Work) -> dict[str, float]:
    """Seconds from starting Python to the end of the first run, and what they are of."""
    begun = time.perf_counter()
    process = Process(system, work)
    try:
        prepared = process.ask("prepare")["since_start"]
        ran = process.ask("run")["since_start"]
        whole = time.perf_counter() - begun
    finally:
        process.quit()
    return {"imports": whole - ran, "model": prepared, "first step": ran - prepared, "all": whole}


def _pins(environment: str) -> Path:
    """What is installed: where there is a GPU, what computes on it, if that is something else."""
    peers = HERE / "peers"
    on_gpu = peers / f"requirements-{environment}-cuda.txt"
    found = shutil.which("nvidia-smi") is not None and on_gpu.exists()
    return on_gpu if found else peers / f"requirements-{environment}.txt"


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """How many times as fast ours was, pair by pair: median, least, most."""
    pairs = [b / a for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)
