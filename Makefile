# Every target sets itself up: all it needs is Python 3.11 or newer (with venv) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One marker a lock: when a lock changes, its packages are installed again.
RUN := $(VENV)/.run-$(shell cksum < requirements.lock | cut -d' ' -f1)
READY := $(VENV)/.ready-$(shell cat requirements.lock requirements-dev.lock | cksum | cut -d' ' -f1)
BENCH := $(VENV)/.bench-$(shell cat requirements.lock requirements-dev.lock requirements-bench.lock | cksum | cut -d' ' -f1)
# Whoever crashes ends the run: with another one in its place it would wait for ever.
TEST := $(BIN)/pytest -n 3 --dist loadfile --max-worker-restart 0
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help demo run test test-uncached test-node test-browser kills soak storm mutants audit reliability bench histories lint format docs notices screenshots lock clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(RUN): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Recourse needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	@rm -rf $(VENV)
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.lock
	@touch $@

$(READY): requirements-dev.lock $(RUN)
	@echo "Adding what tests and checks need ..."
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

$(BENCH): requirements-bench.lock $(READY)
	@echo "Adding what benchmarks need ..."
	@$(INSTALL) -r requirements-bench.lock
	@touch $@

demo: $(RUN) ## Play every story of the article on a real server (EXIT=1 leaves at once)
	@$(BIN)/python -m starter demo $(if $(EXIT),--exit)

run: $(RUN) ## Run a worker with an embedded Temporal server and its Web UI; data under var/
	@$(BIN)/python worker.py --dev

test: $(READY) ## Run all tests
	@$(TEST) -m "not node and not browser"

test-node: $(READY) ## Run the tests that need Node.js with npm
	@$(BIN)/pytest -m node

test-browser: $(READY) ## Run the tests in the Web UI; needs Chromium (apt-get install chromium)
	@$(BIN)/pytest -m browser

test-uncached: $(READY) ## Run the tests with workers that replay each task's whole history
	@RECOURSE_UNCACHED=1 $(TEST) -m "not node and not browser"

kills: $(READY) ## Kill workers, servers and databases at every event of every story; half an hour
	@RECOURSE_KILLS=all $(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0 tests/proof

soak: $(READY) ## Make up purchases and compare server and rules; MINUTES=10
	@RECOURSE_SOAK_MINUTES=$(or $(MINUTES),10) $(BIN)/pytest tests/model -k workflow_does -q

storm: $(READY) ## Kill one of three workers under load every few seconds, then deploy; SECONDS=120
	@RECOURSE_STORM_SECONDS=$(or $(SECONDS),120) $(BIN)/pytest tests/operation/test_storm.py -q

mutants: $(READY) ## Change lifecycle and ledger in small ways: a test has to notice; takes long
	@$(BIN)/python -m tests.proof.mutants

reliability: test test-uncached soak kills storm mutants ## Prove everything anew, and write docs/reliability.md
	@$(BIN)/python -m docs.reliability

lint: $(READY) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

audit: $(READY) ## Look for secrets in files and for yanked or vulnerable packages; UNCHECKED=1
	@$(BIN)/python -m tests.security.audit $(if $(UNCHECKED),--unchecked)

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(BENCH) ## Measure against the engine and its peers, and write docs/performance.md; PARTS="tasks ledger"
	@npm install --silent --no-save --prefix var/npm @restatedev/restate-server@1.7.12 || \
		echo "Without npm there is no Restate to measure."
	@$(BIN)/python -m benchmarks $(PARTS)

histories: $(READY) ## Record the history of each story under this release, for later ones to replay
	@$(BIN)/python -m tests.histories.record

docs: $(READY) ## Generate what in docs/ comes from the code: rules, messages, schemas
	@$(BIN)/python -m docs.generate

notices: $(RUN) ## Write every kind of notice to var/notices, for a look
	@$(BIN)/python -m docs.notices

screenshots: $(READY) ## Take the pictures in docs/pictures anew; needs Chromium
	@$(BIN)/python -m docs.screenshots

lock: $(READY) ## Pin the newest versions that pyproject.toml admits
	@$(BIN)/pip install --quiet uv
	@for extra in "" dev bench; do \
		$(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 --upgrade \
			$${extra:+--extra $$extra} --generate-hashes --no-emit-index-url --no-annotate --no-header \
			-o requirements$${extra:+-$$extra}.lock; done
	@echo setuptools | $(BIN)/uv pip compile -q - --python-version 3.11 --upgrade \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -o deploy/build.lock

clean: ## Remove the environment and what the demo left
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
