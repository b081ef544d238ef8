"""Steps 4 to 6 of the derivation: squared error, the mean and the draw, the code."""

import numpy as np
import streamlit as st
from app_formulas import Part, log_density, one_scale
from app_live import DRAWS, Asked, Known
from app_pictures import picture, shades
from app_source import assignments, whole
from app_steps import Case, Rows, code, note, number, rows
from tensorflow_probability import distributions as tfd

from keras_vae.assumptions import Assumptions
from keras_vae.generative import GenerativeModel
from keras_vae.likelihoods import Normal
from keras_vae.vae import VAE

# Whose lines of TFP say the same as this page's formula.
DENSITIES: dict[str, type[tfd.Distribution]] = {
    "Normal": tfd.Normal,
    "Bernoulli": tfd.Bernoulli,
    "ContinuousBernoulli": tfd.ContinuousBernoulli,
    "Laplace": tfd.Laplace,
    "Poisson": tfd.Poisson,
}


def squared_error(case: Case) -> None:
    """Step 4."""
    st.markdown("Nobody chose squared error. It is what a Normal p(x|z) has in its exponent:")
    st.latex(
        r"\log p(x|z) = -\frac{\|x - \mathrm{loc}(z)\|^2}{2\sigma^2} - \frac{d}{2}\log 2\pi\sigma^2"
    )
    st.markdown(
        r"- The **weight** of the squared error is $1/2\sigma^2$: to drop it is to say $\sigma^2 = 1/2$. "
        r"The mean over the d values in place of the sum says $\sigma^2 = d/2$."
        "\n"
        r"- The **constant** may be left out only where $\sigma$ is fixed. Where it is learned, the "
        r"constant is what keeps $\sigma$ from growing without end."
        "\n"
        r"- With a fixed $\sigma$, a weight $\beta$ of the KL does what another scale does: together "
        r"they are the variance $\beta \sigma^2$."
    )
    if case.vae is None or case.asked is None or case.known is None:
        note(
            "The contract does not name the family of p(x|z), so no formula can be held against it."
        )
        code(whole(Normal.distribution))
        code(whole(tfd.Normal._log_prob))
        return
    family = type(case.vae.likelihood).__name__
    parts = log_density(family, case.asked.likelihood, case.asked.x)
    _replaced(case, family)
    if parts is not None:
        _density_in_numbers(case.asked, parts, float(case.known.log_likelihood[0]))
    else:
        rows(
            {r"\log p(x|z)": case.known.log_likelihood[0]},
            "By the model's own `log_prob`, in nats.",
        )
    code(whole(type(case.vae.likelihood).distribution))
    if family in DENSITIES:
        st.markdown("Of which TensorFlow Probability computes the log density of each value:")
        code(whole(DENSITIES[family]._log_prob))


def _replaced(case: Case, family: str) -> None:
    """What stands in the place of squared error in this model."""
    said = {
        "Bernoulli": "The cross-entropy stands in its place, which has no constant: these are "
        "probabilities of 0 and 1, with m the mean of p(x|z).",
        "ContinuousBernoulli": "The cross-entropy stands in its place, and a constant that depends "
        "on z: without it, cross-entropy of grey values is no log density.",
        "Laplace": "The absolute error stands in its place, which forgives single large errors.",
        "Poisson": "The log probability of counts stands in its place.",
    }
    if family == "Normal" and case.stated is not None and case.asked is not None:
        scale = one_scale(case.asked.likelihood)
        if scale is None:
            note("This model has several scales: each value's squared error has its own weight.")
        else:
            beta = case.stated.bound.beta
            st.markdown(
                rf"Here $\sigma$ = {number(scale)}, the weight is {number(1 / (2 * scale**2))}, and with "
                rf"$\beta$ = {beta:g} the variance $\beta \sigma^2$ is {number(beta * scale**2)}."
            )
    elif family != "Normal" and case.stated is not None:
        default = "Its log density is no squared error and a constant, but its own formula."
        note(f"This model's p(x|z) is a {family}. {said.get(family, default)}")
        st.latex(case.stated.likelihood.equation.split(r",\quad ")[0])


def _density_in_numbers(asked: Asked, parts: list[Part], log_prob: float) -> None:
    found: Rows = {part.tex: part.value for part in parts}
    found[r"\text{sum}"] = sum(part.value for part in parts)
    found[r"\text{log\_prob of the model}"] = log_prob
    rows(
        found,
        f"At the same draw of z, d = {asked.x.size}, in nats. The last two agree to the digits of a float32.",
    )


def mean_or_draw(case: Case) -> None:
    """Step 5."""
    st.markdown(
        "“Squared error between the image and its reconstruction” has two readings. The loc in the "
        "formula is the *mean* of p(x|z). A draw x̃ from p(x|z) has noise of its own on top:"
    )
    st.latex(
        r"\mathbb{E}\,\|x - \tilde{x}\|^2 = \|x - \mathbb{E}[\tilde{x}]\|^2 + \sum_i \mathrm{Var}(\tilde{x}_i)"
    )
    st.markdown(
        r"For a Normal with one scale the sum is $d\sigma^2$, whatever the mean: it teaches the mean "
        r"nothing. And where $\sigma$ is learned, the draw without noise has the least error, $\sigma = 0$. "
        "The bound takes the error to the mean, and lets the noise explain what is left of it."
    )
    asked, known = case.asked, case.known
    if asked is None:
        note("There is no x at hand to show it with.")
    else:
        _three_pictures(asked)
        if known is None or known.has_mean:
            _errors_in_numbers(asked, known)
        else:
            note("The values of this family are names: they have no mean, and no squared error.")
    st.markdown("In training only the density at x is asked for, and no x is drawn:")
    code(assignments(VAE.compute_loss, "terms"))
    st.markdown("Where a picture is asked for, mean and draw are two answers:")
    code(whole(GenerativeModel.reconstruct))


def _errors_in_numbers(asked: Asked, known: Known | None) -> None:
    errors = asked.errors_of_draws
    found: Rows = {
        r"\|x - \text{mean}\|^2": asked.error_of_mean,
        r"\|x - \text{this draw}\|^2": errors[0],
        rf"\text{{mean over {DRAWS} draws}}": errors.mean(),
        r"\text{its standard error}": errors.std(ddof=1) / np.sqrt(len(errors)),
        r"\text{difference to the mean's}": errors.mean() - asked.error_of_mean,
    }
    if known is not None and known.variance is not None:
        found[r"\text{expected: } \sum_i \mathrm{Var}(\tilde{x}_i)"] = known.variance.sum()
    rows(found, "In the unit of x, squared.")
    if known is None:
        note("The server answers draws, not variances: what is to be expected is not known here.")
    elif known.variance is None:
        note("This family's variance has no formula here: the draws alone tell it.")


def _three_pictures(asked: Asked) -> None:
    limits = shades(asked.x)
    said = {"x": asked.x, "the mean": asked.mean, "this draw": asked.draws[0]}
    with st.container(horizontal=True):
        for caption, values in said.items():
            st.image(picture(values, limits, 96), caption=caption, alt=f"{caption}, as a picture")


def from_paper_to_code(case: Case) -> None:
    """Step 6."""
    st.markdown(
        "Kingma and Welling write the estimator for one x (2014, equation 7, with L draws). Here L is K:"
    )
    st.latex(
        r"\mathcal{L}(\theta, \phi; x) \simeq -D_{KL}(q_\phi(z|x)\,\|\,p_\theta(z)) + "
        r"\frac{1}{L} \sum_{l=1}^{L} \log p_\theta(x|z^{(l)})"
    )
    st.table(
        {
            "in the paper": [
                r"$q_\phi(z|x)$",
                r"$z^{(l)} = g_\phi(\epsilon^{(l)}, x)$",
                r"$p_\theta(x|z^{(l)})$",
                r"$\log p_\theta(x|z^{(l)})$",
                r"$D_{KL}(q_\phi(z|x)\,\|\,p_\theta(z))$",
                r"$\mathcal{L}$",
                r"$\frac{N}{M} \sum_i \mathcal{L}(x^{(i)})$",
            ],
            "in the code": [
                "`q`",
                "`z`, whose gradient `q.sample` carries",
                "`x_given_z`",
                "`terms.log_likelihood`, one for each draw",
                "`terms.kl`",
                "`bound`",
                "`self._mean`: the mean over the M of a batch, minus; N is only a factor",
            ],
        },
        hide_index=True,
        border="horizontal",
        alt="The paper's symbols and the names in the code",
    )
    if case.known is not None and case.stated is not None:
        _loss_in_numbers(case.known, case.stated)
    code(whole(VAE.compute_loss))


def _loss_in_numbers(known: Known, stated: Assumptions) -> None:
    bound = stated.bound
    found: Rows = {
        rf"\text{{mean of }} \log p(x|z),\ K = {bound.num_samples}": known.log_likelihood_in_bound,
        r"\mathrm{KL}(q(z|x)\,\|\,p(z))": known.kl_in_bound,
        r"\beta": bound.beta,
    }
    if known.bound is None:
        note(f"{bound.family} compares the z of a whole batch: of one x alone it has no value.")
    else:
        found[rf"\text{{the bound, {bound.family}}}"] = known.bound
        found[r"\text{loss}"] = -known.bound
    rows(found, "For this x and these draws of z, in nats; training takes the mean over a batch.")
