"""beta-VAE against beta-TC on digits: the same pressure, on different terms of the KL.

The mean KL of the data is the mutual information of x and z, plus the total correlation of z,
plus the KL of its dimensions. beta presses on all three, beta-TC on the total correlation alone
(Chen et al., NeurIPS 2018). The weights are such that the total correlation is about the same:
with beta-TC z then says more of x, that is the mutual information, at about the same bound.

Run: python tests/examples/correlation_of_latents.py
"""

import numpy as np
from common import model, show, train
from scipy import special, stats

from keras_vae import VAE, data, evaluation, likelihoods, objectives


def parts_of_kl(vae: VAE, x: np.ndarray) -> tuple[float, float, float]:
    """Mutual information, total correlation and the dimensions' KL, nats, a draw for each x.

    q(z) is the mean of q(z|x) over these x.
    """
    q = vae.encode(x)
    loc, scale = q.mean().numpy().astype("float64"), q.stddev().numpy().astype("float64")
    z = q.sample(seed=0).numpy()
    pairs = stats.norm.logpdf(z[:, None], loc, scale)  # log q(z_i,d | x_j): [N, N, D]
    given = np.diagonal(pairs.sum(-1))
    joint = special.logsumexp(pairs.sum(-1), axis=1) - np.log(len(x))
    product = (special.logsumexp(pairs, axis=1) - np.log(len(x))).sum(-1)
    prior = stats.norm.logpdf(z).sum(-1)
    return tuple(float(part.mean()) for part in (given - joint, joint - product, product - prior))


def run(epochs: int = 300, beta: float = 3.0, beta_tc: float = 10.0) -> dict[str, float]:
    """Held-out bound, and the parts of the training digits' KL, under three objectives."""
    digits = data.load("digits")
    x = digits.train.array()
    found = {}
    for name, objective in {
        "ELBO": objectives.ELBO(),
        "beta": objectives.ELBO(beta=beta),
        "beta-TC": objectives.BetaTCVAE(beta=beta_tc, dataset_size=len(x)),
    }.items():
        likelihood = likelihoods.Normal(digits.event_shape, scale=0.25)
        vae = model(likelihood, latent_size=6, units=(128,), objective=objective)
        train(vae, x, digits.validation, epochs, patience=30)
        information, correlation, by_dimension = parts_of_kl(vae, x)
        found[f"{name}: held-out ELBO"] = evaluation.elbo(vae, digits.test).mean
        found[f"{name}: mutual information"] = information
        found[f"{name}: total correlation"] = correlation
        found[f"{name}: KL of the dimensions"] = by_dimension
    return found


if __name__ == "__main__":
    show("Digits, nats", run())
