"""A model whose log p(x) is known: the linear Gaussian one, as a VAE of identities.

`x = W z + b + eps`, `z ~ N(0, I)`, `eps ~ N(0, sigma^2 I)`. With `M = W^T W + sigma^2 I`,
`log p(x) = log N(x; b, W W^T + sigma^2 I)` and `p(z|x) = N(M^-1 W^T (x - b), sigma^2 M^-1)`
(Tipping and Bishop 1999).
"""

import dataclasses

import numpy as np
from scipy import stats

from keras_vae import VAE, likelihoods, networks, objectives, posteriors, priors
from keras_vae.networks import inverse_positive

D, VALUES = 2, 5


@dataclasses.dataclass(frozen=True)
class Linear:
    """The weights of a linear Gaussian model, and what follows from them in NumPy."""

    w: np.ndarray
    b: np.ndarray
    sigma: float

    @property
    def posterior_covariance(self):
        return self.sigma**2 * np.linalg.inv(self.w.T @ self.w + self.sigma**2 * np.eye(D))

    def posterior_mean(self, x):
        return (x - self.b) @ self.w @ self.posterior_covariance / self.sigma**2

    def log_prob(self, x):
        covariance = self.w @ self.w.T + self.sigma**2 * np.eye(len(self.b))
        return stats.multivariate_normal(self.b, covariance).logpdf(x)


def random_linear():
    random = np.random.default_rng(0)
    return Linear(random.normal(size=(VALUES, D)), random.normal(size=VALUES), 0.7)


def linear_vae(linear, posterior, objective=None, scale="shared"):
    """The model as a VAE; the weights of q(z|x) are random."""
    vae = VAE(
        encoder=networks.mlp([]),
        decoder=networks.mlp([]),
        posterior=posterior,
        prior=priors.StandardNormal(D),
        likelihood=likelihoods.Normal((VALUES,), scale=scale),
        objective=objective or objectives.ELBO(),
        seed=0,
    )
    vae.compile()
    vae.likelihood.projections["loc"].kernel.assign(linear.w.T)
    vae.likelihood.projections["loc"].bias.assign(linear.b)
    if scale == "shared":
        vae.likelihood.learned["scale"].assign(inverse_positive(np.full((1,), linear.sigma)))
    random = np.random.default_rng(2)
    for weight in vae.posterior.weights:
        weight.assign(0.3 * random.normal(size=weight.shape))
    return vae


def set_exact_posterior(vae, linear):
    """q(z|x) = p(z|x), which a full covariance contains."""
    vae.posterior.projections["loc"].kernel.assign(
        linear.w @ linear.posterior_covariance / linear.sigma**2
    )
    vae.posterior.projections["loc"].bias.assign(linear.posterior_mean(np.zeros(VALUES)))
    tril = np.linalg.cholesky(linear.posterior_covariance)
    raw = np.where(np.eye(D) == 1, np.log(np.expm1(np.maximum(tril - 1e-6, 1e-6))), tril)
    vae.posterior.projections["scale_tril"].kernel.assign(
        np.zeros(vae.posterior.projections["scale_tril"].kernel.shape)
    )
    vae.posterior.projections["scale_tril"].bias.assign([raw[1, 1], raw[1, 0], raw[0, 0]])


def exact_vae(linear):
    """The model whose q(z|x) is p(z|x): its importance weights are all p(x)."""
    vae = linear_vae(linear, posteriors.FullCovarianceNormal(D))
    set_exact_posterior(vae, linear)
    return vae


def drawn(linear, n, seed=5):
    """x of the model itself."""
    random = np.random.default_rng(seed)
    noise = linear.sigma * random.normal(size=(n, VALUES))
    return (random.normal(size=(n, D)) @ linear.w.T + linear.b + noise).astype("float32")
