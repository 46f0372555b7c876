# `make demo` runs the main job, `make test` the checks; both set up .venv first. Needs Python 3.11 or later and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := fedjoint tests benchmarks examples
INPUTS := pyproject.toml constraints.txt
WORKERS ?= 2

export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1
export RAY_USAGE_STATS_ENABLED = 0
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint bench protocol constraints clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.demo  ## Four hospitals train one model, are valued, and are paid.
	$(BIN)/fedjoint simulate

test: lint  ## Everything that CI checks.
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.dev  ## Format, lint, types, and who may import whom.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## Every benchmark, with its table.
	set -e; for script in benchmarks/*.py; do $(BIN)/python $$script; done

protocol: $(VENV)/.dev  ## The code that the .proto files make.
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. $$(find fedjoint -name '*.proto')

constraints: $(VENV)/.dev  ## Write down the versions that are installed now.
	{ head -n 1 constraints.txt; $(PIP) freeze --exclude-editable | sed 's/+cpu//'; } > constraints.new
	mv constraints.new constraints.txt

clean:  ## Remove what these targets made, but no runs.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python found: install Python 3.11."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(INPUTS) | $(BIN)/python
	@echo "Installing fedjoint (torch, Flower, Opacus, TenSEAL ...): a few minutes, once."
	$(PIP) install -q -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(INPUTS) | $(BIN)/python
	@echo "Installing fedjoint with its development tools: a few minutes, once."
	$(PIP) install -q -c constraints.txt -e '.[demo,pdf,postgresql,psi,dev]'
	@touch $(VENV)/.demo $@
