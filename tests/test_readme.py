"""What the README shows is so."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_every_link_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_the_example_trains_a_model(capsys):
    (example, _) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope: dict = {}
    exec(example, scope)
    history = scope["vae"].history.history["elbo"]
    assert history[-1] > history[0] + 10
    assert "q(z|x), the posterior: DiagonalNormal" in capsys.readouterr().out


@pytest.mark.parametrize("command", re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
def test_every_make_target_is_there(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
