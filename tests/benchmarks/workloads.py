"""What is timed: the workloads W1 to W8, at several sizes, and the files that they read."""

import dataclasses
import os
from pathlib import Path

import numpy as np
from peers.protocol import Work

import keras_vae

BURDA = {"hidden": (200, 200), "activation": "tanh", "latent": 50, "batch": 100}

WORKLOADS = {
    work.name: work
    for work in (
        Work("W1", "fit", "bits"),
        Work("W2", "fit", "bits", precision="bfloat16"),
        Work("W3", "fit", "bits", network="conv"),
        Work("W4", "fit", "bits", objective="iwae", samples=50, **BURDA),
        Work("W5", "log_likelihood", "bits", epochs=5, **BURDA),
        Work("W6", "encode", "bits"),
        Work(
            "W7", "until", "dynamic", values="dynamic", targets=(-105.0, -100.0, -95.0), alike=False
        ),
        Work("W8", "fit", "grey", values="grey", likelihood="logistic_mixture"),
    )
}
TITLES = {
    "W1": "`fit`, 784-400-20-400-784, float32",
    "W2": "the same in bfloat16",
    "W3": "`fit`, convolutions",
    "W4": "`fit`, IWAE, K = 50, 784-200-200-50",
    "W5": "log p(x), K = 5,000",
    "W6": "encoding, to the means of the posterior",
    "W7": "seconds until the test bound passes a target",
    "W8": "`fit`, mixture of 5 discretised logistics, grey values",
}

# How many images of the training set one run passes over, and of the test set.
SIZES = {
    "full": {
        "W1": (60_000, 10_000), "W2": (60_000, 10_000), "W3": (6_000, 1_000),
        "W4": (4_000, 500), "W5": (60_000, 1_000), "W6": (60_000, 100),
        "W7": (60_000, 10_000), "W8": (6_000, 500),
    },
    "short": dict.fromkeys(WORKLOADS, (512, 100)),
    "gpu": dict.fromkeys(WORKLOADS, (60_000, 10_000)) | {"W5": (60_000, 1_000)},
    "gpu-short": dict.fromkeys(WORKLOADS, (512, 100)),
}  # fmt: skip
# One run of these is a part of an epoch, after which bounds differ by more than is told from noise.
WARM = {"W3": 6, "W4": 20}
ON_GPU = ("gpu", "gpu-short")
GPU_BATCH = {"gpu": 1024, "gpu-short": 256}
# How often one run passes over the images. W1 on a CPU: so often that keras_vae has XLA compile it;
# W2 is the same.
# On a GPU an epoch of the smallest networks takes milliseconds, and what surrounds a run would be timed.
EPOCHS = {
    "full": {"W1": 5, "W2": 5},
    "gpu": {"W1": 20, "W2": 20, "W3": 5, "W4": 5, "W5": 5, "W8": 5},
    "gpu-short": {"W5": 1},
}

# What W1 grows with; a run passes over six batches of the largest, of fewer images with K draws of each.
GROWING = {"batch": (32, 128, 512, 4096), "samples": (1, 5, 50, 500), "latent": (2, 20, 200)}
GROWING_IMAGES = 24_576


def workload(name: str, size: str, folder: Path) -> Work:
    """The workload at that size, its data written to a file in `folder`."""
    work = WORKLOADS[name]
    if size in ("short", "gpu-short"):
        targets = (-400.0,) * bool(work.targets)
        fewer = {"draws": 100, "samples": min(work.samples, 5), "limit": 20.0, "targets": targets}
        work = dataclasses.replace(work, **fewer)
    if size in ON_GPU:
        work = dataclasses.replace(work, batch=GPU_BATCH[size], xla=True)
    epochs = EPOCHS.get(size, {}).get(name, work.epochs)
    work = dataclasses.replace(work, epochs=epochs, threads=threads(size))
    return dataclasses.replace(work, data=str(write(work, *SIZES[size][name], folder)))


def write(work: Work, train: int, test: int, folder: Path) -> Path:
    """A file of MNIST's images: as bits, drawn once or to be drawn, or grey."""
    path = folder / f"{work.data}-{train}-{test}.npz"
    if not path.exists():
        binarisation = {"bits": "static", "dynamic": "dynamic", "grey": "none"}[work.data]
        data = keras_vae.data.load("mnist", binarisation=binarisation)
        images = np.concatenate([data.train.values, data.validation.values])
        np.savez(path, train=images[:train, ..., 0], test=data.test.values[:test, ..., 0])
    return path


def threads(size: str) -> int:
    """How many cores each may use: of the host of a GPU all."""
    return (os.cpu_count() or 1) if size in ON_GPU else Work.threads


def warm(name: str, size: str) -> int:
    """How many runs are off the clock."""
    return WARM.get(name, 1) if size == "full" else 1


def growing(setting: str, value: int, size: str, folder: Path) -> tuple[Work, int]:
    """W1 with another setting, and how many images a run passes over; with K, IWAE's bound."""
    samples = value if setting == "samples" else 1
    images = max(GROWING_IMAGES // samples, 256)
    work = workload("W1", size, folder)
    work = dataclasses.replace(
        work,
        **{setting: value},
        epochs=1 if size == "full" else work.epochs,
        objective="iwae" if setting == "samples" else "elbo",
        data=str(write(WORKLOADS["W1"], images, 100, folder)),
    )
    return work, images * work.epochs


def examples(work: Work, train: int, test: int) -> int:
    """How many images one run passes over."""
    return {"log_likelihood": test, "fit": train * work.epochs}.get(work.task, train)


def title(work: dict) -> str:
    """A line of a table."""
    batch = f", batch {work['batch']:,}" if work["task"] == "fit" else ""
    return f"{work['name']}: {TITLES[work['name']]}{batch}"
