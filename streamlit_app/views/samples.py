"""Samples: what the model makes when it is given no x, and whether it copies."""

import app_latent
import app_pictures
import app_samples
import app_space
import app_state
import numpy as np
import streamlit as st
from app_model import Shown

from keras_vae.data import DataSet

PRIOR, EX_POST = "the prior p(z)", "the ex-post prior"
MEAN, DRAW = "the mean of p(x|z)", "a draw from p(x|z)"
COUNTS = (1, 4, 9, 16, 25, 36, 64, 100)
GRID = 512  # pixels of its side
SIZE = 72  # pixels of one of a pair


def main() -> None:
    """Controls, the grid, and the training set beside it."""
    shown = app_state.model()
    st.title("Samples")
    st.write(
        "First z is drawn from the prior; then x is either the **mean** of p(x|z) or a **draw** "
        "from it. No x is given to the model."
    )
    draws = app_latent.prior_draws(shown.key, shown)
    samples(shown, app_space.space_of(shown, draws).support)


@st.fragment
def samples(shown: Shown, support: str) -> None:
    """All that a control changes."""
    with app_state.sentences("try_samples_again"):
        left, right = st.columns([1, 2], gap="large")
        with left:
            ex_post = which_prior(shown)
            count = st.select_slider("How many", COUNTS, 16, key=own(shown, "count"))
            seed = st.number_input(
                "Seed",
                0,
                10**6,
                0,
                key=own(shown, "seed"),
                help="An equal seed gives equal samples. Row i is drawn with the seed "
                f"{app_samples.MOST} times this, plus i, as a client of the served model would ask.",
            )
            draw = (
                st.radio(
                    "Show",
                    [MEAN, DRAW],
                    key=own(shown, "show"),
                    help="The draw is the mean with the noise of p(x|z) added, which is "
                    "independent from value to value.",
                )
                == DRAW
            )
            temperature = temperature_slider(shown, support)
        z = app_samples.prior_z(shown, ex_post, int(seed), count)
        if temperature != 1:
            centre = app_latent.prior_draws(shown.key, shown, ex_post).mean(axis=0)
            z = app_samples.tempered(z, centre, temperature)
        x = app_samples.decoded(shown, z, draw, int(seed))
        with right:
            show_grid(shown, x, DRAW if draw else MEAN)
        compare(shown, x, draw)


def which_prior(shown: Shown) -> bool:
    """Whether z is drawn from the ex-post prior."""
    if shown.vae is None:
        st.caption(
            "z is drawn from what the server's model draws from: its prior, or the ex-post "
            "prior if one was fitted. The server does not say which."
        )
        return False
    if shown.vae.ex_post is None:
        return False
    return (
        st.radio(
            "Draw z from",
            [PRIOR, EX_POST],
            index=1,
            key=own(shown, "prior"),
            help="The ex-post prior is a mixture of Normals, fitted to draws of q(z|x) over the "
            "training set after training. The bound keeps p(z).",
        )
        == EX_POST
    )


def temperature_slider(shown: Shown, support: str) -> float:
    """The temperature of z; 1 where it has none."""
    reason = app_samples.no_temperature(support)
    if reason is not None:
        st.caption(reason)
        return 1.0
    return st.slider(
        "Temperature t of z",
        0.0,
        2.0,
        1.0,
        0.05,
        key=own(shown, "temperature"),
        help="z becomes centre + t (z - centre), the centre the mean of "
        f"{app_latent.DRAWS} draws. At 1 it is the prior's draw, below 1 more typical and less "
        "varied than the model states.",
    )


def show_grid(shown: Shown, x: np.ndarray, what: str) -> None:
    """The samples as one picture, and its file."""
    side = int(np.ceil(np.sqrt(len(x))))
    pixels = app_pictures.grid(list(x), shades_of_data(shown), GRID // side)
    st.image(pixels, alt=f"{len(x)} samples, each {what}")
    st.download_button(
        "Download as PNG",
        app_pictures.png(pixels),
        file_name="samples.png",
        mime="image/png",
        key=own(shown, "download"),
        on_click="ignore",
        icon=":material/download:",
    )


def compare(shown: Shown, x: np.ndarray, draw: bool) -> None:
    """The nearest training example beside each sample, and how near test examples come."""
    st.subheader("Is it copying?")
    if shown.data is None:
        st.info("There is no data at hand of this shape to compare the samples with.")
        return
    rows = app_samples.training_values(shown.key, shown.data)
    found = app_samples.nearest(x.reshape(len(x), -1), rows)
    held_out = app_samples.yardstick(shown.key, shown.data)
    st.write(app_samples.in_words(found.distances, held_out))
    st.caption(f"{about_noise(draw)} {about_data(shown, shown.data, len(rows))}")
    st.altair_chart(
        app_samples.comparison(found.distances, held_out),
        key=own(shown, "distances"),
        alt="Squared distances to the nearest training example, of samples and of test examples",
    )
    shades = shades_of_data(shown)
    neighbours = rows[found.rows].reshape(x.shape)
    with st.container(horizontal=True):
        for both, row, distance in zip(zip(x, neighbours, strict=True), *found, strict=True):
            left, right = (app_pictures.picture(each, shades, SIZE) for each in both)
            st.image(
                app_samples.pair(left, right),
                caption=f"{distance:.3g}",
                alt=f"a sample, and training example {row}",
            )


def about_noise(draw: bool) -> str:
    """What the noise of p(x|z) does to the distances."""
    if draw:
        return "A draw carries its own noise, which adds to its distance from everything."
    return (
        "A mean lacks the noise that examples have, so it comes nearer than they do without "
        "being a copy; a draw has it."
    )


def about_data(shown: Shown, data: DataSet, count: int) -> str:
    """What the samples are compared with."""
    words = f"Compared with {count} of {len(data.train)} training examples of {data.protocol.data}"
    if data.train.dynamic:
        words += ", of whose bits, drawn anew at each visit in training, this is one draw"
    if shown.run is None:
        words += "; the server does not say whether its model was trained on them"
    return f"{words}."


def shades_of_data(shown: Shown) -> tuple[float, float]:
    """What black and white stand for."""
    return app_latent.limits(app_latent.examples(shown.key, shown))


def own(shown: Shown, name: str) -> str:
    """The key of a choice of this page, for this model alone."""
    return f"samples {name} {shown.key}"


main()
