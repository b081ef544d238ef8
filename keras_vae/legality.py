"""Which parts go together; what does not is refused when the model is made."""

from keras_vae.arguments import require_same
from keras_vae.conditions import Condition
from keras_vae.likelihoods import Likelihood
from keras_vae.objectives import Objective
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior


def require_legal(
    posterior: Posterior,
    prior: Prior,
    likelihood: Likelihood,
    objective: Objective,
    condition: Condition | None,
) -> None:
    """Raises a ValueError, with the reason, if these parts make no model."""
    require_same("latent_size", posterior=posterior, prior=prior)
    given = {} if condition is None else {"condition": condition}
    parts = {"posterior": posterior, "prior": prior, "likelihood": likelihood, **given}
    require_same("density_dtype", **parts)
    if not prior.uses_encoder and posterior.support != prior.support:
        raise ValueError(
            "q(z|x) and p(z) must live on the same set, else KL(q(z|x) || p(z)) is infinite. "
            f"Received: posterior {type(posterior).__name__} on {posterior.support}; prior "
            f"{type(prior).__name__} on {prior.support}. Choose a prior on the posterior's set."
        )
    if not likelihood.event_shape:
        raise ValueError(
            f"`event_shape` of {type(likelihood).__name__} is missing. Expected: the shape of one "
            "x, such as (784,). Received: (), which is for a column of likelihoods.Table."
        )
    if prior.conditional and condition is None:
        raise ValueError(
            f"`prior` {type(prior).__name__} is p(z|condition). Expected: a condition, from "
            "keras_vae.conditions. Received: condition=None."
        )
    objective.require(posterior, prior)
    if objective.aggregates and condition is not None and condition.optional:
        raise ValueError(
            f"`objective` {type(objective).__name__} compares the z of a batch, in which a row "
            f"without a label would count once for each class. Expected: with conditions."
            f"{type(condition).__name__} a bound of each row, such as ELBO or IWAE. Received: "
            f"{objective!r}."
        )
