# Needs Python >= 3.11, git and make. uv is used from PATH, or installed into .tools/.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' 2>/dev/null && break; done)
UV := $(if $(shell uv --version 2>/dev/null),uv,.tools/bin/uv)
RUN := $(UV) run

export UV_PYTHON ?= $(PYTHON)
export UV_PYTHON_DOWNLOADS := never
unexport PYTHONDONTWRITEBYTECODE # hundreds of processes are started: each would compile every module anew

.DEFAULT_GOAL := help
.PHONY: help setup demo example test prove hammer fuzz chaos check conformance cell bench scale docs lock wheels format clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(filter-out uv,$(UV))
	@# uv.lock is committed without addresses (tools/strip_lock.py). uv writes them in; git then has to look twice.
	@test ! -e .git || git config filter.uvlock.clean 'python3 tools/strip_lock.py'
	@$(UV) lock --quiet
	@test ! -e .git || ! git diff --quiet -- uv.lock || git add uv.lock

.tools/bin/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet uv

demo: setup ## see it work: a slow source, readers, writes, and a hand-written cache beside it
	$(RUN) --no-dev rewarm demo

example: setup ## notes in Django, with a worker, on SQLite: prints its address; NOTES_QUEUE=huey for another queue
	$(RUN) --no-dev python examples/django_notes/run.py

test: setup ## every test
	$(RUN) pytest -n auto

prove: setup ## every interleaving of small cases, and a mutant for every rule: NIGHTLY=1 for the large ones
	NIGHTLY=$(NIGHTLY) $(RUN) python -m proof

hammer: setup ## real readers, writers and workers on every store and queue, and on other caches: SECONDS=5
	$(RUN) --group bench python -m hammer --seconds $(or $(SECONDS),5) $(if $(SEED),--seed $(SEED))

fuzz: setup ## payloads against a worker, guided by coverage: SECONDS=60
	$(RUN) --group fuzz python fuzz/payloads.py -max_total_time=$(or $(SECONDS),60) -verbosity=0

chaos: setup ## faults, really made, on every durable queue: SEED=7, CELL=rq-redis, FAULT=store-killed
	$(RUN) python -m chaos $(if $(SEED),--seed $(SEED)) $(CELL:%=--cell %) $(FAULT:%=--fault %)

check: setup ## format, lint, types, and the repository's own rules
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) pyright
	$(RUN) python tools/check.py

conformance: setup ## prove every queue with real workers, and write docs/matrix.md; CELL=huey-ack for one
	$(RUN) python tools/matrix.py --newest $(CELL)

cell: setup ## one cell of matrix.toml, in an environment of its own: make cell CELL=rq-redis-lowest
	UV=$(abspath $(shell command -v $(UV))) $(RUN) python tools/matrix.py $(CELL)

bench: setup ## the hot path against its peers
	$(RUN) --no-dev --group bench python benchmarks/run.py

scale: setup ## a sweep over a million keys, its worker killed twice; the ledger after a million tasks
	$(RUN) --no-dev --group bench python benchmarks/sweep.py
	$(RUN) --no-dev --group bench python benchmarks/ledger.py

docs: setup ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(RUN) --group docs mkdocs build --strict

lock: setup ## newest versions of everything into uv.lock
	$(UV) lock --upgrade

wheels: setup ## a wheel of every package, into dist/
	rm -rf dist
	$(UV) build --all-packages --wheel --out-dir dist

format: setup ## put the code into shape
	$(RUN) ruff check --fix --exit-zero
	$(RUN) ruff format

clean: ## remove all that the other targets made
	rm -rf .venv .tools dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
