# Everything runs inside .venv, which each target sets up by itself when the lock has changed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PRESET ?= quick
LOCK ?= requirements.lock
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
DATA ?=
CONFIG ?=
SWEEP ?= folds
PROFILE ?=
# As many trainings at a time as there are GPUs; without any, one.
GPUS ?= $(shell n=$$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true); echo $$((n ? n : 1)))

VENV := .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
export PATH := $(BIN):$(PATH)
export PYTHONHASHSEED := 0

.PHONY: help
help: ## Show this help
	@echo "make TARGET [VARIABLE=value ...]"
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  %-9s %s\n", $$1, $$2}'
	@echo
	@echo "  PRESET=quick   a file of params/: $(basename $(notdir $(wildcard params/*.yaml)))"
	@echo "  DATA=folder    real images (kaggle: found on Kaggle); left out: synthetic images"
	@echo "  CONFIG='a=1'   notebook parameters that take precedence over the preset"
	@echo "  PYTHON=python3 a Python from 3.11 to 3.13 for .venv"
	@echo "  LOCK=file      requirements.lock, or requirements-gpu.lock for NVIDIA GPUs"
	@echo "  CORES=number   cores for the pipeline (all)"
	@echo "  SWEEP=folds    for make sweep, a file of params/sweeps: $(basename $(notdir $(wildcard params/sweeps/*.yaml)))"
	@echo "  GPUS=number    for make sweep: trainings at a time on this machine (its GPUs, or 1)"
	@echo "  PROFILE=name   for make sweep, a cluster's profile: $(notdir $(wildcard profiles/*))"
	@echo
	@echo "Examples:"
	@echo "  make run"
	@echo "  make run PRESET=best DATA=~/kaggle/hpa LOCK=requirements-gpu.lock"
	@echo "  make run CONFIG='seed=1 all_views=false'"
	@echo "  make sweep SWEEP=folds DATA=~/kaggle/hpa PROFILE=slurm"
	@echo "  make test TESTS=tests/test_losses.py"

$(STAMP): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python %d.%d can not run this project: name one from 3.11 to 3.13, make ... PYTHON=python3.12" % v)'
	@echo "Setting up $(VENV) from $(LOCK)"
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV); \
	  uv pip sync --quiet --python $(VENV) --require-hashes $(LOCK); \
	  uv pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .; \
	else \
	  $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@touch $@

.PHONY: run
run: $(STAMP) ## Run the four notebooks and publish reports/index.html
	@snakemake --cores $(CORES) --rerun-incomplete --quiet rules progress host reason --config preset=$(PRESET) $(if $(DATA),data="$(if $(filter kaggle,$(DATA)),kaggle,$(abspath $(DATA)))") $(CONFIG)
	@echo "Open $(abspath $(or $(HPA_REPORTS),reports))/index.html"

.PHONY: sweep
sweep: $(STAMP) ## Train all members of a sweep, here or on a cluster, and report them
	@snakemake --snakefile sweep.smk $(if $(PROFILE),--workflow-profile profiles/$(PROFILE),--cores $(CORES) --resources gpu=$(GPUS) --keep-going --retries 2 --rerun-incomplete) \
	  --config sweep=$(SWEEP) $(if $(filter-out undefined default file,$(origin PRESET)),preset=$(PRESET)) $(if $(DATA),data="$(if $(filter kaggle,$(DATA)),kaggle,$(abspath $(DATA)))") $(CONFIG)
	@echo "Open $(abspath $(or $(HPA_REPORTS),reports))/index.html"

.PHONY: test
test: $(STAMP) ## Run the whole test suite, notebooks included
	@pytest $(TESTS)

.PHONY: lab
lab: $(STAMP) ## Open JupyterLab on the notebooks
	@jupyter lab notebooks

.PHONY: publish
publish: $(STAMP) ## Render all runs as reports/, a folder for any web server
	@hpa publish

.PHONY: bench
bench: $(STAMP) ## Run the benchmarks, one after the other
	@for script in benchmarks/*.py; do echo "== $$script"; python "$$script"; done

.PHONY: lint
lint: $(STAMP) ## Check format and style
	@ruff check .
	@ruff format --check .

.PHONY: lock
lock: ## Resolve the dependencies anew and write the locks (needs uv)
	@for extra in "" gpu; do \
	  uv pip compile pyproject.toml --quiet --upgrade --extra dev $${extra:+--extra $$extra} \
	    --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	    --no-header --no-emit-index-url --output-file requirements$${extra:+-$$extra}.lock; \
	done

.PHONY: clean
clean: ## Remove the environment, caches and pipeline state; keep runs and reports
	@rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache .hypothesis data/cache *.egg-info
