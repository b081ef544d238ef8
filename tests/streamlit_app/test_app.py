import pathlib

import pytest

APP = pathlib.Path(__file__).parents[2] / "streamlit_app"
VIEWS = sorted(path.stem for path in (APP / "views").glob("*.py"))


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_on_a_trained_run(opened, view):
    page = opened(view)
    assert page.title, view
    assert [error.value for error in page.error] == []
