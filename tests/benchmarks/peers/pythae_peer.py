"""Pythae as a peer: its models and its trainer, given the same networks as the others."""

import tempfile
import time
from typing import Any

import numpy as np
import torch
from protocol import Peer, Unsupported, Work, serve
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor
from torch_networks import SIDE, make_decoder, make_encoder

_ROWS_TO_ENCODE = 2048
_ROWS_OF_A_BOUND = 1000
_DRAWS_AT_ONCE = 500


class Encoder(BaseEncoder):
    """Images `[N, 1, 28, 28]` to the mean and log variance of z."""

    def __init__(self, work: Work):
        super().__init__()
        self.layers = make_encoder(work)

    def forward(self, x: Tensor) -> ModelOutput:
        """The names are those that Pythae's models read."""
        loc, log_variance = self.layers(x.flatten(1)).chunk(2, dim=-1)
        return ModelOutput(embedding=loc, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Latents to pixels' probabilities `[N, 1, 28, 28]`, which Pythae's "bce" expects."""

    def __init__(self, work: Work):
        super().__init__()
        self.layers = make_decoder(work, 1)

    def forward(self, z: Tensor) -> ModelOutput:
        """The name is the one that Pythae's models read."""
        pixels = torch.sigmoid(self.layers(z))
        return ModelOutput(reconstruction=pixels.unflatten(1, (1, SIDE, SIDE)))


class DynamicBits(BaseDataset):
    """Grey images, seen as bits; `draw` makes new ones, once before each epoch.

    An epoch visits an image once, so this is a new draw at each visit.
    """

    def __init__(self, data: Tensor, labels: Tensor):
        super().__init__(data, labels)
        self._probabilities = self.data

    def draw(self) -> None:
        """Sets new bits."""
        self.data = torch.bernoulli(self._probabilities)


class Pythae(Peer):
    """Pythae's `BaseTrainer` trains one epoch by its `train_step`; its loader makes the batches."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()  # the trainer makes one for each training

    def prepare(self, work: Work, train: np.ndarray, test: np.ndarray) -> int:
        begin = time.perf_counter()
        _check(work)
        torch.set_num_threads(work.threads)
        # As TensorFlow and JAX do: of IWAE's gradients most are below 1e-38, and thrice as slow.
        torch.set_flush_denormal(True)
        torch.manual_seed(work.seed)
        if torch.cuda.is_available():  # TF32, which TensorFlow and JAX have without asking
            torch.set_float32_matmul_precision("high")
        self._work = work
        self._train, self._test = _images(train), _images(test)
        self._dynamic = work.values == "dynamic"
        self._dataset = _dataset(self._train, self._dynamic)
        self._model = _model(work)
        self._trainer = self._make_trainer()
        self._device = self._trainer.device
        self._epochs = 0
        if work.task == "log_likelihood":  # weights that have seen the data, outside the clock
            self._train_epochs()
        self._prepared = time.perf_counter() - begin
        return sum(p.numel() for p in self._model.parameters() if p.requires_grad)

    def device(self) -> str:
        return "gpu" if str(self._device).startswith("cuda") else "cpu"

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
        if self._work.objective == "iwae":  # the model's loss has the bound's gradient, no more
            draws = self._work.samples
            return float(self._model.get_nll(self._test.to(self._device), draws, draws))
        self._model.eval()
        losses = [
            float(self._model({"data": x.to(self._device)}).loss) * len(x)
            for x in self._test.split(_ROWS_OF_A_BOUND)
        ]
        return -sum(losses) / len(self._test)

    def _make_trainer(self) -> BaseTrainer:
        """The trainer, ready for its first epoch, as its own `train` makes itself ready."""
        trainer = BaseTrainer(
            model=self._model,
            train_dataset=self._dataset,
            training_config=BaseTrainerConfig(
                output_dir=self._folder.name,
                per_device_train_batch_size=self._work.batch,
                learning_rate=self._work.learning_rate,
                optimizer_params={"fused": True},
                seed=self._work.seed,
            ),
        )
        trainer.prepare_training()
        return trainer

    def _train_epochs(self) -> dict[str, Any]:
        for _ in range(self._work.epochs):
            loss = self._fit()
        return {"loss": float(loss)}

    def _fit(self) -> float:
        """The loss of one epoch of the trainer; the optimizer stays between them."""
        if self._dynamic:
            self._dataset.draw()
        self._epochs += 1
        return self._trainer.train_step(self._epochs)

    @torch.inference_mode()
    def _log_likelihood(self) -> dict[str, Any]:
        self._model.eval()
        found = self._model.get_nll(
            self._test.to(self._device), n_samples=self._work.draws, batch_size=_DRAWS_AT_ONCE
        )
        return {"log_likelihood": float(found)}

    @torch.inference_mode()
    def _encode_train(self) -> None:
        self._model.eval()
        for x in self._train.split(_ROWS_TO_ENCODE):
            self._model.encoder(x.to(self._device)).embedding.cpu()

    def _until(self) -> dict[str, Any]:
        """Trains until the bound of `test` has passed every target, or time is up."""
        seconds, bound = self._prepared, -float("inf")
        reached: dict[str, float | None] = {f"{target:g}": None for target in self._work.targets}
        while seconds <= self._work.limit and None in reached.values():
            begin = time.perf_counter()
            self._fit()
            seconds += time.perf_counter() - begin
            bound = self.bound()
            for target in self._work.targets:
                if bound >= target and reached[f"{target:g}"] is None:
                    reached[f"{target:g}"] = seconds
        return {"seconds_to": reached, "epochs": self._epochs, "bound": bound}


def _check(work: Work) -> None:
    """Refuses what Pythae has not."""
    if work.likelihood != "bernoulli":
        raise Unsupported("losses of x: mse and bce only; no mixture of logistics")
    if work.precision != "float32":
        raise Unsupported("the trainer's amp is CUDA's, and is put aside where the loss is bce")
    if work.objective == "elbo" and work.samples != 1:
        raise Unsupported("VAE draws once for each image")
    if work.task == "log_likelihood" and work.draws % _DRAWS_AT_ONCE:
        raise Unsupported(f"get_nll draws whole batches, here of {_DRAWS_AT_ONCE}")


def _images(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).unsqueeze(1).float()


def _dataset(images: Tensor, dynamic: bool) -> BaseDataset:
    labels = torch.ones(len(images))
    return DynamicBits(images / 255, labels) if dynamic else BaseDataset(images, labels)


def _model(work: Work) -> VAE:
    """Pythae's `VAE` or `IWAE`; a model whose log-likelihood is asked for is an ELBO's."""
    shape = (1, SIDE, SIDE)
    if work.objective == "iwae" and work.task != "log_likelihood":
        config = IWAEConfig(
            input_dim=shape,
            latent_dim=work.latent,
            reconstruction_loss="bce",
            number_samples=work.samples,
        )
        return IWAE(config, encoder=Encoder(work), decoder=Decoder(work))
    config = VAEConfig(input_dim=shape, latent_dim=work.latent, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(work), decoder=Decoder(work))


if __name__ == "__main__":
    serve(Pythae())
