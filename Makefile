# Every target works from a fresh clone: the first one that needs it makes .venv and installs there, once.
PYTHON   ?= python3
TEMPLATE ?= netpicking
DEVICE   ?= auto
WORKERS  ?= auto
RUN      ?= runs/demo
MNIST    ?= runs/thousand-light
ARGS     ?=
TORCH    ?=
BIN      := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo generate train status test lint types check lowest explore figures exam docs clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: .venv/.installed  ## make .venv and install netpick there; TORCH=cpu for the small build of torch

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "netpick needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Say: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(addprefix --extra-index-url https://download.pytorch.org/whl/,$(TORCH)) --editable ".[dev,docs]"
	@touch $@

demo: install  ## generate 1001 networks for the bundled digits, train them all, print the result
	$(BIN)/netpick generate netpicking --dataset digits --set defaults.max_macs=1_000_000 --run runs/demo
	$(BIN)/netpick train runs/demo --device cpu $(ARGS)

generate: install  ## generate the networks of TEMPLATE (netpicking), for MNIST
	$(BIN)/netpick generate $(TEMPLATE) $(ARGS)

train: install  ## train the run generated last, on DEVICE (auto) with WORKERS (auto)
	$(BIN)/netpick train --device $(DEVICE) --workers $(WORKERS) $(ARGS)

status: install  ## how far the run generated last has come
	$(BIN)/netpick status

explore: install  ## RUN (the demo) as one page to look around in, RUN/explore.html
	$(BIN)/netpick explore $(RUN) $(ARGS)

figures: install  ## all questions of RUN (the demo) as figures, in RUN/figures
	$(BIN)/netpick figures $(RUN)

exam: install  ## the pages of whole exams in docs/exam: that of MNIST and that of RUN (the demo)
	$(BIN)/netpick report $(MNIST) --to docs/exam/mnist.md
	$(BIN)/netpick report $(RUN) --to docs/exam/digits.md

test: lint types check  ## lint, types, tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

check: install
	$(BIN)/pytest --numprocesses auto --dist worksteal

docs: install  ## build the site into docs/_build/html, without a network; a warning is an error
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html

lowest: .venv-lowest/.installed  ## tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	.venv-lowest/bin/python -m pytest --numprocesses auto --dist worksteal

.venv-lowest/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable ".[dev]"
	@touch $@

clean:  ## remove .venv and caches; runs/ stays
	rm -rf .venv .venv-lowest build docs/_build docs/gallery/questions docs/reference/rooms *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
