# Needs GNU make, a POSIX shell and Python 3.11+; everything else goes into .venv, with the versions of constraints.txt.
#   make demo     the recipe on a bundled data set, ending in a report and a model
#   make test     every test and doctest            make soak   the same with full counts (long)
#   make check    format, lint, types, house rules, generated docs
#   make format   format and mend what can be mended     make docs   write the generated pages
#   make bench    every benchmark                   make clean  remove .venv and caches, never runs/
PYTHON ?= python3
WORKERS ?= 2
MINUTES ?= 30
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
MADE := $(VENV)/made

.PHONY: demo test soak check format docs bench clean
.DELETE_ON_ERROR:

# The stamps say what was installed from which files, so a second call installs nothing.
$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "whet needs Python 3.11 or newer, got '$$($(PYTHON) --version 2>&1)'." \
	    "Name another one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: pyproject.toml constraints.txt | $(MADE)
	@echo "installing whet and what it stands on into $(VENV) (some minutes, once)"
	$(PIP) install -qq --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(MADE)
	@echo "installing whet, what it stands on and the tools for its tests into $(VENV) (some minutes, once)"
	$(PIP) install -qq --constraint constraints.txt --editable '.[dev]'
	$(PIP) install -qq --constraint constraints.txt --no-deps fastai
	@touch $@ $(VENV)/runtime

$(VENV)/bench: pyproject.toml constraints.txt | $(MADE)
	@echo "installing whet, the tools for its tests and the peers of its benchmarks into $(VENV) (some minutes, once)"
	$(PIP) install -qq --constraint constraints.txt --editable '.[dev,bench]'
	$(PIP) install -qq --constraint constraints.txt --no-deps fastai
	@touch $@ $(VENV)/dev $(VENV)/runtime

demo: $(VENV)/runtime
	$(BIN)/whet run digits --budget 60s

test: $(VENV)/dev
	$(BIN)/python -m pytest -n $(WORKERS) --durations=10 $(PYTEST_ARGS)

soak: $(VENV)/dev
	$(BIN)/python -m pytest -n $(WORKERS) --durations=25 -m "" $(PYTEST_ARGS)
	$(BIN)/python tests/faults/stress.py --minutes $(MINUTES)

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/house/house_rules.py
	$(BIN)/python docs/generate.py --check

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev
	$(BIN)/python docs/generate.py

bench: $(VENV)/bench
	@set -e; for program in benchmarks/*.py benchmarks/distributed/*.py; do echo "== $$program"; $(BIN)/python "$$program"; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
