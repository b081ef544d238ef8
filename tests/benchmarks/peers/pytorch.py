"""PyTorch, by hand, as a peer: `python pytorch.py eager` or `python pytorch.py compile`."""

import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from protocol import Peer, Work, serve
from torch import Tensor
from torch_model import VAE

_ROWS_TO_ENCODE = 2048
_ROWS_TO_DECODE = 500  # logits of one call stay near the second-level cache
_VALUES_OF_A_BOUND = 1 << 22  # of x's parameters at once, so that memory stays flat


class PyTorch(Peer):
    """A loop over batches; `compiled` says whether torch.compile fuses the loss.

    The first run of a compiled peer compiles: a graph for full batches, one for the last. Its
    cache is a new folder, so that every peer's first run is a first run, unless the
    environment names one.
    """

    def __init__(self, compiled: bool):
        self._compiled = compiled
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._cache = tempfile.TemporaryDirectory()

    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        begin = time.perf_counter()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", self._cache.name)
        torch.set_num_threads(work.threads)
        # As TensorFlow and JAX do: of IWAE's gradients most are below 1e-38, and thrice as slow.
        torch.set_flush_denormal(True)
        torch.manual_seed(work.seed)
        if self._device.type == "cuda":  # TF32, which TensorFlow and JAX have without asking
            torch.set_float32_matmul_precision("high")
        self._work = work
        self._train, self._test = self._pixels(train), self._pixels(test)
        # channels last: 18% off a step of the convolutions on a CPU; nothing to dense layers
        self._model = VAE(work).to(self._device, memory_format=torch.channels_last)
        self._optimizer = torch.optim.Adam(
            self._model.parameters(), lr=work.learning_rate, fused=True
        )
        self._loss = self._compile(self._mean_loss)
        self._encode = self._compile(self._model.posterior)
        self._log_weights = self._compile(self._model.log_weights)
        if work.task == "log_likelihood":  # weights that have seen the data, outside the clock
            self._work = dataclasses.replace(work, objective="elbo", samples=1)
            self._train_epochs()
            self._work = work
        self._prepared = time.perf_counter() - begin
        return sum(p.numel() for p in self._model.parameters() if p.requires_grad)

    def device(self) -> str:
        return "cpu" if self._device.type == "cpu" else "gpu"

    def run(self) -> dict[str, Any] | None:
        tasks = {
            "fit": self._train_epochs,
            "log_likelihood": self._log_likelihood,
            "encode": self._encode_train,
            "until": self._until,
        }
        return tasks[self._work.task]()

    @torch.inference_mode()
    def bound(self) -> float:
        parameters = 784 * (3 * self._work.components if self._model.mixture else 1)
        rows = max(1, _VALUES_OF_A_BOUND // (parameters * self._work.samples))
        bounds = [
            self._bound(x, self._noise(self._work.samples, len(x))) for x in self._test.split(rows)
        ]
        return float(torch.cat(bounds).double().mean())

    def _compile(self, function: Callable) -> Callable:
        if not self._compiled:
            return function
        # On a GPU its kernels are launched as one CUDA graph.
        mode = "reduce-overhead" if self._device.type == "cuda" else "default"
        return torch.compile(function, dynamic=False, mode=mode)

    def _pixels(self, images: np.ndarray) -> Tensor:
        return torch.from_numpy(images.reshape(len(images), -1)).to(self._device)

    def _noise(self, draws: int, rows: int) -> Tensor:
        return torch.randn(draws, rows, self._work.latent, device=self._device)

    def _bound(self, x: Tensor, noise: Tensor) -> Tensor:
        bound = self._model.iwae if self._work.objective == "iwae" else self._model.elbo
        return bound(x, noise)

    def _mean_loss(self, x: Tensor, noise: Tensor) -> Tensor:
        return -self._bound(x, noise).mean()

    def _batches(self) -> Iterator[Tensor]:
        """Every image of `train` once, in a new order."""
        order = torch.randperm(len(self._train), device=self._device)
        for rows in order.split(self._work.batch):
            x = self._train.index_select(0, rows)
            if self._work.values == "dynamic":
                # 1 with probability x / 255, exactly, and cheaper than torch.bernoulli
                threshold = torch.randint(255, x.shape, dtype=torch.uint8, device=self._device)
                x = (threshold < x).to(torch.uint8)
            yield x

    def _epoch(self) -> Tensor:
        """Trains on every image once; the sum of their losses."""
        total = torch.zeros((), device=self._device)
        for x in self._batches():
            loss = self._loss(x, self._noise(self._work.samples, len(x)))
            loss.backward()
            total += loss.detach() * len(x)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        return total

    def _train_epochs(self) -> dict[str, Any]:
        for _ in range(self._work.epochs):
            total = self._epoch()
        return {"loss": float(total) / len(self._train)}  # a GPU is waited for

    @torch.inference_mode()
    def _encode_train(self) -> None:
        means = torch.empty(len(self._train), self._work.latent, device=self._device)
        for start in range(0, len(self._train), _ROWS_TO_ENCODE):
            rows = slice(start, start + _ROWS_TO_ENCODE)
            means[rows] = self._encode(self._train[rows])[0]
        if self._device.type == "cuda":
            torch.cuda.synchronize()  # a clock is read next

    @torch.inference_mode()
    def _log_likelihood(self) -> dict[str, Any]:
        """The mean of log p(x), each image's by `draws` importance-weighted draws."""
        draws = self._work.draws
        loc, log_scale = self._model.posterior(self._test)
        found = torch.empty(len(self._test), device=self._device)
        log_weights = torch.empty(draws, device=self._device)
        for i in range(len(self._test)):
            image = slice(i, i + 1)
            for part in log_weights.split(_ROWS_TO_DECODE):
                noise = self._noise(len(part), 1)
                part.copy_(
                    self._log_weights(self._test[image], loc[image], log_scale[image], noise)[:, 0]
                )
            found[i] = log_weights.logsumexp(0)
        return {"log_likelihood": float(found.double().mean()) - float(np.log(draws))}

    def _until(self) -> dict[str, Any]:
        """Trains until the bound of `test` has passed every target, or time is up."""
        seconds, epochs, bound = self._prepared, 0, -float("inf")
        reached: dict[str, float | None] = {f"{target:g}": None for target in self._work.targets}
        while seconds <= self._work.limit and None in reached.values():
            begin = time.perf_counter()
            self._train_epochs()
            seconds += time.perf_counter() - begin
            epochs, bound = epochs + 1, self.bound()
            for target in self._work.targets:
                if bound >= target and reached[f"{target:g}"] is None:
                    reached[f"{target:g}"] = seconds
        return {"seconds_to": reached, "epochs": epochs, "bound": bound}


if __name__ == "__main__":
    if sys.argv[1:] not in (["eager"], ["compile"]):
        sys.exit("usage: pytorch.py eager|compile")
    serve(PyTorch(compiled=sys.argv[1] == "compile"))
