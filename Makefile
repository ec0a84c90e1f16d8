# `make help` lists what can be done. Everything runs in `.venv`, which is made on first use and
# made again only when `pyproject.toml` or `constraints.txt` changes.

PYTHON ?= python3
WORKERS ?= 2

# One thread a process: the networks of the tests are too small to gain from a second one, and
# `WORKERS` processes fill the cores already.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s%s\n", $$1, $$2 }' Makefile

demo: $(STAMP)  ## PCA against an autoencoder on the digits: a table and a picture
	@MPLBACKEND=Agg $(BIN)/python examples/plot_pca_vs_autoencoder.py

test: lint  ## linters, types, tests and doctests
	@$(BIN)/python -m pytest -q -n $(WORKERS)

lint: $(STAMP)  ## linters and types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary

bench: $(STAMP)  ## test error over PCA's on many data sets
	@$(BIN)/python benchmarks/never_worse.py

clean:  ## remove the environment and what tools left behind
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

# torch comes first, pinned by `constraints.txt`: an unpinned one may bring gigabytes of CUDA
# libraries to a machine without a GPU.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "skae needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo "installing into .venv (a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(PIP) torch
	@$(PIP) -e ".[test,plot]"
	@touch $@
