# Everything runs in .venv, which `make setup` makes; PYTHON names another interpreter (3.11 or newer) to make it with.
# LOCKED=1 makes the exact environment of the benchmark: the same files, each checked against its hash.
PYTHON ?= python3
VENV := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup lock study test test-slow test-slurm mutants lint bench bench-published bench-slow ui report completion clean clean-runs

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## make the environment (.venv) with the package in it; LOCKED=1: exactly that of the benchmark

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "study needs Python 3.11 or newer: make PYTHON=python3.12 setup" >&2; exit 2; }
	$(PYTHON) -m venv .venv
ifdef LOCKED
	@$(VENV)/python -c 'import platform as p; exit((p.python_version()[:5], p.system(), p.machine()) != ("3.11.", "Linux", "x86_64"))' || { echo "LOCKED=1 is for Python 3.11 on Linux x86_64: make PYTHON=python3.11 LOCKED=1 setup" >&2; exit 2; }
	$(VENV)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements/build.txt
	$(VENV)/python -m pip install --quiet --require-hashes --no-deps --no-build-isolation --use-pep517 --requirement requirements/lock.txt
	$(VENV)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(VENV)/python -m pip check
else
	$(VENV)/python -m pip install --quiet --editable '.[dev]'
endif
	@touch $@

lock: $(READY) ## write the lock files of LOCKED=1 anew, from this environment
	$(VENV)/python requirements/lock.py

study: $(READY) ## a first comparison on scikit-learn's digits, its report, and how to browse it
	$(VENV)/python -m study -m +method=finetune,joint,fsgmix,reassure,reassure_soft,arachne seed=0,1,2 hydra/launcher=joblib
	$(VENV)/python -m study.report
	@echo "Browse the runs in MLflow: make ui"

test: $(READY) ## the test suite, a process per core
	$(VENV)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

test-slow: $(READY) ## the tests that take minutes (training on MNIST where STUDY_DATA has it)
	$(VENV)/python -m pytest -m slow

test-slurm: $(READY) ## sweeps through sbatch; fails where no SLURM answers sinfo
	STUDY_NEEDS_SLURM=1 $(VENV)/python -m pytest -m slurm

mutants: $(READY) ## break steps of the package by hand, and say which of these mutants no test sees (half an hour of CPU)
	$(VENV)/python -m tests.mutants.run

lint: $(READY) ## ruff and mypy
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

bench: $(READY) ## every approach on MNIST/LeNet5, three seeds, against its control; needs MNIST in STUDY_DATA
	$(VENV)/python -m benchmarks.run

bench-published: $(READY) ## the same approaches in their authors' regime, three seeds, without controls (forty minutes)
	$(VENV)/python -m benchmarks.run --published

bench-slow: $(READY) ## the same with full/apricot, half an hour more
	$(VENV)/python -m benchmarks.run --slow

ui: $(READY) ## browse the runs in MLflow (on this machine only)
	@$(VENV)/python -m study.tracking.serve

report: $(READY) ## tables and plots of what was tracked
	$(VENV)/python -m study.report

completion: $(READY) ## print what makes bash complete `python -m study`: eval "$(make -s completion)"
	@cat conf/completion.bash

clean: ## remove the environment and caches; runs and results stay
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache dist

clean-runs: ## remove all runs and results as well
	find multirun mlruns -mindepth 1 ! -name .gitignore -delete
