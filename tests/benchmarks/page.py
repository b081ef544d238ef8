"""How long the page takes to answer, in a real browser: first paint, a slider, another draw.

    make bench-page

Times are from the click, or the address, to the changed text, in milliseconds: the network, the
model, Streamlit and the browser's own drawing are in them. Medians of several, after one each.
"""

import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "streamlit_app"))

from browser import chromium, page_server, settled, visit

from keras_vae.recipe import Recipe
from keras_vae.runs import Run, train

TIMES = 15
WATCH = """text => {
  const find = () => [...document.querySelectorAll('[data-testid=stMarkdownContainer] p')]
    .map(each => each.textContent).find(each => each.includes(text));
  const before = find(), start = performance.now();
  window.answered = null;
  const look = () => {
    const now = find();
    if (now && now !== before) window.answered = performance.now() - start;
    else setTimeout(look, 2);
  };
  look();
}"""
PAINTED = """() => document.querySelector('h1') && document.querySelector('[data-testid=stMetric]')
  && performance.now()"""


def main() -> None:
    """Trains the digits model, opens the page, and prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        runs = pathlib.Path(folder) / "runs"
        _train(Run(runs / "digits"))
        with page_server(runs, pathlib.Path(folder)) as address, chromium() as browser:
            visit(browser, address, "model").context.close()  # loads the model
            page = visit(browser, address, "one_image")
            rows = {
                "the default page, a browser's first visit": _paints(browser, address),
                "the default page, a browser that knows it": _paints(
                    browser, address, browser.new_context()
                ),
                "another draw": _answers(page, "root mean square", _click(page, "Another draw")),
                "a step of the K slider": _answers(page, "against the bound", _slide(page)),
            }
    for name, times in rows.items():
        print(
            f"{name}: median {statistics.median(times):.0f} ms, "
            f"{min(times):.0f} to {max(times):.0f}, of {len(times)}"
        )


def _train(run):
    recipe = Recipe()
    data = recipe.load_data()
    recipe = recipe.with_defaults(data)
    run.start(recipe)
    train(run, recipe, data, recipe.build(data), [])


def _paints(browser, address, known=None):
    """Milliseconds from the request of a new visitor to the model's title and numbers."""
    times = []
    for _ in range(6):
        page = (known or browser.new_context()).new_page()
        page.goto(f"{address}/model", wait_until="commit")
        times.append(page.wait_for_function(PAINTED).json_value())
        page.close()
    return times[1:]


def _click(page, name):
    return page.get_by_role("button", name=name).click


def _slide(page):
    slider = page.get_by_role("slider", name="K, draws")
    keys = iter(["ArrowRight", "ArrowLeft"] * TIMES)

    def step():
        slider.focus()
        page.keyboard.press(next(keys))

    return step


def _answers(page, text, act):
    times = []
    for _ in range(TIMES + 1):
        settled(page)
        page.evaluate(WATCH, text)
        act()
        times.append(page.wait_for_function("() => window.answered").json_value())
        page.wait_for_timeout(500)
    return times[1:]


if __name__ == "__main__":
    main()
