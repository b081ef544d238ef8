"""Wrong on purpose: what common mistakes assume, and what they cost."""

import concurrent.futures
import threading
from collections.abc import Callable

import altair as alt
import app_mistakes
import app_mistakes_judged
import app_pictures
import numpy as np
import pandas as pd
import streamlit as st
from app_mistakes_judged import Result
from app_mistakes_words import ABOUT, COMPARISON, WHO, WORDS, Words

SEEDS = 100


def main() -> None:
    """A switch for each mistake; what is trained stays for all visitors."""
    st.title("Wrong on purpose")
    st.markdown(ABOUT)
    wrong = st.radio(
        "The mistake",
        list(app_mistakes.WRONG),
        format_func=lambda name: WORDS[name].title,
        horizontal=True,
        key="mistake",
    )
    seed = st.number_input(
        "Seed",
        0,
        SEEDS - 1,
        key="mistake_seed",
        width=160,
        help="Of the first weights, the draws of z and the order of the data, in both versions.",
    )
    body = st.container()  # filled last: training takes its time
    st.header("Who does this")
    st.table(pd.DataFrame(WHO, columns=["Mistake", "Where", "What was found"]).set_index("Mistake"))
    with body:
        st.header(WORDS[wrong].title)
        st.markdown(WORDS[wrong].mistake)
        if st.session_state.get("mistakes_train"):
            compare(wrong, seed, WORDS[wrong])
            overview(seed)
        else:
            st.caption(
                "Some seconds each on two cores. After that the switches train by themselves."
            )
            st.button(
                "Train it, wrong and right",
                type="primary",
                key="train_mistakes",
                on_click=_train_from_now_on,
            )


def _train_from_now_on() -> None:
    st.session_state["mistakes_train"] = True


def compare(wrong: str, seed: int, words: Words) -> None:
    """The mistake beside the version without it."""
    right = app_mistakes.right_of(wrong)
    results = {"wrong": trained(wrong, seed), "right": trained(right, seed)}
    st.markdown(words.assumes(results["wrong"], results["right"]))
    if results["wrong"].advice:
        st.info(
            f"The package says of that model, before it is trained: {results['wrong'].advice}",
            icon=":material/chat:",
        )
    st.subheader("What it reaches")
    st.table(numbers(results))
    st.markdown(words.fair)
    with st.expander("How the two are compared"):
        st.markdown(COMPARISON)
    st.subheader("The KL, by latent dimension")
    st.altair_chart(kl_chart(results), alt=kl_in_words(results))
    st.subheader("Pictures")
    for version, result in results.items():
        objective = app_mistakes.VERSIONS[wrong if version == "wrong" else right].objective
        st.markdown(f"**{version.capitalize()}**: it maximises ${objective.equation()}$")
        with st.container(horizontal=True):
            pictures(version, result)


def numbers(results: dict[str, Result]) -> pd.DataFrame:
    """The comparison, a row for each number and a column for each version."""
    rows: dict[str, Callable[[Result], str]] = {
        "Loss in its own log": lambda r: f"{r.loss:.3f}",
        "σ² that it assumes": lambda r: f"{r.variance:.4g}",
        "Bound, as assumed (nats)": lambda r: str(r.assumed).removesuffix(" nats"),
        "σ² that suits its means": lambda r: f"{r.best_variance:.4g}",
        "Bound, with that σ² (nats)": lambda r: str(r.best).removesuffix(" nats"),
        "... with 50 weighted draws of z (nats)": lambda r: f"{r.weighted:.3f}",
        "KL(q(z|x) ‖ p(z)) (nats)": lambda r: f"{r.kl.sum():.3f}",
        "Active units": lambda r: f"{r.active} of {len(r.kl)}",
    }
    table = {version: [row(r) for row in rows.values()] for version, r in results.items()}
    return pd.DataFrame(table, index=list(rows))


def kl_chart(results: dict[str, Result]) -> alt.Chart:
    """Nats in each dimension, the two versions side by side, the largest first."""
    rows = [
        {"dimension": rank + 1, "nats": float(nats), "version": version}
        for version, result in results.items()
        for rank, nats in enumerate(np.sort(result.kl)[::-1])
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X(
                "dimension:O", title="latent dimension, by its KL", axis=alt.Axis(labelAngle=0)
            ),
            xOffset=alt.XOffset("version:N", sort=list(results)),
            y=alt.Y("nats:Q", title="KL (nats)"),
            color=alt.Color("version:N", sort=list(results), legend=alt.Legend(orient="top")),
            tooltip=["version", "dimension", alt.Tooltip("nats", format=".3f")],
        )
        .properties(height=220)
    )


def kl_in_words(results: dict[str, Result]) -> str:
    """The chart for those who do not see it."""
    each = (f"{version} {', '.join(f'{v:.2f}' for v in r.kl)}" for version, r in results.items())
    return f"KL of each latent dimension in nats: {'; '.join(each)}"


def pictures(version: str, result: Result) -> None:
    """Digits, their reconstructions, samples, and draws from the p(x|z) that is assumed."""
    for title, x in (
        ("Held-out digits", result.x),
        ("Means of p(x|z) for them", result.reconstructions),
        ("Means at z from the prior", result.samples),
        ("Draws there, as assumed", result.draws),
    ):
        image = app_pictures.grid(list(x), (0.0, 1.0), size=40)
        st.image(image, caption=title, alt=f"{title}, {version} version")


# All of them


def overview(seed: int) -> None:
    """The mistakes that this visitor has seen at this seed, in one table."""
    st.header("All of them, side by side")
    st.button(
        "Train them all",
        key="train_all_mistakes",
        on_click=lambda: _seen().update((name, seed) for name in app_mistakes.VERSIONS),
        help="Ten small models, one after the other.",
    )
    names = [name for name in app_mistakes.VERSIONS if (name, seed) in _seen()]
    results = {name: trained(name, seed) for name in names}
    titles = {name: title_of(name) for name in names}
    st.table(
        pd.DataFrame(
            {
                "σ² assumed": [f"{r.variance:.3g}" for r in results.values()],
                "Bound, best σ²": [f"{r.best.mean:.2f}" for r in results.values()],
                "50 draws": [f"{r.weighted:.2f}" for r in results.values()],
                "KL": [f"{r.kl.sum():.2f}" for r in results.values()],
                "Active": [str(r.active) for r in results.values()],
            },
            index=[titles[name] for name in names],
        )
    )


def title_of(name: str) -> str:
    """A version's name for visitors."""
    if name in WORDS:
        return WORDS[name].title
    return {
        "right": "Right",
        "right, grey": "Right, continuous Bernoulli",
        "right, weighted": f"Right, IWAE of {app_mistakes.DRAWS} draws",
    }[name]


def _seen() -> set[tuple[str, int]]:
    return st.session_state.setdefault("mistakes_seen", set())


# Training, with a bar


class Abandoned(Exception):
    """The visitor who asked for a training has gone on."""


@st.cache_resource
def _workers() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(16, thread_name_prefix="mistakes")


@st.cache_data(max_entries=SEEDS * len(app_mistakes.VERSIONS), show_spinner=False)
def _result(name: str, seed: int, _report: Callable[[float], None]) -> Result:
    return app_mistakes_judged.result(name, seed, _report)


def trained(name: str, seed: int) -> Result:
    """A version's result, at once if any visitor has had it trained before.

    The training is in a thread of its own: a cached function may not draw its own progress,
    and one that nobody waits for any more is ended at its next epoch.
    """
    fraction, left = [0.0], threading.Event()

    def report(done: float) -> None:
        if left.is_set():
            raise Abandoned
        fraction[0] = done

    future = _workers().submit(_result, name, seed, report)
    place = st.empty()
    try:
        while concurrent.futures.wait([future], timeout=0.2).not_done:
            waits = "" if fraction[0] else ": compiling, or waiting for another visitor's"
            place.progress(fraction[0], text=f"Training: {title_of(name)}{waits}")
    finally:
        left.set()
    place.empty()
    found = future.result()
    _seen().add((name, seed))
    return found


main()
