"""Arrays as charts of Altair; the page's theme has the colours."""

import json
from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd
from app_bound import Estimate, Terms

Curve = tuple[np.ndarray, np.ndarray]  # z, and the density there
LayerChart = alt.LayerChart | alt.FacetChart  # as Altair types what it layers
POSTERIOR, PRIOR = "q(z|x)", "p(z)"
BINS = 30


def normal_curve(loc: float, scale: float) -> Curve:
    """The density of a Normal, where there is any to see."""
    z = loc + scale * np.linspace(-4, 4, 81)
    return z, np.exp(-0.5 * ((z - loc) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))


def drawn_curve(draws: np.ndarray, low: float, high: float) -> Curve:
    """The histogram of draws between two values: the outline of its bars."""
    middle = 0.5 * (low + high)
    wide = max(high - low, 1e-3 * max(1.0, abs(middle)))
    density, edges = np.histogram(
        draws, BINS, (middle - 0.52 * wide, middle + 0.52 * wide), density=True
    )
    return edges.repeat(2), np.concatenate([[0.0], density.repeat(2), [0.0]])


def latents(names: Sequence[str], curves: Sequence[tuple[Curve, Curve]]) -> LayerChart:
    """Each dimension a row: q(z|x) as an area, p(z) as a line, on one axis of z.

    One picture and not one for each dimension, of which a browser draws few in a second.

    Args:
        names: of the rows, from the top.
        curves: for each row that of q(z|x) and that of p(z); the higher one fills the row.
    """
    frame = pd.concat(
        [_row(number, *pair) for number, pair in enumerate(curves)], ignore_index=True
    )
    labels = alt.Axis(
        values=[-number for number in range(len(names))],
        labelExpr=f"{json.dumps(list(names))}[-datum.value]",
        grid=False,
        ticks=False,
    )
    base = alt.Chart(frame).encode(
        x=alt.X("z:Q", axis=alt.Axis(grid=True)),
        y=alt.Y("top:Q", axis=labels, title=None),
        color=alt.Color(
            "of:N",
            scale=alt.Scale(domain=[POSTERIOR, PRIOR]),
            legend=alt.Legend(orient="top", title=None, symbolOpacity=1),
        ),
        detail="row:N",
    )
    area = (
        base.mark_area(opacity=0.7).encode(y2="row:Q").transform_filter(alt.datum.of == POSTERIOR)
    )
    line = base.mark_line(strokeWidth=2).encode(order="order:Q")
    line = line.transform_filter(alt.datum.of == PRIOR)
    return alt.layer(area, line).properties(height=70 + 44 * len(names))


def _row(number: int, posterior: Curve, prior: Curve) -> pd.DataFrame:
    """The curves of a row, whose foot is at `-number`, scaled to fit below the row above."""
    highest = max(posterior[1].max(), prior[1].max())
    frames = [
        pd.DataFrame(
            {
                "z": z,
                "top": 0.9 * density / highest - number,
                "row": -number,
                "of": name,
                "order": range(len(z)),
            }
        )
        for name, (z, density) in ((POSTERIOR, posterior), (PRIOR, prior))
    ]
    return pd.concat(frames, ignore_index=True)


def waterfall(terms: Terms) -> LayerChart:
    """From log p(x|z) down to the bound, a bar for each term."""
    names = ["log p(x|z)", *terms.kl, "bound"]
    values = [terms.log_likelihood, *(-kl for kl in terms.kl.values()), terms.bound]
    ends = [float(terms.log_likelihood)]
    for kl in terms.kl.values():
        ends.append(ends[-1] - float(kl))
    starts = [0.0, *ends[:-1], 0.0]
    kinds = ["log p(x|z)", *("KL" for _ in terms.kl), "bound"]
    frame = pd.DataFrame(
        {
            "term": names,
            "from": starts,
            "to": [*ends, float(terms.bound)],
            "nats": [str(value) for value in values],
            "of": kinds,
        }
    )
    y = alt.Y("term:N", sort=names, title=None, axis=alt.Axis(labelLimit=90))
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("from:Q", title="nats"),
            x2="to:Q",
            y=y,
            color=alt.Color(
                "of:N", scale=alt.Scale(domain=["log p(x|z)", "KL", "bound"]), legend=None
            ),
            tooltip=["term:N", "nats:N"],
        )
    )
    return alt.layer(bars).properties(height=alt.Step(22 if len(names) < 15 else 14))


def importance(estimates: Sequence[Estimate], bound: float, chosen: int) -> LayerChart:
    """The importance-weighted bound against K, with the bound as a line."""
    frame = pd.DataFrame(
        {
            "K": [e.size for e in estimates],
            "nats": [e.value for e in estimates],
            "low": [e.value - (e.error or 0.0) for e in estimates],
            "high": [e.value + (e.error or 0.0) for e in estimates],
            "of": "importance-weighted",
        }
    )
    line_of_bound = pd.DataFrame({"nats": [bound], "of": ["bound"]})
    names = ["importance-weighted", "bound"]
    color = alt.Color(
        "of:N",
        scale=alt.Scale(domain=names),
        legend=alt.Legend(orient="top", title=None, symbolOpacity=1),
    )
    k = alt.X("K:Q", scale=alt.Scale(type="log", base=2), title="K")
    nats = alt.Y("nats:Q", scale=alt.Scale(zero=False), title="nats")
    base = alt.Chart(frame)
    band = base.mark_area(opacity=0.25).encode(
        x=k, y=alt.Y("low:Q", title="nats"), y2="high:Q", color=color
    )
    line = base.mark_line(point=True).encode(
        x=k, y=nats, color=color, tooltip=["K:Q", alt.Tooltip("nats:Q", format=".3f")]
    )
    point = (alt.Chart(frame[frame["K"] == chosen]).mark_point(size=180, filled=True)).encode(
        x=k, y=nats, color=color
    )
    rule = (
        alt.Chart(line_of_bound)
        .mark_rule(strokeDash=[6, 4], strokeWidth=2)
        .encode(y=nats, color=color)
    )
    return alt.layer(band, line, point, rule).properties(height=280)
