# Every target sets up what it needs by itself: a virtual environment in .venv with the pinned packages.

CONFIG ?= configs/quickstart.yaml
ARGS   ?=
PYTHON ?= python3

# Without make's own variables: the model is compiled by another make.
IN_VENV := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run test lint formal fuzz fuzz-nic bench bench-nimble bench-nic synth docs clean distclean

help: ## list the targets
	@width=$${COLUMNS:-$$(stty size 2>/dev/null | cut -d' ' -f2)}; \
	[ "$${width:-0}" -ge 30 ] 2>/dev/null || width=80; \
	echo "usage: make TARGET [CONFIG=configs/other.yaml] [ARGS='...']" | fold -s -w "$$width"; \
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1@\2/p' Makefile | while IFS=@ read -r target text; do \
		echo "$$text" | fold -s -w $$((width - 15)) | while read -r line; do \
			printf '  %-12s %s\n' "$$target" "$$line"; target=; done; done

setup: ## make the virtual environment, if it is missing or out of date
	@command -v $(PYTHON) >/dev/null || { \
		echo "setup: $(PYTHON): not found; install Python 3.11 or newer (Debian: apt install python3-venv)" >&2; exit 2; }
	@$(PYTHON) -I cosim/bootstrap.py

run: setup ## run the scenario CONFIG; ARGS: see `.venv/bin/nimble run --help`
	@$(IN_VENV) -m cosim run "$(CONFIG)" $(ARGS)

# One process for each processor, to each of them whole files. More would only wait for the longest file, or for memory.
test: setup ## run all tests; ARGS are pytest's
	@$(IN_VENV) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## style and types
	@$(IN_VENV) -m ruff check .
	@$(IN_VENV) -m ruff format --check .
	@$(IN_VENV) -m mypy

formal: setup ## prove the NIC's protection, and that each proof catches a seeded bug
	@$(PYTHON) -I cosim/bootstrap.py formal
	@$(IN_VENV) -m tests.formal --mutants $(ARGS)

fuzz: setup ## run random programs on all engines in lockstep; ARGS='--programs 1000 --seed 2', see --help
	@$(IN_VENV) -m tests.fuzz $(ARGS)

fuzz-nic: setup ## random traffic of several NICs against the golden model; ARGS='--seconds 60 --seed 2', see --help
	@$(IN_VENV) -m tests.rtl.whole $(ARGS)

bench: setup ## measure the speed, each figure beside its reference
	@$(IN_VENV) -m cosim bench $(ARGS)

bench-nimble: setup ## measure the extension engines, each figure beside C
	@$(IN_VENV) -m nimble.bench $(ARGS)

bench-nic: setup ## measure the NIC in cycles, and how fast machines of 1 to 16 nodes are simulated
	@$(IN_VENV) -m tests.bench_nic $(ARGS)

synth: setup ## area and speed of the NIC's blocks on an ECP5, and what the trusted header costs
	@$(PYTHON) -I cosim/bootstrap.py synth
	@$(IN_VENV) -m tests.synth $(ARGS)

docs: setup ## write the register reference to build/docs
	@$(IN_VENV) -m rtl.reference build/docs

clean: ## remove results, models and caches
	rm -rf build out .pytest_cache .mypy_cache .ruff_cache
	find rtl sw nimble cosim tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment, too
	rm -rf .venv *.egg-info
