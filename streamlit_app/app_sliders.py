"""Sliders along the dimensions of z, and what the decoder makes of them."""

import app_latent
import app_state
import numpy as np
import streamlit as st
from app_latent import Examples
from app_model import Shown
from app_space import Space

from keras_vae.evaluation import ActiveUnits

SLIDERS = 12  # more dimensions than this are folded away
SIZE = 112  # pixels of a picture


@st.fragment
def slide(shown: Shown, known: Examples, space: Space, row: int) -> None:
    """A slider for each dimension of z, and its decoding."""
    with app_state.sentences("try_slide_again"):
        st.subheader("Move z")
        draws = app_latent.prior_draws(shown.key, shown)
        low, high = app_latent.ranges(space, draws, known.z)
        if app_latent.own(shown, "z", 0) not in st.session_state:
            place(shown, space, known.z[row])
        st.caption(about_sliders(shown, known, space))
        side, sliders = st.columns([2, 3], gap="large")
        with sliders:
            if space.is_one_hot:
                group_boxes(shown, space)
            else:
                dimension_sliders(shown, known, space, low, high)
            st.button(
                "Back to the chosen point",
                key=app_latent.own(shown, "reset"),
                on_click=lambda: place(shown, space, known.z[row]),
                icon=":material/restart_alt:",
            )
        with side:
            z = space.nearest(z_of_sliders(shown, space))
            both = app_latent.decoded(shown, np.concatenate([known.z[[row]], z]))
            captions = ["chosen point", "moved"]
            app_latent.pictures(both, captions, app_latent.limits(known), SIZE)
            st.caption("The mean of p(x|z).")


def about_sliders(shown: Shown, known: Examples, space: Space) -> str:
    """What the sliders do, and which of them can be expected to do nothing."""
    if space.is_real:
        words = (
            "Each slider goes 3 standard deviations of p(z), or of the points of the map, to "
            "either side, the farther of the two, and to the last point. "
        )
    elif space.is_sphere:
        words = "z is a unit vector: what the sliders say is divided by its length. "
    elif space.is_one_hot or space.is_bits:
        words = "z is a code of 0 and 1. "
    else:
        words = f"z is of {space.support}: what the sliders say is brought back there. "
    if known.drawn:
        return words + "Which dimensions are inactive only data can tell, and there is none."
    used = int(app_latent.active(known.z).sum())
    return (
        f"{words}{used} of {shown.latent_size} dimensions are active; a dimension is **inactive** "
        f"where the variance over x of the mean of q(z_d|x) is below {ActiveUnits.threshold} (Burda "
        f"et al. 2016), here over {len(known.z)} test examples."
    )


def dimension_sliders(
    shown: Shown, known: Examples, space: Space, low: np.ndarray, high: np.ndarray
) -> None:
    """The sliders; of many dimensions the active ones first, the others folded away."""
    size = shown.latent_size
    is_active = np.ones(size, bool) if known.drawn else app_latent.active(known.z)
    order = (app_latent.in_order(known.z) if size > SLIDERS else np.arange(size)).tolist()
    first = [d for d in order if is_active[d] or size <= SLIDERS][:SLIDERS]
    rest = [d for d in order if d not in first]
    variance = known.z.var(axis=0)

    def lay_out(dimensions: list[int]) -> None:
        half = -(-len(dimensions) // 2)
        columns = st.columns(2)  # one below the other on a phone, still in this order
        for index, d in enumerate(dimensions):
            columns[index // half].slider(
                f"z[{d}]" + ("" if is_active[d] else ", inactive"),
                float(low[d]),
                float(high[d]),
                step=1.0 if space.is_bits else float(high[d] - low[d]) / 200,
                format="%.0f" if space.is_bits else "%.2f",
                key=app_latent.own(shown, "z", d),
                help=f"The points of the map have the variance {variance[d]:.3g} here.",
            )

    lay_out(first)
    if rest:
        used = int(is_active[rest].sum())
        with st.expander(f"{len(rest)} more dimensions, {used} of them active"):
            lay_out(rest)


def group_boxes(shown: Shown, space: Space) -> None:
    """Which class of each group is the 1."""
    classes = space.classes or 1
    for group in range(shown.latent_size // classes):
        st.selectbox(
            f"Group {group}: the place of the 1",
            range(classes),
            key=app_latent.own(shown, "z", group),
        )


def place(shown: Shown, space: Space, z: np.ndarray) -> None:
    """Sets the sliders to a z `[D]`."""
    if space.is_one_hot:
        values = z.reshape(-1, space.classes or 1).argmax(-1)
    else:
        bound = np.inf if space.is_real else 1.0  # a length of 1 is rounded
        values = np.clip(z, -bound, bound)
    for index, value in enumerate(values.tolist()):
        st.session_state[app_latent.own(shown, "z", index)] = value


def z_of_sliders(shown: Shown, space: Space) -> np.ndarray:
    """The z that the sliders say, `[1, D]`."""
    classes = space.classes if space.is_one_hot else None
    count = shown.latent_size // (classes or 1)
    values = [st.session_state[app_latent.own(shown, "z", index)] for index in range(count)]
    if classes is not None:
        return np.eye(classes, dtype="float32")[values].reshape(1, -1)
    return np.array([values], "float32")
