# Set up, test and show the project. Everything is installed into .venv; remove that folder to start afresh.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint format checkpoints install clean

# The leaderboard is shown after each. Folders of their own, so that `demucs` and `umx` are free for published models.
demo: $(VENV)/installed  ## install, then run every bundled system on the embedded set, without a network
	$(BIN)/harness run --system passthrough
	$(BIN)/harness run --system centre
	$(BIN)/harness run --system umx --option model=demo --output submissions/umx-demo
	$(BIN)/harness run --system demucs --option model=demo --output submissions/demucs-demo
	$(BIN)/harness run --system oracle

test: $(VENV)/installed-for-development  ## the whole test suite (HARNESS_TEST_ALL=1: with every golden score)
	$(BIN)/pytest --numprocesses auto --dist loadfile

lint: $(VENV)/installed-for-development  ## linter, formatter, type checker
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/installed-for-development
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

checkpoints: $(VENV)/installed-for-training  ## train the demonstration models anew (hours without a GPU; goes on where it stopped)
	$(BIN)/python -m training render
	$(BIN)/python -m training demucs
	$(BIN)/python -m training umx

install: $(VENV)/installed

clean:
	rm -rf $(VENV) build *.egg-info

# A compiler and headers are there for one small package that pyclarity needs and that ships no wheel.
$(VENV)/bin/pip:
	sh .ci/system-packages $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "installing into $(VENV): a few minutes and some GB, most of it PyTorch ..."
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-for-development: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/installed-for-training: $(VENV)/installed
	sh training/system-packages
	$(PIP) --editable '.[training]'
	@touch $@
