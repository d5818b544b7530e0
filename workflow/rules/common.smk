"""What the rules need of Python: the checked configuration, its jobs, and what has to run again."""

import atexit
import hashlib
import shlex
import shutil
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, workflow.basedir)
from lkca.core.gpus import visible_gpus
from lkca.config.load import parse_config
from lkca.errors import LkcaError
from lkca.core.files import atomic_write
from lkca.core.environment import total_memory
from lkca.pipeline.failures import forget_failures
from lkca.pipeline.plan import LONGEST, Estimates
from lkca.pipeline.records import Results

# Every job runs the checkout's package, in a venv and in the conda environment alike. Snakemake's own prefix, bash's strict
# mode, has to be repeated: without it a command that fails before `| tee` counts as done.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))}; ")

try:
    EXPERIMENT = parse_config(config)
    RESULTS = Results(EXPERIMENT)
except LkcaError as error:
    sys.exit(f"lkca: {error}")
JOBS = RESULTS.jobs
if workflow.is_main_process:
    atexit.register(RESULTS.hashes.save)
    forget_failures()

CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if CONDA and not shutil.which("conda"):
    sys.exit(
        "lkca: --use-conda needs the program conda, which is not on the PATH: install Miniforge "
        "(https://conda-forge.org/download), or leave --use-conda out and run in the environment that make sets up."
    )

# The interpreter that runs snakemake, whatever is on the PATH; with --use-conda that of the environment.
PYTHON = "python" if CONDA else shlex.quote(sys.executable)

# Jobs read the configuration that this call was started with, even if config.yaml is edited while they wait.
FROZEN = EXPERIMENT.model_dump_json()
CONFIGURATION = Path(f".snakemake/lkca/{hashlib.sha256(FROZEN.encode()).hexdigest()[:16]}.json")
if not CONFIGURATION.exists():
    with atomic_write(CONFIGURATION) as part:
        part.write_text(FROZEN, encoding="utf-8")


wildcard_constraints:
    exp=EXPERIMENT.experiment,
    scene="|".join(EXPERIMENT.scenes),
    scale=r"\d+",
    model="|".join(EXPERIMENT.models),
    seed=r"\d+",
    table="|".join(EXPERIMENT.tables),
    figure="|".join(EXPERIMENT.figures),


RUN = "results/{exp}/runs/{scene}_x{scale}/{model}/seed{seed}"

# Limits that nobody has to write are those of this machine, unless an executor sends jobs to others. Snakemake keeps each
# job's resources within them, so none is too small for a job.
ELSEWHERE = workflow.resource_settings.nodes is not None
CORES = workflow.resource_settings.cores or 1  # all of this machine's; None where an executor has its own
CARDS = len(visible_gpus())
ESTIMATES = Estimates(EXPERIMENT, gpu=CARDS > 0 or ELSEWHERE)
if workflow.is_main_process and not ELSEWHERE:
    for name, limit in {"gpu": CARDS, "mem_mb": total_memory() // 10**6}.items():
        if name not in workflow.global_resources:  # neither the user nor a profile says another
            workflow.global_resources[name] = limit


def files(step):
    """An input function: what a job of this step reads of the workflow.

    RESULTS decides whether a change makes the job run, and forces it then. Otherwise its files are ancient: Snakemake
    looks at no times, and makes what is missing where a job needs it.
    """

    def read(wildcards):
        job, changed = JOBS.get(step, wildcards), True
        if workflow.is_main_process:
            RESULTS.forced |= {*workflow.dag_settings.forcerun}  # which is not there yet when this file is read
            try:
                changed = RESULTS.changed(job)
            except LkcaError as error:
                sys.exit(f"lkca: {error}")
            if changed:
                stored = workflow.modifier.path_modifier.apply_default_storage  # where a profile names one
                workflow.dag.forcefiles.update(map(stored, job.outputs.values()))
        named = {name: paths for name, paths in {**job.inputs, "beside": list(job.other_inputs)}.items() if paths}
        return named if changed else {name: ancient(paths) for name, paths in named.items()}

    return read


def name_of(step):
    """A function for params: what the job is called."""
    return lambda wildcards, input: JOBS.get(step, wildcards).name


def command(step):
    """A function for params: the command that runs the job; the rule adds where it writes.

    Snakemake leaves out of its own records what is made from `input`.
    """
    words = f"{PYTHON} -m lkca step {{}} --experiment {CONFIGURATION}"
    return lambda wildcards, input: words.format(shlex.quote(JOBS.get(step, wildcards).name))


def why(step):
    """A function for params: why the job runs."""
    return lambda wildcards, input: RESULTS.why(JOBS.get(step, wildcards))


def run_of(wildcards):
    return wildcards.scene, int(wildcards.scale), wildcards.model


def memory_of(job):
    """Memory that a `training` or an `evaluation` asks for, as a function; a retry asks for more."""
    return lambda wildcards, attempt: attempt * getattr(ESTIMATES, job)(run_of(wildcards)).mem_mb()


def minutes_of(job):
    """Minutes that a `training` or an `evaluation` asks for, as a function; a retry asks for more, within a day."""
    return lambda wildcards, attempt: min(LONGEST, attempt * getattr(ESTIMATES, job)(run_of(wildcards)).minutes())
