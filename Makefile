# Trigpoint: every target is safe to repeat; set-up is cached and runs again only when a lock file changes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export FOUNDRY_OFFLINE := true
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Twice the cores of the machine that the ten minutes are meant for: half of the tests' time is waiting, for a clock or a peer.
WORKERS ?= 4

PYTHON_READY := .venv/.ready
NODE_READY := contracts/node_modules/.ready
PAGE := gateway/trigpoint/web
PAGE_READY := $(PAGE)/vendor/NOTICE.txt

.PHONY: help setup demo test soak check format bench mpremote-suite contracts deb clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(PYTHON_READY) $(NODE_READY) $(PAGE_READY) ## install everything the other targets need: .venv, contracts/node_modules, the page's libraries

$(PYTHON_READY): pyproject.toml uv.lock
	@command -v $(PYTHON) >/dev/null \
	  || { echo "error: there is no $(PYTHON) here; install Python 3.11 or newer, or name yours: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Trigpoint needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 ..."; exit 1; }
	@echo "[setup 1/3] Python packages into .venv (about 10 s, once)"
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear .venv \
	  || { echo "error: $(PYTHON) cannot make .venv; install its venv module (Debian: apt install python3-venv), then run this again"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.9'
	@VIRTUAL_ENV='$(CURDIR)/.venv' $(BIN)/uv sync --frozen --all-extras --quiet
	@touch $@

$(NODE_READY): contracts/package.json contracts/package-lock.json $(PYTHON_READY)
	@echo "[setup 2/3] contract tools into contracts/node_modules (about 10 s, once)"
	@cd contracts && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

# Only what is served stays.
$(PAGE_READY): $(PAGE)/package.json $(PAGE)/package-lock.json $(PAGE)/files.py $(PYTHON_READY)
	@echo "[setup 3/3] the board page's libraries into $(PAGE)/vendor (about 5 s, once)"
	@cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@$(BIN)/python -m trigpoint_tools.pagevendor
	@rm -rf $(PAGE)/node_modules

demo: setup ## run the whole system on real weather, attack it, and prove what came out (under two minutes)
	@$(BIN)/trigpoint demo --directory build/demo

test: setup ## run all tests (under ten minutes on two cores)
	@echo "[test 1/2] contracts: unit, fuzz and invariant tests"
	@cd contracts && node_modules/.bin/forge test
	@echo "[test 2/2] board, gateway, emulator, interop, faults, end to end"
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup

soak: setup ## the long versions of the tests (hours)
	@cd contracts && FOUNDRY_PROFILE=soak node_modules/.bin/forge test
	@$(BIN)/python -m pytest -q --soak

check: setup ## format, lint and type-check everything; compile the board's code for its chips
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy gateway/trigpoint tools/trigpoint_tools
	@$(BIN)/python -m trigpoint_tools.checks.device
	@cd contracts && node_modules/.bin/forge fmt --check src test script

format: setup ## rewrite the sources in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@cd contracts && node_modules/.bin/forge fmt src test script

bench: setup ## measure every figure, print a table, write build/bench/results.json
	@$(BIN)/python -m trigpoint_tools.bench

mpremote-suite: setup ## run mpremote's own tests on an emulated board; SUITE=<a checkout of micropython/micropython>
	@$(BIN)/python -m trigpoint_tools.bench.serial '$(SUITE)'

contracts: setup ## compile the contracts and bring their ABIs and bytecode into the Python package
	@cd contracts && node_modules/.bin/forge build
	@$(BIN)/python -m trigpoint_tools.artifacts

deb: setup ## build a Debian package for this machine's architecture in build/
	@packaging/debian/build.sh

clean: ## remove what was built (keeps .venv and contracts/node_modules)
	@rm -rf build contracts/out contracts/cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
