# Everything happens in .venv, which the first target makes. Nothing is needed but Python 3.11 or newer.

VENV := .venv
BIN  := $(VENV)/bin

# The first interpreter that is new enough and able to make a virtual environment. Another: make PYTHON=/path/to/python3
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(SUITABLE)' >/dev/null 2>&1 && { echo $$python; break; }; done)
endif

define NO_PYTHON
syncer needs Python 3.11 or newer with its modules venv and ensurepip.
  Debian, Ubuntu   apt install python3 python3-venv
  Fedora           dnf install python3
  macOS            brew install python
Where it has another name: make PYTHON=/path/to/python3
endef

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help demo test test-sdk test-dbt test-bi soak torture mutants bench bench-full lint check format lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed ## the whole thing on this machine: a simulated source, a database, a sync, queries
	@$(BIN)/syncer demo

# Seconds: a test that takes so long fails, with where every thread stands; none takes a tenth of it.
HANGS_AFTER := 900

test: $(VENV)/.installed ## all tests on the newest PostgreSQL found here, its statements on the oldest, too
	SYNCER_TEST_SERVERS=all $(BIN)/pytest --numprocesses 3 --dist worksteal --timeout $(HANGS_AFTER)

# What is locked in the first prerequisite, in the target's folder.
define ENVIRONMENT
@'$(PYTHON)' -m venv --clear $(@D)
@$(@D)/bin/pip install -qq --require-hashes --requirement $<
@touch $@
endef

SDKS := $(patsubst %,build/sdk/%/.installed,sailpoint-1 sailpoint-2 huawei)

test-sdk: $(VENV)/.installed $(SDKS) ## the vendors' own clients judge the simulators; brings half a gigabyte of them
	SYNCER_SDK=build/sdk $(BIN)/pytest tests/sdk

# Two of them are one package in two versions, and none belongs where the tests run.
build/sdk/%/.installed: tests/sdk/requirements/%.txt
	$(ENVIRONMENT)

test-dbt: $(VENV)/.installed build/dbt/.installed ## the dbt project of deploy/dbt, built on a warehouse of all platforms
	SYNCER_DBT=build/dbt $(BIN)/pytest tests/dbt

# dbt pins much of what it brings, and none of it belongs where the daemon runs.
build/dbt/.installed: tests/dbt/requirements.txt
	$(ENVIRONMENT)

test-bi: $(VENV)/.installed build/bi/.installed ## the dashboards of deploy/superset, in Superset and Chromium; brings a gigabyte (PICTURES=docs/images)
	SYNCER_BI=build/bi SYNCER_PICTURES='$(PICTURES)' $(BIN)/pytest tests/bi

# Superset pins much of what it brings, and none of it belongs where the daemon runs.
build/bi/.installed: tests/bi/requirements.txt
	$(ENVIRONMENT)

soak: $(VENV)/.installed ## ten minutes of the service against a source that lives and fails
	SYNCER_SOAK_MINUTES=10 $(BIN)/pytest -s tests/acceptance/test_soak.py

SEED ?= $(shell date +%s)

torture: $(VENV)/.installed ## every fault, kill and race there is, from a SEED it prints; about two hours
	SYNCER_TORTURE=full SYNCER_TORTURE_SEED=$(SEED) $(BIN)/pytest --numprocesses 2 --dist worksteal \
		tests/torture tests/conformance/test_properties.py

mutants: build/mutation/.installed ## one thing after another made wrong, and what no test notices; hours (GROUPS="plan fold" SAMPLE=100)
	@nice -n 15 build/mutation/bin/python -m tests.mutation $(GROUPS) $(if $(SAMPLE),--sample $(SAMPLE))
	@echo "What lives: build/mutants/*.md"

# The tool brings many packages, and none of them belongs where the tests run.
build/mutation/.installed: requirements/dev.txt tests/mutation/requirements.txt
	@'$(PYTHON)' -m venv --clear build/mutation
	@build/mutation/bin/pip install -qq --require-hashes --requirement requirements/dev.txt
	@build/mutation/bin/pip install -qq --require-hashes --requirement tests/mutation/requirements.txt
	@touch $@

BENCHES := $(patsubst %,build/bench/%/.installed,plain dlt singer tools)

bench: $(VENV)/.installed $(BENCHES) ## syncer measured against dlt, Singer, a plain script and the machine's limits; minutes
	@$(BIN)/python -m bench
	@build/bench/tools/bin/python -m bench.picture build/bench/results.json build/bench/performance.png

bench-full: $(VENV)/.installed $(BENCHES) ## the same in the sizes that docs/performance.md tells; hours, on a machine left alone
	@$(BIN)/python -m bench --full --results docs/performance.json
	@$(BIN)/python -m bench.report
	@build/bench/tools/bin/python -m bench.picture docs/performance.json docs/images/performance.png

# Each contestant has versions of its own of what others use, too.
build/bench/%/.installed: bench/requirements/%.txt
	$(ENVIRONMENT)

lint: $(VENV)/.installed ## format, style, types, layers, dependencies, data dictionary, containers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python -m syncer.dictionary --check docs/data-dictionary.md
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile deploy/superset/Dockerfile

check: lint test ## what CI runs

format: $(VENV)/.installed ## mend format and style where a tool can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# uv knows nothing of pip's configuration: the index goes from there to the command line, never into a file.
INDEX   = $(or $(PIP_INDEX_URL),$(shell $(BIN)/pip config get global.index-url 2>/dev/null))
COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate $(addprefix --default-index ,$(INDEX))

# What has an environment of its own. Without its extras pip takes a requirement that names some for an unpinned one.
LOCKED := $(wildcard */requirements/*.in tests/*/requirements.in tests/*/requirements/*.in)

lock: $(VENV)/.installed ## resolve all dependencies anew and write the files with their hashes
	$(BIN)/pip install --quiet uv
	$(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra embedded --group dev --output-file requirements/dev.txt
	$(foreach in,$(LOCKED),$(COMPILE) --no-strip-extras $(in) --output-file $(in:.in=.txt) &&) true

clean: ## remove .venv and what the tools left behind
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.locked: requirements/dev.txt
	$(if $(shell '$(PYTHON)' -c '$(SUITABLE)' 2>/dev/null && echo yes),,$(error $(NO_PYTHON)))
	@echo "Setting up $(VENV) ..."
	@'$(PYTHON)' -m venv --clear $(VENV)
	@$(BIN)/pip install -qq --require-hashes --requirement requirements/dev.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml syncer/__init__.py
	@$(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@
