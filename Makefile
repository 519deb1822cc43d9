# Every target installs what it needs. Required are Python 3.11 or newer (with venv) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One marker file per lock: when a lock changes, its packages are installed again.
RUN := $(VENV)/.run-$(shell cksum < requirements.lock | cut -d' ' -f1)
READY := $(VENV)/.ready-$(shell cat requirements.lock requirements-dev.lock | cksum | cut -d' ' -f1)
BENCH := $(VENV)/.bench-$(shell cat requirements.lock requirements-dev.lock requirements-bench.lock | cksum | cut -d' ' -f1)
# A test process that crashes ends the run: pytest-xdist can hang after replacing it.
TEST := $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
NOT_MARKED := -m "not node and not browser and not releases and not image"
# A test that fails while others keep the machine busy runs once more, alone. The run fails if it
# fails again; if it passes, the summary names it as unstable. Exit status 1: only tests failed.
or_alone = || { [ $$? -eq 1 ] && echo "UNSTABLE, if they pass alone:" && \
	$(BIN)/pytest -rp --maxfail 3 --last-failed --last-failed-no-failures none $(CACHE); }
CACHE = -o cache_dir=.pytest_cache/$@
# Only these files are collected: collecting all tests takes ten seconds.
marked = $(shell grep -rlE "mark\.$(1)\b" tests --include=*.py)
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help demo run test test-uncached test-node test-browser test-releases image kills soak storm mutants audit failover day reliability bench bench-pages bench-bulk histories lint format docs languages notices screenshots lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(RUN): requirements.lock deploy/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Recourse needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	@rm -rf $(VENV)
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.lock -r deploy/build.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(READY): requirements-dev.lock $(RUN)
	@echo "Installing the packages for tests and checks ..."
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

$(BENCH): requirements-bench.lock $(READY)
	@echo "Installing the packages for benchmarks ..."
	@$(INSTALL) -r requirements-bench.lock
	@touch $@

demo: $(RUN) ## Run every scenario on a real server with skipped time (EXIT=1 exits at the end)
	@$(BIN)/python -m starter demo $(if $(EXIT),--exit)

run: $(RUN) ## Run a worker with an embedded Temporal server and its Web UI; data under var/; PORT, UI_PORT
	@$(BIN)/python worker.py --dev $(if $(PORT),--port $(PORT)) $(if $(UI_PORT),--ui-port $(UI_PORT))

test: $(READY) ## Run all tests
	@$(TEST) $(NOT_MARKED) $(CACHE) $(or_alone)

test-node: $(READY) ## Run the tests that need Node.js with npm
	@$(BIN)/pytest -m node $(call marked,node) $(CACHE) $(or_alone)

test-browser: $(READY) ## Run the tests in the Web UI; needs Chromium (apt-get install chromium)
	@$(BIN)/pytest -m browser $(call marked,browser) $(CACHE) $(or_alone)

test-releases: $(READY) ## Replay recorded purchases with other releases of libraries and of Python
	@$(BIN)/pytest -m releases $(call marked,releases) $(CACHE) $(or_alone)

test-uncached: $(READY) ## Run all tests with workers that replay the whole history in every task
	@RECOURSE_UNCACHED=1 $(TEST) $(NOT_MARKED)

image: $(READY) ## Build the image and run a purchase in it; needs root, mmdebstrap and buildah
	@$(BIN)/pytest -m image tests/deploy -q -rP

kills: $(READY) ## Kill workers, servers and databases at every event of every scenario; half an hour
	@RECOURSE_KILLS=all $(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0 tests/proof

soak: $(READY) ## Generate purchases and compare the server with the rules; MINUTES=10
	@RECOURSE_SOAK_MINUTES=$(or $(MINUTES),10) $(BIN)/pytest tests/model -k workflow_does -q

storm: $(READY) ## Kill one of three workers under load every few seconds, then deploy a build; SECONDS=120
	@RECOURSE_STORM_SECONDS=$(or $(SECONDS),120) $(BIN)/pytest tests/operation/test_storm.py -q

failover: $(READY) ## Replace PostgreSQL's primary by its standby under load, and back; TIMES=20
	@RECOURSE_FAILOVERS=$(or $(TIMES),20) $(BIN)/pytest tests/proof/test_failover.py -q

day: $(READY) ## Play a day of operation with failovers, deploys and outages; SEED=1 PURCHASES=150
	@RECOURSE_DAY_SEED=$(or $(SEED),1) RECOURSE_DAY_PURCHASES=$(or $(PURCHASES),150) \
		$(BIN)/pytest tests/operation/test_day.py -q -rP

mutants: $(READY) ## Change lifecycle and ledger in small ways; a test must fail for each change; slow
	@$(BIN)/python -m tests.proof.mutants

reliability: test test-uncached soak kills storm failover day mutants ## Run every proof again, and write docs/reliability.md; two hours
	@$(BIN)/python -m docs.reliability

lint: $(READY) ## Check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

audit: $(READY) ## Check for secrets in files, and for withdrawn or vulnerable packages; UNCHECKED=1
	@$(BIN)/python -m tests.security.audit $(if $(UNCHECKED),--unchecked)

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(BENCH) ## Measure against the engine alone and its peers, and write docs/performance.md; PARTS="tasks ledger"
	@npm install --silent --no-save --prefix var/npm @restatedev/restate-server@1.7.12 || \
		echo "Restate is not measured: installing its server with npm failed."
	@$(BIN)/python -m benchmarks $(PARTS)

bench-pages: $(READY) ## Measure the workroom's pages, and write docs/workroom-speed.md; COUNT=10000
	@$(BIN)/python -m benchmarks.workroom $(or $(COUNT),10000)

bench-bulk: $(READY) ## Import 10,000 purchases, continue 2,000 after an outage, and write docs/bulk.md; IMPORTED, BLOCKED
	@$(BIN)/python -m benchmarks.bulk $(or $(IMPORTED),10000) $(or $(BLOCKED),2000)

histories: $(READY) ## Record the history of each scenario in this release, for later releases to replay
	@$(BIN)/python -m tests.histories.record

docs: $(READY) ## Generate the pages of docs/ that come from the code: rules, messages, schemas
	@$(BIN)/python -m docs.generate

languages: $(READY) ## Bring the catalogues of all languages up to date with the texts; LANGUAGE=es adds one
	@$(BIN)/python -m docs.languages $(LANGUAGE)

notices: $(RUN) ## Write every kind of notice to var/notices/index.html
	@$(BIN)/python -m docs.notices

screenshots: $(READY) ## Take the pictures in docs/pictures again; needs Chromium
	@$(BIN)/python -m docs.screenshots

lock: $(READY) ## Pin the newest versions that pyproject.toml allows
	@$(BIN)/pip install --quiet uv
	@for extra in "" dev bench; do \
		$(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 --upgrade \
			$${extra:+--extra $$extra} --generate-hashes --no-emit-index-url --no-annotate --no-header \
			-o requirements$${extra:+-$$extra}.lock; done
	@echo setuptools | $(BIN)/uv pip compile -q - --python-version 3.11 --upgrade \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -o deploy/build.lock

clean: ## Remove the environment and the data in var/
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
