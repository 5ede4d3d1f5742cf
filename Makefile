# Every verb of the project; `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run demo test test-other test-clock mutants install-check lint bench fuzz soak crash docs lock \
	clean

# The distribution's own build first: it is optimised (PGO, LTO), and messages cost a quarter less CPU
# with it than with one compiled without (docs/performance.md).
PYTHON ?= $(shell tools/find-python.sh)
BIN := .venv/bin
DIR ?= run
SOURCES := operator relay whitelist mailstore alembic tests tools

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

lint: .venv/packages.stamp ## Check format, style, types and layers
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy -p relay -p whitelist -p mailstore -p mssante_operator -p tests -p tools
	PYTHONPATH=.venv/typing $(BIN)/lint-imports --no-cache --no-logo

bench: .venv/dev.stamp ## Measure the white list, and mail in and out beside Postfix (SMTPLOAD=program, ARGS="--help")
	$(BIN)/python -m tests.bench_whitelist
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: .venv/dev.stamp ## Fuzz parsers and the network: FUZZ_SECONDS (360) each, then the property tests at length
	for target in lists documents names certificates commands messages chunks reports; do \
		$(BIN)/python -W ignore -m tests.fuzz $$target $(or $(FUZZ_SECONDS),360) || exit 1; done
	$(BIN)/python -W ignore -m tests.fuzz.network $(or $(FUZZ_SECONDS),360)
	HYPOTHESIS_PROFILE=fuzz FUZZ_EXAMPLES=$(or $(FUZZ_EXAMPLES),2000) \
		$(BIN)/python -m pytest -m fuzz -n auto --timeout 3600 $(ARGS)

soak: .venv/dev.stamp ## Refuse, break off and hold thousands of connections; nothing may be left (ARGS="--help")
	$(BIN)/python -m tests.soak $(ARGS)

crash: .venv/dev.stamp ## Kill daemon, workers and PostgreSQL, fail it over, cut the power, many times (ARGS="--help")
	$(BIN)/python -W ignore -m tests.crash $(ARGS)

docs: .venv/run.stamp ## Write the generated pages and the annotated configuration anew
	$(BIN)/python -m tools.generate

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

.venv/packages.stamp: .venv/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	mkdir -p .venv/typing && ln -sfn ../../operator .venv/typing/mssante_operator
	touch $@

# Not made while something is lacking (status 3, and a note says what): the next run tries again.
.venv/dev.stamp: .venv/packages.stamp requirements-sslyze.txt $(wildcard tools/*.sh)
	@tools/install-for-tests.sh .venv; status=$$?; [ $$status = 3 ] || { [ $$status = 0 ] && touch $@; }
