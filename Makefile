# Every routine command. Bare `make` lists them; each one sets .venv/ up by itself when that is needed.
#   make test ARGS="-k rollback -x"     ARGS goes to pytest
#   make setup PYTHON=/usr/bin/python3.12

PY := .venv/bin/python
PYTEST := .venv/bin/pytest
BUF := .venv/bin/buf
PACKAGES := protos client agent coordinator
RESULTS := .conformance/results.json
# Tests of one file stay together: they share what is slow to start.
JOBS := auto
PARALLEL = -n $(JOBS) --dist loadfile
SOAK ?= 300
SOAK_MINUTES ?= 15
FUZZ_SECONDS ?= 60
# Everyday runs of these are short ones.
DEEP = tests/properties/coordinator/test_whole_coordinator.py tests/integration/engine/test_killed_at_each_commit.py

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---- set-up ----

.PHONY: setup
setup: .venv/.ready protos ## Make .venv/ from the lock, with uv or plain pip, and the four distributions in development mode

.venv/.ready: requirements/dev.lock requirements/setup.sh protos/ferryman/__init__.py $(PACKAGES:%=%/pyproject.toml)
	@PYTHON="$(PYTHON)" requirements/setup.sh

.PHONY: protos
protos: .venv/.ready ## Generate the gRPC modules and stubs from protos/ferryman/v1/*.proto
	@$(PY) protos/generate.py

.PHONY: lock
lock: ## Write requirements/*.lock from the pyproject files (ARGS=--upgrade lets versions rise)
	@requirements/lock.sh $(ARGS)

# ---- checks ----

.PHONY: fmt
fmt: .venv/.ready ## Format Python and .proto files, sort imports, fix what ruff can fix
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .
	$(BUF) format --write

.PHONY: lint
lint: protos ## ruff, import contracts, buf, change notes
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/lint-imports --no-logo --no-cache
	$(BUF) lint
	$(BUF) format --diff --exit-code
	$(PY) changes/check.py

.PHONY: proto-breaking
proto-breaking: .venv/.ready ## Compare the wire contract with the recorded one (protos/v1.binpb)
	@test -f protos/v1.binpb || { \
	  echo "make proto-breaking: protos/v1.binpb is missing: nothing is recorded to compare with."; \
	  echo "  Record the contract as it is now:  $(BUF) build -o protos/v1.binpb"; \
	  exit 1; }
	$(BUF) breaking --against protos/v1.binpb

.PHONY: types
types: protos ## mypy --strict over the four packages and the tests
	$(PY) -m mypy $(PACKAGES) changes examples tests

.PHONY: check
check: lint types ## What every change passes: lint, types, unit, property and simulation tests
	$(PYTEST) -q $(PARALLEL) $(wildcard tests/unit tests/properties tests/simulation) $(ARGS)

# ---- tests ----

.PHONY: test
test: protos ## All tests: unit, properties, simulation, integration, e2e (JOBS=1 for one after another)
	$(PYTEST) -q $(PARALLEL) --req-results=$(RESULTS) $(ARGS)

.PHONY: test-integration
test-integration: protos ## Tests with real databases, real gRPC, real processes
	$(PYTEST) -q tests/integration $(ARGS)

.PHONY: test-e2e
test-e2e: protos ## Whole deployments with a coordinator and agents as processes
	$(PYTEST) -q tests/e2e $(ARGS)

.PHONY: fuzz
fuzz: protos ## Readers of foreign input against mutants of tests/corpus (FUZZ_SECONDS=60 each, ARGS="config journal")
	$(PY) -m tests.fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

.PHONY: soak
soak: protos ## 300 deployments to one agent, 15 minutes of them to 500: what grows? (SOAK=60 SOAK_MINUTES=5 for less)
	$(PY) -m tests.soak $(SOAK) $(ARGS)
	SOAK_MINUTES=$(SOAK_MINUTES) $(PY) -m tests.soak.coordinator

.PHONY: simulate
simulate: protos ## The core against 100,000 instances, a whole coordinator for a day, random courses (ARGS: one of them)
	$(PY) -m tests.simulation $(ARGS)
	$(if $(ARGS),,$(PY) -m tests.simulation --day)
	$(if $(ARGS),,FERRYMAN_DEEP=1 $(PYTEST) -q $(DEEP))

.PHONY: bench
bench: protos ## Measure against the budgets (ARGS="core.* --json FILE --quick --list")
	$(PY) -m tests.bench $(ARGS)

.PHONY: conformance
conformance: protos ## Which requirements of docs/spec have a passing test (runs the tests; USE=FILE reads an earlier run)
	@# Failing tests are part of the report; a run that could not take place is not.
	@$(if $(USE),,$(PYTEST) -q $(PARALLEL) --req-results=$(RESULTS) || [ $$? -eq 1 ])
	@$(PY) -m tests.support.conformance $(or $(USE),$(RESULTS)) $(ARGS)

.PHONY: docs
docs: protos ## Write the generated pages: settings, sample files, state diagrams
	$(PY) -m ferryman_coordinator.config.reference docs/operating
	$(PY) -m ferryman_agent.config.reference docs/operating
	$(PY) docs/draw_states.py
	$(PY) docs/draw_access.py

# ---- see it ----

.PHONY: demo
demo: protos ## A coordinator and three agents on this machine: a good version, a broken one, the rollback
	@$(PY) examples/demo.py

.PHONY: up
up: protos ## The demo, kept running until Ctrl-C
	@$(PY) examples/demo.py --keep
