"""Pictures: arrays in, figures out. No model is called here, and no window is opened."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAINING, VALIDATION = "tab:blue", "tab:orange"


def learning_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """The ELBO and its two terms after each epoch, training and validation.

    Args:
        history: as `keras.callbacks.History.history`: `elbo`, `val_elbo` and so on.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    titles = {
        "elbo": "ELBO = log-likelihood - KL",
        "log_likelihood": "log p(x|z)",
        "kl": "KL(q(z|x) || p(z))",
    }
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], color=TRAINING, label="training")
        if f"val_{name}" in history:
            axes.plot(epochs, history[f"val_{name}"], color=VALIDATION, label="validation")
        axes.set(title=title, xlabel="epoch", ylabel="nats per example")
        axes.grid(alpha=0.3)
    axes.legend()
    return figure


def reconstructions(x: np.ndarray, mean: np.ndarray, draw: np.ndarray) -> Figure:
    """Each x above the mean of p(x|z) above a draw from p(x|z), `[N, *E]` each."""
    rows = {"x": x, "mean of p(x|z)": mean, "draw from p(x|z)": draw}
    figure = Figure(figsize=(0.9 * len(x) + 1.6, 3.2), layout="constrained")
    figure.suptitle("held-out x, p(x|z) at the mean of q(z|x), and a draw of x at a draw of z")
    low, high = _range(x)
    for line, (title, images) in zip(
        figure.subplots(3, len(x), squeeze=False), rows.items(), strict=True
    ):
        for axes, image in zip(line, images, strict=True):
            _show(axes, image, low, high)
        line[0].set_ylabel(title, rotation=0, ha="right", va="center")
    return figure


def samples(mean: np.ndarray, draw: np.ndarray, x: np.ndarray) -> Figure:
    """Draws of z from the prior: the means of p(x|z) beside draws from it, `[N, *E]` each.

    Args:
        mean: of p(x|z).
        draw: from p(x|z), at the same z.
        x: data, whose range the shades of grey stand for.
    """
    side = math.ceil(math.sqrt(len(mean)))
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    low, high = _range(x)
    titles = ("z from the prior: means of p(x|z)", "the same z: draws from p(x|z)")
    halves = figure.subfigures(1, 2, squeeze=False)[0]
    for part, title, images in zip(halves, titles, (mean, draw), strict=True):
        part.suptitle(title)
        grid = part.subplots(side, side, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, image in zip(grid, images, strict=False):
            _show(axes, image, low, high)
    return figure


def latent_map(
    means: np.ndarray, labels: np.ndarray | None, kl: np.ndarray | None = None
) -> Figure:
    """The means of q(z|x) in the two dimensions of largest KL, coloured by label.

    Where there is no KL per dimension, in those of largest variance.

    Args:
        means: `[N, D]`.
        labels: `[N]` or None.
        kl: `[D]`, nats per dimension, or None.
    """
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    used = means.var(axis=0) if kl is None else kl
    first, second = (np.argsort(used)[::-1][:2].tolist() * 2)[:2]
    if labels is None:
        axes.scatter(means[:, first], means[:, second], s=6, color=TRAINING)
    else:
        for index, label in enumerate(np.unique(labels)):
            rows = labels == label
            axes.scatter(
                means[rows, first], means[rows, second], s=6, color=f"C{index}", label=str(label)
            )
        axes.legend(title="label", markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(
        title=f"means of q(z|x), two dimensions of largest {'variance' if kl is None else 'KL'}",
        xlabel=f"z[{first}]",
        ylabel=f"z[{second}]",
        aspect="equal",
    )
    return figure


def kl_bars(kl: np.ndarray) -> Figure:
    """KL per latent dimension, largest first; dimensions near zero are not used."""
    figure = Figure(figsize=(max(5, 0.32 * len(kl) + 1.5), 3.6), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(kl)[::-1]
    axes.bar(range(len(kl)), kl[order], color=TRAINING)
    axes.set_xticks(range(len(kl)), [str(d) for d in order], fontsize=8)
    axes.set(
        title=f"KL(q(z_d|x) || p(z_d)), sorted; at 0 a dimension is unused. Sum {kl.sum():.2f} nats",
        xlabel="latent dimension d",
        ylabel="nats per example",
    )
    return figure


def predictive_check(
    replicates: Mapping[str, np.ndarray],
    observed: Mapping[str, float],
    p_values: Mapping[str, float],
) -> Figure:
    """A statistic of replicated data sets as a histogram, that of the data as a line, for each.

    Args:
        replicates: T(x_rep), `[R]`, by the statistic's name; as of
            `keras_vae.evaluation.predictive_check`, and so the others.
        observed: T(x).
        p_values: two-sided.

    Raises:
        ValueError: if these are not of the same statistics, of one at least.
    """
    names = [
        list(found) if isinstance(found, Mapping) else []
        for found in (replicates, observed, p_values)
    ]
    if not names[0] or any(set(found) != set(names[0]) for found in names):
        raise ValueError(
            "`replicates`, `observed` and `p_values` are by the names of the same statistics. "
            "Expected: those of a check: check.replicates, check.observed, check.p_values. Received: "
            f"{names[0]}, {names[1]}, {names[2]}."
        )
    columns = min(3, len(replicates))
    rows = math.ceil(len(replicates) / columns)
    figure = Figure(figsize=(4 * columns, 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(replicates) :]:
        axes.axis("off")
    for axes, (name, values) in zip(grid, replicates.items(), strict=False):
        axes.hist(values, bins="sqrt", color=TRAINING, alpha=0.6, label="replicated")
        axes.axvline(observed[name], color=VALIDATION, label="data")
        axes.set(title=f"{name}, p = {p_values[name]:.2g}", xlabel="T(x)", ylabel="data sets")
        axes.xaxis.set_major_locator(MaxNLocator(4))
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure


def _show(axes: Axes, image: np.ndarray, low: float, high: float) -> None:
    """An image as it is; anything else as a strip of its values."""
    is_image = image.ndim == 3 and image.shape[-1] in (1, 3)
    pixels = image if is_image else image.reshape(1, -1)
    pixels = np.clip((pixels - low) / (high - low), 0, 1)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_aspect("equal" if is_image else "auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _range(x: np.ndarray) -> tuple[float, float]:
    """[0, 1] for data within it, else the data's own range, never empty."""
    low, high = float(x.min()), float(x.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, max(high, low + 1e-6)
