"""Pictures show what they were given."""

import numpy as np
import pytest

from keras_vae import plots


def images(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_learning_curves_show_the_bound_and_both_its_terms():
    names = ("elbo", "log_likelihood", "kl")
    history = {f"{p}{n}": [i, i + 1.0] for i, n in enumerate(names) for p in ("", "val_")}
    figure = plots.learning_curves(history)
    drawn = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    assert drawn == [[history[n], history[f"val_{n}"]] for n in names]


def test_learning_curves_need_no_validation():
    figure = plots.learning_curves({"elbo": [1.0], "log_likelihood": [2.0], "kl": [1.0]})
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 1]


def test_reconstructions_are_rows_of_x_mean_and_draw():
    x, mean, draw = (np.full((4, 2, 2, 1), value) for value in (0.0, 0.5, 1.0))
    shown = images(plots.reconstructions(x, mean, draw))
    assert [float(image.mean()) for image in shown] == [0.0] * 4 + [0.5] * 4 + [1.0] * 4


@pytest.mark.parametrize("count", [1, 5, 9])
def test_samples_show_each_mean_and_each_draw(count):
    mean = np.linspace(0, 1, count * 4).reshape(count, 2, 2, 1)
    assert len(images(plots.samples(mean, mean, mean))) == 2 * count


def test_samples_are_shown_in_the_shades_of_the_data():
    mean = np.full((1, 2, 2, 1), 0.5)
    shown = images(plots.samples(mean, mean + 9, np.array([0.0, 1.0])))
    assert [float(image.mean()) for image in shown] == [0.5, 1.0]


def test_values_outside_the_unit_interval_are_scaled_to_it():
    x = np.array([-2.0, 0.0, 2.0]).reshape(3, 1, 1, 1)
    shown = images(plots.reconstructions(x, x, x))
    assert [float(image.mean()) for image in shown[:3]] == [0.0, 0.5, 1.0]


def test_data_that_is_no_image_is_a_strip_of_its_values():
    x = np.linspace(0, 1, 6).reshape(2, 3)
    assert images(plots.reconstructions(x, x, x))[0].shape == (1, 3)


@pytest.mark.parametrize("latent_size", [1, 2, 5])
@pytest.mark.parametrize("labelled", [False, True])
def test_the_latent_map_shows_every_point(latent_size, labelled):
    means = np.random.default_rng(0).normal(size=(20, latent_size))
    labels = np.arange(20) % 3 if labelled else None
    figure = plots.latent_map(means, labels, np.arange(latent_size, dtype=float))
    (axes,) = figure.axes
    points = np.concatenate([c.get_offsets() for c in axes.collections])
    assert len(points) == 20
    assert sorted(points[:, 0]) == sorted(means[:, -1])  # the dimension of largest KL
    assert len(axes.collections) == (3 if labelled else 1)


def test_kl_bars_are_sorted_and_named():
    (axes,) = plots.kl_bars(np.array([0.1, 2.0, 1.0])).axes
    assert [bar.get_height() for bar in axes.patches] == [2.0, 1.0, 0.1]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "0"]
    assert "Sum 3.10 nats" in axes.get_title()


@pytest.mark.parametrize("count", [1, 5])
def test_a_predictive_check_shows_all_replicates_and_the_data(count):
    random = np.random.default_rng(0)
    replicates = {f"T{i}": random.normal(size=40) for i in range(count)}
    observed = {name: float(i) for i, name in enumerate(replicates)}
    figure = plots.predictive_check(replicates, observed, dict.fromkeys(replicates, 0.125))
    shown = [axes for axes in figure.axes if axes.patches]
    for axes, name in zip(shown, replicates, strict=True):
        assert sum(bar.get_height() for bar in axes.patches) == 40
        assert axes.lines[0].get_xdata() == [observed[name]] * 2
        assert axes.get_title() == f"{name}, p = 0.12"


@pytest.mark.parametrize(
    "asked", [({}, {}, {}), ({"T": [1.0]}, {"S": 1.0}, {"T": 0.5}), (None, {}, {})]
)
def test_a_predictive_check_of_other_statistics_is_refused(asked):
    with pytest.raises(ValueError, match="Expected: those of a check"):
        plots.predictive_check(*asked)
