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
OLDEST := .venv-oldest
BENCH_STAMP := .venv/.bench-installed
DOCS_STAMP := .venv/.docs-installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# One after the other, with the threads that each library takes by default.
BENCHMARKS := time_to_quality classic small_fit search precision inference growth larger_than_memory
BENCH := env -u OMP_NUM_THREADS -u OPENBLAS_NUM_THREADS -u MKL_NUM_THREADS $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest lint bench bench-report docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s%s\n", $$1, $$2 }' Makefile

demo: $(STAMP)  ## PCA against an autoencoder on the digits: a table and a picture
	@MPLBACKEND=Agg $(BIN)/python examples/plot_pca_vs_autoencoder.py

test: lint  ## linters, types, tests and doctests
	@$(BIN)/python -m pytest -q -n $(WORKERS)

# These depend on the version of scikit-learn; `make test-oldest TESTS=` runs all tests.
TESTS ?= tests/test_common.py tests/test_base.py tests/test_inference.py \
	tests/test_shared_parameters.py tests/test_plain.py tests/test_fit.py
OLD_WARNINGS := -W ignore::pytest.PytestRemovedIn10Warning
test-oldest: $(OLDEST)/.installed  ## the contract with the oldest scikit-learn that is supported
	@$(OLDEST)/bin/python -m pytest -q -n $(WORKERS) $(OLD_WARNINGS) $(TESTS)

lint: $(STAMP)  ## linters and types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary

bench: $(BENCH_STAMP)  ## speed and memory beside other libraries, and test error over PCA's (hours)
	@for name in $(BENCHMARKS); do $(BENCH) benchmarks/$$name.py || exit 1; done
	@$(BIN)/python benchmarks/never_worse.py
	@$(BIN)/python benchmarks/report.py

bench-report: $(BENCH_STAMP)  ## docs/performance.md from the results that are there
	@$(BIN)/python benchmarks/report.py

docs: $(DOCS_STAMP)  ## the pages, in docs/_build/html
	@MPLBACKEND=Agg $(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:  ## remove the environment and what tools left behind
	rm -rf .venv $(OLDEST) docs/_build docs/api docs/gallery .mypy_cache .pytest_cache .ruff_cache

# torch comes first, pinned by `constraints.txt`: an unpinned one may bring gigabytes of CUDA
# libraries to a machine without a GPU.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "skae needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo "installing into .venv (a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(PIP) torch
	@$(PIP) -e ".[test,plot,onnx,save]"
	@touch $@

$(OLDEST)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(OLDEST)"
	@$(PYTHON) -m venv $(OLDEST)
	@sed 's/^scikit-learn==.*/scikit-learn==1.6.1/' constraints.txt > $(OLDEST)/constraints.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c $(OLDEST)/constraints.txt torch
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c $(OLDEST)/constraints.txt -e ".[test,save]"
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@echo "installing the libraries to compare with"
	@$(PIP) -e ".[bench]"
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@echo "installing Sphinx"
	@$(PIP) -e ".[docs]"
	@touch $@
