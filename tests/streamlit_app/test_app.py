"""The page as a whole: every view, ten visitors, two hundred reruns."""

import ast
import gc
import pathlib

import keras
import numpy as np
import pytest

APP = pathlib.Path(__file__).parents[2] / "streamlit_app"
VIEWS = sorted(path.stem for path in (APP / "views").glob("*.py"))


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_on_a_trained_run(opened, view):
    page = opened(view)
    assert len(page.title) == 1, view
    assert [error.value for error in page.error] == []


def test_the_app_uses_the_packages_public_names_only():
    """No name with an underscore of keras_vae, and no class registered in a script."""
    for path in APP.rglob("*.py"):
        text = path.read_text()
        assert "register_keras_serializable" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_vae"):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("_")], path


def test_visitors_share_one_model_and_nothing_else(opened):
    import app_state

    visitors = [opened("one_image") for _ in range(10)]
    for index, page in enumerate(visitors):
        page.number_input(key="image_row").set_value(index)
    for page in visitors:
        page.run()
    for page in visitors[::-1]:
        page.run()
    assert [page.number_input(key="image_row").value for page in visitors] == list(range(10))
    folder = app_state.runs()[0]
    assert app_state.trained(folder) is app_state.trained(folder)


def test_memory_stays_flat_over_two_hundred_reruns(opened):
    page = opened("one_image")
    registered = len(keras.saving.get_custom_objects())
    used = []
    for rerun in range(201):
        page.number_input(key="image_row").set_value(rerun % 7).run()
        if rerun % 50 == 0:
            gc.collect()
            used.append(_resident())
    assert not page.exception
    assert len(keras.saving.get_custom_objects()) == registered
    # From the 50th on; before, caches fill and graphs are traced. 150 reruns that each kept the
    # weights of the model, or a picture, would keep more than this.
    growth = np.diff(used[1:])
    assert used[-1] - used[1] < 20e6, growth


def _resident():
    """Bytes of memory that the process has now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    import resource

    return pages * resource.getpagesize()
