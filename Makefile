# Everything runs in .venv, which the first target that needs it builds from constraints.txt.
VENV   ?= .venv
EXTRAS ?= dev,docs,pretrained,joblib,slurm,workspaces
ARGS   ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Any Python from 3.11 on: make PYTHON=/path/to/python3.12 setup
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Test data are small: more threads only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
SWEEP  := arch=cat60,sum60,cat10,cat5,cat1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup format lint type test test-slow test-gpu check run sweep docs dist bench clean distclean
# The rooms that come with the project, unless CACHE names another prediction cache.
DATA   := $(if $(CACHE),data=nyu data.cache='$(CACHE)',data=rooms)

help:  ## print this list
	@awk 'BEGIN {FS = ":.*##"} /^[a-z-]+:.*##/ {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS='…' is passed on, CACHE=nyu.h5 names a prediction cache, EXTRAS=$(EXTRAS)"
	@echo "  and PYTHON=$(PYTHON) are what setup uses. For example:"
	@echo "    make sweep ARGS='seed=0,1,2'"
	@echo "    make sweep CACHE=nyu.h5 ARGS='seed=0,1,2 trainer=gpu'"
	@echo "    make test ARGS='tests/influence -k bootstrap'"

setup: $(STAMP)  ## make .venv with the package, editable, and exact versions of all it needs

# A virtual environment that was moved or whose Python is gone is made anew.
$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -c '' 2>/dev/null || { \
		test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found: make PYTHON=/path/to/python3 setup" >&2; exit 1; }; \
		$(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

format: $(STAMP)  ## rewrite the sources as ruff wants them
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP)  ## mypy, strict, on src
	$(BIN)/mypy

test: $(STAMP)  ## the tests and the examples in docstrings, but the slow ones
	$(PYTEST) --numprocesses logical --maxprocesses 8 --dist loadfile $(ARGS)

test-slow: $(STAMP)  ## the slow tests
	$(PYTEST) -m slow $(ARGS)

test-gpu: $(STAMP)  ## the tests that need a GPU
	$(PYTEST) -m gpu $(ARGS)

check: lint type test  ## what a change has to pass

run: $(STAMP) need-cache  ## one job, on the rooms or CACHE=nyu.h5; ARGS='arch=sum60 seed=1'
	$(BIN)/python run.py $(DATA) $(ARGS)

sweep: $(STAMP) need-cache  ## the five architectures and their comparison, likewise
	$(BIN)/python run.py -m $(SWEEP) $(DATA) $(ARGS)

.PHONY: need-cache
need-cache:
	@test -z "$(CACHE)" || test -f "$(CACHE)" || \
		{ echo "make: CACHE=$(CACHE): there is no such file" >&2; exit 2; }

docs: $(STAMP)  ## the site, into docs/_build/html; its notebooks show runs/rooms, which make sweep makes
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html $(ARGS)

dist: $(STAMP)  ## wheel and source distribution, into dist
	$(BIN)/python -m build

bench: $(STAMP)  ## measure ratios and the machine's limits into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove what tests and tools left, but no runs and no environment
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist docs/_build docs/studies docs/notebooks
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	rm -rf $(VENV)
