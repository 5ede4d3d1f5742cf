# Every verb of the project; `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run demo check unit test test-other test-clock coverage mutants install-check lint style types layers \
	bench fuzz soak crash docs lock clean

# The distribution's own build first: it is optimised (PGO, LTO), and messages cost a quarter less CPU
# with it than with one compiled without (docs/performance.md).
PYTHON ?= $(shell tools/find-python.sh)
# Without compiled files each test process, and each process of a daemon under test, compiles all sources anew.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
DIR ?= run
SOURCES := operator relay whitelist mailstore foundation alembic tests tools
# Percent of the lines, just below the figure that `make coverage` shows.
COVERAGE_FLOOR := 81
PACKAGES := relay whitelist mailstore foundation mssante_operator tests tools

help: ## List these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/dev.stamp ## Make .venv with all that the tests need; as root, install their SMTP peers too

run: .venv/run.stamp ## Run an operator on loopback, made in DIR (run) at first, with INIT for mssante init
	@if test -f "$(DIR)/mssante.toml"; then \
		test -z "$(INIT)" || echo "make: $(DIR) is there already: INIT is ignored" >&2; \
	else $(BIN)/mssante init "$(DIR)" $(INIT) >/dev/null; fi
	@PATH="$(CURDIR)/$(BIN):$$PATH" && cat "$(DIR)/NEXT.txt" && exec mssante --config "$(DIR)/mssante.toml" serve

demo: .venv/run.stamp ## Two operators exchange mail both ways and turn intruders away
	@$(BIN)/mssante demo

check: .venv/packages.stamp ## Before each commit: lint, and the unit tests beside it; less than a minute on two cores
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint unit

unit: .venv/packages.stamp ## Run the unit tests
	$(BIN)/python -m pytest -q -m unit -n auto --dist worksteal $(ARGS)

test: setup lint ## Run every test
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-clock: .venv/dev.stamp ## Run the tests with the clock moved, to several moments (ARGS="--help")
	$(BIN)/python -m tests.moved_clock $(ARGS)

mutants: .venv/dev.stamp ## Take out each guard of the product in turn: a test must fail (ARGS="--help")
	$(BIN)/python -m tests.mutants $(ARGS)

test-other: .venv/dev.stamp ## Run the tests that depend on Python on another one, 3.13 before others
	tools/test-other-python.sh .venv -n auto --dist worksteal $(ARGS)

install-check: ## Run both commands of the README on fresh Debians, made by debootstrap (as root)
	tools/install-check.sh

coverage: .venv/packages.stamp ## Measure which lines the tests of tests/unit run; fail below the floor (htmlcov/ has them)
	$(BIN)/python -m pytest -q tests/unit -n auto --dist worksteal --cov --cov-report term --cov-report html \
		--cov-fail-under $(COVERAGE_FLOOR) $(ARGS)

lint: style types layers ## Check format, style, types and layers

style: .venv/packages.stamp ## Check format and style
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: .venv/packages.stamp ## Check the types of PACKAGES (all)
	$(BIN)/mypy $(PACKAGES:%=-p %)

layers: .venv/packages.stamp ## Check which package imports which
	PYTHONPATH=.venv/typing $(BIN)/lint-imports --no-cache --no-logo

bench: .venv/dev.stamp ## Measure the white list, and mail in and out beside Postfix (SMTPLOAD=program, ARGS="--help")
	$(BIN)/python -m tests.bench.whitelist
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: .venv/dev.stamp ## Fuzz parsers and the network: FUZZ_SECONDS (360) each, then the property tests at length
	for target in lists documents names certificates commands messages chunks reports summaries; do \
		$(BIN)/python -W ignore -m tests.fuzz $$target $(or $(FUZZ_SECONDS),360) || exit 1; done
	$(BIN)/python -W ignore -m tests.fuzz.network $(or $(FUZZ_SECONDS),360)
	HYPOTHESIS_PROFILE=fuzz FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),2000) \
		$(BIN)/python -m pytest -m fuzz -n auto --timeout 3600 $(ARGS)

soak: .venv/dev.stamp ## Refuse, break off and hold thousands of connections; nothing may be left (ARGS="--help")
	$(BIN)/python -m tests.bench.soak $(ARGS)

crash: .venv/dev.stamp ## Kill daemon, workers and PostgreSQL, fail it over, cut the power, many times (ARGS="--help")
	$(BIN)/python -W ignore -m tests.crash $(ARGS)

docs: .venv/packages.stamp ## Write the generated files anew, and the site of docs/ into build/site
	$(BIN)/python -m tools.generate
	$(BIN)/python -m tools.site build/site
	@echo "open build/site/index.html"

lock: .venv/packages.stamp ## Resolve the dependencies anew into the hash-locked requirements
	tools/lock.sh $(BIN)/pip-compile

clean: ## Remove what setup made; the operator in DIR and its mail stay
	rm -rf .venv build dist *.egg-info
	@test ! -e "$(DIR)" || echo "make: $(DIR) and the mail in it stay; to remove them: rm -r '$(DIR)'"

.venv/bin/python:
	@tools/make-venv.sh $(PYTHON) .venv

.venv/run.stamp: .venv/bin/python requirements.txt pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Without isolation: a package that comes as its source is built by the locked setuptools, and nothing else is fetched.
.venv/packages.stamp: .venv/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --require-hashes -r requirements-dev.txt
	mkdir -p .venv/typing && ln -sfn ../../operator .venv/typing/mssante_operator
	touch $@

# Not made while something is lacking (status 3, and a note says what): the next run tries again.
.venv/dev.stamp: .venv/packages.stamp requirements-sslyze.txt $(wildcard tools/*.sh)
	@tools/install-for-tests.sh .venv; status=$$?; [ $$status = 3 ] || { [ $$status = 0 ] && touch $@; }
