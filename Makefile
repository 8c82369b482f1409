# A thin wrapper: README.md gives the same commands for a system without make.
.DEFAULT_GOAL := help
.PHONY: help book pdf test test-fast test-nightly mutants durations lint notebooks pages matrix gpu address clean
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UNFINISHED := $(VENV)/.unfinished

# Notebooks and tests compute on one thread, so that what a notebook shows does not depend on the number of cores.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
# The tests start Python dozens of times: where nothing keeps the compiled modules, each start compiles torch again.
export PYTHONDONTWRITEBYTECODE :=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "The environment is $(VENV), made by the first command with $(PYTHON) (another one: PYTHON=python3.12). Delete it to set up again."

book: $(READY) ## build the pages and say which one to open
	$(BIN)/jupyter-book build . -q -n -W --keep-going

pdf: book ## the same as one file for paper, beside the pages
	$(BIN)/python book/_tools/pdf.py

# What a change of a layer or of linear algebra can break first: the theory, the layers, the matrices.
FAST := theory guards layers beyond linalg
PYTEST := $(BIN)/pytest -n 2 --dist loadscope

test: lint ## lint, types, package, notebooks, the book's build, its pages in a browser
	$(PYTEST)

test-fast: lint ## lint, theory, layers and linear algebra: less than a minute
	$(PYTEST) $(FAST:%=tests/%)

mutants: $(READY) ## wrong lines in the package alone: the test named for each has to find it
	$(PYTEST) tests/tools/test_mutants.py

test-nightly: lint ## everything, with more seeds and 500 examples where hypothesis draws them
	$(PYTEST) -m "" --hypothesis-profile nightly

durations: $(READY) ## everything once, and a record of how long each file took, by which the next runs are shared out
	$(PYTEST) --store-durations

lint: $(READY) ## ruff, mypy and the import contract alone
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

notebooks: $(READY) ## run every notebook of the book and store what it shows
	$(BIN)/python book/_tools/run_notebooks.py

pages: $(READY) ## write the pages that follow from other files, and the lists in README.md and CONTRIBUTING.md
	$(BIN)/python book/_tools/run_notebooks.py --pages

matrix: $(READY) ## the tests on other Pythons, versions, locales and checkouts: ROWS="cp1252 zip" for some, ROWS=list to see all
	$(BIN)/python book/_tools/matrix.py $(ROWS)

gpu: $(READY) ## tests, benchmarks and trainings on a CUDA device, 15 minutes in all: GPU="--minutes 60" for more
	$(BIN)/python book/_tools/gpu.py $(GPU)

# As it stands, for no make and no shell to run: its value is not expanded.
unexport URL
address: export ADDRESS := $(value URL)
address: $(READY) ## move the project to another public address: URL=https://github.com/someone/theirs
	@$(BIN)/python book/_tools/address.py "$$ADDRESS"

clean: ## remove what was built; the environment stays
	rm -rf _build build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.*' -prune -exec rm -rf {} +

$(READY): requirements.txt constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here. Name the Python to use: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "This needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) --version). Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV): some minutes, and 1.6 GB on disk, 5.5 GB where torch comes with CUDA (on Linux it does; see README.md) ..."
	@[ ! -e $(UNFINISHED) ] || rm -rf $(VENV)  # what an earlier attempt left is not to be trusted
	@[ -e $(VENV) ] || { mkdir -p $(VENV) && touch $(UNFINISHED); }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -r requirements.txt
	@rm -f $(UNFINISHED) && touch $@
