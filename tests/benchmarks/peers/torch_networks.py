"""The networks of the PyTorch peers: both write the same layers, so both have the same weights.

Both networks take and give flat pixels `[N, 784]`. Parameters of a pixel lie one after
another over the whole image (`[N, parameters, 784]`, flattened), so that what is done to
each pixel runs along memory.
"""

import itertools
import math
from collections.abc import Callable

from protocol import Work
from torch import nn

__all__ = ["SIDE", "make_decoder", "make_encoder"]

SIDE = 28
_CONV = (64, 7, 7)  # what the convolutions make of an image, and where the decoder begins
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def make_encoder(work: Work) -> nn.Sequential:
    """Pixels `[N, 784]` to loc and raw scale of z, `[N, 2 D]`."""
    if work.network == "conv":
        network = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(math.prod(_CONV), 2 * work.latent),
        )
    else:
        widths = (SIDE * SIDE, *work.hidden)
        network = nn.Sequential(*_dense(widths, work), nn.Linear(widths[-1], 2 * work.latent))
    return _started(network, work)


def make_decoder(work: Work, per_pixel: int) -> nn.Sequential:
    """Latents `[N, D]` to the parameters of x, `[N, per_pixel 784]`."""
    if work.network == "conv":
        network = nn.Sequential(
            nn.Linear(work.latent, math.prod(_CONV)),
            nn.ReLU(),
            nn.Unflatten(1, _CONV),
            nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, per_pixel, 1),
            nn.Flatten(),
        )
    else:
        widths = (work.latent, *reversed(work.hidden))
        network = nn.Sequential(
            *_dense(widths, work), nn.Linear(widths[-1], per_pixel * SIDE * SIDE)
        )
    return _started(network, work)


def _started(network: nn.Sequential, work: Work) -> nn.Sequential:
    """With Glorot's initial weights, which the others have, where bounds are compared: PyTorch's
    own are 3 % behind for long. Where time until a bound is, with those, as its users have them.
    """
    for layer in network.modules():
        if work.alike and isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def _dense(widths: tuple[int, ...], work: Work) -> list[nn.Module]:
    """Dense layers from each width to the next, each with its activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[work.activation]()]
    return layers
