# `make demo` and `make test` need nothing but Python 3.11+ and make: each sets up .venv by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# pytest-xdist: two workers more than cores, since tests wait for servers and disks half of the time;
# `make test WORKERS=0` runs in one process.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
# Trust what the machine trusts: many networks have a certificate authority of their own.
export UV_SYSTEM_CERTS = 1

.PHONY: help setup demo bench test lint format types layers docs check campaign kills lock clean
help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the locked dependencies

$(READY): pyproject.toml requirements/bootstrap.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'error: Python 3.11 or newer is needed' >&2; echo 'hint: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt requirements/bootstrap.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Tell the whole story on an embedded PostgreSQL
	$(BIN)/alexandria demo $(ARGS)

test: $(READY) ## Run the tests and print the coverage
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report=term $(ARGS)

bench: $(READY) ## Measure against the stock tools; ARGS="--size 0.5 --only snapshots"
	$(BIN)/python -m bench $(ARGS)

campaign: $(READY) ## Run the long kill-point and fuzzing runs
	$(BIN)/pytest -n $(WORKERS) -m campaign $(ARGS)

kills: $(READY) ## Run every kill point, those of the campaign and those of the tests
	$(BIN)/pytest -n $(WORKERS) -m "campaign or not campaign" -k kill $(ARGS)

lint: $(READY) ## Check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(READY) ## Mend style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(READY) ## Check types
	$(BIN)/mypy

layers: $(READY) ## Check that imports run downward
	$(BIN)/lint-imports

docs: $(READY) ## Write docs/reference/ from the code
	$(BIN)/python docs/generate.py

check: test lint types layers ## Everything that CI runs

lock: $(READY) ## Lock the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header requirements/bootstrap.in --output-file requirements/bootstrap.txt
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header pyproject.toml --all-extras --group dev --output-file requirements/dev.txt

clean: ## Remove what the targets made
	rm -rf $(VENV) .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
