# Two commands: `make run` and `make test`. Both install what they need into .venv the first time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup run profile test lint docs deps compare

help: ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup: $(INSTALLED) ## make .venv and install the pinned requirements

$(INSTALLED): requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11))" || { echo "make: needs Python 3.11; say make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

run: setup ## run the pipeline with params.yaml as it stands, then show the results table
	dvc repro
	@echo; cat metrics/report/table.txt; echo; echo "pictures: metrics/report/index.html and metrics/report/*.png"

profile: setup ## write params.yaml for NAME=toy | small-voc | own-photos | papers | voc12
	@python -m weakseg.profile "$(NAME)"

test: setup ## run the tests, a real dvc repro on tiny data among them
	python -m pytest

lint: setup ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

docs: setup ## build the docs as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

deps: setup ## write the code deps of both dvc.yaml from the imports
	python -m tests.code_deps

compare: setup ## the papers' numbers beside ours, as far as the rows of ablations/ have run
	@cd ablations && sh -c "$$(python -c "import yaml; print(yaml.safe_load(open('dvc.yaml'))['stages']['compare_published']['cmd'])")"
