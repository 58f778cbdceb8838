# Two commands matter: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
LIBRISPEECH ?=

# Modules are compiled when first used, not at installation: torch alone has thousands. So let Python keep them.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --no-deps --disable-pip-version-check --progress-bar off -qq
# The rules of the workflow call `audioslots` by name.
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --cores $(CORES) --quiet rules reason host
PARTS := mini-ablations $(addprefix mini-ablations-,model loss audio stitching memory costs attention refinement counting mixit noise)
SPEECH := librispeech librispeech-systems librispeech-tie librispeech-adaptation librispeech-counting librispeech-lengthened \
	librispeech-conversations librispeech-carried
# No reference results of this are kept.
UNPUBLISHED := librispeech-features
GIVEN = $(if $(LIBRISPEECH),--config librispeech="$(LIBRISPEECH)")
COMMA := ,
STUDIES := $(subst $() ,$(COMMA),$(filter-out adaptation carried conversations counting features lengthened mixit noise,$(basename $(notdir $(wildcard ablations/*.yaml)))))
PLACE = echo "The page: $(CURDIR)/$(1)/index.html"

.DEFAULT_GOAL := help
.PHONY: $(PARTS) $(SPEECH) $(UNPUBLISHED) mini-adaptation help demo long conversations smoke rates gpu ablations test test-slow test-slurm lint format bench reference sizes lock clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: .venv/.installed ## Run the whole benchmark at the mini scale, on synthesized speech (8 to 14 minutes).
	@$(SNAKEMAKE) --configfile config/mini.yaml
	@$(call PLACE,results/mini)

long: .venv/.installed ## Run it with long training (half an hour), and make its reference results again.
	@$(SNAKEMAKE) --configfile config/mini-long.yaml
	@$(BIN)/audioslots reference results/mini-long --command "make long"
	@$(call PLACE,results/mini-long)

conversations: .venv/.installed ## Run it on conversations of a minute, with long training (an hour), and make its reference again.
	@$(SNAKEMAKE) --configfile config/mini-conversations.yaml
	@$(BIN)/audioslots reference results/mini-conversations --command "make conversations"
	@$(call PLACE,results/mini-conversations)

smoke: .venv/.installed ## Run the same at a size of about a minute.
	@$(SNAKEMAKE) --configfile config/smoke.yaml
	@$(call PLACE,results/smoke)

test: .venv/.installed ## Run the tests, but for the slow ones.
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not slurm"

test-slow: .venv/.installed ## Run the slow tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not slurm"

test-slurm: .venv/.installed ## Run the workflow on a real Slurm, started on this machine for as long as it takes (Debian, root).
	$(BIN)/python -m pytest -m slurm tests/slurm/test_taking_down.py
	$(BIN)/python tests/slurm/cluster.py $(BIN)/python -m pytest -m slurm --durations=0 tests/slurm/test_slurm.py

lint: .venv/.installed ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile config/smoke.yaml

format: .venv/.installed ## Format the code and fix what can be fixed.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile workflow

bench: .venv/.installed ## Measure speed and memory of the parts.
	@set -e; for script in perf/*.py; do $(BIN)/python "$$script"; done

gpu: .venv/.installed ## Measure on a GPU all that a GPU decides; without a GPU it says so.
	$(BIN)/python perf/gpu.py

rates: .venv/.installed ## Try three learning rates of every variant of the ablations, and keep the best on dev speakers.
	@$(SNAKEMAKE) --configfile config/mini-ablations.yaml --config 'studies=[$(STUDIES)]' -- rates
	cp results/mini-ablations/rates.csv config/mini-ablations-rates.csv

ablations: $(PARTS) ## Run every study at the mini scale, in twelve parts of two hours at most (repeat the command to resume).

$(PARTS): .venv/.installed
	@$(SNAKEMAKE) --configfile config/$@.yaml
	@$(BIN)/audioslots reference results/$@ --command "make $@"
	@$(call PLACE,results/$@)

reference: $(SPEECH) ## Make the references on real speech again, from LIBRISPEECH=<folder>; without it, downloaded (7 GB).

librispeech-lengthened: librispeech-features

librispeech-conversations librispeech-carried: librispeech-lengthened

librispeech-adaptation: mini-adaptation

mini-adaptation: .venv/.installed
	@$(SNAKEMAKE) --configfile config/mini-adaptation.yaml

$(UNPUBLISHED): .venv/.installed
	@$(SNAKEMAKE) --configfile config/$@.yaml $(GIVEN)
	@$(call PLACE,results/$@)

$(SPEECH): .venv/.installed
	@$(SNAKEMAKE) --configfile config/$@.yaml $(GIVEN)
	@$(BIN)/audioslots reference results/$@ --command "make $@ LIBRISPEECH=<folder of LibriSpeech's subsets>"
	@$(call PLACE,results/$@)

sizes: .venv/.installed ## Count the paper-size model and benchmark again, for docs/: operations, memory, GPU hours.
	@$(BIN)/audioslots sizes config/libri2mix.yaml audioslots conv-tasnet --page docs/gpu.md
	@$(BIN)/audioslots plan config/libri2mix.yaml --page docs/cluster.md

# The exact versions of the environment as it is now: install or upgrade something in .venv, then call this.
# Packages of CUDA are wheels for Linux only, as torch's own metadata says.
lock: ## Write requirements.lock and environment.yml again, from what .venv holds.
	{ echo '# Generated by `make lock`. Every package of the environment, for running and for developing.'; \
	  $(BIN)/python -m pip freeze --all --exclude pip --exclude wheel --exclude audioslots | LC_ALL=C sort -f \
	    | sed -E '/^(cuda-|nvidia-|triton=)/ s/$$/ ; sys_platform == "linux"/'; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
	{ echo '# Generated by `make lock`. The environment as conda sees it: conda env create -f environment.yml'; \
	  printf '%s\n' 'name: audioslots' 'channels:' '  - conda-forge' 'dependencies:' \
	    '  - python >=3.11,<3.14' '  - pip' '  - make' '  - c-compiler' '  - pip:'; \
	  sed -E "/^#/ d; s/.*/      - '&'/" requirements.lock; \
	  echo "      - '-e .'"; } > environment.yml.new
	mv environment.yml.new environment.yml

clean: ## Remove the environment, caches and what demo and smoke made; other results stay.
	rm -rf .venv .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build data/mini-* data/smoke-* results/mini results/mini-long results/smoke
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: $(PYTHON) is missing or older than Python 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@command -v "$${CC:-cc}" >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null || { \
	  echo "make: no C compiler found, which PESQ needs; install one (Debian: build-essential, macOS: xcode-select --install)" >&2; exit 1; }
	@test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || { \
	  echo "make: Python's headers not found, which PESQ needs; install them (Debian: python3-dev)" >&2; exit 1; }
	@echo "Setting up .venv (about 5 GB, two minutes on a good line)"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --no-compile --requirement requirements.lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@
