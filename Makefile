# Every target creates the virtual environment .venv if there is none.
# PYTHON=python3.12 make test   uses another Python (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

# Many tests start interpreters, so compiled modules are kept. pip compiles nothing, because only one
# installed module in ten is imported.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint test-fast test-coverage test-optimized test-all test-pipelines sweep lab mutants bench docs pictures dist format clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.run keys/keyring.json  ## Make a key in keys/, then seal, load, refuse and audit real files
	@$(BIN)/pickleseal demo --keyring keys

keys/keyring.json: | $(VENV)/.run
	@echo "Making a key in keys/"
	@$(BIN)/pickleseal keygen --keyring keys --note "made by make demo"

# The linters leave a core idle, which compiles the tests meanwhile; otherwise each test worker would.
test: $(VENV)/.all  ## Lint, check types and run the tests
	@$(MAKE) --no-print-directory -j2 lint compiled
	@$(MAKE) --no-print-directory test-fast

compiled: $(VENV)/.test
	@$(PYTEST) -q --collect-only > /dev/null || true

lint: $(VENV)/.check  ## Check style, types and docstrings
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && echo "style: fine"
	@$(BIN)/mypy --no-error-summary && echo "types: fine"
	@$(BIN)/python tests/test_docstrings.py && echo "docstrings: fine"

test-fast: $(VENV)/.test  ## Run only the tests; ARGS="-k name" selects some
	@$(PYTEST) -n auto --dist worksteal $(ARGS)

# Coverage makes the tests take half as long again, mostly in the processes that they start.
test-coverage: $(VENV)/.test  ## Run the tests and measure their coverage
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m coverage run --rcfile=pyproject.toml -m pytest -n auto --dist worksteal $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report --format=total > $(VENV)/coverage-total \
	  && echo "coverage: $$(cat $(VENV)/coverage-total) % of lines and branches" \
	  || { $(BIN)/python -m coverage report; exit 1; }

# -O would not reach the workers of pytest-xdist; the variable does.
test-optimized: $(VENV)/.test  ## Run the tests without assert statements: no guard may be one
	@PYTHONOPTIMIZE=1 $(PYTEST) -n auto --dist worksteal -p no:cacheprovider \
	  -W "ignore:assertions not in test modules" $(ARGS)

# --dist loadfile: the tests of one file run in sequence, since some need much memory or build the site.
sweep: $(VENV)/.test $(VENV)/.frameworks $(VENV)/.clusters $(VENV)/.clouds $(VENV)/.torch $(VENV)/.docs $(VENV)/.dist  ## Run the long tests, and the tests of queues, caches and clusters
	@AZURITE=$(abspath $(VENV))/azurite/node_modules/.bin \
	 READERS_TORCH=$$(ls $(abspath $(VENV))/torch/bin/python 2>/dev/null) $(PYTEST) -m sweep -n auto --dist loadfile --timeout 1800 $(ARGS)

test-pipelines: $(VENV)/.pipelines  ## Run the tests of MLflow, Kedro, Prefect, Dagster and Airflow
	@for group in pipelines airflow; do \
	  [ ! -x $(VENV)/$$group/bin/python ] || $(VENV)/$$group/bin/python -m pytest -W ignore -p no:cacheprovider \
	    -n auto --dist loadfile --timeout 600 tests/pipelines \
	    "tests/test_docs.py::test_every_block_of_a_document_runs[docs/how-to/use-in-pipelines.md]" $(ARGS) || exit 1; \
	done

lab: $(VENV)/.lab  ## Inject faults for 18 minutes: kills, failed calls, full disks, fuzzing
	@PYTHONPATH=tests $(BIN)/python -m lab $(ARGS)

mutants: $(VENV)/.test  ## Switch off each guard in turn: a test must fail; ARGS="--share 0.1" tries some
	@PYTHONPATH=tests $(BIN)/python -m mutants $(ARGS)

bench: $(VENV)/.bench $(VENV)/.scanners  ## Compare its speed with other tools; ARGS=--quick takes seconds
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.docs  ## Build the documentation site in dist/site; fail on broken links
	@$(BIN)/python -m sphinx -W --keep-going -q -d $(VENV)/doctrees docs dist/site
	@echo "the site: dist/site/index.html"

pictures: $(VENV)/.docs $(VENV)/.test  ## Redraw the pictures of the documentation
	@$(BIN)/python docs/pictures/draw.py

# Each other installed CPython from 3.11 on gets its own virtual environment. The newest one runs
# without asserts, the next one measures coverage; if there are none, the default Python does both.
test-all:  ## Run the tests on every other installed Python, without asserts and with coverage
	@set -e; targets="test-optimized test-coverage"; \
	default=$$($(PYTHON) -c 'import sys; print(sys.version_info.minor)'); \
	for minor in 15 14 13 12 11; do \
	  if [ $$minor = $$default ]; then continue; fi; \
	  for python in $$(command -v python3.$$minor 2>/dev/null) \
	      $$(ls -d $$HOME/.pyenv/versions/3.$$minor.*/bin/python 2>/dev/null); do \
	    "$$python" -c '' 2>/dev/null || continue; \
	    set -- $$targets test-fast; target=$$1; shift; targets="$${*%test-fast}"; \
	    echo "== $$target: $$("$$python" -VV)"; \
	    $(MAKE) --no-print-directory $$target PYTHON="$$python" VENV=.venv-3.$$minor \
	      ARGS='-m "not sweep and not once" $(ARGS)'; \
	    break; \
	  done; \
	done; \
	for target in $$targets; do $(MAKE) --no-print-directory $$target; done

test-lowest:  ## Run the tests with the lowest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory VENV=.venv-lowest .venv-lowest/.lowest
	@$(MAKE) --no-print-directory test-fast VENV=.venv-lowest \
	  ARGS='-m "not sweep and not once" -W "ignore:scipy.optimize:DeprecationWarning" $(ARGS)'

# Every file in the archives gets the time of the commit, so that builds are reproducible.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
dist: $(VENV)/.dist  ## Build a release in dist/: wheel, source archive and SBOM
	@rm -f dist/pickleseal-*.whl dist/pickleseal-*.tar.gz dist/pickleseal-*.cdx.json
	@$(BIN)/python -m build --no-isolation
	@$(BIN)/python -m twine check --strict dist/pickleseal-*.whl dist/pickleseal-*.tar.gz
	@$(PYTHON) -m venv --clear $(VENV)/shipped
	@$(VENV)/shipped/bin/python -m pip -qq --disable-pip-version-check install --no-compile dist/pickleseal-*.whl
	@$(VENV)/shipped/bin/python -m pip -qq --disable-pip-version-check uninstall --yes pip setuptools
	@version=$$($(VENV)/shipped/bin/pickleseal --version | sed 's/.* //'); \
	sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > $(VENV)/shipped/pyproject.toml; \
	$(BIN)/cyclonedx-py environment --pyproject $(VENV)/shipped/pyproject.toml --mc-type library \
	  --output-reproducible --output-file dist/pickleseal-$$version.cdx.json $(VENV)/shipped/bin/python
	@rm -rf $(VENV)/shipped

.PHONY: compiled vectors test-lowest
vectors: $(VENV)/.run  ## Pack the test vectors of the format in dist/, reproducibly
	@$(BIN)/python tests/make_vectors.py --archive dist/pickleseal-vectors-1.tar

format: $(VENV)/.check  ## Format the code
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

clean:  ## Remove everything that was built, but no key
	@rm -rf .venv .venv-* .mutants dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "pickleseal needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu, apt install python3-venv"; rm -rf $(VENV); exit 1; }
	@$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.run: $(VENV)/.venv pyproject.toml
	@echo "Installing pickleseal and its dependencies"
	@$(PIP) install --no-compile --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.venv pyproject.toml
	@echo "Installing pickleseal and the dependencies of its tests"
	@$(PIP) install --no-compile --editable . --group test
	@touch $(VENV)/.run $@

# One call, because pip is slow to start.
$(VENV)/.all: $(VENV)/.venv pyproject.toml
	@echo "Installing pickleseal and the dependencies of its tests and linters"
	@$(PIP) install --no-compile --editable . --group test --group check
	@touch $(VENV)/.run $(VENV)/.test $(VENV)/.check $@

$(VENV)/.lowest: $(VENV)/.venv pyproject.toml
	@echo "Installing the lowest supported versions of the dependencies"
	@$(PIP) install packaging
	@$(BIN)/python tests/floors.py > $(VENV)/floors.txt
	@$(PIP) install --no-compile --constraint $(VENV)/floors.txt --editable . --group test
	@touch $(VENV)/.run $(VENV)/.test $@

$(VENV)/.check: $(VENV)/.test
	@echo "Installing the linters and the type checker"
	@$(PIP) install --no-compile --group check
	@touch $@

$(VENV)/.dist: $(VENV)/.test
	@echo "Installing the tools that build and check a release"
	@$(PIP) install --no-compile --group dist
	@touch $@

$(VENV)/.lab: $(VENV)/.test
	@echo "Installing the dependencies of the fault lab"
	@$(PIP) install --group lab || echo "There is no atheris for this Python: the lab fuzzes without it"
	@touch $@

$(VENV)/.frameworks: $(VENV)/.test
	@echo "Installing the frameworks that pickleseal has adapters for"
	@$(PIP) install --no-compile --group frameworks
	@touch $@

$(VENV)/.clusters: $(VENV)/.test
	@echo "Installing Dask and Ray"
	@$(PIP) install --no-compile --group clusters || echo "Dask and Ray could not be installed: clusters are not tested"
	@touch $@

# npm's Azurite is the only emulator of Azure; without npm, Azure is not tested.
$(VENV)/.clouds: $(VENV)/.test
	@echo "Installing the packages and emulators of Google Cloud and Azure"
	@$(PIP) install --no-compile --group clouds || echo "They could not be installed: Google Cloud and Azure are not tested"
	@! command -v npm > /dev/null || npm install --silent --no-fund --no-audit --prefix $(VENV)/azurite azurite \
	  || echo "Azurite could not be installed: Azure is not tested"
	@touch $@

# The scanners need other versions of the dependencies, so they get their own environment.
$(VENV)/.scanners: $(VENV)/.venv pyproject.toml
	@$(PYTHON) -m venv $(VENV)/scanners && $(VENV)/scanners/bin/python -m pip -qq install --upgrade 'pip>=25.1' \
	  && $(VENV)/scanners/bin/python -m pip -qq install --group scanners \
	  || echo "Not all scanners could be installed: the report lists the missing ones"
	@touch $@

# torch is large, and only one long test uses it.
$(VENV)/.torch: $(VENV)/.run pyproject.toml
	@$(PYTHON) -m venv $(VENV)/torch && $(VENV)/torch/bin/python -m pip -qq install --upgrade 'pip>=25.1' \
	  && $(VENV)/torch/bin/python -m pip -qq install --editable . --group torch \
	  || { echo "torch could not be installed: its readers are not tested"; rm -rf $(VENV)/torch; }
	@touch $@

# The pipeline frameworks install hundreds of packages, and Airflow needs other versions than the rest.
$(VENV)/.pipelines: $(VENV)/.run pyproject.toml
	@for group in pipelines airflow; do \
	  echo "Installing the dependencies of the $$group tests"; \
	  $(PYTHON) -m venv $(VENV)/$$group && $(VENV)/$$group/bin/python -m pip -qq install --upgrade 'pip>=25.1' \
	    && $(VENV)/$$group/bin/python -m pip -qq install --no-compile --editable . --group $$group \
	    || { echo "$$group could not be installed: it is not tested"; rm -rf $(VENV)/$$group; }; \
	done
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	@echo "Installing the tools that build the documentation"
	@$(PIP) install --no-compile --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@echo "Installing the tools that the benchmark compares"
	@$(PIP) install --group bench || echo "Not all could be installed: the report lists the missing ones"
	@touch $@
