# make demo | make test | make check | make test-long | make bench-smoke
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check docs clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP) ## set up, and walk the main job on generated data (writes demo/)
	$(BIN)/granum demo demo --overwrite

test: $(STAMP) ## set up, and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 10

test-long: $(STAMP) ## more examples for the property tests, and the long ones
	GRANUM_TEST_LONG=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 20

check: $(STAMP) ## lint, types, import direction, sizes, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_imports.py
	$(BIN)/python tools/format_docs.py --check

docs: $(STAMP) ## write the generated pages of docs/formats
	$(BIN)/python tools/format_docs.py

clean: ## remove what was built
	rm -rf $(VENV) demo build *.egg-info
