"""Which x a visitor looks at: one of the test set, drawn, or uploaded."""

import app_canvas
import app_scaling
import app_state
import app_uploads
import numpy as np
import streamlit as st
from app_model import Shown

SOURCES = {"test": "From the test set", "draw": "Draw one", "upload": "Upload one"}


def chosen_scaling(shown: Shown) -> app_scaling.Scaling:
    """How pictures become x. A server does not say it, so there the visitor does."""
    if shown.vae is not None:
        return app_scaling.scaling_of(shown.data)
    usual = app_scaling.scaling_of(shown.data)
    bits = st.radio(
        "The served model takes",
        [False, True],
        index=int(usual.makes_bits),
        format_func=lambda bits: "bits" if bits else "grey values",
        horizontal=True,
        key="image_bits",
        help="A server says the shape of its x, and not which values it may have.",
    )
    return app_scaling.of_server(shown.data, bits)


def chosen(shown: Shown, scaling: app_scaling.Scaling) -> np.ndarray | None:
    """The x that the visitor chose, `E`, or None if they have not yet."""
    if not shown.is_image:
        st.caption(f"An x of this model is no picture: {list(shown.event_shape)}.")
        return from_test_set(shown, scaling)
    source = st.radio(
        "The image", SOURCES, format_func=SOURCES.__getitem__, horizontal=True, key="image_source"
    )
    if source == "test":
        return from_test_set(shown, scaling)
    grey = drawing(shown) if source == "draw" else upload(shown)
    as_what = "as you say of the server" if shown.vae is None else "as the data of its training"
    st.caption(f"Scaled {as_what}. {scaling.sentence}")
    return None if grey is None else scaling(grey)


def from_test_set(shown: Shown, scaling: app_scaling.Scaling) -> np.ndarray:
    """An example that the model was not trained on."""
    data = app_state.test_set(shown)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        row = st.number_input(
            f"Its number, 0 to {len(data) - 1}", 0, len(data) - 1, key="image_row", width=200
        )
        st.button("Another image", on_click=another_row, args=(len(data),), key="image_another")
    x = data[row : row + 1].array()[0]
    label = "" if data.labels is None else f"Labelled {data.labels[row]}. "
    st.caption(f"{label}{shown.data.protocol if shown.data else ''}.")
    return scaling(x) if shown.vae is None and scaling == app_scaling.BITS else x


def another_row(count: int) -> None:
    """A row of the test set at random, other than the one that is shown."""
    step = int(np.random.default_rng().integers(1, count)) if count > 1 else 0
    st.session_state["image_row"] = (st.session_state["image_row"] + step) % count


def drawing(shown: Shown) -> np.ndarray | None:
    """What the visitor drew, in grey values."""
    height, width, channels = shown.event_shape
    value = app_canvas.canvas(height, width, f"image_canvas_{height}x{width}")
    st.caption(
        "Draw with the mouse or a finger. By keyboard: arrow keys move, space paints, delete clears."
        + (" The drawing is grey: equal in all three channels." if channels == 3 else "")
    )
    grey = app_canvas.drawn(value, shown.event_shape)
    if grey is None:
        st.info("Draw something: the page looks at it at the end of each stroke.")
    return grey


def upload(shown: Shown) -> np.ndarray | None:
    """The picture that the visitor sent, in grey values, in the size of x."""
    file = st.file_uploader(
        "A picture",
        app_uploads.ENDINGS,
        max_upload_size=app_uploads.BYTES // 2**20,
        key="image_upload",
        help="It is read in memory, never stored. Of an animation, the first picture is taken.",
    )
    inverted = st.checkbox(
        "Dark and light change places", key="image_inverted", help="For dark ink on light paper."
    )
    if file is None:
        return None
    image = app_uploads.decoded(file.getvalue())
    height, width, channels = shown.event_shape
    st.caption(
        f"Received: {image.width} x {image.height} pixels. Cut about its middle and resized to "
        f"{width} x {height}, in {'grey' if channels == 1 else 'colour'}."
    )
    return app_uploads.grey_values(image, shown.event_shape, inverted)
