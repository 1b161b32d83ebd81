# Copyright (c) Contributors to the lading.oci project
# SPDX-License-Identifier: GPL-3.0-or-later

# The front door for people and for CI. Everything is made below .build/; nothing is installed on the machine.
#   PYTHON=python3.12     another Python than the newest
#   PAIRS="2.19 next"     of make test-matrix: 2.19, 2.20, 2.21, next
#   SECONDS=3600          of make fuzz, for each target; TARGETS="tar codec" for some of them only
#   WORK="1 2 growth" of make bench, WORK="build pull" of make bench-start; RUNS=5 of each; SCALE=0.1 of the sizes and counts
#   FILES="spec/digest.py" of make mutants; SAMPLE=20 for so many mutants of each file

PYTHON ?=
BUILD := $(CURDIR)/.build
VENV := $(BUILD)/venv
QUICKSTART_VENV := $(BUILD)/quickstart-venv
RELEASE_VENV := $(BUILD)/release-venv
FUZZ_VENV := $(BUILD)/fuzz-venv
DOCS_VENV := $(BUILD)/docs-venv
SECONDS ?= 60
TOOLS := tests/tools
# Any Python 3 starts the tools; they choose the one that the work is done with.
START := python3

.PHONY: help test test-matrix release-check release sanity units coverage integration system lint torture torture-peers quickstart bench \
  bench-start fuzz mutants docs format peers clean

help:
	@echo "make quickstart   build, copy and pull with a real registry, then again with changed=0"
	@echo "make test         all of: sanity units coverage integration system lint"
	@echo "make test-matrix  sanity, units and integration with each ansible-core and its Pythons; PAIRS=2.19 for one of them"
	@echo "make release-check  a release in a scratch copy: tarball, galaxy-importer, ansible-builder, installed and used"
	@echo "make release VERSION=1.0.0  the version, the changelog and the tarball; see CONTRIBUTING.md"
	@echo "make torture      hostile input, faults, kills and races at length: about 15 minutes"
	@echo "make torture-peers  the same cases for oras, skopeo and crane, counted only"
	@echo "make bench        side by side with oras, crane, skopeo, umoci and buildx: about two hours"
	@echo "make bench-start  what a task with nothing to do costs over one of ping: about 10 minutes"
	@echo "make fuzz         fuzz each group of parsers for SECONDS=60"
	@echo "make mutants      which small faults in FILES no unit test notices"
	@echo "make docs         the documentation as a site, in .build/docs/html"
	@echo "make format       format the Python code"
	@echo "make peers        fetch the other tools into .build/peers/bin"
	@echo "make clean        remove .build"

test sanity units coverage integration system lint torture torture-peers: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(VENV) requirements-dev.txt $(PYTHON)
	@$(VENV)/bin/python $(TOOLS)/run_tests.py $(filter-out test,$@) $(if $(filter units,$@),--all-pythons)

test-matrix: $(BUILD)/checked
	@$(START) $(TOOLS)/matrix.py $(PAIRS)

release-check: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(RELEASE_VENV) requirements-release.txt $(PYTHON)
	@$(RELEASE_VENV)/bin/python $(TOOLS)/release_check.py

release: $(BUILD)/checked
	@test -n "$(VERSION)" || { echo "Say which: make release VERSION=1.0.0"; exit 2; }
	@$(START) $(TOOLS)/environment.py $(RELEASE_VENV) requirements-release.txt $(PYTHON)
	@$(RELEASE_VENV)/bin/python $(TOOLS)/release.py $(VERSION)

quickstart: $(BUILD)/python
	@$(START) $(TOOLS)/environment.py $(QUICKSTART_VENV) requirements-quickstart.txt $(PYTHON)
	@$(QUICKSTART_VENV)/bin/python $(TOOLS)/registry_server.py $(QUICKSTART_VENV)/bin/python $(TOOLS)/quickstart.py

bench: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(VENV) requirements-dev.txt $(PYTHON)
	@LADING_BENCH_RUNS=$(RUNS) LADING_BENCH_SCALE=$(SCALE) $(VENV)/bin/python tests/bench/bench.py $(BUILD)/bench.json $(WORK)

bench-start: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(VENV) requirements-dev.txt $(PYTHON)
	@LADING_BENCH_RUNS=$(RUNS) $(VENV)/bin/python tests/bench/start.py $(WORK)

fuzz: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(FUZZ_VENV) requirements-fuzz.txt $(PYTHON)
	@$(FUZZ_VENV)/bin/python $(TOOLS)/run_fuzz.py $(SECONDS) $(TARGETS)

mutants: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(VENV) requirements-dev.txt $(PYTHON)
	@$(VENV)/bin/python $(TOOLS)/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(FILES)

docs: $(BUILD)/python
	@$(START) $(TOOLS)/environment.py $(DOCS_VENV) requirements-docs.txt $(PYTHON)
	@$(DOCS_VENV)/bin/python $(TOOLS)/docs_site.py $(BUILD)/docs

format: $(BUILD)/checked
	@$(START) $(TOOLS)/environment.py $(VENV) requirements-dev.txt $(PYTHON)
	@$(VENV)/bin/ruff check --fix . && $(VENV)/bin/ruff format .

peers:
	@$(START) $(TOOLS)/peers.py $(BUILD)/peers/bin

clean:
	rm -rf $(BUILD)

$(BUILD)/python:
	@command -v $(START) >/dev/null || { echo "python3 is missing. Install Python 3.11 or newer (Debian: apt-get install python3-venv)"; exit 1; }
	@mkdir -p $(BUILD) && touch $@

$(BUILD)/checked: $(BUILD)/python
	@command -v git >/dev/null || { echo "git is missing. Install it (Debian: apt-get install git)"; exit 1; }
	@mkdir -p $(BUILD) && touch $@
