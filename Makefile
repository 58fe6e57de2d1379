# Needs python3 >= 3.11 and make, nothing else. Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
CASES ?= 1000
SEEDS ?= 1,2,3,4,5

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test fuzz smoke lint format lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Collect, fit, evaluate and show a page, in about three minutes
	$(BIN)/twinfold demo --out demo

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

fuzz: $(READY) ## Try 5,000 wrong inputs (CASES of each of SEEDS), and every pair of kinds of tables
	TWINFOLD_FUZZ_CASES=$(CASES) TWINFOLD_FUZZ_SEEDS=$(SEEDS) \
		$(BIN)/python -m pytest -n $(WORKERS) tests/fuzz tests/cli/test_kinds_of_tables.py

smoke: $(READY) ## Run every method of the benchmark on next to nothing, in about three minutes
	rm -rf smoke
	@set -e; for suite in table1 table2 table3 scarcity scarcity_return; do \
		$(BIN)/twinfold bench run $$suite --profile smoke --work smoke/fits \
			--records smoke/$$suite-smoke.jsonl; done
	@set -e; for suite in unseen figures; do \
		$(BIN)/twinfold bench run $$suite --profile smoke --work smoke/fits --records smoke; done
	$(BIN)/twinfold bench page --profile smoke \
		--results smoke --out smoke/index.html

lint: $(READY) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(READY) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolves pyproject.toml anew in an environment of its own, so that nothing from .venv leaks in.
# What BCQ and CQL need on top, PyTorch above all, has a file of its own.
lock: ## Write both lock files: the newest versions that pyproject.toml allows
	@$(call check_python,$(PYTHON))
	@set -eu; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(PYTHON) -m venv "$$work/venv"; pip="$$work/venv/bin/python -m pip"; \
	$$pip install --quiet --disable-pip-version-check ".[dev]"; \
	$$pip freeze --exclude twinfold > "$$work/lock"; \
	$$pip install --quiet --disable-pip-version-check torch; \
	$$pip install --quiet --disable-pip-version-check ".[baselines]"; \
	$$pip freeze --exclude twinfold | sed 's/+cpu$$//' > "$$work/all"; \
	grep -vxFf "$$work/lock" "$$work/all" > "$$work/baselines"; \
	if grep -vE '^[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+$$' "$$work/all"; then \
		echo 'no lock written: the lines above are not name==version' >&2; exit 1; fi; \
	if grep -vxFf "$$work/all" "$$work/lock"; then \
		echo 'no lock written: the extra baselines needs other versions of the above' >&2; exit 1; \
	fi; \
	{ echo '# Made by "make lock" from pyproject.toml with its dev extra.'; cat "$$work/lock"; } \
		> requirements.lock; \
	{ echo '# Made by "make lock": what the extra baselines adds to requirements.lock.'; \
		cat "$$work/baselines"; } > requirements-baselines.lock; \
	for file in requirements.lock requirements-baselines.lock; do \
		echo "$$file: $$(grep -c == $$file) packages"; done

clean: ## Remove the environment, caches and the demo's output (never runs/)
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .jax_cache dist build demo smoke
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

check_python = $(1) -c 'import sys; \
	version = ".".join(map(str, sys.version_info[:3])); \
	sys.exit(0 if sys.version_info >= (3, 11) else "twinfold needs Python 3.11 or newer, but " \
	"$(1) is %s. Name another one: make PYTHON=python3.12" % version)' || \
	{ echo "Python was looked for as: $(1)" >&2; exit 1; }

# A .venv that works is kept; one that is broken, too old or half-made is made anew.
$(READY): requirements.lock requirements-baselines.lock pyproject.toml
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ $(call check_python,$(PYTHON)) && $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-r requirements.lock -r requirements-baselines.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
