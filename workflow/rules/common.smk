"""Definitions for all rules: the checked configuration, its jobs, and functions for inputs, params and resources.

Python that needs no objects of Snakemake is in lkca/pipeline/rules.py.
"""

import atexit
import shlex
import sys

from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, workflow.basedir)
from lkca.pipeline import rules as lkca_rules
from lkca.pipeline.estimates import Estimates
from lkca.pipeline.failures import forget_failures
from lkca.pipeline.results import Results

CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
with lkca_rules.exit_on_error():
    if workflow.is_main_process:
        lkca_rules.check_folder(str(workflow.basedir))
    EXPERIMENT = lkca_rules.read_workflow_config(workflow.config_settings)
    RESULTS = Results(EXPERIMENT)
    PYTHON = lkca_rules.python_command(CONDA)
    SNAPSHOT = lkca_rules.write_snapshot(EXPERIMENT)
# Every job runs the package of this checkout, both in a venv and in the conda environment. The prefix replaces that of
# Snakemake, so it repeats bash's strict mode: without it a command that fails before `| tee` counts as successful.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))}; ")


async def do_nothing(*args, **options):
    """Replace a method of Snakemake."""


# Jobs replace their outputs atomically. A job that fails therefore leaves its old outputs, and its record shows that they
# are old. Snakemake would delete them before the job starts and after it fails. It would also fail a job and delete its
# outputs if an input has a date in the future. Its flag `update` for outputs is no alternative: it copies each file and
# copies it back, and on a full disk the copy is cut.
Job.remove_existing_output = Job.cleanup = DAG.check_output_mtime = do_nothing

JOBS = RESULTS.jobs
if workflow.is_main_process:
    atexit.register(RESULTS.hashes.save)
    if not workflow.dryrun:
        forget_failures()


wildcard_constraints:
    exp=EXPERIMENT.experiment,
    scene="|".join(EXPERIMENT.scenes),
    scale=r"\d+",
    model="|".join(EXPERIMENT.models),
    seed=r"\d+",
    table="|".join(EXPERIMENT.tables),
    figure="|".join(EXPERIMENT.figures),


RUN = "results/{exp}/runs/{scene}_x{scale}/{model}/seed{seed}"

# Unless an executor sends jobs to other machines, the default limits are the resources of this machine. Snakemake
# reduces the request of each job to the limits, so that no request exceeds them.
OTHER_MACHINES = workflow.resource_settings.nodes is not None
CORES = workflow.resource_settings.cores or 1  # all cores of this machine; None with an executor
LIMITS = lkca_rules.machine_limits()
if workflow.is_main_process and not OTHER_MACHINES:
    for name, limit in LIMITS.items():
        if name not in workflow.global_resources:  # neither the user nor a profile sets it
            workflow.global_resources[name] = limit


onstart:
    # On one machine, Snakemake's default limit of 100 jobs a second has no use. Its timers multiply with every job that
    # ends and use up to a quarter of a processor, which falsifies measured times (github.com/snakemake/snakemake/pull/3744).
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and not OTHER_MACHINES and limiter.max_jobs >= 100 * limiter.timespan:
        workflow.scheduler.job_rate_limiter = None


ESTIMATES = Estimates(EXPERIMENT, gpu=LIMITS["gpu"] > 0 or OTHER_MACHINES)
FUNCTIONS = lkca_rules.RuleFunctions(RESULTS, ESTIMATES, PYTHON, SNAPSHOT)
job_name, command, reason = FUNCTIONS.job_name, FUNCTIONS.command, FUNCTIONS.reason
memory, minutes = FUNCTIONS.memory, FUNCTIONS.minutes


def inputs(step):
    """Return an input function for the rule of a step.

    RESULTS decides whether a change makes the job run; the job is then forced. Otherwise its input files are `ancient`:
    Snakemake ignores their times, and makes missing files if a job needs them.
    """

    def find_inputs(wildcards):
        job, changed = JOBS.get(step, wildcards), True
        if workflow.is_main_process:
            RESULTS.forced |= {*workflow.dag_settings.forcerun}  # Snakemake sets it after it has read this file
            with lkca_rules.exit_on_error():
                changed = RESULTS.changed(job)
                if not workflow.dryrun and (changed or RESULTS.reason(job)):
                    lkca_rules.check_writable(job.outputs.values())
            if changed:
                stored = workflow.modifier.path_modifier.apply_default_storage  # if a profile names a storage
                workflow.dag.forcefiles.update(map(stored, job.outputs.values()))
        files = lkca_rules.named_inputs(job)
        return files if changed else {name: ancient(paths) for name, paths in files.items()}

    return find_inputs
