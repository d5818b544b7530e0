# What these targets install, cache and write lies in this folder (.venv, .snakemake, results); nothing lies outside it.
.PHONY: setup demo check test lint docs soak bench rehearsal lock unlock clean

PYTHON ?= python3
READY := .venv/ready-$(word 1,$(shell { pwd; cat pyproject.toml constraints.txt; } | cksum))

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.venv/cache
export PIP_CACHE_DIR := $(XDG_CACHE_HOME)/pip
export UV_CACHE_DIR := $(XDG_CACHE_HOME)/uv
export MPLCONFIGDIR := $(XDG_CACHE_HOME)/matplotlib

# uv does not read pip's settings. A folder of packages given to pip serves uv too; without one, uv takes the build of
# torch that suits the machine, so that a laptop without a GPU does not download CUDA.
comma := ,
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(subst $() ,$(comma),$(PIP_FIND_LINKS))
else
export UV_TORCH_BACKEND ?= auto
endif

setup: $(READY)
	@echo "Ready. make demo: tables, figures and a report in minutes; make test: all tests; make lint: all style checks."

# (Compiled once here, every one of the hundreds of processes of a run starts in half the time.)
# The name holds a checksum of what is to be installed, and where. When that changes all but the cache is made anew.
# (pip asks for rustc's version, and rustup would note in the home that it was asked.)
$(READY): | pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "lkca needs Python 3.11 or newer, which $(PYTHON) is not: name another, as in make PYTHON=python3.12" >&2; exit 1; }
	@mkdir -p .venv
	@find .venv -mindepth 1 -maxdepth 1 ! -name cache -exec rm -rf {} +
	RUSTUP_HOME=.venv/cache/rustup $(PYTHON) -m venv .venv
	{ RUSTUP_HOME=.venv/cache/rustup .venv/bin/python -m pip install --quiet --constraint constraints.txt uv && \
	    .venv/bin/uv pip install --compile-bytecode --python .venv/bin/python --constraint constraints.txt --editable '.[test,lint,docs]'; } || \
	    .venv/bin/python -m pip install --constraint constraints.txt --editable '.[test,lint,docs]'
	@touch $@

# Snakemake is called without a shell around it, so that a SIGTERM to make reaches it.
demo: $(READY)
	@if [ -n "$$(ls .snakemake/locks 2>/dev/null)" ]; then \
	    echo "A run in this folder has left its lock: if no other snakemake is running here, give: make unlock" >&2; fi
	.venv/bin/snakemake --cores all --quiet rules reason host --configfile config.yaml workflow/demo.yaml
	@echo "The report: results/demo/report.html"

# (Chromium notes crashes where programs keep their settings.)
test: $(READY)
	XDG_CONFIG_HOME="$(XDG_CACHE_HOME)/config" .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Everything that is fast: no workflow, no browser, no kills.
check: $(READY)
	.venv/bin/python -m pytest --numprocesses 2 -m "not slow"

lint: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/snakemake --lint

# Build the documentation into docs/_build; warnings are errors.
docs: $(READY)
	.venv/bin/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs docs/_build

# Forty minutes: a hundred kills of trainings, and five of the demo.
soak: $(READY)
	LKCA_KILLS=100 LKCA_SOAK=1 .venv/bin/python -m pytest -rA --capture=tee-sys -k "killed_training_has or killed_five_times"

# Half an hour, on a machine that does nothing else meanwhile; on one with a GPU ten minutes: make bench DEVICE=cuda
DEVICE ?= cpu
bench: $(READY)
	.venv/bin/python benchmarks/training.py --device $(DEVICE)
	.venv/bin/python benchmarks/networks.py --device $(DEVICE)
	.venv/bin/python benchmarks/report.py

# Ten minutes and 8 GB of disk: made-up files of the official formats and sizes go through download, cutting and splitting.
rehearsal: $(READY)
	.venv/bin/python benchmarks/rehearsal.py

# For newer versions delete constraints.txt first; environment.yml then has to follow. What a CUDA build of torch needs is
# left out: torch pins it by itself, differently for each version of CUDA.
lock: $(READY)
	echo uv | env -u UV_FIND_LINKS -u UV_TORCH_BACKEND .venv/bin/uv pip compile pyproject.toml - --all-extras --universal \
	    --fork-strategy fewest --no-annotate --custom-compile-command "make lock" --output-file constraints.txt --quiet
	grep -vE '^(cuda|nvidia|triton)' constraints.txt > .venv/constraints.txt
	mv .venv/constraints.txt constraints.txt

# After a kill -9 or a power loss.
unlock:
	rm -rf .snakemake/locks

# Results, data and Snakemake's records stay.
clean:
	rm -rf .venv .pytest_cache .ruff_cache docs/_build
	find lkca tests -name __pycache__ -exec rm -rf {} +
