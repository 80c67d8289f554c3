# `make run` and `make test` install what they need into .venv the first time. Targets call the `weakseg` command, which
# `source .venv/bin/activate` makes available too.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN := $(VENV)/.installed
TEST := $(VENV)/.installed-test
# CUDA=no: torch without the CUDA libraries, for machines without a GPU; see install/without_cuda.py
CUDA ?= yes
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup setup-test init run report profile verify clean test lint docs deps compare figures rehearse \
	data-voc12 data-msra data-ecssd data-coco14

help: ## show this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/'

setup: $(RUN) ## make .venv and install what a run needs (CUDA=no: without the CUDA libraries)

$(RUN): requirements.txt requirements-cuda.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || { echo "make: needs Python 3.11, 3.12 or 3.13; say make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifeq ($(CUDA),no)
	$(PIP) --no-deps --requirement requirements.txt
	$(BIN)/python install/without_cuda.py
else
	$(PIP) --requirement requirements.txt --requirement requirements-cuda.txt
endif
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

setup-test: $(TEST) ## install what tests, linter, type checker and docs need as well

$(TEST): $(RUN) requirements-test.txt requirements-extras.txt
	$(PIP) --no-deps --requirement requirements-test.txt
	touch $@

init: setup ## look at the photos in FOLDER (data/photos), write params.yaml for them, and say what was found
	@weakseg init $(if $(FOLDER),"$(FOLDER)") $(if $(FORCE),--force)

run: setup ## run the pipeline with params.yaml as it stands, then show the results table
	@weakseg run

report: setup ## write the results table and the page from what has run
	@weakseg report

profile: setup ## write params.yaml for NAME=toy | small-voc | own-photos | papers | voc12 | coco14 (FORCE=1 replaces your edits)
	@weakseg profile $(if $(NAME),"$(NAME)") $(if $(FORCE),--force)

verify: setup ## compare photos, archives and models with the checksums kept for them
	@weakseg verify

clean: setup ## remove what interrupted runs and tools have left behind; results stay
	@weakseg clean

test: setup-test ## run the tests, a real dvc repro on tiny data among them
	python -m pytest --numprocesses=2 --dist=loadfile

lint: setup-test ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

docs: setup-test ## build the docs as a site: site/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

deps: setup ## write the code deps of both dvc.yaml from the imports
	python -m tests.code_deps

compare: setup ## the papers' numbers beside ours, as far as the rows of ablations/ have run
	@cd ablations && sh -c "$$(python -c "import yaml; print(yaml.safe_load(open('dvc.yaml'))['stages']['compare_published']['cmd'])")"

figures: setup ## the papers' picture figures, from whatever has run, into metrics/figures
	@python -m weakseg.figures

rehearse: setup ## the papers' profile on a few drawings, every stage: what it takes here, and what the full run would
	@python -m benchmarks.rehearsal --out metrics/rehearsal.md

data-voc12: setup ## fetch VOC 2012 and SBD into data/VOC2012 (3.4 GB; data/sources.yaml says from where)
	@weakseg data voc12

data-msra: setup ## fetch MSRA-B, photos for the saliency model, into data/MSRA
	@weakseg data msra

data-ecssd: setup ## fetch ECSSD, fewer such photos, into data/ECSSD
	@weakseg data ecssd

data-coco14: setup ## fetch COCO 2014 into data/COCO2014 (20 GB)
	@weakseg data coco14
