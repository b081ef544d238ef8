"""The page Samples: each control against the served contract, asked beside it."""

import io

import app_pictures
import app_samples
import numpy as np
import pytest
from PIL import Image
from visitors import Answering, Seen, assert_same_picture, serve

from keras_vae import latents
from keras_vae.exported import InProcess
from keras_vae.opened import trained_run

UNIT = (0.0, 1.0)
SIDE = 512


@pytest.fixture(scope="module")
def trained(run_folder):
    """The model and its data, read without the page."""
    return trained_run(run_folder)


@pytest.fixture(scope="module")
def contract(trained):
    return InProcess(trained[0])


@pytest.fixture
def seen(monkeypatch):
    return Seen(monkeypatch)


@pytest.fixture
def page(opened, seen):
    return opened("samples")


def rerun(page, seen, control):
    """Runs the page after a control was moved; only what this run shows is seen."""
    seen.clear()
    control.run()
    assert not page.exception
    assert [error.value for error in page.error] == []


def labelled(elements, label):
    (found,) = [element for element in elements if element.label == label]
    return found


def seeds(seed, count):
    return 100 * seed + np.arange(count, dtype="int64")


def assert_grid(seen, x):
    """The grid shown is of these x, and the file is the grid shown."""
    side = int(np.ceil(np.sqrt(len(x))))
    grid = seen.pictures[0][1]
    assert_same_picture(grid, app_pictures.grid(list(x), UNIT, SIDE // side))
    (file,) = seen.files
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), grid)


def test_seed_and_count_fix_the_samples(page, seen, contract):
    assert_grid(seen, contract.predict("generate", {"seed": seeds(0, 16)})["mean"])
    rerun(page, seen, labelled(page.select_slider, "How many").set_value(9))
    assert_grid(seen, contract.predict("generate", {"seed": seeds(0, 9)})["mean"])
    rerun(page, seen, labelled(page.number_input, "Seed").set_value(3))
    assert_grid(seen, contract.predict("generate", {"seed": seeds(3, 9)})["mean"])


def test_a_draw_is_a_draw_from_p_of_x_given_z(page, seen, contract):
    rerun(page, seen, labelled(page.radio, "Show").set_value("a draw from p(x|z)"))
    z = contract.predict("generate", {"seed": seeds(0, 16)})["z"]
    assert_grid(seen, contract.predict("decode_sample", {"z": z, "seed": seeds(0, 16)})["x"])


def test_temperature_moves_z_to_the_mean_of_the_prior(page, seen, trained, contract):
    z = contract.predict("generate", {"seed": seeds(0, 16)})["z"]
    draws = trained[0].prior_given().sample(1000, seed=np.array([0, 1], "int32")).numpy()
    centre = draws.mean(axis=0)
    np.testing.assert_allclose(centre, 0, atol=5 / np.sqrt(1000))  # N(0, I), 5 standard errors
    for temperature in (0.5, 0.0):
        slider = labelled(page.slider, "Temperature t of z").set_value(temperature)
        rerun(page, seen, slider)
        moved = centre + temperature * (z - centre)
        assert_grid(seen, contract.predict("decode", {"z": moved})["mean"])
    tiles = seen.pictures[0][1].reshape(4, 129, 4, 129)
    np.testing.assert_array_equal(tiles, np.broadcast_to(tiles[:1, :, :1], tiles.shape))
    rerun(page, seen, labelled(page.slider, "Temperature t of z").set_value(1.0))
    assert_grid(seen, contract.predict("generate", {"seed": seeds(0, 16)})["mean"])


def test_a_temperature_of_one_changes_no_bit():
    generator = np.random.default_rng(0)
    z = generator.normal(size=(1000, 7)).astype("float32")
    centre = (1e3 * generator.normal(size=7)).astype("float32")
    np.testing.assert_array_equal(app_samples.tempered(z, centre, 1.0), z)
    np.testing.assert_allclose(app_samples.tempered(z, centre, 0.0), centre + 0 * z, rtol=1e-6)
    np.testing.assert_allclose(app_samples.tempered(z, centre, 2.0), 2 * z - centre, rtol=1e-4)


@pytest.mark.parametrize(
    "support", [latents.SPHERE, latents.BITS, latents.CUBE, latents.one_hots(3)]
)
def test_only_the_reals_have_a_temperature(support):
    assert app_samples.no_temperature(latents.REALS) is None
    assert "no temperature" in app_samples.no_temperature(support)


def test_no_two_seeds_share_a_row():
    rows = np.concatenate([app_samples.row_seeds(seed) for seed in range(5)])
    assert len(np.unique(rows)) == 5 * app_samples.MOST


# Is it copying?


def by_differences(x, rows):
    """The nearest row of each x, from all differences."""
    distances = ((x[:, None].astype("float64") - rows) ** 2).sum(-1)
    return distances.argmin(1), distances.min(1)


@pytest.mark.parametrize("offset", [0, 100])
def test_the_nearest_is_that_of_all_differences(offset):
    generator = np.random.default_rng(0)
    rows = (offset + generator.normal(size=(500, 9))).astype("float32")
    x = (offset + generator.normal(size=(app_samples.AT_ONCE + 10, 9))).astype("float32")
    x[3] = rows[77]
    found = app_samples.nearest(x, rows)
    numbers, distances = by_differences(x, rows)
    assert (found.rows[3], found.distances[3]) == (77, 0)
    np.testing.assert_allclose(found.distances, distances, atol=0.05 if offset else 1e-5)
    if not offset:
        np.testing.assert_array_equal(found.rows, numbers)


def test_each_sample_is_beside_its_nearest_training_example(page, seen, trained, contract):
    data = trained[1]
    rows = data.train.array()
    x = contract.predict("generate", {"seed": seeds(0, 16)})["mean"]
    numbers, distances = by_differences(x.reshape(16, -1), rows.reshape(len(rows), -1))
    pairs = seen.pictures[1:]
    assert [caption for caption, _ in pairs] == [f"{distance:.3g}" for distance in distances]
    for (_, pixels), sample, number in zip(pairs, x, numbers, strict=True):
        assert_same_picture(pixels[:, :72], app_pictures.picture(sample, UNIT, 72))
        assert_same_picture(pixels[:, -72:], app_pictures.picture(rows[number], UNIT, 72))
    held_out = data.test.array().reshape(len(data.test), -1)
    yardstick = by_differences(held_out, rows.reshape(len(rows), -1))[1]
    (words,) = [m.value for m in page.markdown if "yardstick" in m.value]
    assert f"half of them within **{np.median(yardstick):.3g}**" in words
    assert f"half are within **{np.median(distances):.3g}**" in words
    ticks = seen.charts[0].data
    np.testing.assert_allclose(
        np.sort(ticks[ticks.of == "test examples"].distance), np.sort(yardstick), rtol=1e-4
    )


def test_a_copy_is_said_to_be_nearer_than_any_test_example():
    words = app_samples.in_words(np.array([0.0, 0.5, 3.0]), np.array([1.0, 2.0, 4.0]))
    assert "2 of 3 are nearer than any test example" in words


# Other models


@pytest.fixture
def opened_on(opened, monkeypatch, seen):
    """Opens the page on a model that is no run."""

    def open_on(shown):
        serve(monkeypatch, shown)
        page = opened("samples")
        page.session_state["served"] = ("somewhere:8500", "vae")
        rerun(page, seen, page)
        return page

    return open_on


def test_of_two_priors_one_is_chosen(opened_on, seen, run_folder):
    vae, data = trained_run(run_folder)
    vae.fit_prior(data.train, num_components=3, seed=0)
    contract = InProcess(vae)
    page = opened_on(Answering(vae, data, local=True))
    assert_grid(seen, contract.predict("generate", {"seed": seeds(0, 16)})["mean"])
    rerun(page, seen, labelled(page.radio, "Draw z from").set_value("the prior p(z)"))
    z = vae.prior_given().sample(100, seed=np.array([0, 0], "int32")).numpy()[:16]
    assert_grid(seen, vae.decode(z).mean().numpy())
    rerun(page, seen, labelled(page.slider, "Temperature t of z").set_value(0.0))
    at_prior = seen.pictures[0][1]
    rerun(page, seen, labelled(page.radio, "Draw z from").set_value("the ex-post prior"))
    many = vae.ex_post.distribution().sample(20_000, seed=np.array([5, 5], "int32"))
    x = vae.decode(many.numpy().mean(0, keepdims=True)).mean().numpy()
    grid = app_pictures.grid(list(x) * 16, UNIT, SIDE // 4).astype(int)
    assert np.abs(seen.pictures[0][1] - grid).mean() < 6
    assert (seen.pictures[0][1] != at_prior).any()


def test_a_served_model_without_data_has_samples_alone(opened_on, seen, trained, contract):
    page = opened_on(Answering(trained[0]))
    assert [radio.label for radio in page.radio] == ["Show"]
    assert any("server does not say which" in caption.value for caption in page.caption)
    assert "no data at hand" in page.info[0].value
    assert len(seen.pictures) == 1
    mean = contract.predict("generate", {"seed": seeds(0, 16)})["mean"]
    shades = app_pictures.shades(contract.predict("generate", {"seed": np.arange(1000)})["mean"])
    assert_same_picture(seen.pictures[0][1], app_pictures.grid(list(mean), shades, SIDE // 4))
