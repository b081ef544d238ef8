"""Examples of every part, for tests that are to hold for all of them.

A part is given as a function that makes it, because layers hold state. A new family is one
entry here, and `test_laws.py` fails until it has one.
"""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import pytest
from scipy import special, stats

from keras_vae import VAE, conditions, likelihoods, networks, objectives, posteriors, priors

LATENT_SIZE = 2
EVENT_SHAPE = (4, 4, 1)
ONE_HOT_SHAPE = (4, 4, 3)  # of one category nothing could be learned

Schedule = keras.optimizers.schedules.PolynomialDecay


def halved(size: object) -> list:
    """The sizes of two layers of latents; a size that is none stays as it is, to be refused."""
    return [size - size // 2, size // 2] if isinstance(size, int) and size > 1 else [size, size]


def two_heads(size: object, **k: object) -> list[posteriors.Posterior]:
    """The heads of a hierarchy of two layers."""
    return [posteriors.DiagonalNormal(part, **k) for part in halved(size)]


def between() -> list[keras.layers.Layer]:
    """The networks of a hierarchy of two layers."""
    return [networks.mlp([4], activation="tanh")]


POSTERIORS = {
    "DiagonalNormal": lambda size=LATENT_SIZE, **k: posteriors.DiagonalNormal(size, **k),
    "FullCovarianceNormal": lambda size=LATENT_SIZE, **k: posteriors.FullCovarianceNormal(
        size, **k
    ),
    "LowRankNormal": lambda size=LATENT_SIZE, **k: posteriors.LowRankNormal(size, **k),
    "Laplace": lambda size=LATENT_SIZE, **k: posteriors.Laplace(size, **k),
    "MixtureOfNormals": lambda size=LATENT_SIZE, **k: posteriors.MixtureOfNormals(size, 3, **k),
    "CouplingFlow": lambda size=LATENT_SIZE, **k: posteriors.CouplingFlow(size, 2, 8, **k),
    "InverseAutoregressiveFlow": lambda size=LATENT_SIZE, **k: posteriors.InverseAutoregressiveFlow(
        size, 2, 8, **k
    ),
    "PlanarFlow": lambda size=LATENT_SIZE, **k: posteriors.PlanarFlow(size, 2, **k),
    "Chain": lambda size=LATENT_SIZE, name=None, **k: posteriors.Chain(
        two_heads(size, **k), between(), name=name, **k
    ),
    "TopDown": lambda size=LATENT_SIZE, name=None, **k: posteriors.TopDown(
        two_heads(size, **k), between(), name=name, **k
    ),
    "VonMisesFisher": lambda size=LATENT_SIZE, **k: posteriors.VonMisesFisher(size, **k),
    "PowerSpherical": lambda size=LATENT_SIZE, **k: posteriors.PowerSpherical(size, **k),
    "RelaxedOneHot": lambda size=LATENT_SIZE, **k: posteriors.RelaxedOneHot(size, 2, 0.7, **k),
    "RelaxedBernoulli": lambda size=LATENT_SIZE, **k: posteriors.RelaxedBernoulli(size, 0.7, **k),
    "OneHot": lambda size=LATENT_SIZE, **k: posteriors.OneHot(size, 2, **k),
    "Bernoulli": lambda size=LATENT_SIZE, **k: posteriors.Bernoulli(size, **k),
    "Product": lambda size=LATENT_SIZE, name=None, **k: posteriors.Product(
        two_heads(size, **k), name=name, **k
    ),
}


PRIORS = {
    "StandardNormal": lambda size=LATENT_SIZE, **k: priors.StandardNormal(size, **k),
    "LearnedNormal": lambda size=LATENT_SIZE, **k: priors.LearnedNormal(size, **k),
    "MixtureOfNormals": lambda size=LATENT_SIZE, **k: priors.MixtureOfNormals(size, 3, **k),
    "VampPrior": lambda size=LATENT_SIZE, **k: priors.VampPrior(size, 3, **k),
    "ConditionalNormal": lambda size=LATENT_SIZE, **k: priors.ConditionalNormal(size, **k),
    "ExPost": lambda size=LATENT_SIZE, **k: priors.ExPost(size, 3, **k),
    "CouplingFlow": lambda size=LATENT_SIZE, **k: priors.CouplingFlow(size, 2, 8, **k),
    "AutoregressiveFlow": lambda size=LATENT_SIZE, **k: priors.AutoregressiveFlow(size, 2, 8, **k),
    "Chain": lambda size=LATENT_SIZE, name=None, **k: priors.Chain(
        priors.StandardNormal(halved(size)[0], **k),
        two_heads(size, **k)[1:],
        between(),
        name=name,
        **k,
    ),
    "UniformSphere": lambda size=LATENT_SIZE, **k: priors.UniformSphere(size, **k),
    "UniformCategorical": lambda size=LATENT_SIZE, **k: priors.UniformCategorical(size, 2, **k),
    "UniformCategorical-relaxed": lambda size=LATENT_SIZE, **k: priors.UniformCategorical(
        size, 2, 0.5, **k
    ),
    "UniformBernoulli": lambda size=LATENT_SIZE, **k: priors.UniformBernoulli(size, **k),
    "UniformBernoulli-relaxed": lambda size=LATENT_SIZE, **k: priors.UniformBernoulli(
        size, 0.5, **k
    ),
    "Product": lambda size=LATENT_SIZE, name=None, **k: priors.Product(
        [priors.StandardNormal(part, **k) for part in halved(size)], name=name, **k
    ),
}


def table(name: str | None = None, **k: object) -> likelihoods.Table:
    """A table of a column of each kind."""
    columns = {
        "age": likelihoods.Normal(scale="shared", **k),
        "visits": likelihoods.NegativeBinomial(**k),
        "plan": likelihoods.Categorical(3, **k),
        "member": likelihoods.Bernoulli(**k),
    }
    return likelihoods.Table(columns, name=name, **k)


LIKELIHOODS = {
    "Bernoulli": lambda shape=EVENT_SHAPE, **k: likelihoods.Bernoulli(shape, **k),
    "Normal-fixed": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, scale=0.5, **k),
    "Normal-shared": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, "shared", **k),
    "Normal-per_value": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, "per_value", **k),
    "Normal-per_channel": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(
        shape, "per_channel", **k
    ),
    "Normal-optimal": lambda shape=EVENT_SHAPE, **k: likelihoods.Normal(shape, "optimal", **k),
    "Laplace": lambda shape=EVENT_SHAPE, **k: likelihoods.Laplace(shape, "shared", **k),
    "StudentT": lambda shape=EVENT_SHAPE, **k: likelihoods.StudentT(shape, "per_value", **k),
    "LogitNormal": lambda shape=EVENT_SHAPE, **k: likelihoods.LogitNormal(shape, "per_value", **k),
    "TruncatedNormal": lambda shape=EVENT_SHAPE, **k: likelihoods.TruncatedNormal(
        shape, "per_value", **k
    ),
    "Beta": lambda shape=EVENT_SHAPE, **k: likelihoods.Beta(shape, **k),
    "ContinuousBernoulli": lambda shape=EVENT_SHAPE, **k: likelihoods.ContinuousBernoulli(
        shape, **k
    ),
    "Poisson": lambda shape=EVENT_SHAPE, **k: likelihoods.Poisson(shape, **k),
    "NegativeBinomial-shared": lambda shape=EVENT_SHAPE, **k: likelihoods.NegativeBinomial(
        shape, **k
    ),
    "NegativeBinomial-per_value": lambda shape=EVENT_SHAPE, **k: likelihoods.NegativeBinomial(
        shape, "per_value", **k
    ),
    "ZeroInflatedNegativeBinomial": lambda shape=EVENT_SHAPE, **k: (
        likelihoods.ZeroInflatedNegativeBinomial(shape, **k)
    ),
    "Multinomial": lambda shape=EVENT_SHAPE, **k: likelihoods.Multinomial(shape, **k),
    "Categorical": lambda shape=EVENT_SHAPE, **k: likelihoods.Categorical(3, shape, **k),
    "OneHotCategorical": lambda shape=ONE_HOT_SHAPE, **k: likelihoods.OneHotCategorical(shape, **k),
    "DiscretisedLogistic-shared": lambda shape=EVENT_SHAPE, **k: likelihoods.DiscretisedLogistic(
        shape, scale="shared", **k
    ),
    "DiscretisedLogistic-per_value": lambda shape=EVENT_SHAPE, **k: likelihoods.DiscretisedLogistic(
        shape, **k
    ),
    "DiscretisedLogisticMixture": lambda shape=EVENT_SHAPE, **k: (
        likelihoods.DiscretisedLogisticMixture(shape, 2, **k)
    ),
    "Missing": lambda shape=EVENT_SHAPE, name=None, **k: likelihoods.Missing(
        likelihoods.Normal(shape, "shared", **k), name=name, **k
    ),
    "Missing-Table": lambda name=None, **k: likelihoods.Missing(table(**k), name=name, **k),
    "Table": lambda **k: table(**k),
}
# Those of any event shape: a table has that of its columns.
SHAPED = {name: make for name, make in LIKELIHOODS.items() if "Table" not in name}


def discriminator() -> keras.Sequential:
    """z -> one logit."""
    return keras.Sequential([networks.mlp([6], activation="tanh"), keras.layers.Dense(1)])


OBJECTIVES = {
    "ELBO": objectives.ELBO,
    "ELBO-beta": lambda: objectives.ELBO(beta=4.0),
    "ELBO-samples": lambda: objectives.ELBO(num_samples=3),
    "ELBO-free_bits": lambda: objectives.ELBO(free_bits=2.0),
    "ELBO-schedule": lambda: objectives.ELBO(beta=Schedule(0.25, 100, end_learning_rate=1.0)),
    "ELBO-free_bits_per_dimension": lambda: objectives.ELBO(
        free_bits=1.0, free_bits_per="dimension"
    ),
    "ELBO-capacity": lambda: objectives.ELBO(beta=4.0, capacity=2.0),
    "ELBO-sampled": lambda: objectives.ELBO(num_samples=3, kl="sampled"),
    "ELBO-stl": lambda: objectives.ELBO(gradient="stl"),
    "ELBO-score": lambda: objectives.ELBO(num_samples=3, gradient="score"),
    "IWAE": lambda: objectives.IWAE(num_samples=5),
    "IWAE-beta": lambda: objectives.IWAE(num_samples=5, beta=0.5),
    "IWAE-stl": lambda: objectives.IWAE(num_samples=5, gradient="stl"),
    "IWAE-dreg": lambda: objectives.IWAE(num_samples=5, gradient="dreg"),
    "CIWAE": lambda: objectives.CIWAE(num_samples=5, beta=0.3),
    "MIWAE": lambda: objectives.MIWAE(num_samples=6, groups=3),
    "PIWAE": lambda: objectives.PIWAE(num_samples=6, groups=3),
    "Renyi": lambda: objectives.Renyi(alpha=0.5, num_samples=5),
    "BetaTCVAE": lambda: objectives.BetaTCVAE(beta=4.0, dataset_size=100),
    "FactorVAE": lambda: objectives.FactorVAE(gamma=4.0, discriminator=discriminator()),
    "DIPVAE": lambda: objectives.DIPVAE(lambda_offdiagonal=2.0, lambda_diagonal=3.0),
    "DIPVAE-ii": lambda: objectives.DIPVAE(2.0, 3.0, kind="ii"),
    "InfoVAE": lambda: objectives.InfoVAE(alpha=0.5, lambda_=10.0),
    "InfoVAE-rbf": lambda: objectives.InfoVAE(alpha=1.0, lambda_=10.0, kernel="rbf", width=2.0),
}

ENCODERS = {
    "mlp": lambda: networks.mlp([6], activation="tanh"),
    "conv": lambda: networks.conv([3, 6], activation="tanh"),
}

DECODERS = {
    "mlp": lambda: networks.mlp([6], activation="tanh"),
    "conv_transpose": lambda: networks.conv_transpose([6, 3], shape=EVENT_SHAPE, activation="tanh"),
}


def every(parts: Mapping[str, Callable]) -> list:
    """The makers of parts as pytest parameters, named."""
    return [pytest.param(make, id=name) for name, make in parts.items()]


def built(head: keras.layers.Layer, features_shape: tuple[int, ...] = (5,)) -> keras.layers.Layer:
    """`head` with its weights made, the biases random so that no parameter has a special value."""
    if not head.built:
        head.build((None, *features_shape))
    random = np.random.default_rng(1)
    for weight in head.weights:
        if weight.path.endswith("bias"):
            weight.assign(random.normal(size=weight.shape))
    return head


def features(batch: int = 3, shape: tuple[int, ...] = (5,)) -> np.ndarray:
    """Random features of a network, `[B, *shape]`."""
    return np.random.default_rng(2).normal(size=(batch, *shape)).astype("float32")


# From standard normal values to values in a support, by the support's name.
INTO_SUPPORT: dict[str, Callable] = {
    "the real numbers": lambda x: x,
    "{0, 1}": lambda x: x > 0,
    "(0, 1)": lambda x: 1 / (1 + np.exp(-x)),
    "[0, 1]": lambda x: np.clip(x / 2 + 0.5, 0, 1),
    "{0, 1, 2, ...}": lambda x: np.floor(np.exp(x + 0.5)),
    "{0, 1, ..., 255}": lambda x: np.clip(np.round(128 + 60 * x), 0, 255),
    "{0, 1, 2}": lambda x: np.clip(np.round(x + 1), 0, 2),
    "one-hot vectors along the last axis": lambda x: x == x.max(-1, keepdims=True),
}


def data_for(likelihood: likelihoods.Likelihood, n: int, seed: int = 3) -> np.ndarray:
    """`n` random examples in the support of a likelihood, `[n, *E]`; of `Missing` with some NaN."""
    if isinstance(likelihood, likelihoods.Missing):
        x = data_for(likelihood.likelihood, n, seed)
        return np.where(np.random.default_rng(seed).random(x.shape) < 0.2, np.nan, x).astype(
            "float32"
        )
    if isinstance(likelihood, likelihoods.Table):
        columns = [data_for(head, n, seed + i) for i, head in enumerate(likelihood.heads)]
        return np.concatenate(columns, axis=1)
    x = np.random.default_rng(seed).normal(size=(n, *likelihood.event_shape))
    return INTO_SUPPORT[likelihood.support.name](x).astype("float32")


def beside_for(vae: VAE, n: int) -> dict[str, np.ndarray]:
    """What goes with `n` examples of a model, as a user gives it."""
    random = np.random.default_rng(4)
    beside = {}
    if vae.condition is not None:
        beside["condition"] = random.normal(size=(n, vae.condition.size)).astype("float32")
    if vae.likelihood.takes_size_factor:
        beside["size_factor"] = np.exp(random.normal(size=n)).astype("float32")
    return beside


def make_vae(
    posterior: Callable = POSTERIORS["DiagonalNormal"],
    prior: Callable = PRIORS["StandardNormal"],
    likelihood: Callable = LIKELIHOODS["Bernoulli"],
    objective: Callable = OBJECTIVES["ELBO"],
    encoder: Callable = ENCODERS["mlp"],
    decoder: Callable = DECODERS["mlp"],
) -> VAE:
    """A small model of the given parts."""
    p = prior()
    condition = conditions.Vector(3) if p.conditional else None
    parts = encoder(), decoder(), posterior(), p, likelihood(), objective(), condition
    return VAE(*parts, seed=0)


def numpy(parameters: Mapping) -> dict[str, np.ndarray]:
    """The parameters of a distribution in double precision."""
    return {name: np.asarray(value).astype("float64") for name, value in parameters.items()}


def normal_covariance(parameters: Mapping) -> np.ndarray:
    """The covariance matrices `[..., D, D]` that a posterior's parameters mean."""
    parameters = numpy(parameters)
    if "scale_diag" in parameters:
        return parameters["scale_diag"][..., None] ** 2 * np.eye(parameters["loc"].shape[-1])
    if "cov_diag_factor" in parameters:
        u = parameters["cov_perturb_factor"]
        diagonal = parameters["cov_diag_factor"][..., None] * np.eye(parameters["loc"].shape[-1])
        return diagonal + u @ np.swapaxes(u, -1, -2)
    return parameters["scale_tril"] @ np.swapaxes(parameters["scale_tril"], -1, -2)


def flat(x: np.ndarray) -> np.ndarray:
    """`[B, ...]` -> `[B, n]`."""
    return x.reshape(len(x), -1)


def negative_binomial(p: Mapping, x: np.ndarray) -> np.ndarray:
    """log P(x) by SciPy, whose parameters are a number of successes and their probability."""
    t = p["inverse_dispersion"]
    return stats.nbinom.logpmf(x, t, t / (t + p["rate"]))


def discretised_logistic(p: Mapping, x: np.ndarray) -> np.ndarray:
    """log P(x) of bytes as a difference of two probabilities, from the nearer tail."""
    of_u = stats.logistic((p["loc"] + 1) * 127.5, p["scale"] * 127.5)
    low = np.where(x == 0, -np.inf, x - 0.5)
    high = np.where(x == 255, np.inf, x + 0.5)
    left = of_u.cdf(high) - of_u.cdf(low)
    return np.log(np.where(low > of_u.median(), of_u.sf(low) - of_u.sf(high), left))


# log p(x_i|z) of single values by SciPy, from the parameters in double precision, by family.
DENSITIES: dict[str, Callable] = {
    "Missing": lambda p, x: np.where(
        np.isnan(x), 0, stats.norm.logpdf(np.nan_to_num(x), p["loc"], p["scale"])
    ),
    "Bernoulli": lambda p, x: stats.bernoulli.logpmf(x.astype(int), special.expit(p["logits"])),
    "Normal": lambda p, x: stats.norm.logpdf(x, p["loc"], p["scale"]),
    "Laplace": lambda p, x: stats.laplace.logpdf(x, p["loc"], p["scale"]),
    "StudentT": lambda p, x: stats.t.logpdf(x, p["df"], p["loc"], p["scale"]),
    "LogitNormal": lambda p, x: (
        stats.norm.logpdf(special.logit(x), p["loc"], p["scale"]) - np.log(x) - np.log1p(-x)
    ),
    "TruncatedNormal": lambda p, x: stats.truncnorm.logpdf(
        x, -p["loc"] / p["scale"], (1 - p["loc"]) / p["scale"], p["loc"], p["scale"]
    ),
    "Beta": lambda p, x: stats.beta.logpdf(x, p["concentration1"], p["concentration0"]),
    "ContinuousBernoulli": lambda p, x: (
        x * p["logits"] - np.log(np.expm1(p["logits"]) / p["logits"])
    ),
    "Poisson": lambda p, x: stats.poisson.logpmf(x, p["rate"]),
    "NegativeBinomial": lambda p, x: negative_binomial(p, x),
    "ZeroInflatedNegativeBinomial": lambda p, x: np.logaddexp(
        special.log_expit(p["inflated_loc_logits"]) + np.where(x == 0, 0, -np.inf),
        special.log_expit(-p["inflated_loc_logits"]) + negative_binomial(p, x),
    ),
    "Multinomial": lambda p, x: stats.multinomial.logpmf(
        flat(x), flat(x).sum(-1), special.softmax(flat(p["logits"]), -1)
    ),
    "Categorical": lambda p, x: np.where(
        x[..., None] == np.arange(p["logits"].shape[-1]), special.log_softmax(p["logits"], -1), 0
    ).sum(-1),
    "OneHotCategorical": lambda p, x: (x * special.log_softmax(p["logits"], -1)).sum(-1),
    "DiscretisedLogistic": lambda p, x: discretised_logistic(p, x),
    "DiscretisedLogisticMixture": lambda p, x: special.logsumexp(
        special.log_softmax(p["logits"], -1) + discretised_logistic(p, x[..., None]), -1
    ),
}


def density(head: likelihoods.Likelihood, parameters: Mapping, x: np.ndarray) -> np.ndarray:
    """log p(x|z) by SciPy from a likelihood's parameters, `[B, *E]` -> `[B]`."""
    values = DENSITIES[type(head).__name__](numpy(parameters), x.astype("float64"))
    return values.reshape(*values.shape[:1], -1).sum(-1)


def assert_moments(draws: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Draws `[n, d]` have this mean and covariance, within five standard errors.

    The standard error of the covariance is taken from the draws, so that it holds for any
    distribution.
    """
    n = len(draws)
    draws = draws.astype("float64")
    error = np.sqrt(np.diagonal(covariance) / n)
    assert np.all(np.abs(draws.mean(0) - mean) <= 5 * error)
    centred = draws - mean
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / np.sqrt(n)
    assert np.all(np.abs(products.mean(0) - covariance) <= 5 * error + 1e-12)


def assert_close_to_mean(draws: np.ndarray, expected: np.ndarray, errors: float = 4) -> None:
    """The mean over the first axis is `expected` within so many standard errors of it."""
    draws = np.asarray(draws, "float64")
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(0) - expected), errors * error + 1e-12)


def assert_finite(*tensors: object) -> None:
    """No value is NaN or infinite, and there are values."""
    assert tensors
    for tensor in tensors:
        assert np.all(np.isfinite(np.asarray(tensor))), tensor


def round_trip(part: object) -> object:
    """The part as it is after being saved and loaded, by way of JSON as in a `.keras` file."""
    import json

    config = json.loads(json.dumps(keras.saving.serialize_keras_object(part)))
    return keras.saving.deserialize_keras_object(config)


def of_six_bits() -> VAE:
    """A small model that is the same in each call, not compiled."""
    keras.utils.set_random_seed(0)  # the networks' first weights
    return VAE(
        networks.mlp([4]),
        networks.mlp([4]),
        posteriors.DiagonalNormal(2),
        priors.StandardNormal(2),
        likelihoods.Bernoulli((6,)),
        seed=0,
    )
