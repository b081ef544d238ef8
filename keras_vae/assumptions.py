"""The statement of a model: what it assumes, as data and as Markdown."""

import dataclasses
import json
import math

import tensorflow as tf

from keras_vae.conditions import Condition
from keras_vae.likelihoods import Likelihood, Normal
from keras_vae.objectives import Objective
from keras_vae.posteriors import Posterior
from keras_vae.priors import Prior
from keras_vae.statement import Statement


@dataclasses.dataclass(frozen=True)
class Bound:
    """What is maximised.

    Attributes:
        family: the objective's class.
        equation: the bound, in Markdown mathematics.
        beta: the weight of the KL now, whatever else has a weight: see `settings`.
        num_samples: K.
        settings: the objective's arguments, as they are saved.
        is_lower_bound: whether its mean is at most log p(x).
        estimator: how its gradient is estimated, in words.
        kl: `"exact"` or `"sampled"`, of the KL that is logged.
        kl_equation: the KL between what and what.
    """

    family: str
    equation: str
    beta: float
    num_samples: int
    settings: dict
    is_lower_bound: bool
    estimator: str
    kl: str
    kl_equation: str = (
        r"\mathrm{KL}(q(z|x)\,\|\,p(z)) = \mathbb{E}_{q(z|x)}[\log q(z|x) - \log p(z)]"
    )


@dataclasses.dataclass(frozen=True)
class SquaredError:
    """Why squared error appears under a Normal likelihood.

    Attributes:
        equation: -log p(x|z), in Markdown mathematics.
        scale: sigma, or None where it is not one number.
        weight: 1 / 2 sigma^2, what the squared error of the mean is multiplied by.
        constant: d/2 log(2 pi sigma^2), nats per example.
        effective_variance: beta sigma^2, the variance that beta and sigma amount to.
    """

    equation: str
    scale: float | None
    weight: float | None
    constant: float | None
    effective_variance: float | None


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """The statement of a model. `print` it, or take `as_dict()` or `as_markdown()`.

    Attributes:
        posterior: q(z|x).
        prior: p(z).
        likelihood: p(x|z).
        bound: what is maximised.
        squared_error: for a Normal likelihood, else None.
        decode_returns: what `vae.decode(z)` is.
        condition: what each density is conditional on, in words, or None.
        ex_post: what `sample` draws z from in place of p(z), or None.
    """

    posterior: Statement
    prior: Statement
    likelihood: Statement
    bound: Bound
    squared_error: SquaredError | None
    decode_returns: str
    condition: str | None = None
    ex_post: Statement | None = None

    def as_dict(self) -> dict:
        """The statement as JSON-able data."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def summary(self) -> str:
        """The statement in four lines of plain text."""
        learned = ", ".join(self.likelihood.learned)
        return "\n".join(
            [
                f"q(z|x)  {self.posterior.family}, {self.posterior.event_shape[0]} dimensions",
                f"p(z)    {self.prior.family}",
                f"p(x|z)  {self.likelihood.family} on {self.likelihood.support}, "
                f"{list(self.likelihood.event_shape)}; learned: {learned}",
                f"bound   {self.bound.family}, weight of the KL {self.bound.beta:g}, "
                f"K = {self.bound.num_samples}; the KL between q(z|x) and p(z) is {self.bound.kl}",
            ]
        )

    def as_markdown(self) -> str:
        """The statement as a page with its equations."""
        given = [] if self.condition is None else [self.condition]
        sections = [
            "# What this model assumes",
            *given,
            _section("q(z|x), the posterior", self.posterior),
            _section("p(z), the prior", self.prior),
            *_ex_post_section(self.ex_post),
            _section("p(x|z), the likelihood", self.likelihood),
            _bound_section(self.bound),
        ]
        if self.squared_error is not None:
            sections.append(_squared_error_section(self.squared_error))
        sections.append(f"## What `decode` returns\n\n{self.decode_returns}")
        return "\n\n".join(sections) + "\n"

    def __str__(self) -> str:
        return self.as_markdown()

    def _repr_markdown_(self) -> str:
        return self.as_markdown()


def state(
    posterior: Posterior,
    prior: Prior,
    likelihood: Likelihood,
    objective: Objective,
    step: tf.Tensor | int,
    kl_is_exact: bool,
    condition: Condition | None = None,
    ex_post: Prior | None = None,
) -> Assumptions:
    """The statement of a model with these parts at this step of its optimizer."""
    beta = float(objective.beta_at(step))
    return Assumptions(
        posterior=posterior.statement(),
        prior=prior.statement(),
        likelihood=likelihood.statement(),
        bound=Bound(
            family=type(objective).__name__,
            equation=objective.equation(),
            beta=beta,
            num_samples=objective.num_samples,
            settings=objective.get_config(),
            is_lower_bound=objective.is_lower_bound(step),
            estimator=objective.estimator(),
            kl="exact" if kl_is_exact else "sampled",
        ),
        squared_error=_squared_error(likelihood, beta) if isinstance(likelihood, Normal) else None,
        decode_returns=(
            f"The distribution p(x|z), a {type(likelihood).__name__} whose parameters the decoder "
            "computes. `.mean()` is the expected x, where x has one; `.sample()` is a draw of x, with the noise of "
            "p(x|z) in it. The two are different pictures, and are never mixed."
        ),
        condition=None if condition is None else condition.statement(),
        ex_post=None if ex_post is None else ex_post.statement(),
    )


def _squared_error(likelihood: Normal, beta: float) -> SquaredError:
    scale = likelihood.one_scale()
    if scale is None:
        return SquaredError(
            equation=(
                r"-\log p(x|z) = \sum_i \frac{(x_i - \mathrm{loc}_i(z))^2}{2\,\mathrm{scale}_i^2} "
                r"+ \sum_i \log \mathrm{scale}_i + \frac{d}{2}\log 2\pi"
            ),
            scale=None,
            weight=None,
            constant=None,
            effective_variance=None,
        )
    values = math.prod(likelihood.event_shape)
    return SquaredError(
        equation=(
            r"-\log p(x|z) = \frac{\|x - \mathrm{loc}(z)\|^2}{2\sigma^2} "
            r"+ \frac{d}{2}\log 2\pi\sigma^2"
        ),
        scale=scale,
        weight=1 / (2 * scale**2),
        constant=values / 2 * math.log(2 * math.pi * scale**2),
        effective_variance=beta * scale**2,
    )


def _section(title: str, statement: Statement) -> str:
    lines = [
        f"## {title}: {statement.family}",
        "",
        f"$$ {statement.equation} $$",
        "",
        f"- event shape: {list(statement.event_shape)}; support: {statement.support}",
        *(f"- {name}: {source}" for name, source in statement.parameters.items()),
        f"- learned: {', '.join(statement.learned) or 'nothing'}",
        f"- fixed: {', '.join(statement.fixed) or 'nothing'}",
    ]
    return "\n".join(lines)


def _ex_post_section(statement: Statement | None) -> list[str]:
    if statement is None:
        return []
    note = (
        "It was fitted after training to draws of q(z|x) over the data. `sample` draws z from "
        "it, and not from p(z); the bound, its KL and all that is logged keep p(z)."
    )
    return [_section("What `sample` draws z from", statement) + f"\n\n{note}"]


def _bound_section(bound: Bound) -> str:
    lines = [
        f"## The bound that is maximised: {bound.family}",
        "",
        f"$$ {bound.equation} $$",
        "",
        f"- {'a lower bound' if bound.is_lower_bound else 'no bound'} on log p(x)",
        f"- weight of the KL {bound.beta:g}, K = {bound.num_samples}",
        f"- the gradient: {bound.estimator}",
        f"- the KL that is logged is {bound.kl}: $ {bound.kl_equation} $",
    ]
    return "\n".join(lines)


def _squared_error_section(error: SquaredError) -> str:
    lines = ["## Where squared error comes from", "", f"$$ {error.equation} $$", ""]
    if error.scale is None:
        lines.append("- the squared errors of different values have different weights")
    else:
        lines += [
            f"- sigma = {error.scale:.6g}: squared error has the weight {error.weight:.6g}",
            f"- the constant is {error.constant:.6g} nats per example",
            f"- beta and sigma together act as a variance of {error.effective_variance:.6g}",
        ]
    lines.append("- it is the error of the mean loc(z), never of a draw from p(x|z)")
    return "\n".join(lines)
