# Every target sets up what it needs on a fresh Debian or Ubuntu machine.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp

.PHONY: help setup tools test-tools demo lab test test-interop test-claims bench bench-failover fuzz lint lock

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: tools test-tools $(STAMP)  ## virtual environment from the lock file, and the system packages

tools:
	@PYTHON=$(PYTHON) ./setup-tools.sh

test-tools:
	@PYTHON=$(PYTHON) ./setup-tools.sh test

$(STAMP): requirements.lock pyproject.toml | tools
	$(PYTHON) -c 'import sys; sys.exit("vipring needs Python 3.11 or later; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: tools $(STAMP)  ## the whole story on this machine: install, announce, kill the node, watch it fail over (JSON=FILE keeps the facts)
	$(BIN)/vipring demo $(if $(JSON),--json $(JSON))

lab: tools $(STAMP)  ## a cluster in a box, left running: prints KUBECONFIG and how to stop it
	$(BIN)/vipring lab

test: setup  ## all tests but those of test-interop, and a few schedules of test-claims
	$(BIN)/python -m pytest $(ARGS)

test-interop: setup  ## our members in rings with real ones: hashicorp/memberlist (Go 1.25 or later builds it) and serf
	$(BIN)/python -m pytest -m interop $(ARGS)

test-claims: setup  ## 10,000 random schedules of faults against the claims (8 minutes; VIPRING_SEED=N begins elsewhere)
	VIPRING_SCHEDULES=$${VIPRING_SCHEDULES:-10000} $(BIN)/python -m pytest -s tests/simulation/announcer $(ARGS)

bench: setup  ## every number that the README promises
	$(BIN)/python -m bench $(ARGS)

bench-failover: setup  ## every scenario on five nodes, and the figures of docs/failover.md (an hour; ARGS=--quick)
	$(BIN)/python -m bench.failover $(ARGS)

fuzz: setup  ## mutated bytes against every decoder and a living member (ARGS="--seconds 600 --seed 1")
	$(BIN)/python -m tests.fuzz $(ARGS)

lint: $(STAMP)  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml

lock: $(STAMP)  ## renew both lock files from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --all-extras -o requirements.lock
	$(COMPILE) -o requirements-image.lock
