"""Steps 1 to 3 of the derivation: three assumptions, the bound, the KL."""

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from app_live import Known
from app_source import assignments, whole
from app_steps import Case, Rows, code, log_mean_exp, note, number, rows

from keras_vae import divergences
from keras_vae.objectives import ELBO, Terms
from keras_vae.vae import VAE


def three_assumptions(case: Case) -> None:
    """Step 1."""
    st.markdown(
        "A model of x with a latent variable z states two distributions, p(z) and p(x|z): first z "
        "is drawn, then x. What it says of x alone is a mean over all z, which nobody can compute:"
    )
    st.latex(r"p(x) = \int p(x|z)\, p(z)\, dz")
    st.markdown(
        "The third, q(z|x), is no part of the model of x. It says which z are worth looking at for "
        "this x. The networks compute *parameters*, the rest is these three formulas."
    )
    if case.stated is not None:
        for stated in (case.stated.prior, case.stated.likelihood, case.stated.posterior):
            st.latex(stated.equation.split(r",\quad ")[0])
    if case.asked is not None:
        parameters = {"q(z\\|x)": case.asked.posterior, "p(x\\|z)": case.asked.likelihood}
        st.table(
            pd.DataFrame(
                [
                    {
                        "of": of,
                        "parameter": f"`{name}`",
                        "shape": str(list(value.shape)),
                        "from": number(value.min()),
                        "to": number(value.max()),
                    }
                    for of, found in parameters.items()
                    for name, value in found.items()
                ]
            ),
            hide_index=True,
            border="horizontal",
            alt="The parameters that the networks compute for this x",
        )
    if case.known is not None:
        rows(
            {
                r"\log p(z)": case.known.log_prior[0],
                r"\log p(x|z)": case.known.log_likelihood[0],
                r"\log q(z|x)": case.known.log_posterior[0],
            },
            "At one draw z from q(z|x), in nats. They are log *densities*: above 0 is no error.",
        )
    code(assignments(VAE.compute_loss, "p", "q", "z", "x_given_z"))


def the_bound(case: Case) -> None:
    """Step 2."""
    st.markdown("Multiply and divide by q(z|x), and the integral is a mean over draws from q(z|x):")
    st.latex(r"\log p(x) = \log \mathbb{E}_{q(z|x)}[w(z)]")
    st.latex(r"w(z) = p(x|z)\,p(z) \,/\, q(z|x)")
    st.markdown(
        "The logarithm is concave: by Jensen's inequality the mean of the logarithm is below."
    )
    st.latex(r"\log p(x) \;\ge\; \mathbb{E}_{q(z|x)}[\log w(z)]")
    st.latex(r"= \mathbb{E}_{q(z|x)}[\log p(x|z)] - \mathrm{KL}(q(z|x)\,\|\,p(z))")
    st.markdown("What is lost is a KL, too: the bound is tight where q(z|x) is the true p(z|x).")
    st.latex(r"\log p(x) - \mathbb{E}_{q(z|x)}[\log w(z)] = \mathrm{KL}(q(z|x)\,\|\,p(z|x))")
    if case.known is not None:
        weights = case.known.log_weights
        bound, log_mean = weights.mean(), log_mean_exp(weights)
        rows(
            {
                r"\text{mean of } \log w": bound,
                r"\text{its standard error}": weights.std(ddof=1) / np.sqrt(len(weights)),
                r"\log \text{ of the mean of } w": log_mean,
                r"\text{the gap}": log_mean - bound,
            },
            f"Of {len(weights)} draws of z, in nats. The gap estimates KL(q(z\\|x) ‖ p(z\\|x)), "
            "from below: the second estimate of log p(x) is itself too low on average.",
        )
    elif case.asked is not None and case.asked.score is not None:
        rows(
            {
                r"\text{the bound, one mean over draws}": case.asked.score["elbo"],
                r"\log p(x) \text{, importance-weighted}": case.asked.score["log_likelihood"],
            },
            "As the server scores this x, with the number of draws that was fixed at export, in nats.",
        )
    code(whole(Terms.log_weights))
    if case.stated is not None and case.vae is not None:
        family = case.stated.bound.family
        st.markdown(f"This model was trained with **{family}**:")
        st.latex(case.stated.bound.equation.split(r",\quad ")[0])
        code(whole(type(case.vae.objective).bound))
    else:
        code(whole(ELBO.bound))


def the_kl(case: Case) -> None:
    """Step 3."""
    st.markdown("The KL says how far q(z|x) is from p(z): a mean over q(z|x), never below 0.")
    st.latex(r"\mathrm{KL}(q\,\|\,p) = \mathbb{E}_q[\log q(z) - \log p(z)]")
    st.markdown(
        "Where both are Normals with independent dimensions it is a sum over the dimensions, and "
        r"needs of z its mean and $\mathbb{E}_q[(z_d - m_d)^2] = \sigma_d^2 + (\mu_d - m_d)^2$ alone:"
    )
    st.latex(
        r"\mathrm{KL}_d = \tfrac{1}{2}\left[\frac{\sigma_d^2}{s_d^2} + \frac{(\mu_d - m_d)^2}{s_d^2}"
        r" - 1 - \log \frac{\sigma_d^2}{s_d^2}\right]"
    )
    st.markdown(
        r"for $q = \mathcal{N}(\mu, \sigma^2)$, $p = \mathcal{N}(m, s^2)$; mostly $m = 0$, $s = 1$."
    )
    known = case.known
    if known is None:
        note(
            "The server answers the KL as one number: of its dimensions and families it tells nothing."
        )
        if case.asked is not None and case.asked.score is not None:
            rows(
                {r"\mathrm{KL}(q(z|x)\,\|\,p(z))": case.asked.score["kl"]},
                "As the server scores this x, in nats.",
            )
    else:
        _kl_in_numbers(known, case.stated.bound.kl if case.stated else "")
    code(whole(divergences.kl_divergence))
    if known is not None and known.kl_per_dimension is not None:
        code(whole(divergences.kl_per_dimension))


def _kl_in_numbers(known: Known, kind: str) -> None:
    ratios = (known.log_posterior - known.log_prior).astype("float64")
    error = ratios.std(ddof=1) / np.sqrt(len(ratios))
    found: Rows = {}
    if known.kl_by_formula is not None:
        found[r"\text{by the formula}"] = float(known.kl_by_formula.sum())
    found[r"\text{by the package}"] = known.kl
    found[r"\text{mean of } \log q(z|x) - \log p(z)"] = ratios.mean()
    found[r"\text{its standard error}"] = error
    rows(found, f"In nats; the mean is over {len(ratios)} draws of z.")
    if known.kl_by_formula is None:
        why = (
            "a closed form of other families, registered with `tfd.RegisterKL`"
            if kind == "exact"
            else "no closed form: the package takes the mean over draws, the same as the third row"
        )
        note(
            f"This model's q(z|x) and p(z) are not both Normals with independent dimensions. For them there is {why}."
        )
    if known.kl_per_dimension is not None:
        _bars(known.kl_per_dimension, known.kl_by_formula)


def _bars(package: np.ndarray, formula: np.ndarray | None) -> None:
    """The KL of each dimension: bars by the package, ticks by the formula."""
    data = pd.DataFrame({"dimension": np.arange(len(package)), "package": package})
    axis = alt.Axis(labelAngle=0, labelOverlap=True)
    x = alt.X("dimension:O", title="dimension of z", axis=axis)
    y = alt.Y("package:Q", title="KL, nats")
    chart = alt.Chart(data).encode(x=x)
    layers = chart.mark_bar().encode(y=y, color=alt.datum("by the package"))
    if formula is not None:
        data["formula"] = formula
        ticks = chart.mark_tick(thickness=3)
        layers += ticks.encode(y="formula:Q", color=alt.datum("by the formula"))
    largest = int(np.argmax(package))
    st.altair_chart(
        layers.properties(height=220).configure_legend(orient="top", title=None),
        alt=f"The KL of each of {len(package)} dimensions; the largest is {number(package[largest])} "
        f"nats, of dimension {largest}",
    )
    st.caption(f"Their sum is {number(package.sum())} nats.")
