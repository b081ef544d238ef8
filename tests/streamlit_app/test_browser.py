"""The page as a visitor uses it, in a real browser."""

import io
import shutil

import numpy as np
import pytest
from browser import (
    chromium,
    expect,
    fits,
    needs_chromium,
    no_error,
    page_server,
    said,
    settled,
    visit,
)
from PIL import Image
from served import local_server  # of tests/serving

import keras_vae
from keras_vae.opened import trained_run

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.xdist_group("browser")]
VIEWS = (
    "model",
    "one_image",
    "latent_space",
    "samples",
    "derivation",
    "mistakes",
    "train",
    "serving",
)


@pytest.fixture(scope="module")
def address(run_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(run_folder, folder / "runs" / "small")
    with page_server(folder / "runs", folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_page_is_drawn_and_fits(browser, address, view, size):
    page = visit(browser, address, view, size)
    no_error(page)
    assert fits(page)
    unnamed = page.locator(
        "[data-testid=stImage] img:not([alt]), [data-testid=stImage] img[alt='']"
    )
    assert unnamed.count() == 0
    page.context.close()


def picture_sources(page, three=True):
    """What the pictures show, once they are there: their addresses name their content."""
    page.locator("[data-testid=stImage] img").nth(2 if three else 1).wait_for()
    return [image.get_attribute("src") for image in page.locator("[data-testid=stImage] img").all()]


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_an_image_is_picked_drawn_again_and_weighed(browser, address, size):
    page = visit(browser, address, "one_image", size)
    first = picture_sources(page)
    page.get_by_label("Its number").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator("[data-testid=stImage] img").first).not_to_have_attribute("src", first[0])
    settled(page)
    x, mean, draw = picture_sources(page)[:3]
    page.get_by_role("button", name="Another draw").click()
    expect(page.locator("[data-testid=stImage] img").nth(2)).not_to_have_attribute("src", draw)
    assert picture_sources(page)[:2] == [x, mean]
    before = said(page, r"K = (\d+):").group(1)
    page.get_by_role("slider", name="K, draws").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(f"K = {2 * int(before)}:")).to_be_visible()
    no_error(page)
    page.context.close()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_an_image_is_drawn_by_mouse_and_by_keyboard(browser, address, size):
    page = visit(browser, address, "one_image", size)
    page.get_by_text("Draw one", exact=True).click()
    canvas = page.locator("canvas[role=application]")
    canvas.scroll_into_view_if_needed()
    expect(page.get_by_text("Draw something")).to_be_visible()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4 * box["height"] / 5, steps=8)
    page.mouse.up()
    expect(page.get_by_text("x, as the model is given it")).to_be_visible()
    settled(page)
    stroke = picture_sources(page)[0]
    canvas.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Space"):
        page.keyboard.press(key)
    expect(page.locator("[data-testid=stImage] img").first).not_to_have_attribute("src", stroke)
    canvas.press("Delete")
    expect(page.get_by_text("Draw something")).to_be_visible()
    no_error(page)
    page.context.close()


def uploaded(name, content):
    return {"name": name, "mimeType": "image/png", "buffer": content}


def test_a_good_file_is_shown_and_a_bad_one_is_a_sentence(browser, address):
    page = visit(browser, address, "one_image")
    page.get_by_text("Upload one", exact=True).click()
    file = io.BytesIO()
    ramp = np.linspace(0, 255, 64).reshape(8, 8).astype("uint8")
    Image.fromarray(ramp).save(file, format="PNG")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(uploaded("ramp.png", file.getvalue()))
    expect(page.get_by_text("x, as the model is given it")).to_be_visible()
    settled(page)
    no_error(page)
    chooser.set_input_files(uploaded("none.png", b"this is no picture"))
    expect(page.get_by_test_id("stAlertContentError")).to_be_visible()
    assert "Traceback" not in page.inner_text("body")
    page.context.close()


def test_sliders_move_the_decoding(browser, address):
    page = visit(browser, address, "latent_space")
    before = picture_sources(page, three=False)
    slider = page.get_by_role("slider").first
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => [...document.querySelectorAll('[data-testid=stImage] img')]"
        ".map(image => image.src).join() !== before",
        arg=",".join(before),
    )
    settled(page)
    no_error(page)
    page.context.close()


def test_a_click_on_the_map_chooses_a_point(browser, address):
    page = visit(browser, address, "latent_space")
    chart = page.get_by_test_id("stVegaLiteChart").first
    chart.locator("canvas, svg").first.wait_for()
    chosen = page.get_by_label("Example", exact=True).input_value()
    box = chart.bounding_box()
    places = [(x, y) for y in range(3, 8) for x in range(2, 8)]
    for x, y in places:  # points lie densely, not everywhere
        page.mouse.click(box["x"] + box["width"] * x / 10, box["y"] + box["height"] * y / 10)
        page.wait_for_timeout(300)
        settled(page)
        if page.get_by_label("Example", exact=True).input_value() != chosen:
            break
    assert page.get_by_label("Example", exact=True).input_value() != chosen
    no_error(page)
    page.context.close()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_model_is_trained_stopped_kept_and_shown(browser, address, size):
    page = visit(browser, address, "train", size)
    page.get_by_text("How it is trained").click()
    page.get_by_label("Epochs", exact=True).fill("200")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("Epoch 2", exact=False).first).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).last.click()
    expect(page.get_by_text("Held-out bound")).to_be_visible()
    page.get_by_label("Name", exact=True).fill(f"kept-{size}")
    page.get_by_role("button", name="Keep this run").click()
    expect(page.get_by_role("heading", name="What this model assumes")).to_be_visible()
    settled(page)
    no_error(page)
    if size == "desktop":
        expect(page.get_by_label("Model", exact=True)).to_have_value(f"kept-{size}")
    page.context.close()


def test_a_served_model_is_shown_until_its_server_dies(browser, address, run_folder, tmp_path):
    vae, data = trained_run(run_folder)
    keras_vae.export(vae, tmp_path / "vae", num_samples=5, examples=data.test)
    with local_server(tmp_path / "vae") as running:
        page = visit(browser, address, "serving")
        page.get_by_label("Address", exact=True).fill(running.target.grpc_address)
        page.get_by_role("button", name="Connect").click()
        expect(page.get_by_text("The pages show").first).to_be_visible()
        page.get_by_role("link", name="Samples").click()
        expect(page.get_by_role("heading", name="Samples")).to_be_visible()
        settled(page)
        no_error(page)
    page.get_by_role("link", name="Serving").click()
    expect(page.get_by_test_id("stAlertContentError")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert "Traceback" not in page.inner_text("body")
    back = page.get_by_role("button", name="Back to a trained run")
    back.click()
    expect(back).to_have_count(0)
    page.get_by_role("link", name="Samples").click()
    settled(page)
    no_error(page)
    page.context.close()


def test_ten_visitors_share_the_model_and_not_their_choices(browser, address):
    pages = [visit(browser, address, "one_image") for _ in range(10)]
    for row, page in enumerate(pages):
        page.get_by_label("Its number").fill(str(10 + row))
        page.keyboard.press("Enter")
    for page in pages:
        settled(page)
    shown = [picture_sources(page)[0] for page in pages]
    assert len(set(shown)) == 10
    for row, page in enumerate(pages):
        expect(page.get_by_label("Its number")).to_have_value(str(10 + row))
        no_error(page)
        page.context.close()
