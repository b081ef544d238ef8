"""Latent space: where the examples lie, and what the decoder makes of the places between them."""

import app_latent
import app_sliders
import app_space
import app_state
import numpy as np
import streamlit as st
from app_latent import Examples, Plane
from app_model import Shown
from app_space import Space

PAIR, PCA, TSNE = "Two dimensions", "PCA", "t-SNE"
SIZE = 140  # pixels of a picture


def main() -> None:
    """The map and the point chosen in it; sliders; ways between points; sums of means."""
    shown = app_state.model()
    st.title("Latent space")
    st.write(
        "The encoder sends each x to a distribution q(z|x), the decoder each z to a distribution "
        "p(x|z). Here a point stands for an x, at the **mean of q(z|x)** (or what its family has in "
        "place of one, such as the most probable code), and a picture for a z, as the **mean of "
        "p(x|z)**. Nothing on this page is a draw of x."
    )
    known = app_latent.examples(shown.key, shown)
    space = app_space.space_of(shown, app_latent.prior_draws(shown.key, shown))
    if known.drawn:
        st.info(
            "There is no data at hand of the shape that this model takes. The points are draws of "
            "z from the prior that it generates with, and each x is the mean of p(x|z) there."
        )
    left, right = st.columns([3, 2], gap="large")
    with left:
        show_map(shown, known, space)
    with right:
        show_point(shown, known, space)
    app_sliders.slide(shown, known, space, current_row(shown))
    walk(shown, known, space)
    add_up(shown, known, space)


# The map, and a point of it


def show_map(shown: Shown, known: Examples, space: Space) -> None:
    """The map. A click on a point chooses it."""
    size = shown.latent_size
    kinds = [PAIR, PCA, TSNE] if size > 1 else [PAIR]
    st.radio(
        "Map", kinds, key=app_latent.own(shown, "map"), horizontal=True, help=help_of_maps(size)
    )
    plane = plane_of(shown, known)
    if space.is_one_hot or space.is_bits:
        plane = app_latent.spread(plane)
        st.caption("Each z is a code of 0 and 1. The points are spread a little, to be seen.")
    picture = app_latent.chart(plane, known, current_row(shown))
    st.altair_chart(
        picture,
        key=chart_key(shown),
        on_select=lambda: choose_clicked(shown, known, space),
        selection_mode=app_latent.CHOSEN,
        alt=f"A map of {len(known.z)} points z by {plane.axes[0]} and {plane.axes[1]}",
    )
    st.caption(
        f"{len(known.z):,} points. Click one, or give its number. The ring is around the chosen one."
    )


def help_of_maps(size: int) -> str:
    """What the maps are."""
    return (
        f"All are of the same points in {size} dimensions. Two of the dimensions; PCA, the two "
        "directions of largest variance; t-SNE, which keeps near points near, and whose "
        "distances between groups mean nothing."
    )


def plane_of(shown: Shown, known: Examples) -> Plane:
    """The map that was chosen."""
    kind = st.session_state[app_latent.own(shown, "map")]
    if kind == PCA:
        return app_latent.principal(known.z)
    if kind == TSNE:
        return app_latent.neighbours(shown.key, known.z)
    if shown.latent_size == 1:
        rows = np.arange(len(known.z))
        return Plane(np.stack([known.z[:, 0], rows], axis=1), ("z[0]", "example"))
    order = app_latent.in_order(known.z)
    first, second = st.columns(2)
    options = range(shown.latent_size)
    chosen = [
        column.selectbox(
            f"Dimension {name}", options, index=int(default), key=app_latent.own(shown, name)
        )
        for column, name, default in zip((first, second), ("across", "up"), order[:2], strict=True)
    ]
    return app_latent.dimensions(known.z, *chosen)


def choose_clicked(shown: Shown, known: Examples, space: Space) -> None:
    """Makes the clicked point the chosen one: the number input says so, too."""
    row = app_latent.clicked(st.session_state[chart_key(shown)])
    if row is not None:
        st.session_state[app_latent.own(shown, "row")] = row
        app_sliders.place(shown, space, known.z[row])


def choose_typed(shown: Shown, known: Examples, space: Space) -> None:
    """Moves the sliders to the example that was typed, and forgets the click before it."""
    app_sliders.place(shown, space, known.z[current_row(shown)])
    typed = app_latent.own(shown, "typed")
    st.session_state[typed] = st.session_state.get(typed, 0) + 1


def chart_key(shown: Shown) -> str:
    """A new one after each typed number: else a click on the point clicked last says nothing."""
    return app_latent.own(shown, "chart", st.session_state.get(app_latent.own(shown, "typed"), 0))


def show_point(shown: Shown, known: Examples, space: Space) -> None:
    """The chosen x, and the decoding of its mean beside it."""
    st.number_input(
        "Example",
        0,
        len(known.z) - 1,
        key=app_latent.own(shown, "row"),
        on_change=lambda: choose_typed(shown, known, space),
        help="The number of a point of the map.",
    )
    row = current_row(shown)
    mean = app_latent.decoded(shown, known.z[[row]])[0]
    app_latent.pictures(
        [known.x[row], mean],
        ["x", "mean of p(x|z) at its z"],
        app_latent.limits(known),
        SIZE,
    )
    st.write(f"This is {known.name(row)}.")
    if shown.latent_size <= app_sliders.SLIDERS:  # of more the sliders say it
        st.caption("Its z:")
        numbers = "  ".join(f"{value:.2f}" for value in known.z[row])
        st.code(numbers, language=None, wrap_lines=True)


def current_row(shown: Shown) -> int:
    """The chosen example."""
    return int(st.session_state.get(app_latent.own(shown, "row"), 0))


# Between examples


@st.fragment
def walk(shown: Shown, known: Examples, space: Space) -> None:
    """The way from one mean to another, decoded step by step."""
    with app_state.sentences("try_walk_again"):
        st.subheader("From one example to another")
        st.caption(f"Steps of z {way_of(space)}, each decoded to the mean of p(x|z).")
        first, second, third = st.columns(3)
        start = example_input(first, shown, known, "From", 0)
        end = example_input(second, shown, known, "To", unlike(known, 0))
        steps = third.slider("Steps", 3, 15, 7, key=app_latent.own(shown, "steps"))
        means = app_latent.decoded(shown, space.path(known.z[start], known.z[end], steps))
        names = [f"{t:.2f}" for t in np.linspace(0, 1, steps)]
        app_latent.pictures(
            [known.x[start], *means, known.x[end]],
            ["x, from", *names, "x, to"],
            app_latent.limits(known),
            SIZE // 2,
        )


def way_of(space: Space) -> str:
    """Where the steps lie."""
    if space.is_sphere:
        return "along the great circle of the sphere, at equal distances"
    if space.is_one_hot or space.is_bits:
        return "on a line, at equal distances, and from there to the nearest code"
    return "on a line, at equal distances"


@st.fragment
def add_up(shown: Shown, known: Examples, space: Space) -> None:
    """A - B + C of three means, decoded, beside the three x."""
    with app_state.sentences("try_sum_again"):
        st.subheader("Arithmetic on means")
        legal = "" if space.is_real else ", brought back to where z may be"
        st.caption(
            f"z = z(A) - z(B) + z(C){legal}, where z(A) is the point of the example A: what A has "
            "and B has not, added to C."
        )
        columns = st.columns(3)
        other = unlike(known, 0)
        defaults = {"A": 0, "B": like(known, 0), "C": other + (known.labels is None)}
        rows = [
            example_input(column, shown, known, name, default)
            for column, (name, default) in zip(columns, defaults.items(), strict=True)
        ]
        a, b, c = known.z[rows]
        z = np.stack([a, b, c, *space.nearest((a - b + c)[None])])
        means = app_latent.decoded(shown, z)
        app_latent.pictures(
            known.x[rows], ["x of A", "x of B", "x of C"], app_latent.limits(known), SIZE
        )
        app_latent.pictures(
            means,
            ["A, decoded", "B, decoded", "C, decoded", "A - B + C"],
            app_latent.limits(known),
            SIZE,
        )


def example_input(
    column: st.delta_generator.DeltaGenerator, shown: Shown, known: Examples, name: str, row: int
) -> int:
    """The number of an example."""
    last = len(known.z) - 1
    chosen = column.number_input(name, 0, last, min(row, last), key=app_latent.own(shown, name))
    column.caption(known.name(int(chosen)))
    return int(chosen)


def unlike(known: Examples, row: int) -> int:
    """The next example with another label than this one, if there are labels."""
    return _next(known, row, same=False)


def like(known: Examples, row: int) -> int:
    """The next example with the same label as this one, if there are labels."""
    return _next(known, row, same=True)


def _next(known: Examples, row: int, same: bool) -> int:
    if known.labels is None:
        return row + 1
    later = np.flatnonzero((known.labels[row + 1 :] == known.labels[row]) == same)
    return row + 1 + int(later[0]) if len(later) else row


main()
