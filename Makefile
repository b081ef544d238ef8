# Each target makes the environment it needs, once, and again when its versions change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable

# TensorFlow reports on the machine's devices at each start; warnings still show.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo app test lint format bench bench-feed bench-workers bench-serving bench-page results clean

help: ## What there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/demo ## Train on real images of digits and write runs/demo
	$(BIN)/keras-vae train --data digits --run runs/demo --overwrite

app: $(VENV)/app ## Open the page on the newest of runs, or train one in front of you
	$(BIN)/keras-vae app

# TensorFlow keeps what it has compiled until its process ends: the tests take turns, or two
# processes would fill 24 GB.
PARTS := '[a-e]*/' '[f-o]*/' '[p-r]*/' '[s-z]*/' 'test_[a-l]*.py' 'test_[m-z]*.py'

test: lint ## Linter, formatter, types, tests
	@status=0; for part in $(PARTS); do \
		$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup tests/$$part || status=1; \
	done; exit $$status

lint: $(VENV)/dev ## Linter, formatter, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev ## Speed and memory against PyTorch, JAX, Pythae and others, in turn: an hour
	$(BIN)/python tests/benchmarks/bench.py --start --grow --json .bench/speed.json

bench-feed: $(VENV)/dev ## What the checks of the data cost, and images per second
	$(BIN)/python tests/benchmarks/feed.py

bench-workers: $(VENV)/dev ## Two workers on a core each, against one process on one core
	$(BIN)/python tests/benchmarks/workers.py

bench-serving: $(VENV)/dev ## Latency and rows per second of a served model
	$(BIN)/python tests/benchmarks/serving.py

bench-page: $(VENV)/dev ## Milliseconds until the page answers, in a browser
	$(BIN)/python tests/benchmarks/page.py

results: $(VENV)/dev ## Write the README's tables from tests/benchmarks/results
	$(BIN)/python tests/benchmarks/results_table.py
	$(BIN)/python tests/benchmarks/speed_table.py

clean: ## Delete the environment and the caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("keras_vae needs Python 3.11 to 3.13. Received: %s. Name one: make PYTHON=python3.11" % sys.version.split()[0] if not (3, 11) <= sys.version_info[:2] <= (3, 13) else 0)'
	@echo "Making $(VENV) and installing the packages: once, a few minutes."
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[serving]"
	@touch $@

$(VENV)/app: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[app]"
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) ".[dev]"
	@touch $@ $(VENV)/app $(VENV)/demo
