# `make` prints this help. Anything longer than two lines is a script in scripts/.
.DEFAULT_GOAL := help
BIN := .venv/bin
export PYTHON

.PHONY: help setup console demo test check openapi bench lock clean

help:
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; echo "More options go in ARGS: make demo ARGS='--seconds 30', make test ARGS='tests/core -x'"

##@ Use
setup: ## make .venv from requirements.lock (Python 3.12 or newer; no root, no Docker)
	@scripts/setup

console: setup ## build the fleet console into console/dist (Node from PATH, else from a wheel)
	@scripts/console

demo: setup ## build the console, start everything, drive trucks through it, show what arrived
	@scripts/console || echo "The console could not be built (see above); the demo goes on without it."
	@$(BIN)/milkrun demo $(ARGS)

##@ Work on it
test: setup ## run all tests against a real PostgreSQL, Redis and, where installed, Mosquitto
	@$(BIN)/python -m pytest -n 3 --no-loadscope-reorder $(ARGS)

check: setup ## what must hold before a change: lint, format, types, imports, the rules of the house
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy && $(BIN)/lint-imports
	@$(BIN)/python -m pytest -q tests/house
	@scripts/console check

openapi: setup ## write docs/openapi.json anew from the routes
	@$(BIN)/python -m api.openapi >docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json

bench: setup ## measure throughput and latency on this machine
	@$(BIN)/python -m bench $(ARGS)

##@ Housekeeping
lock: setup ## write requirements.lock anew from pyproject.toml
	@scripts/lock

clean: ## remove .venv and caches; data folders such as .milkrun stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
