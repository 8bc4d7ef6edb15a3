# `make` lists the targets. Everything is installed into .venv; a target installs what it needs, and
# again only when pyproject.toml or constraints.txt have changed. Give ARGS for the tool that a
# target runs: make test ARGS="-k demo", make serve ARGS="--port 9000".

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
# Python to make .venv with; left out: the first of these that is 3.11 or newer.
PYTHON ?=
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python

# A pytest process for each CPU and one more; a file stays in one of them, and those of the service, which
# take longest, come first. PARALLEL= runs one process.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(DEMO) ## Do the main job once on real photographs, on a stack that is stopped afterwards
	@$(BIN)/python -m scripts.demo $(ARGS)

.PHONY: photos
photos: $(DEMO) ## Write the demo's photographs to demo/, to try the service on
	@$(BIN)/python -m scripts.demo.photos $(ARGS)

.PHONY: serve
serve: $(DEMO) ## Start the service on this machine and leave it up until Ctrl-C
	@exec $(BIN)/dspt serve $(ARGS)

.PHONY: test
test: $(DEV) ## Run the whole test suite
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

.PHONY: test-unit test-integration test-acceptance
test-unit: ## Run the tests of single parts
test-integration: ## Run the tests against real Redis and PostgreSQL
test-acceptance: ## Run the tests of the running service over HTTP
test-unit test-integration test-acceptance: test-%: $(DEV)
	$(BIN)/python -m pytest $(PARALLEL) tests/$* $(ARGS)

.PHONY: check
check: $(DEV) ## Lint, check the format and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p scripts.demo -p scripts.reference -p benchmarks -m scripts.constraints
	@$(MAKE) bandit

.PHONY: bandit
bandit: $(DEV) ## Look for insecure code
	$(BIN)/bandit -q -c pyproject.toml -r dspt app worker $(ARGS)

# Strict: a package that the service knows nothing of is an error, and so is no answer.
.PHONY: audit
audit: $(DEV) ## Look for known vulnerabilities in the versions of constraints.txt
	@$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt $(ARGS) || { \
		echo "Not clean: mend what is listed above. If no vulnerability is listed, the service could" >&2; \
		echo "not be asked about every package; another one may: make audit ARGS=\"-s osv\"" >&2; \
		exit 1; \
	}

.PHONY: schemathesis
schemathesis: $(DEV) ## Try the running API against its OpenAPI document; prints what was tried
	$(BIN)/python -m pytest -s tests/integration/test_schemathesis.py $(ARGS)

.PHONY: install
install: $(DEV) ## Install all that development needs, without running anything

.PHONY: constraints
constraints: $(DEV) ## Write the versions installed now to constraints.txt
	$(BIN)/python -m scripts.constraints > constraints.new
	mv constraints.new constraints.txt
	touch $(DEMO) $(DEV)

.PHONY: reference
reference: $(DEV) ## Write docs/reference/ anew from the code
	@$(BIN)/python -m scripts.reference

.PHONY: clean
clean: ## Remove .venv and all caches
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip names each file as it downloads it; what it says of packages already there is left out. Its
# errors and warnings go to stderr, past the filter.
define install
	@echo "Installing .[$(1)] into $(VENV); the first time this downloads a few gigabytes ..."
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(1)]' \
		| awk '/^ *Downloading/ { print "  " $$1, $$2, $$3, $$4; fflush() }'
endef

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(call install,dev)
	@touch $(DEMO) $(DEV)

$(DEMO): pyproject.toml constraints.txt | $(BIN)/python
	$(call install,demo)
	@touch $(DEMO)

$(BIN)/python:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv $(VENV) || { \
				rm -rf $(VENV); \
				echo "$$python cannot make a virtual environment; on Debian and Ubuntu" >&2; \
				echo "install its venv package (apt install python3-venv)." >&2; \
				exit 1; \
			}; \
			exit 0; \
		fi; \
	done; \
	echo "No Python 3.11 or newer found (looked for: $(or $(PYTHON),$(PYTHONS)))." >&2; \
	echo "Install it, or name it: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1
