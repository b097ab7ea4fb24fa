# make run: the server on port 8888; make test: every test. Each sets up what it needs.
VENV ?= .venv
PYTHON ?= python3
PORT ?= 8888
DATA ?= evcharge-data
STORAGE ?=
TESTS ?= tests

BIN = $(VENV)/bin
PIP = $(BIN)/pip install --quiet --disable-pip-version-check
PACKAGING = setup.cfg pyproject.toml

.PHONY: help run test coverage lint format bench docs changelog clean

help:
	@echo "make run       run the server (PORT=$(PORT) DATA=$(DATA) STORAGE=files)"
	@echo "make test      run every test (TESTS=$(TESTS) for some of them)"
	@echo "make coverage  run every test and show which lines none of them reaches"
	@echo "make lint      check style and types"
	@echo "make format    put the style right"
	@echo "make bench     measure what a request costs (BENCH=options of benchmarks/requests.py)"
	@echo "make docs      build the documentation into build/docs"
	@echo "make changelog show the news of the next release"
	@echo "make clean     remove what the others made, but no data"

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(PACKAGING) $(VENV)/.made
	$(PIP) -e .
	@touch $@

$(VENV)/.test: $(PACKAGING) $(VENV)/.made
	$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.lint: $(PACKAGING) $(VENV)/.made
	$(PIP) -e '.[test,lint]'
	@touch $@

$(VENV)/.docs: $(PACKAGING) $(VENV)/.made
	$(PIP) -e '.[docs,release]'
	@touch $@

run: $(VENV)/.run
	@exec $(BIN)/twistd --nodaemon --pidfile= evcharge --port '$(PORT)' --data '$(DATA)' \
	    $(if $(STORAGE),--storage '$(STORAGE)')

test: $(VENV)/.test
	$(BIN)/python -Wall -m twisted.trial $(TESTS)

coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m twisted.trial $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.run
	$(BIN)/python benchmarks/requests.py $(BENCH)

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W docs build/docs

changelog: $(VENV)/.docs
	$(BIN)/towncrier build --draft

clean:
	rm -rf $(VENV) build dist _trial_temp* .coverage* .hypothesis .mypy_cache .ruff_cache *.egg-info
