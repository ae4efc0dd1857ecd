# `make help` explains every target. Python 3.11, node 20, make and git are all a machine needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PROJECT := hubspot_integration/project
CARD_READY := $(PROJECT)/node_modules/.ready

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1m%-8s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11."; exit 1; }
	@echo "Creating the environment in $(VENV) and installing pinned packages (about a minute) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -r requirements.txt -r requirements-dev.txt | sed -u -n 's/^Collecting \([^ ]*\).*/  \1/p;s/^Installing.*/  installing …/p;s/^Successfully.*/  done/p' ; exit $${PIPESTATUS[0]}
	@touch $@

$(CARD_READY): $(PROJECT)/package-lock.json
	@echo "Installing HubSpot's own tools with npm (about a minute) …"
	@cd $(PROJECT) && npm ci --no-progress --loglevel error
	@touch $@

demo: $(READY) ## run everything on this machine and do the job once before your eyes (ONCE=1: end after the job)
	@$(BIN)/python -m sandbox.local.demo $(if $(ONCE),--once)

test: $(READY) ## all tests, on real PostgreSQL and Valkey
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 $(ARGS)

check: $(READY) $(CARD_READY) ## everything that "clean" means: format, lint, types, imports, migrations, deployment, the HubSpot project, known vulnerabilities, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python -m tests.checked_settings makemigrations --check --dry-run
	$(BIN)/python -m tests.checked_settings check --deploy --fail-level WARNING
	npm --prefix $(PROJECT) run --silent check
	@$(MAKE) --no-print-directory audit
	@$(MAKE) --no-print-directory test

audit: $(READY) ## look the locked packages up among known vulnerabilities; where that cannot be done, say so
	@$(BIN)/python -m tests.known_vulnerabilities

fix: $(READY) ## format and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

e2e: $(READY) ## drive the card in headless Chromium (installs Debian's chromium where it is missing)
	@$(BIN)/python -m pytest tests/browser -m browser $(ARGS)

faults: $(READY) ## break everything around the product, one thing at a time, and count what got lost
	@$(BIN)/python -m pytest tests/faults $(ARGS)

bench: $(READY) ## measure everything that docs/benchmarks.md promises (QUICK=1: short and rough; FULL=1: 10 million codes)
	@$(BIN)/python -m benchmarks $(ARGS)

texts: $(READY) ## compile the mail's texts after a change to emails/locale
	@$(BIN)/python -c "import pathlib, polib; [polib.pofile(str(path)).save_as_mofile(str(path.with_suffix('.mo'))) for path in pathlib.Path('emails/locale').rglob('*.po')]"

lock: $(READY) ## resolve requirements*.in into pinned, hashed requirements*.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11 requirements-dev.in -o requirements-dev.txt

.PHONY: help demo test check audit fix e2e faults bench texts lock
