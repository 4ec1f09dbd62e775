# `make demo` and `make test` work on a bare clone: each makes the virtual environment that it needs.
#   PYTHON=python3.12      the interpreter to build the environment with
#   VENV=/elsewhere        where the environment lies
#   TORCH=torch==2.13.0    the PyTorch that tests and exports use; any build from 2.4 on
#   PYTEST='-k blend'      what pytest is told besides

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
PYTEST ?=
BENCH ?= --no-compile
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
BUILD := pyproject.toml CMakeLists.txt $(wildcard runtime/native/*.cpp)

.PHONY: demo test test-gpu rtx lint type bench bench-full format clean

demo: $(VENV)/.installed
	$(VENV)/bin/calanddet demo -o out/demo --overwrite

test: $(VENV)/.dev
	$(VENV)/bin/coverage erase
	$(VENV)/bin/coverage run -m pytest $(PYTEST)
	$(VENV)/bin/coverage report --skip-covered

test-gpu: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -m gpu $(PYTEST)

# TensorRT-RTX parses and builds without a GPU: with it, the tests build real plans (Linux x86-64 and Windows, 230 MB).
rtx: $(VENV)/.dev
	$(PIP) install --quiet --no-deps tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

type: $(VENV)/.dev
	$(VENV)/bin/mypy
	MYPYPATH=src:tests $(VENV)/bin/mypy tests

# Under ten minutes; BENCH='--no-compile --image PATH' takes one's own imagery.
bench: $(VENV)/.dev
	$(VENV)/bin/python -m calanddet.benchmarks.suite --prepare $(BENCH)
	$(VENV)/bin/python -m calanddet.benchmarks.suite $(BENCH)

# As long as it takes: torch.compile, whole scenes, and the parts by themselves.
bench-full: $(VENV)/.dev
	$(VENV)/bin/python -m calanddet.benchmarks.suite --full
	$(VENV)/bin/python -m calanddet.benchmarks.stitching
	$(VENV)/bin/python -m calanddet.benchmarks.stream
	$(VENV)/bin/python -m calanddet.benchmarks.training

format: $(VENV)/.dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Editable, so that a change to Python is live; built again when the extension or the packaging changes.
$(VENV)/.installed: $(BUILD) | $(VENV)/bin/python
	$(PIP) install --quiet --editable .
	@touch $@

# The pinned PyTorch first: a range lets pip choose a build with gigabytes of CUDA.
$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install --quiet '$(TORCH)'
	$(PIP) install --quiet --editable '.[dev,export]'
	@touch $@

clean:
	rm -rf build dist out .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis $(VENV)
