# These targets install, cache and write files in this folder only (.venv, .snakemake, results).
.PHONY: setup demo check test lint docs soak bench publish rehearsal lock unlock clean

PYTHON ?= python3
READY := .venv/ready-$(word 1,$(shell { pwd; cat pyproject.toml constraints.txt; } | cksum))

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.venv/cache
export PIP_CACHE_DIR := $(XDG_CACHE_HOME)/pip
export UV_CACHE_DIR := $(XDG_CACHE_HOME)/uv
export MPLCONFIGDIR := $(XDG_CACHE_HOME)/matplotlib

# uv does not read pip's settings, so a folder of packages for pip (PIP_FIND_LINKS) is passed on to uv. Without one, uv
# takes the build of torch that suits the machine, so that a laptop without a GPU does not download CUDA.
comma := ,
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(subst $() ,$(comma),$(PIP_FIND_LINKS))
else
export UV_TORCH_BACKEND ?= auto
endif

setup: $(READY)
	@echo "Ready. make demo: tables, figures and a report in minutes; make test: all tests; make lint: all style checks."

# The name of this file has a checksum of the requirements and of the path of this folder. If one of them changes, all of
# .venv except the cache is installed again.
# --compile-bytecode: the hundreds of processes of a run then start in half the time.
# RUSTUP_HOME: pip asks rustc for its version, and rustup would otherwise write a file in the home directory.
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

# The command of Snakemake has no shell syntax, so make starts it without a shell, and a SIGTERM to make reaches it.
demo: $(READY)
	@if [ -n "$$(ls .snakemake/locks 2>/dev/null)" ]; then \
	    echo "A run in this folder has left its lock: if no other snakemake is running here, give: make unlock" >&2; fi
	.venv/bin/snakemake --cores all --quiet rules reason host --configfile config.yaml workflow/demo.yaml
	@echo "The report: results/demo/report.html"

# XDG_CONFIG_HOME: Chromium writes its crash reports there.
# --max-worker-restart 0: if a process of the tests crashes, the run ends and names the test; otherwise it would hang.
test: $(READY)
	XDG_CONFIG_HOME="$(XDG_CACHE_HOME)/config" .venv/bin/python -m pytest --numprocesses 2 --max-worker-restart 0 --dist loadfile \
	    --no-loadscope-reorder

# The fast tests: without whole workflows, the browser and kills.
check: $(READY)
	.venv/bin/python -m pytest --numprocesses 2 --max-worker-restart 0 -m "not slow"

lint: $(READY)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/snakefmt --check Snakefile workflow
	.venv/bin/snakemake --lint
	.venv/bin/python benchmarks/publish.py --check

# Build the documentation into docs/_build; warnings are errors.
docs: $(READY)
	.venv/bin/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet -b html docs docs/_build

# Kill trainings a hundred times, and disturb the demo fifteen times, in an hour.
soak: $(READY)
	LKCA_KILLS=100 LKCA_SOAK=1 .venv/bin/python -m pytest -rA --capture=tee-sys -k "killed_training_has or disturbed_workflow or killed_calls"

# Measure speeds, in half an hour on an otherwise idle machine; on a GPU in ten minutes: make bench DEVICE=cuda
DEVICE ?= cpu
bench: $(READY)
	.venv/bin/python benchmarks/training.py --device $(DEVICE)
	.venv/bin/python benchmarks/networks.py --device $(DEVICE)
	.venv/bin/python benchmarks/report.py
	.venv/bin/python benchmarks/enlarge.py

# Run what has changed of the small benchmark, in half an hour if all has, and write its table in the README.
publish: $(READY)
	.venv/bin/snakemake --cores all --configfile config.yaml workflow/indian_pines.yaml
	.venv/bin/python benchmarks/publish.py

# Download, cut and split generated files of the official formats and sizes, in ten minutes and with 8 GB of disk.
rehearsal: $(READY)
	.venv/bin/python benchmarks/rehearsal.py

# To get newer versions, delete constraints.txt first, and change environment.yml afterwards. The packages that a CUDA build
# of torch needs are left out, because torch pins them itself, differently for each version of CUDA; nvidia-ml-py is ours.
lock: $(READY)
	echo uv | env -u UV_FIND_LINKS -u UV_TORCH_BACKEND .venv/bin/uv pip compile pyproject.toml - --all-extras --universal \
	    --fork-strategy fewest --no-annotate --custom-compile-command "make lock" --output-file constraints.txt --quiet
	grep -vE '^(cuda|nvidia-[^m]|triton)' constraints.txt > .venv/constraints.txt
	mv .venv/constraints.txt constraints.txt

# Remove Snakemake's lock after a kill -9 or a power loss.
unlock:
	rm -rf .snakemake/locks

# Results, data and Snakemake's own files stay.
clean:
	rm -rf .venv .pytest_cache .ruff_cache docs/_build
	find lkca tests -name __pycache__ -exec rm -rf {} +
