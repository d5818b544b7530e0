"""Python for the rules of the workflow that needs no objects of Snakemake (workflow/rules/common.smk has the rest).

Snakemake calls a function in `params` with the wildcards and the input of a job, and a function in `resources` with the
wildcards and the number of the attempt. Texts of users must come from such functions, because Snakemake takes `{...}`
in a string for a wildcard.
"""

import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EACCES
from pathlib import Path
from typing import Any

from lkca.config.job import Job
from lkca.config.load import dump_snapshot, find_config_files, read_config
from lkca.config.schema import Experiment
from lkca.core.environment import total_memory
from lkca.core.files import REMEDIES, atomic_write, system_error
from lkca.core.gpus import visible_gpus
from lkca.core.paths import WORKFLOW_CACHE, RunGroup
from lkca.core.printing import MAX_MESSAGE, printable
from lkca.errors import ConfigError, DataError, LkcaError, ResourceError
from lkca.pipeline.estimates import MAX_MINUTES, Estimate, Estimates
from lkca.pipeline.results import Results

Wildcards = Mapping[str, Any]
Param = Callable[[Wildcards, Any], str]
Resource = Callable[[Wildcards, int], int]


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End Snakemake with one sentence if the block fails because of the configuration, the data or the system."""
    try:
        yield
    except (LkcaError, OSError) as error:
        message = system_error(error) if isinstance(error, OSError) else error
        sys.exit(f"lkca: {printable(message, MAX_MESSAGE)}")


def check_folder(checkout: str) -> None:
    """Check that Snakemake works in the folder of the checkout, because the paths of all files are relative to it.

    Raises:
        ConfigError: If it works in another folder, or if Snakemake would take the name of the folder for a pattern.
        DataError: If Snakemake cannot write its own files there.
    """
    if re.search("[{}]", checkout):
        raise ConfigError(
            f"{checkout} has braces in its name, and Snakemake takes them for a pattern: move the folder."
        )
    if not os.path.samefile(checkout, os.curdir):
        raise ConfigError(
            f"snakemake works in {Path.cwd()}, not in the folder of its Snakefile: change to {checkout} and call it "
            "without --directory and --snakefile."
        )
    check_writable([".snakemake/locks/x"])


def check_writable(files: Iterable[str]) -> None:
    """Check that files can be replaced or created, before Snakemake tries it.

    Raises:
        DataError: If a folder cannot be written.
    """
    for folder in {Path(file).parent for file in files}:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            raise DataError(
                f"{existing.absolute()} cannot be written, and snakemake has to write files there: {REMEDIES[EACCES]}."
            )


def read_workflow_config(settings: Any) -> Experiment:
    """Return the experiment of a call of Snakemake, after checking it.

    The files are read again, because Snakemake lets the last of two equal keys win, takes 1e-3 for a text, and does
    not know the lines of the settings.

    Args:
        settings: `workflow.config_settings`.

    Raises:
        ConfigError: On the first setting that is wrong.
    """
    paths = [path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in settings.configfiles]
    replaces_base = settings.replace_workflow_config and paths
    return read_config(paths if replaces_base else find_config_files(paths), settings.config_args or [])


def write_snapshot(experiment: Experiment) -> Path:
    """Write a checked configuration for the jobs of this call, so that later edits of config.yaml do not affect them.

    URLs that may contain secrets are not in the file, but in the environment of this process and of its jobs.

    Returns:
        The path of the file; equal configurations have the same file.
    """
    secrets: dict[str, str] = {}
    text = dump_snapshot(experiment, secrets)
    os.environ.update(secrets)
    path = WORKFLOW_CACHE / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        with atomic_write(path) as part:
            part.write_text(text, encoding="utf-8")
    return path


def python_command(conda: bool) -> str:
    """Return the command that starts Python: in the conda environment, or the interpreter that runs Snakemake.

    Raises:
        ResourceError: If conda is wanted but not installed.
    """
    if not conda:
        return shlex.quote(sys.executable)
    if not shutil.which("conda"):
        raise ResourceError(
            "--use-conda needs the program conda, which is not on the PATH: install Miniforge "
            "(https://conda-forge.org/download), or omit --use-conda to run in the environment that make sets up."
        )
    return "python"


def machine_limits() -> dict[str, int]:
    """Return the resources of this machine: GPUs, and memory in megabytes."""
    return {"gpu": len(visible_gpus()), "mem_mb": total_memory() // 10**6}


def named_inputs(job: Job) -> dict[str, Any]:
    """Return the files of the workflow that a job reads, by the names of its function's arguments."""
    inputs = {**job.inputs, "other_inputs": list(job.other_inputs)}
    return {name: paths for name, paths in inputs.items() if paths}


class RuleFunctions:
    """Functions for the `params` and `resources` of rules; each method returns one for the rule of a step.

    Args:
        results: The jobs of the experiment and their records.
        estimates: Estimates for its trainings and evaluations.
        python: The command that starts Python.
        snapshot: The checked configuration that jobs read.
    """

    def __init__(self, results: Results, estimates: Estimates, python: str, snapshot: Path) -> None:
        self.results, self.estimates, self.python, self.snapshot = results, estimates, python, snapshot

    def job_name(self, step: str) -> Param:
        """Return a function for the name of a job."""
        return lambda wildcards, input: self.results.jobs.get(step, wildcards).name

    def command(self, step: str) -> Param:
        """Return a function for the command that runs a job; the rule adds --outputs."""

        def command(wildcards: Wildcards, input: Any) -> str:
            name = shlex.quote(self.results.jobs.get(step, wildcards).name)
            return f"{self.python} -m lkca step {name} --experiment {self.snapshot}"

        return command

    def reason(self, step: str) -> Param:
        """Return a function for the reason why a job runs."""
        return lambda wildcards, input: printable(self.results.explain(self.results.jobs.get(step, wildcards)))

    def memory(self, step: str) -> Resource:
        """Return a function for the megabytes that a training or an evaluation requests; a retry requests more."""
        return lambda wildcards, attempt: attempt * self._estimate(step, wildcards).mem_mb

    def minutes(self, step: str) -> Resource:
        """Return a function for the minutes that a training or an evaluation requests; a retry requests more."""
        return lambda wildcards, attempt: min(MAX_MINUTES, attempt * self._estimate(step, wildcards).minutes)

    def _estimate(self, step: str, wildcards: Wildcards) -> Estimate:
        group = RunGroup(str(wildcards["scene"]), int(wildcards["scale"]), str(wildcards["model"]))
        estimate = {"train": self.estimates.training, "evaluate": self.estimates.evaluation}[step]
        return estimate(group)
