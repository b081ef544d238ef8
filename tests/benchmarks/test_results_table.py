"""The README's results are those of the files, and no table has two protocols."""

import copy
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import results_table
from results_table import grouped, markdown, read, with_tables

RESULTS = read()


def test_the_readme_has_the_results_of_the_files_and_no_others():
    readme = results_table.README.read_text(encoding="utf-8")
    assert with_tables(readme, RESULTS) == readme, "Run: make results"


def test_an_edited_number_is_found_out():
    readme = results_table.README.read_text(encoding="utf-8")
    tables = readme.index(results_table.BEGIN)
    number = re.compile(r"\d\.\d\d").search(readme, tables)
    edited = readme[: number.start()] + "0.00" + readme[number.end() :]
    assert with_tables(edited, RESULTS) == readme != edited


def test_no_table_has_two_protocols():
    for group in grouped(RESULTS):
        protocols = {json.dumps(result["protocol"], sort_keys=True) for result in group}
        draws = {result["figures"].get("-log p(x)", {}).get("how") for result in group}
        assert len(protocols) == len(draws) == len({r["study"] for r in group}) == 1
    assert sum(map(len, grouped(RESULTS))) == len(RESULTS) > 0


@pytest.mark.parametrize("entry", ["data", "split", "scaling", "binarisation", "seed"])
def test_another_protocol_has_a_table_of_its_own(entry):
    other = copy.deepcopy(RESULTS[0])
    other["protocol"][entry] = "another"
    assert len(grouped([RESULTS[0], other])) == 2
    assert markdown([RESULTS[0], other]).count("| model |") == 2


def test_another_number_of_draws_has_a_table_of_its_own():
    first = next(result for result in RESULTS if "-log p(x)" in result["figures"])
    other = copy.deepcopy(first)
    other["figures"]["-log p(x)"]["how"] = "importance-weighted, 7 draws"
    assert len(grouped([first, other])) == 2


def test_every_result_says_what_it_is_of():
    keys = {"study", "variant", "model", "optimiser", "batch_size", "epochs", "seed", "protocol"}
    keys |= {"figures", "versions", "commit", "processor", "parameters", "training_seconds"}
    for result in RESULTS:
        assert keys <= set(result)
        assert result["commit"]
        assert "+" not in result["commit"], "of a changed checkout: run it again on a commit"
        assert set(result["protocol"]) == {"data", "split", "scaling", "binarisation", "seed"}
        for figure in result["figures"].values():
            assert figure["how"]
            assert figure["unit"]


def test_a_published_figure_has_its_source_beside_it():
    tables = markdown(RESULTS)
    for result in RESULTS:
        for figure in result["figures"].values():
            if figure["published"]:
                assert f"{figure['published']['value']:g}" in tables
                assert figure["published"]["source"] in tables


def test_more_latents_come_to_a_better_bound_in_the_picture_of_kingma_and_welling():
    """On MNIST 3 < 5 < 10 < 20 latents, and 200 are no worse than 20 by more than overfitting."""
    final = {
        result["variant"]: result["curve"]["test_elbo"][-1]
        for result in RESULTS
        if result["study"] == "kingma"
    }
    if not final:
        pytest.skip("no curves yet")
    mnist = [final[f"mnist-{latents}"] for latents in (3, 5, 10, 20)]
    assert mnist == sorted(mnist)
