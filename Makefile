# Every target sets up what it needs; nothing has to be installed by hand but Python 3.11+ and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
WEFT_CACHE ?= $(HOME)/.cache/weft
export WEFT_CACHE

# The environment lives outside the tree, keyed by the interpreter and the pinned versions.
VENV_KEY := $(shell { python3 -V; cat requirements/dev.txt; pwd; } | sha256sum | cut -c1-16)
VENV := $(WEFT_CACHE)/venv/$(VENV_KEY)
READY := $(VENV)/.ready
BIN := $(VENV)/bin
export PATH := $(BIN):$(PATH)

.PHONY: help setup lint
help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(READY) ## Make the Python environment (outside the tree; skipped when it is there)
$(READY): pyproject.toml
	@echo "weft: making the Python environment in $(VENV) (about two minutes, once)"
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -r requirements/dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

lint: $(READY) ## Ruff, mypy --strict, import rules
	@ruff check . && ruff format --check . && mypy && lint-imports

shell-env: $(READY) ## Print the line that puts the environment on your PATH
	@echo "export PATH=$(BIN):\$$PATH"
