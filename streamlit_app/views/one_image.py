"""One x: q(z|x) against p(z), the mean of p(x|z) and a draw from it, and the bound as a sum."""

import app_bound
import app_charts
import app_choice
import app_latent
import app_pictures
import app_state
import numpy as np
import streamlit as st
from app_model import Answer, Shown

from keras_vae.priors import StandardNormal

DRAWS = 400  # of z, where its density is not known
SHOWN = 12  # latent dimensions, of the largest KL


def main() -> None:
    """The page, from an x down to its log-likelihood."""
    st.title("One image")
    shown = app_state.model()
    scaling = app_choice.chosen_scaling(shown)
    x = app_choice.chosen(shown, scaling)
    if x is None:
        return
    limits = (scaling.low, scaling.high) if shown.is_image else app_pictures.shades(x)
    encoded = app_state.ask(shown, "encode", x=x[None])
    st.subheader("The image, the mean of p(x|z), and a draw from p(x|z)")
    pictures(shown, x, encoded["mean"], limits)
    scores = app_bound.scores(shown.key, shown, x)
    by_name, sentence = app_bound.kl_terms(shown.key, shown, x, float(np.mean(scores["kl"])))
    st.subheader("What the encoder says: q(z|x)")
    latents(shown, x, encoded, by_name)
    st.subheader("The bound of this image, term by term")
    log_likelihood = np.mean(scores["elbo"] + scores["kl"], dtype=np.float64)
    terms = app_bound.terms(float(log_likelihood), by_name)
    bound(terms, len(scores["kl"]), sentence)
    st.subheader("Closer to log p(x): importance weights")
    closer(shown, scores["log_likelihood"], terms)


@st.fragment
def pictures(shown: Shown, x: np.ndarray, z: np.ndarray, limits: tuple[float, float]) -> None:
    """x, the mean of p(x|z) and a draw from it, at the mean of q(z|x)."""
    with app_state.sentences("image_pictures_again"):
        seed = st.session_state.setdefault("image_seed", 0)
        mean = app_state.ask(shown, "decode", z=z)["mean"][0]
        draw = app_state.ask(shown, "decode_sample", z=z, seed=[seed])["x"][0]
        captions = {
            "x, as the model is given it": x,
            "mean of p(x|z)": mean,
            "draw from p(x|z)": draw,
        }
        with st.container(horizontal=True):
            for caption, values in captions.items():
                picture = app_pictures.picture(values, limits)
                st.image(picture, caption, alt=f"{caption}, {describe(values)}", width=170)
        st.button("Another draw", on_click=next_seed, key="image_draw", icon=":material/casino:")
        st.write(
            "Both are at one z, the mean of q(z|x). The mean is what p(x|z) is centred on (of classes, "
            "the most probable one): it has no noise. A draw is the mean with the noise "
            "that p(x|z) states, new in each draw. Per value (root mean square), this draw is "
            f"**{distance(draw, mean):.3f}** from the mean, and x is **{distance(x, mean):.3f}** from "
            "it. The error of x is always taken to the mean, never to a draw."
        )


def next_seed() -> None:
    """Another draw, of this visitor alone."""
    st.session_state["image_seed"] += 1


def describe(values: np.ndarray) -> str:
    """Values in words, for who does not see them."""
    return f"values from {values.min():.2f} to {values.max():.2f}"


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The root mean square of the differences."""
    return float(np.sqrt(np.mean((one - other) ** 2)))


@st.fragment
def latents(shown: Shown, x: np.ndarray, encoded: Answer, kl: dict[str, float]) -> None:
    """q(z|x) of each latent dimension against p(z)."""
    with app_state.sentences("image_latents_again"):
        rows(shown, x, encoded, kl)


def rows(shown: Shown, x: np.ndarray, encoded: Answer, kl: dict[str, float]) -> None:
    """A row for each dimension, or for those of the largest KL where there are many."""
    count = shown.latent_size
    by_dimension = len(kl) == count and count > 1
    kls = np.array(list(kl.values())) if by_dimension else None
    order = np.argsort(-kls, kind="stable") if kls is not None else np.arange(count)
    if count > SHOWN:
        order = order[: st.slider("Dimensions shown", 1, count, SHOWN, key="image_dimensions")]
    exact = set(encoded) == {"loc", "scale_diag", "mean"}
    standard = shown.vae is not None and type(shown.vae.prior) is StandardNormal
    of_server = ", of the prior that the server generates with" if shown.vae is None else ""
    st.caption(
        "Area: q(z|x). Line: p(z). Each row has its own scale of density. "
        + ("" if exact else f"q(z|x) is shown by {DRAWS} draws. ")
        + ("" if standard else f"p(z) is shown by {DRAWS} draws{of_server}. ")
        + (
            "Sorted by KL, in nats: where it is 0, q(z|x) is p(z) and says nothing of x."
            if by_dimension
            else ""
        )
    )
    q = None if exact else posterior_draws(shown.key, shown, x)
    p = None if standard else app_latent.prior_draws(shown.key, shown)[:DRAWS]
    names = [f"z{d}" if kls is None else f"z{d}, KL {kls[d]:.2f}" for d in order]
    chart = app_charts.latents(names, [curves(encoded, q, p, d) for d in order])
    means = ", ".join(f"z{d} {encoded['mean'][0, d]:.2f}" for d in order)
    alt = f"q(z|x) and p(z) of each latent dimension. Means of q(z|x): {means}"
    st.altair_chart(chart, key="image_latents", alt=alt)


def curves(
    encoded: Answer, q: np.ndarray | None, p: np.ndarray | None, d: int
) -> tuple[app_charts.Curve, app_charts.Curve]:
    """The densities of q(z|x) and of p(z) in dimension d: exact without draws."""
    drawn = [draws[:, d] for draws in (q, p) if draws is not None]
    low, high = (float(f(np.concatenate(drawn))) for f in (np.min, np.max)) if drawn else (0.0, 0.0)
    posterior = (
        app_charts.normal_curve(encoded["loc"][0, d], encoded["scale_diag"][0, d])
        if q is None
        else app_charts.drawn_curve(q[:, d], low, high)
    )
    prior = (
        app_charts.normal_curve(0.0, 1.0)
        if p is None
        else app_charts.drawn_curve(p[:, d], low, high)
    )
    return posterior, prior


@st.cache_data(max_entries=64, show_spinner=False)
def posterior_draws(key: str, _shown: Shown, x: np.ndarray) -> np.ndarray:
    """Draws from q(z|x), `[n, D]`."""
    many = np.repeat(x[None], DRAWS, 0)
    return app_state.ask(_shown, "encode_sample", x=many, seed=np.arange(DRAWS))["z"]


def bound(terms: app_bound.Terms, rows: int, sentence: str) -> None:
    """The bound as a sum whose digits add up."""
    draws = f"the mean over {rows} draws of z"
    st.markdown(
        f"log p(x|z) **{terms.log_likelihood}** - KL **{terms.total_kl}** = bound **{terms.bound}** nats"
    )
    st.caption(f"log p(x|z) is {draws} from q(z|x). {sentence} The terms add up to the last digit.")
    chart, table = st.columns([3, 2])
    with chart:
        alt = f"From log p(x|z), {terms.log_likelihood}, down to the bound, {terms.bound} nats"
        st.altair_chart(app_charts.waterfall(terms), key="image_terms", alt=alt)
    signed = {name: -value for name, value in terms.kl.items()}
    lines = {"log p(x|z)": terms.log_likelihood, **signed, "bound": terms.bound}
    with table:
        st.dataframe(
            {
                "term": [("- " if n in signed else "") + n for n in lines],
                "nats": [str(v) for v in lines.values()],
            },
            hide_index=True,
            column_config={"nats": st.column_config.TextColumn(alignment="right")},
            key="image_table",
        )


@st.fragment
def closer(shown: Shown, log_weights: np.ndarray, terms: app_bound.Terms) -> None:
    """The importance-weighted bound with K on a slider."""
    with app_state.sentences("image_closer_again"):
        served = shown.vae is None
        found = app_bound.estimates(log_weights)[:11]  # K up to 1024
        by_size = {each.size: each for each in found}
        size = st.select_slider(
            "K, requests of the server's own number of draws"
            if served
            else "K, draws of z from q(z|x)",
            list(by_size),
            value=min(16, max(by_size)),
            key="image_k",
        )
        each = by_size[size]
        gain = app_bound.rounded(each.value) - terms.bound
        error = "" if each.error is None else f" ± {app_bound.rounded(each.error)}"
        groups = "one group" if each.groups == 1 else f"{each.groups} groups"
        st.markdown(
            f"K = {size}: **{app_bound.rounded(each.value)}**{error} nats, {gain:+} against the bound."
        )
        chart = app_charts.importance(found, float(terms.bound), size)
        alt = f"Estimates from {found[0].value:.2f} at K = 1 to {found[-1].value:.2f} at K = {found[-1].size}"
        st.altair_chart(chart, key="image_importance", alt=alt)
        st.caption(explained(served, groups, size, each.error is not None))


def explained(served: bool, groups: str, size: int, has_error: bool) -> str:
    """What the estimate is, and what its error."""
    what = (
        f"Each request is log 1/K' sum of p(x|z) p(z) / q(z|x), the server's own K' draws fixed at "
        f"export; {size} of them are one estimate of {size} K' draws."
        if served
        else "log 1/K sum of p(x|z) p(z) / q(z|x), K draws z from q(z|x)."
    )
    error = ", and its standard error" if has_error else "; a single group has no standard error"
    return (
        f"{what} Shown: the mean over {groups}{error}. Its expectation rises with K towards log p(x) "
        "and never passes it. What it wins over the bound is at most KL(q(z|x) ‖ p(z|x)), the gap "
        "between the bound and log p(x)."
    )


main()
