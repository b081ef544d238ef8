"""The page Latent space: each control against the model's own numbers, computed beside it."""

import json

import app_latent
import app_pictures
import numpy as np
import pytest
from sklearn.decomposition import PCA
from streamlit.proto.WidgetStates_pb2 import WidgetState
from visitors import Answering, Seen, assert_same_picture, serve

from keras_vae.data import load
from keras_vae.opened import trained_run
from keras_vae.recipe import Recipe

FEW = 40  # test examples of a model that is made here


@pytest.fixture(scope="module")
def trained(run_folder):
    """The model and the test set, read without the page; the means of q(z|x)."""
    vae, data = trained_run(run_folder)
    x = data.test.array()
    return vae, data, x, vae.encode(x).mean().numpy()


@pytest.fixture
def seen(monkeypatch):
    return Seen(monkeypatch)


@pytest.fixture
def page(opened, seen):
    return opened("latent_space")


def rerun(page, seen, control):
    """Runs the page after a control was moved; only what this run shows is seen."""
    seen.clear()
    control.run()
    assert not page.exception
    assert [error.value for error in page.error] == []


def labelled(elements, label):
    (found,) = [element for element in elements if element.label == label]
    return found


def expected_picture(vae, z, size):
    mean = vae.decode(z[None].astype("float32")).mean().numpy()[0]
    return app_pictures.picture(mean, (0.0, 1.0), size)


def click(page, seen, row):
    """What a browser sends when a point of the map is clicked."""
    (chart,) = page.get("vega_lite_chart")
    state = json.dumps({"selection": {"chosen": [{"row": row}] if row is not None else []}})
    states = page._tree.get_widget_states()
    states.widgets.append(WidgetState(id=chart.proto.id, string_value=state))
    seen.clear()
    page._run(states)
    assert not page.exception


def assert_chosen(page, seen, trained, row):
    vae, _, x, means = trained
    assert page.number_input[0].value == row
    shades = (0.0, 1.0)
    np.testing.assert_array_equal(seen.picture("x"), app_pictures.picture(x[row], shades, 140))
    expected = expected_picture(vae, means[row], 140)
    assert_same_picture(seen.picture("mean of p(x|z) at its z"), expected)
    assert_same_picture(seen.picture("moved"), expected_picture(vae, means[row], 112))
    for ring in seen.charts[0].layer[1:]:
        assert ring.data["row"].tolist() == [row]
    sliders = [labelled(page.slider, f"z[{d}]").value for d in range(means.shape[1])]
    np.testing.assert_allclose(sliders, means[row], atol=1e-5)


# The map


def test_a_click_and_the_number_choose_the_same(page, seen, trained):
    assert_chosen(page, seen, trained, 0)
    click(page, seen, 17)
    assert_chosen(page, seen, trained, 17)
    (before,) = page.get("vega_lite_chart")
    rerun(page, seen, labelled(page.number_input, "Example").set_value(5))
    assert_chosen(page, seen, trained, 5)
    (after,) = page.get("vega_lite_chart")
    assert after.proto.id != before.proto.id  # a browser says nothing of a click on the old point
    click(page, seen, 17)
    assert_chosen(page, seen, trained, 17)
    click(page, seen, None)
    assert_chosen(page, seen, trained, 17)


def test_the_map_shows_two_dimensions_with_labels(page, seen, trained):
    _, data, _, means = trained
    rerun(page, seen, labelled(page.selectbox, "Dimension across").set_value(3))
    rerun(page, seen, labelled(page.selectbox, "Dimension up").set_value(1))
    points = seen.charts[0].layer[0].data
    np.testing.assert_allclose(points[["x", "y"]], means[:, [3, 1]], atol=1e-5)
    np.testing.assert_array_equal(points["label"], data.test.labels)
    np.testing.assert_array_equal(points["row"], np.arange(len(means)))
    assert seen.charts[0].to_dict()["layer"][0]["encoding"]["x"]["title"] == "z[3]"


def test_the_map_shows_pca(page, seen, trained):
    means = trained[-1]
    rerun(page, seen, labelled(page.radio, "Map").set_value("PCA"))
    found = seen.charts[0].layer[0].data[["x", "y"]].to_numpy()
    reference = PCA(2).fit(means)
    expected = reference.transform(means)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, signs * expected, atol=1e-4)
    title = seen.charts[0].to_dict()["layer"][0]["encoding"]["x"]["title"]
    assert f"{100 * reference.explained_variance_ratio_[0]:.0f} %" in title


def test_the_map_shows_t_sne(page, seen, monkeypatch):
    rerun(page, seen, labelled(page.radio, "Map").set_value("t-SNE"))
    points = seen.charts[0].layer[0].data
    assert np.isfinite(points[["x", "y"]].to_numpy()).all()
    monkeypatch.setattr("sklearn.manifold.TSNE", None)
    rerun(page, seen, labelled(page.number_input, "Example").set_value(3))  # from the cache
    np.testing.assert_array_equal(seen.charts[0].layer[0].data["x"], points["x"])


def test_t_sne_keeps_groups_apart():
    group = np.repeat([0, 1, 2], 20)
    z = 10 * np.eye(3)[group] + np.random.default_rng(0).normal(size=(60, 3))
    points = app_latent.neighbours("three groups", z.astype("float32")).points
    distances = ((points[:, None] - points) ** 2).sum(-1) + 1e9 * np.eye(60)
    np.testing.assert_array_equal(group[distances.argmin(1)], group)


# Sliders


def test_sliders_go_far_enough_and_move_one_dimension_each(page, seen, trained):
    vae, _, _, means = trained
    for d in range(means.shape[1]):
        slider = labelled(page.slider, f"z[{d}]")
        reach = 3 * means[:, d].std()
        ends = (
            min(-3, means[:, d].mean() - reach, means[:, d].min()),
            max(3, means[:, d].mean() + reach, means[:, d].max()),
        )
        np.testing.assert_allclose((slider.min, slider.max), ends, atol=0.3)  # 1000 draws of p(z)
        assert slider.min <= means[:, d].min()
        assert slider.max >= means[:, d].max()
    rerun(page, seen, labelled(page.slider, "z[2]").set_value(1.5))
    z = means[0].copy()
    z[2] = 1.5
    assert_same_picture(seen.picture("moved"), expected_picture(vae, z, 112))
    assert_same_picture(seen.picture("chosen point"), expected_picture(vae, means[0], 112))
    rerun(page, seen, labelled(page.button, "Back to the chosen point").click())
    assert_chosen(page, seen, trained, 0)


def test_ranges_of_known_spreads():
    draws = np.array([[-1.0, -2.0], [1.0, 2.0]])  # standard deviations 1 and 2
    means = np.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 7.0]])
    low, high = app_latent.ranges(app_latent.Space("all real vectors"), draws, means)
    spread = [3 * np.sqrt(8 / 3), 3 * means[:, 1].std()]
    np.testing.assert_allclose(low, [-spread[0], min(-6, 7 / 3 - spread[1])], atol=0.1)
    np.testing.assert_allclose(high, [spread[0], 7 / 3 + spread[1]], atol=0.1)


def test_inactive_is_a_variance_below_one_hundredth():
    signs = np.array([[-1.0], [1.0]])
    means = signs * np.sqrt([0.0099, 0.0101, 0.0])
    assert app_latent.active(means).tolist() == [False, True, False]


# Between examples


def test_the_way_between_two_means_is_a_line(page, seen, trained):
    vae, _, x, means = trained
    rerun(page, seen, labelled(page.number_input, "From").set_value(4))
    rerun(page, seen, labelled(page.number_input, "To").set_value(9))
    rerun(page, seen, labelled(page.slider, "Steps").set_value(5))
    for caption, row in (("x, from", 4), ("x, to", 9)):
        expected = app_pictures.picture(x[row], (0.0, 1.0), 70)
        np.testing.assert_array_equal(seen.picture(caption), expected)
    for t in (0, 0.25, 0.5, 0.75, 1):
        z = means[4] + t * (means[9] - means[4])
        assert_same_picture(seen.picture(f"{t:.2f}"), expected_picture(vae, z, 70))


def test_arithmetic_on_means(page, seen, trained):
    vae, _, x, means = trained
    for name, row in (("A", 6), ("B", 2), ("C", 11)):
        rerun(page, seen, labelled(page.number_input, name).set_value(row))
    for name, row in (("A", 6), ("B", 2), ("C", 11)):
        expected = app_pictures.picture(x[row], (0.0, 1.0), 140)
        np.testing.assert_array_equal(seen.picture(f"x of {name}"), expected)
        decoded = expected_picture(vae, means[row], 140)
        assert_same_picture(seen.picture(f"{name}, decoded"), decoded)
    z = means[6] - means[2] + means[11]
    assert_same_picture(seen.picture("A - B + C"), expected_picture(vae, z, 140))


# Other models


def made(**words):
    """A model of few units, untrained, and few digits."""
    data = load("digits")
    data = type(data)(data.protocol, data.train[:100], data.validation[:10], data.test[:FEW])
    recipe = Recipe(data="digits", units=(8,), **words).with_defaults(data)
    return recipe.build(data), data


@pytest.fixture
def opened_on(opened, monkeypatch, seen):
    """Opens the page on a model that is no run."""

    def open_on(shown):
        serve(monkeypatch, shown)
        page = opened("latent_space")
        page.session_state["served"] = ("somewhere:8500", "vae")
        rerun(page, seen, page)
        return page

    return open_on


def test_of_many_dimensions_the_active_ones_come_first(opened_on):
    class Idle(Answering):
        """Dimensions 0 to 9 of 20 are the same for every x."""

        def answer(self, signature, inputs):
            answer = super().answer(signature, inputs)
            if signature == "encode":
                return {**answer, "mean": answer["mean"] * (np.arange(20) > 9) * 3}
            return answer

    vae, data = made(latent_size=20)
    page = opened_on(Idle(vae, data, local=True))
    (fold,) = page.expander
    assert fold.label == "10 more dimensions, 0 of them active"
    assert {s.label for s in fold.slider} == {f"z[{d}], inactive" for d in range(10)}
    labels = [s.label for s in page.slider if s.label.startswith("z[")]
    assert set(labels[:10]) == {f"z[{d}]" for d in range(10, 20)}
    assert any("10 of 20 dimensions are active" in c.value for c in page.caption)


def test_on_a_sphere_the_sliders_are_brought_back(opened_on, seen):
    vae, data = made(latent_size=3, posterior="power-spherical", prior="uniform-sphere")
    page = opened_on(Answering(vae, data, local=True))
    rerun(page, seen, labelled(page.slider, "z[0]").set_value(0.0))
    rerun(page, seen, labelled(page.slider, "z[1]").set_value(0.6))
    rerun(page, seen, labelled(page.slider, "z[2]").set_value(-0.6))
    z = np.array([0, 1, -1]) / np.sqrt(2)
    assert_same_picture(seen.picture("moved"), expected_picture(vae, z, 112))
    means = vae.posterior.centre(vae.encode(data.test.array())).numpy()
    middle = means[0] + means[2]  # on the great circle half-way is the bisector
    rerun(page, seen, labelled(page.number_input, "To").set_value(2))
    expected = expected_picture(vae, middle / np.linalg.norm(middle), 70)
    assert_same_picture(seen.picture("0.50"), expected)


def test_of_codes_the_place_of_the_one_is_chosen(opened_on, seen):
    vae, data = made(
        latent_size=6,
        posterior="one-hot:classes=3",
        prior="uniform-categorical:classes=3",
        objective="elbo:gradient=score,num_samples=2",
    )
    page = opened_on(Answering(vae, data))  # as behind a server: the draws of z tell
    rerun(page, seen, labelled(page.selectbox, "Group 0: the place of the 1").set_value(2))
    rerun(page, seen, labelled(page.selectbox, "Group 1: the place of the 1").set_value(1))
    z = np.array([0, 0, 1, 0, 1, 0.0])
    assert_same_picture(seen.picture("moved"), expected_picture(vae, z, 112))


def test_one_dimension_has_a_map_too(opened_on, seen):
    vae, data = made(latent_size=1)
    page = opened_on(Answering(vae, data, local=True))
    means = vae.encode(data.test.array()).mean().numpy()
    np.testing.assert_allclose(seen.charts[0].layer[0].data["x"], means[:, 0], atol=1e-5)
    assert page.radio[0].options == ["Two dimensions"]


def test_without_data_the_points_are_draws(opened_on, seen):
    vae, _ = made(latent_size=3)
    shown = Answering(vae)
    page = opened_on(shown)
    assert "draws of z from the prior" in page.info[0].value
    answer = shown.answer("generate", {"seed": [0]})
    assert_same_picture(
        seen.picture("x"),
        app_pictures.picture(
            answer["mean"][0],
            app_pictures.shades(shown.answer("generate", {"seed": np.arange(1000)})["mean"]),
            140,
        ),
    )
    assert any("only data can tell" in caption.value for caption in page.caption)
