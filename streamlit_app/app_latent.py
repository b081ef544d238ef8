"""Where examples lie in latent space, and maps of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import app_pictures
import app_state
import numpy as np
import pandas as pd
import streamlit as st
from app_model import Shown
from app_space import Space

from keras_vae.evaluation import ActiveUnits

POINTS = 1000  # of a map
DRAWS = 1000  # of z ~ p(z), for its mean and its standard deviations
PERPLEXITY = 30.0  # of t-SNE, where there are points enough
CHOSEN = "chosen"  # the selection of a point in a map
LEGEND = alt.Legend(orient="bottom", columns=5)  # as many as there is room for on a phone


class Examples(NamedTuple):
    """The points of a map: x `[N, *E]`, z `[N, D]`, labels `[N]` or None.

    Where there is no data, they are draws: z ~ p(z), and x the mean of p(x|z).
    """

    x: np.ndarray
    z: np.ndarray
    labels: np.ndarray | None
    drawn: bool

    def name(self, row: int) -> str:
        """What an example is called."""
        if self.drawn:
            return f"draw {row} from p(z)"
        label = "" if self.labels is None else f", labelled {self.labels[row]}"
        return f"test example {row}{label}"


@st.cache_data(max_entries=8, show_spinner="Encoding the test set ...")
def examples(key: str, _shown: Shown) -> Examples:
    """The first examples of the test set and the means of q(z|x); draws, if there is no data."""
    if _shown.data is None:
        answer = app_state.ask(_shown, "generate", seed=np.arange(POINTS, dtype="int64"))
        return Examples(answer["mean"], answer["z"], None, drawn=True)
    source = app_state.test_set(_shown)[:POINTS]
    x = source.array()
    z = app_state.ask(_shown, "encode", x=x)["mean"]
    return Examples(x, z, source.labels, drawn=False)


@st.cache_data(max_entries=16, show_spinner="Drawing from p(z) ...")
def prior_draws(key: str, _shown: Shown, ex_post: bool = False) -> np.ndarray:
    """Many z ~ p(z), or from the ex-post prior, `[N, D]`; of a server, from what it has."""
    if _shown.vae is None:
        return app_state.ask(_shown, "generate", seed=np.arange(DRAWS, dtype="int64"))["z"]
    prior = _shown.vae.ex_post.distribution() if ex_post else _shown.vae.prior_given()  # type: ignore[union-attr]
    return prior.sample(DRAWS, seed=np.array([0, 1], "int32")).numpy()


# Its dimensions


def active(means: np.ndarray) -> np.ndarray:
    """Whether each dimension says anything about x, `[D]`: `Var_x(E_q(z_d|x)[z_d]) > 0.01`.

    References: Y. Burda, R. Grosse and R. Salakhutdinov, Importance Weighted Autoencoders,
    ICLR 2016.
    """
    return ActiveUnits(means.var(axis=0)).active


def in_order(means: np.ndarray) -> np.ndarray:
    """The dimensions, those of largest variance over x first, `[D]`."""
    return np.argsort(-means.var(axis=0), kind="stable")


def ranges(space: Space, draws: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the sliders go, `[D]` each.

    On the reals 3 standard deviations of p(z) or of the means of q(z|x) to either side, the
    farther of the two, and to every mean, since sliders start there.

    Args:
        space: that z lives in.
        draws: z ~ p(z), `[N, D]`.
        means: of q(z|x), `[M, D]`.
    """
    size = draws.shape[1]
    if not space.is_real:
        return np.full(size, -1.0 if space.is_sphere else 0.0), np.ones(size)
    sides = [(each.mean(0), 3 * each.std(0)) for each in (draws, means)]
    low = np.min([*(mean - width for mean, width in sides), means.min(0)], axis=0)
    high = np.max([*(mean + width for mean, width in sides), means.max(0)], axis=0)
    return np.floor(10 * low) / 10, np.ceil(10 * high) / 10


# Maps


class Plane(NamedTuple):
    """The points of a map, `[N, 2]`, and the names of its axes."""

    points: np.ndarray
    axes: tuple[str, str]


def dimensions(z: np.ndarray, first: int, second: int) -> Plane:
    """Two of the dimensions of z."""
    return Plane(z[:, [first, second]], (f"z[{first}]", f"z[{second}]"))


def principal(z: np.ndarray) -> Plane:
    """The two directions of largest variance, which the axes' names state."""
    centred = z - z.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    share = scale**2 / max(float((scale**2).sum()), 1e-12)
    names = [f"component {i + 1}, {100 * share[i]:.0f} % of the variance" for i in (0, 1)]
    return Plane((left * scale)[:, :2], (names[0], names[1]))


@st.cache_data(max_entries=8, show_spinner="Computing t-SNE, some seconds ...")
def neighbours(key: str, _z: np.ndarray) -> Plane:
    """t-SNE: near points stay near; distances between groups mean nothing.

    References: L. van der Maaten and G. Hinton, Visualizing Data using t-SNE, JMLR 2008.
    """
    from sklearn.manifold import TSNE  # a second to import, and for this alone
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(_z) - 1) / 3)
    with threadpool_limits(1):  # more threads than free cores wait for one another, 7 times longer
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(_z)
    return Plane(points, ("t-SNE 1", "t-SNE 2"))


def spread(plane: Plane, width: float = 0.03) -> Plane:
    """The points moved by a little noise, so that those on top of one another can be seen."""
    noise = np.random.default_rng(0).normal(scale=width, size=plane.points.shape)
    return plane._replace(points=plane.points + noise)


def chart(plane: Plane, known: Examples, row: int) -> alt.LayerChart:
    """The map, coloured by label if there are labels, with a ring around one row.

    A click selects the nearest point under the name `chosen`; its row is in the selection.
    """
    across, up = plane.axes
    points = pd.DataFrame(plane.points, columns=["x", "y"]).assign(row=range(len(known.z)))
    axes: list[Any] = [
        alt.X("x:Q", title=across, scale=alt.Scale(zero=False)),
        alt.Y("y:Q", title=up, scale=alt.Scale(zero=False)),
    ]
    told = ["row:Q"]
    coloured: list[Any] = []
    if known.labels is not None:
        points["label"] = known.labels
        told.append("label:N")
        coloured.append(alt.Color("label:N", legend=LEGEND))
    click = alt.selection_point(name=CHOSEN, fields=["row"], nearest=True, toggle=False)
    dots = alt.Chart(points).mark_circle(size=40, opacity=0.8).add_params(click)
    chosen = alt.Chart(points.iloc[[row]]).encode(*axes)
    rings = [  # black on white is seen among points of any colour, in light and dark
        chosen.mark_point(size=260, strokeWidth=width, color=colour)
        for width, colour in ((6, "white"), (3, "black"))
    ]
    layers = [dots.encode(*axes, *coloured, tooltip=told), *rings]
    return alt.LayerChart(layer=layers).properties(height=420)


def clicked(event: Mapping[str, Any]) -> int | None:
    """The row of the point in a chart's state, or None if no point is selected."""
    selected = event["selection"].get(CHOSEN) or []
    return int(selected[-1]["row"]) if selected else None


# What the page is made of


def decoded(shown: Shown, z: np.ndarray) -> np.ndarray:
    """The mean of p(x|z) of each row."""
    return app_state.ask(shown, "decode", z=z)["mean"]


def limits(known: Examples) -> tuple[float, float]:
    """What black and white stand for."""
    return app_pictures.shades(known.x)


def pictures(
    x: Sequence[np.ndarray] | np.ndarray,
    captions: list[str],
    shades: tuple[float, float],
    size: int,
) -> None:
    """Several x side by side, as many in a line as there is room for."""
    with st.container(horizontal=True):
        for each, caption in zip(x, captions, strict=True):
            st.image(app_pictures.picture(each, shades, size), caption=caption, alt=caption)


def own(shown: Shown, name: str, index: int | str = "") -> str:
    """The key of a choice of this page, for this model alone."""
    return f"latent {name}{index} {shown.key}"
