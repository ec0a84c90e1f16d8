# `make help` lists what can be done. Everything runs in `.venv`, which is made on first use and
# made again only when `pyproject.toml` or `constraints.txt` changes.
#
#   make test PYTHON=python3.13               another Python
#   make test CONSTRAINTS=                    the newest versions instead of those of a file
#   make demo TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
#                                             how to install torch: arguments of `pip install`

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
TORCH ?= torch
WORKERS ?= 2

# One thread a process: the networks of the tests are too small to gain from a second one, and
# `WORKERS` processes fill the cores already. With `--dist worksteal` each process runs tests that
# follow each other, which share fitted estimators.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

# Without compiled files each of the processes that tests start compiles the package, and each
# worker rewrites the assertions of all tests.
unexport PYTHONDONTWRITEBYTECODE

COMMA := ,
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(SCRIPTS)
STAMP := .venv/.installed
OLDEST := .venv-oldest
DIST := .venv-dist
BENCH_STAMP := .venv/.bench-installed
DOCS_STAMP := .venv/.docs-installed
PIP := -m pip install --quiet --disable-pip-version-check
PINS := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

# One after the other, with the threads that each library takes by default.
BENCHMARKS := time_to_quality classic small_fit search precision inference growth larger_than_memory
BENCH := env -u OMP_NUM_THREADS -u OPENBLAS_NUM_THREADS -u MKL_NUM_THREADS $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-dist coverage lint bench bench-report gpu docs docs-test dist clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s%s\n", $$1, $$2 }' Makefile

demo: $(STAMP)  ## PCA against an autoencoder on the digits: a table and a picture
	@MPLBACKEND=Agg $(BIN)/python examples/plot_pca_vs_autoencoder.py
	@echo "picture: pca_vs_autoencoder.png"

test: lint  ## linters, types, tests and doctests
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

coverage: $(STAMP)  ## the tests, and the lines that they do not run, in coverage.xml too
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report=term --cov-report=xml

# These depend on the versions of the libraries; `make test-oldest TESTS=` runs all tests.
TESTS ?= tests/test_common.py tests/test_base.py tests/test_inference.py \
	tests/test_shared_parameters.py tests/test_plain.py tests/test_fit.py tests/test_batched_epochs.py \
	tests/test_safetensors.py tests/test_displays.py
OLD_WARNINGS := -W ignore::pytest.PytestRemovedIn10Warning
test-oldest: $(OLDEST)/.installed  ## the contract with the oldest supported versions
	@$(OLDEST)/$(SCRIPTS)/python -m pytest -q -n $(WORKERS) --dist worksteal $(OLD_WARNINGS) $(TESTS)

test-dist: dist  ## what the wheel and the source distribution install
	@.ci/test_dist $(BIN)/python $(DIST) dist

lint: $(STAMP)  ## linters and types
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary

bench: $(BENCH_STAMP)  ## speed and memory beside other libraries, and codes beside PCA's (hours)
	@for name in $(BENCHMARKS); do $(BENCH) benchmarks/$$name.py || exit 1; done
	@$(BIN)/python benchmarks/never_worse.py
	@$(BIN)/python benchmarks/downstream.py
	@$(BIN)/python benchmarks/downstream_page.py
	@$(BIN)/python benchmarks/report.py

bench-report: $(BENCH_STAMP)  ## docs/performance.md from the results that are there
	@$(BIN)/python benchmarks/report.py

# `make gpu GPU_PYTHON=python3` uses an environment that has torch for the GPU already.
GPU_PYTHON ?= $(BIN)/python
gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(STAMP))  ## tests and figures of a GPU (8 minutes)
	@SCIPY_ARRAY_API=1 $(GPU_PYTHON) -m pytest -q -m gpu tests/test_gpu.py tests/test_array_api.py
	@PYTHONPATH=. SCIPY_ARRAY_API=1 $(GPU_PYTHON) benchmarks/gpu.py

docs: $(DOCS_STAMP)  ## the pages, in docs/_build/html
	@MPLBACKEND=Agg $(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

docs-test: docs  ## the pages in a browser: links, widths, the search (needs Chromium and its driver)
	@SKAE_PAGES=docs/_build/html $(BIN)/python -m pytest -q tests/test_pages.py

dist: $(DIST)/.installed  ## the wheel and the source distribution, in dist
	@rm -rf dist
	@$(DIST)/$(SCRIPTS)/python -m build --outdir dist . > $(DIST)/build.log || { cat $(DIST)/build.log; exit 1; }
	@$(DIST)/$(SCRIPTS)/twine check --strict dist/*

clean:  ## remove the environments and what tools left behind
	rm -rf .venv $(OLDEST) $(DIST) dist docs/_build docs/api docs/gallery coverage.xml .coverage \
		.mypy_cache .pytest_cache .ruff_cache

# $(call install,FOLDER,CONSTRAINTS,TORCH,EXTRAS) makes an environment. torch comes first, by itself:
# its index may lack the pinned versions of other packages.
define install
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "skae needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo "installing into $(1) (a few minutes the first time)"
	@$(PYTHON) -m venv $(1)
	@cat $(2) < /dev/null | grep '^torch==' > $(1)/torch.txt || true
	@$(1)/$(SCRIPTS)/python $(PIP) -c $(1)/torch.txt $(3)
	@$(1)/$(SCRIPTS)/python $(PIP) $(if $(2),-c $(2)) -e ".[$(4)]"
endef

$(STAMP): pyproject.toml $(CONSTRAINTS)
	$(call install,.venv,$(CONSTRAINTS),$(TORCH),test$(COMMA)plot$(COMMA)onnx$(COMMA)save)
	@touch $@

# The versions of `constraints-oldest.txt`, and of `constraints.txt` for all other packages; torch
# from the index that `TORCH` names, if it names one. The oldest torch for Linux is a download of
# 2.6 GB unless the index has CPU builds: `OLDEST_TORCH=torch==2.13.0` tests another version.
OLDEST_TORCH ?= torch $(filter-out torch%,$(TORCH))
$(OLDEST)/.installed: pyproject.toml constraints.txt constraints-oldest.txt
	@mkdir -p $(OLDEST)
	@echo '$(filter torch==%,$(OLDEST_TORCH))' | cat - constraints-oldest.txt constraints.txt | \
		awk -F '==' '!known[$$1]++' > $(OLDEST)/constraints.txt
	$(call install,$(OLDEST),$(OLDEST)/constraints.txt,$(OLDEST_TORCH),test$(COMMA)save)
	@touch $@

# Not for the tests: these come from `.venv`.
$(DIST)/.installed: $(STAMP)
	@$(PYTHON) -m venv $(DIST)
	@$(DIST)/$(SCRIPTS)/python $(PIP) $(PINS) build twine
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@echo "installing the libraries to compare with"
	@$(BIN)/python $(PIP) $(PINS) -e ".[bench]"
	@touch $@

$(DOCS_STAMP): $(STAMP)
	@echo "installing Sphinx"
	@$(BIN)/python $(PIP) $(PINS) -e ".[docs]"
	@touch $@
