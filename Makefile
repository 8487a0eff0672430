# Set up, test and show the project. Everything is installed into .venv and .venv-spleeter; remove these to start afresh.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint $(CONSTRAINTS)
# An environment of its own for a system that cannot be installed beside the rest.
SPLEETER := .venv-spleeter
SPLEETER_REQUIREMENTS := plugins/harness_plugins/spleeter/requirements.txt

# One thread each: the processes share the cores already. A file at a time, in the order of tests/conftest.py.
TESTS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
    $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: demo spleeter spleeter-environment browser sound services test quick lint format docs pictures release checkpoints install clean

# Folders of their own for the small models, so that `umx` and `demucs` are free for published ones.
demo: $(VENV)/installed  ## install, then run every bundled system on the embedded set, without a network
	$(BIN)/harness run --engine fast --system passthrough
	$(BIN)/harness run --engine fast --system centre
	$(BIN)/harness run --engine fast --system umx --option model=demo --output submissions/umx-demo
	$(BIN)/harness run --engine fast --system demucs --option model=demo --output submissions/demucs-demo
	$(BIN)/harness run --engine fast --system live --chain live
	$(BIN)/harness run --engine fast --system oracle
	$(BIN)/harness report
	@echo
	@echo "What may be concluded from this board: that everything works here, and little"
	@echo "else. Three scenes of one song say next to nothing about a system; rank systems"
	@echo "on the challenge's data (README.md, On a real evaluation set)."

spleeter: $(VENV)/installed $(SPLEETER)/installed  ## the system that needs an environment of its own, on the embedded set
	$(BIN)/harness run --engine fast --system spleeter --python $(SPLEETER)/bin/python

test: $(VENV)/installed-for-development  ## the whole test suite (HARNESS_TEST_ALL=1: with every golden score)
	$(TESTS)

browser:  ## Chromium, in which the tests look at the report
	command -v chromium || command -v chromium-browser || command -v google-chrome || \
	    sh .ci/system-packages $(PYTHON) chromium=chromium

sound:  ## PortAudio, with which harness live plays: the package sounddevice does not bring it on Linux
	PATH="$$PATH:/sbin" ldconfig -p | grep -q libportaudio.so.2 || \
	    sh .ci/system-packages $(PYTHON) the-library-portaudio=libportaudio2

services:  ## Slurm and PostgreSQL, of which the tests start their own
	sh .ci/system-packages $(PYTHON) slurmctld=slurmctld slurmd=slurmd sbatch=slurm-client munged=munge \
	    pg_ctlcluster=postgresql

quick: $(VENV)/installed-for-development  ## the tests worth running while working: three to four minutes on two cores
	$(TESTS) -m "not slow"

lint: $(VENV)/installed-for-development  ## linter, formatter, type checker, direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/installed-for-development
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/installed-for-development  ## the documentation as a site, into build/site, without a network
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build

pictures: $(VENV)/installed-for-development browser  ## the pictures of the documentation, and what its commands print
	$(BIN)/python -m website.pictures
	$(BIN)/python -m website.blocks docs/tutorial.md docs/how-to/paper.md

release:  ## sdist and wheel into dist/, checked, installed and tried outside of the checkout
	sh .ci/system-packages $(PYTHON)
	.ci/release $(PYTHON)

checkpoints: $(VENV)/installed-for-training  ## train the demonstration models anew (hours without a GPU; resumes if interrupted)
	$(BIN)/python -m training render
	$(BIN)/python -m training demucs
	$(BIN)/python -m training umx
	$(BIN)/python -m training blend
	$(BIN)/python -m training test

install: $(VENV)/installed

spleeter-environment: $(SPLEETER)/installed

clean:
	rm -rf $(VENV) $(SPLEETER) build *.egg-info .import_linter_cache

# The compiler and the headers are for one small package that pyclarity needs and that ships no wheel.
$(VENV)/bin/pip:
	sh .ci/system-packages $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/pip
	@echo "installing into $(VENV): a few minutes and some GB, most of it PyTorch ..."
	$(PIP) --editable .
	@touch $@

# Without bubblewrap the tests of the sandbox are skipped, and without Chromium (make browser) those that look at the report.
$(VENV)/installed-for-development: $(VENV)/installed
	-sh .ci/system-packages $(PYTHON) bwrap=bubblewrap
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/installed-for-training: $(VENV)/installed
	sh training/system-packages
	$(PIP) --editable '.[training]'
	@touch $@

# Every package is listed, so nothing is resolved. TensorFlow 2.12 needs a Python that is older than some of ours.
$(SPLEETER)/installed: $(SPLEETER_REQUIREMENTS)
	@echo "installing into $(SPLEETER): about a minute and 1.3 GB, most of it TensorFlow ..."
	@python=$$(sh .ci/find-python 3.11 3.10) || \
	    { echo "spleeter needs Python 3.11 or 3.10 with its venv module: install one (python3.11-venv, for instance)" >&2; exit 1; }; \
	$$python -m venv --clear $(SPLEETER)
	$(SPLEETER)/bin/pip --disable-pip-version-check install --quiet --no-deps --requirement $(SPLEETER_REQUIREMENTS)
	@touch $@
