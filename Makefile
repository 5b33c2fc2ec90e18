# Every target sets up what it needs; nothing has to be installed by hand but Python 3.11+ and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
WEFT_CACHE ?= $(HOME)/.cache/weft
export WEFT_CACHE
PYTHON ?= python3

# The environment lives outside the tree, keyed by the interpreter and the pinned versions.
VENV_KEY := $(shell { $(PYTHON) -VV; cat requirements/dev.txt; pwd; } | sha256sum | cut -c1-16)
VENV := $(WEFT_CACHE)/venv/$(VENV_KEY)
READY := $(VENV)/.ready
BIN := $(VENV)/bin
export PATH := $(BIN):$(PATH)

.PHONY: help setup demo lint test test-programs test-unit test-simulation test-ray test-attack test-vllm \
  test-cluster bench cluster cluster-down shell-env
help: ## Show this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(READY) ## Make the Python environment (outside the tree; skipped when it is there)
$(READY): pyproject.toml
	@echo "weft: making the Python environment in $(VENV) (about two minutes, once)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -r requirements/dev.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

DEMO := out/support
demo: $(READY) ## Support dialogues from examples/support, by a simulated model (under a minute)
	@echo "weft: 600 support cases become dialogues. A simulator plays the model: no key, no GPU, and"
	@echo "weft: text that is plausible and no more. The output goes to $(DEMO)."
	@weft run examples/support --output $(DEMO)
	@echo; echo "weft: one of the rows (weft show $(DEMO) case-0003):"; echo
	@weft show $(DEMO) case-0003

lint: $(READY) ## Ruff, mypy --strict, import rules (under a minute)
	@ruff check . && ruff format --check . && mypy && lint-imports --no-logo

# The parts of `make test`, in the order of what they cost. Each can be run alone. What the cluster is
# made of takes a quarter of an hour to build, once: so that is done beside the unit tests, which leave
# a core to it.
PARTS := lint test-programs test-unit test-simulation test-ray test-attack test-vllm test-cluster
test: $(READY) ## All tests, a real cluster included (an hour, longer when cold)
	@trap 'kill $$builder 2>/dev/null' EXIT; times=; for part in $(PARTS); do \
	  started=$$SECONDS; $(MAKE) --no-print-directory $$part || { echo "weft: $$part failed" >&2; exit 1; }; \
	  times+="$$(printf '\nweft:   %-16s %5d s' $$part $$((SECONDS - started)))"; \
	  if [ $$part = test-programs ]; then e2e/cluster/build >/dev/null 2>&1 & builder=$$!; fi; \
	done; echo "weft: all parts of make test have passed, in $$SECONDS s:$$times"

# Without the first, tests are skipped; the second takes longer than a test may.
test-programs: $(READY) ## Build the S3 server and helm, which unit tests use (minutes, once)
	@e2e/cluster/build versitygw helm >/dev/null

test-unit: $(READY) ## Tests that need neither Ray, vLLM nor a cluster (minutes)
	@pytest -m "not ray and not vllm and not cluster"

SEEDS ?= 0:20000
test-simulation: $(READY) ## The delivery protocol under SEEDS=0:20000 seeded schedules of faults
	@python -m weft.simulation --seeds $(SEEDS) --jobs 2

test-ray: $(READY) ## Whole pipelines on an embedded Ray, with processes killed under them
	@pytest -m "ray and not vllm and not cluster"

# KILLS=2000 for a long campaign; SEED says whom they strike, how and when.
KILLS ?= 200
SEED ?= 1
test-attack: $(READY) ## Processes of weft run killed and paused, KILLS=200 times, the table judged
	@python -m weft.attack --kills $(KILLS) --seed $(SEED)

test-vllm: $(READY) ## The real vLLM on CPU, in an environment of its own
	@e2e/vllm/test

test-cluster: $(READY) ## Scenarios on a real Kubernetes with KubeRay
	@e2e/test

# BENCH=hops|slots|peers|memory|rest|recovery runs one, QUICK=1 takes seconds each, JSON=file keeps them.
BENCH ?= all
bench: $(READY) ## Measure the runtime, each figure beside its limit or a baseline (about ten minutes)
	@weft bench $(BENCH) $(if $(QUICK),--quick) $(if $(JSON),--json $(JSON))

cluster: $(READY) ## A real Kubernetes with KubeRay on this machine, to work with
	@e2e/cluster/up

cluster-down: ## Take that cluster away
	@e2e/cluster/down

shell-env: $(READY) ## Print the line that puts the environment on your PATH
	@echo "export PATH=$(BIN):\$$PATH"
