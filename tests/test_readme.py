"""What the README shows is so."""

import re
from pathlib import Path

import pytest

from keras_vae import conditions, likelihoods, objectives, posteriors, priors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_every_link_leads_somewhere(link):
    assert (ROOT / link).exists()


SLOTS = {
    "posterior": (posteriors, posteriors.Posterior),
    "prior": (priors, priors.Prior),
    "likelihood": (likelihoods, likelihoods.Likelihood),
    "objective": (objectives, objectives.Objective),
    "condition": (conditions, conditions.Condition),
}


@pytest.mark.parametrize("slot", SLOTS)
def test_every_family_is_in_the_table_of_slots_with_a_link_to_its_file(slot):
    module, base = SLOTS[slot]
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type) and kind is not base]
    families = [kind for kind in kinds if issubclass(kind, base)]
    (row,) = (line for line in README.splitlines() if line.startswith(f"| `{slot}` |"))
    linked = dict(re.findall(r"\[`(\w+)[^`]*`\]\(([^)]+)\)", row))
    for family in families:
        file = family.__module__.replace(".", "/") + ".py"
        assert linked.get(family.__name__) == file
    assert len(families) >= 3


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
