# SPDX-License-Identifier: Apache-2.0
# Every target is one line that can be pasted; bare `make` lists them.

PYTHON ?= python3
BIN := .venv/bin
DEMO_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv native debug demo test quicktest lint fmt types contracts bench bench-quick \
	profile docs wheel services-up services-down clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: .venv/.dev  ## set up .venv with everything (runtime, tests, linters)

native: .venv/.runtime  ## compile _native/*.pyx in place
	@mkdir -p build
	@flock build/.lock $(BIN)/python setup.py --quiet build_ext --inplace

debug: .venv/.runtime  ## compile with bounds checks and line tracing, into build/debug
	@flock build/.lock ci/debug-tree $(BIN)/python

demo: .venv/.runtime native  ## two small databases, the proxy in front, queries; DEMO_ARGS=--once ends by itself
	$(BIN)/hproxy demo $(DEMO_ARGS)

test: .venv/.dev native debug  ## everything: real servers, all tests, native tests on the debug build
	ci/test

quicktest: .venv/.dev native  ## the tests that need no server (seconds)
	$(BIN)/python -m pytest tests/unit tests/native

lint: .venv/.dev native  ## every static check CI runs
	ci/lint

fmt: .venv/.dev  ## format, and fix what ruff can fix
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

types: .venv/.dev native  ## mypy --strict, and each .pyi against its compiled module
	$(BIN)/mypy && ci/stubtest

contracts: .venv/.dev  ## the layer rule
	$(BIN)/lint-imports

bench: .venv/.dev native services-up  ## sysbench: direct, HAProxy, hproxy, interleaved (minutes)
	$(BIN)/python -m bench.load.mysql

bench-quick: .venv/.dev native services-up  ## the short run behind the CI gate on ratios
	$(BIN)/python -m bench.load.mysql --quick

profile: .venv/.dev native  ## flame graph of a running worker: make profile PID=1234
	$(BIN)/py-spy record --native --duration 20 --output build/profile.svg --pid $(PID)

docs: .venv/.dev  ## check the spelling of the documentation and that its links lead somewhere
	$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md docs && $(BIN)/python -m ci.doc_links

wheel: .venv/.dev  ## sdist and manylinux wheels, each installed and tried in an empty environment
	ci/wheels

services-up: .venv/.dev  ## start MariaDB, MySQL 9 and HAProxy on loopback
	ci/services up

services-down:  ## stop them
	ci/services down

clean:  ## remove what was built (not .venv, not downloaded servers)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find hproxy -name '*.so' -delete

.venv/.runtime: pyproject.toml
	ci/bootstrap build
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip setuptools cython
	$(BIN)/pip install --quiet --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime
	ci/bootstrap test
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[test,dev]'
	@touch $@
