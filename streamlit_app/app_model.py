"""The models that the pages look at: one contract, answered in this process or by a server."""

import abc
import functools
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_vae.data import DataSet, load
from keras_vae.exported import InProcess
from keras_vae.opened import trained_run
from keras_vae.runs import Run
from keras_vae.shipped import shipped
from keras_vae.vae import VAE

client = shipped("client")  # serving/client.py

OF_SHAPE: dict[tuple[int, ...], str] = {(8, 8, 1): "digits", (28, 28, 1): "mnist"}
Inputs = Mapping[str, Any]
Answer = dict[str, np.ndarray]


class Shown(abc.ABC):
    """A model that pages ask by the served contract: signatures, a seed for each row.

    Attributes:
        key: what tells this model from every other, for caches.
        title: what visitors call it.
        event_shape: E, of one x.
        latent_size: D, of one z.
        data: the data that goes with the model, or None.
        vae: the model itself, or None where only its answers can be had.
        run: the folder that it was trained in, or None.
    """

    key: str
    title: str
    event_shape: tuple[int, ...]
    latent_size: int
    data: DataSet | None
    vae: VAE | None
    run: Run | None

    @abc.abstractmethod
    def answer(self, signature: str, inputs: Inputs) -> Answer:
        """The answer to a request, by the names of the outputs."""

    @property
    def is_image(self) -> bool:
        """Whether one x is a picture, `[H, W, 1 or 3]`."""
        return len(self.event_shape) == 3 and self.event_shape[-1] in (1, 3)


class Trained(Shown):
    """The model of a run folder, in this process. Visitors share it: nothing here changes.

    Args:
        folder: the run's.
        key: see `Shown`.

    Raises:
        click.ClickException: if the folder holds no trained run.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.key = key
        self.title = folder.name
        self.run = Run(folder)
        self.vae, self.data = trained_run(folder)
        self.event_shape = self.vae.likelihood.event_shape
        self.latent_size = self.vae.prior.latent_size
        self._served = InProcess(self.vae)

    def answer(self, signature: str, inputs: Inputs) -> Answer:
        return self._served.predict(signature, inputs)


class Served(Shown):
    """A model behind TensorFlow Serving's interface, asked through the client.

    Args:
        address: "localhost:8500" for gRPC, "http://localhost:8501" for REST.
        model: its name there.

    Raises:
        client.ServingError: if no server answers, or it has no model of that name.
        ValueError: if its signatures are not those of this package, or need a condition.
    """

    vae = None
    run = None

    def __init__(self, address: str, model: str) -> None:
        with client.Client(address, model=model, timeout=10.0, retries=2) as newest:
            found = newest.metadata()
        x = _input(found.signatures, "encode", "x")
        _input(found.signatures, "reconstruct", "x")
        self.event_shape = _sizes(x, "x")
        (self.latent_size,) = _sizes(_input(found.signatures, "decode", "z"), "z", axes=1)
        # This version alone: what the caches hold of one would be wrong of the next.
        self.client = client.Client(
            address, model=model, version=found.version, timeout=10.0, retries=2
        )
        weakref.finalize(self, self.client.close)  # once no visitor's page holds it
        self.key = f"{address} {model} {found.version}"
        self.title = f"{model}, version {found.version}, at {address}"
        self.data = data_of_shape(self.event_shape)
        self._takes_bytes = x.dtype == np.uint8

    def answer(self, signature: str, inputs: Inputs) -> Answer:
        if self._takes_bytes and "x" in inputs:
            divisor = 255.0 if self.data is None else self.data.train.divisor
            inputs = {**inputs, "x": np.round(np.asarray(inputs["x"]) * divisor).astype(np.uint8)}
        return dict(self.client.predict(signature, inputs))


def _input(signatures: Mapping[str, Any], signature: str, name: str) -> Any:
    """The dtype and shape of an input."""
    if signature not in signatures:
        raise ValueError(
            f"The served model cannot be shown. Expected: the signature {signature}, as "
            f"keras_vae.export writes it. Received: {', '.join(signatures)}."
        )
    found = signatures[signature].inputs
    if set(found) != {name}:
        raise ValueError(
            "The served model cannot be shown: these pages ask with x or z alone. Expected: a "
            f"model of x alone. Received: one that takes {', '.join(sorted(found))}."
        )
    return found[name]


def _sizes(spec: Any, name: str, axes: int | None = None) -> tuple[int, ...]:
    """The shape of one row."""
    sizes = tuple(spec.shape[1:])
    if None in sizes or (axes is not None and len(sizes) != axes):
        raise ValueError(
            f"The served model cannot be shown. Expected: a known size of one {name}. Received: "
            f"{list(spec.shape)}."
        )
    return sizes


@functools.cache
def _loaded(name: str) -> DataSet:
    return load(name)


def data_of_shape(event_shape: tuple[int, ...]) -> DataSet | None:
    """Images of a shape to show a served model with, or None if there are none."""
    name = OF_SHAPE.get(tuple(event_shape))
    try:
        return None if name is None else _loaded(name)
    except ValueError:  # MNIST, neither there nor to be downloaded
        return None
