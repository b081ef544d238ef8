"""What the bench and a peer say to each other: one line of JSON each way.

Standard library and NumPy alone: every peer runs in an environment of its own. A peer is
started, prepares one workload, and then waits: it runs once each time it is told to, and
does nothing while another's turn is on. The clock is the peer's own, around `run` alone.
"""

import abc
import dataclasses
import json
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Work:
    """One workload, the same for every peer.

    Attributes:
        name: such as `W1`.
        task: `fit` (one run is `epochs`), `log_likelihood` (importance-weighted, `draws` for
            each image of `test`, after `epochs` off the clock), `encode` (the posterior's means
            of `train`), or `until` (train until the bound of `test` passes each of `targets`).
        data: a NumPy file with `train` `[N, 28, 28]` and `test`, uint8: 0 and 1 (`bits`), or
            0 to 255 (`grey`).
        values: `bits`, as they lie in the file; `dynamic`, bits to be drawn anew at each visit
            with grey / 255 as probability (`test` is bits); or `grey`.
        network: `mlp`: dense layers `hidden`, two projections to loc and scale of z, dense
            layers `hidden` backwards, a projection to the parameters of x. `conv`: 4x4
            convolutions of stride 2 to 32 and 64 channels, two projections; a dense layer to
            7x7x64, transposed ones back to 64 and 32 channels, a projection of each pixel.
        hidden: the widths.
        activation: `relu` or `tanh`.
        latent: D.
        objective: `elbo` (exact KL) or `iwae`.
        samples: K of training.
        likelihood: `bernoulli` or `logistic_mixture` (of `components` discretised logistics).
        components: of the mixture.
        precision: `float32` (on a GPU with products in TF32, as TensorFlow and JAX have them) or
            `bfloat16` (networks in bfloat16, densities, weights and their update in float32).
        xla: whether keras_vae is told to compile with XLA; else it decides.
        batch: B.
        epochs: how often a run passes over `train`.
        learning_rate: of Adam.
        draws: K of the evaluation.
        targets: bounds, in nats per image, for `until`.
        limit: seconds of training after which `until` gives up.
        threads: how many cores the peer may use.
        seed: of everything random.
        alike: whether all begin alike; else each as its users' do, keras_vae from the mean of x.
    """

    name: str
    task: str
    data: str
    values: str = "bits"
    network: str = "mlp"
    hidden: tuple[int, ...] = (400,)
    activation: str = "relu"
    latent: int = 20
    objective: str = "elbo"
    samples: int = 1
    likelihood: str = "bernoulli"
    components: int = 5
    precision: str = "float32"
    xla: bool = False
    batch: int = 128
    epochs: int = 1
    learning_rate: float = 1e-3
    draws: int = 5000
    targets: tuple[float, ...] = ()
    limit: float = 300.0
    threads: int = 2
    seed: int = 0
    alike: bool = True


class Unsupported(Exception):
    """The peer has no such thing; the reason is printed beside its empty cell."""


class Peer(abc.ABC):
    """A system that a user could pick."""

    @abc.abstractmethod
    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        """Makes the model, and returns how many trainable numbers it has.

        Raises:
            Unsupported: where the peer cannot do `work`.
        """

    @abc.abstractmethod
    def device(self) -> str:
        """`cpu` or `gpu`, which it computes on."""

    @abc.abstractmethod
    def run(self) -> dict[str, Any] | None:
        """The task, once; what it returns is kept beside its time."""

    @abc.abstractmethod
    def bound(self) -> float:
        """The mean over `test` of the objective's bound, nats per image."""


def serve(peer: Peer) -> None:
    """Answers the bench until it says quit."""
    started = time.perf_counter()
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "quit":
            break
        try:
            answer = _answer(peer, asked)
        except Unsupported as error:
            answer = {"unsupported": str(error)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answer["since_start"] = time.perf_counter() - started
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(peer: Peer, asked: dict[str, Any]) -> dict[str, Any]:
    if asked["do"] == "prepare":
        work = Work(**{k: tuple(v) if isinstance(v, list) else v for k, v in asked["work"].items()})
        with np.load(work.data) as data:
            weights = peer.prepare(work, data["train"], data["test"])
            return {"weights": weights, "device": peer.device()}
    if asked["do"] == "bound":
        return {"bound": float(peer.bound())}
    begin = time.perf_counter()
    found = peer.run()
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "peak_mib": _peak_mib(), "found": found}


def _peak_mib() -> float:
    """The most memory that was resident; of this program, where the system tells it apart from
    the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
