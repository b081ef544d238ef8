"""A VAE by hand in PyTorch, as the PyTorch peer trains and evaluates it.

Shapes: K draws, N images, D latents, P = 784 pixels.
"""

import math

import torch
from protocol import Work
from torch import Tensor, nn
from torch.nn import functional
from torch_networks import make_decoder, make_encoder

__all__ = ["VAE"]

_LOWEST_LOG_SCALE = -7.0  # of a logistic, on [-1, 1]: well within one of its 256 levels


class VAE(nn.Module):
    """q(z|x) is a diagonal Normal, p(z) the standard one, p(x|z) as `work` has it.

    Random numbers come in as arguments: drawn outside a compiled graph they are cheaper on a
    CPU, where the compiler's own generator is scalar code.
    """

    def __init__(self, work: Work):
        super().__init__()
        self.mixture = work.likelihood == "logistic_mixture"
        self.components = work.components
        self.half = work.precision == "bfloat16"
        self.encoder = make_encoder(work)
        self.decoder = make_decoder(work, 3 * work.components if self.mixture else 1)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Loc and log scale of z, `[N, D]` each, of uint8 pixels `[N, P]`."""
        pixels = x.float() / 255 if self.mixture else x.float()
        loc, log_variance = self._call(self.encoder, pixels).chunk(2, dim=-1)
        return loc, 0.5 * log_variance

    def elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        """E_q[log p(x|z)] - KL(q(z|x) || p(z)), `[N]`: the draws' mean and the exact KL."""
        loc, log_scale = self.posterior(x)
        z = loc + log_scale.exp() * noise
        kl = (0.5 * (loc.square() + (2 * log_scale).exp() - 1) - log_scale).sum(-1)
        return self.log_likelihood(x, z).mean(0) - kl

    def iwae(self, x: Tensor, noise: Tensor) -> Tensor:
        """log (1/K) sum_k p(x, z_k) / q(z_k|x), `[N]`."""
        loc, log_scale = self.posterior(x)
        log_weights = self.log_weights(x, loc, log_scale, noise)
        return log_weights.logsumexp(0) - math.log(noise.shape[0])

    def log_weights(self, x: Tensor, loc: Tensor, log_scale: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x), `[K, N]`."""
        z = loc + log_scale.exp() * noise
        log_ratio = (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)
        return self.log_likelihood(x, z) + log_ratio

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), `[K, N]`, summed over the pixels."""
        found = self._call(self.decoder, z.flatten(0, 1)).unflatten(0, z.shape[:2])
        if self.mixture:
            return self._logistic_mixture(x, found.unflatten(-1, (3, self.components, -1)))
        return -functional.binary_cross_entropy_with_logits(
            found, x.float().expand_as(found), reduction="none"
        ).sum(-1)

    def _call(self, network: nn.Module, value: Tensor) -> Tensor:
        """What the network makes of a value: its matmuls as `work` has it, its answer float32."""
        with torch.autocast(value.device.type, torch.bfloat16, enabled=self.half):
            return network(value).float()

    def _logistic_mixture(self, x: Tensor, found: Tensor) -> Tensor:
        """log p(x|z) of a mixture of logistics over 256 levels, `[K, N]`.

        The mass of a level is s(a) - s(b), a and b its edges, and its log is exactly
        log s(a) + log s(-b) + log(1 - exp(b - a)), which no rounding turns into log 0; the
        first level lacks b and the last lacks a.
        """
        logits, loc, raw = found.unbind(-3)  # [K, N, C, P] each
        levels = x.float().unsqueeze(-2)  # [N, 1, P]
        precision = (-raw.clamp(min=_LOWEST_LOG_SCALE)).exp()
        centre = (levels / 127.5 - 1 - loc) * precision
        half = precision / 255
        below = functional.logsigmoid(centre + half)
        above = functional.logsigmoid(half - centre)
        inside = (-torch.expm1(-2 * half)).log()
        first, last = levels == 0, levels == 255
        mass = torch.where(first, below, torch.where(last, above, below + above + inside))
        return (logits.log_softmax(-2) + mass).logsumexp(-2).sum(-1)
