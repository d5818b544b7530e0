"""`lkca step`: run one job of the workflow and write its record."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from typing import Any

from lkca.config.job import Job, Paths
from lkca.config.jobs import Jobs
from lkca.config.load import locate_errors, read_snapshot
from lkca.core.files import atomic_write
from lkca.core.fingerprint import STEPS, hash_sources
from lkca.data.splits import check_scene_files
from lkca.errors import ConfigError, StaleInput
from lkca.pipeline.failures import remember_failure
from lkca.pipeline.records import digests
from lkca.pipeline.results import Results


def run_step(name: str, experiment: Path, outputs: list[Path], gpus: int) -> None:
    """Run one job of the workflow and write its record.

    Args:
        name: Name of the job.
        experiment: The checked configuration that the Snakefile has written.
        outputs: The paths where Snakemake expects the files: in results/, or in its local copy of a storage.
        gpus: Number of GPUs, for a training.

    Raises:
        ConfigError: If there is no such job, or `outputs` do not fit it.
        StaleInput: If a file that the job reads is not the one that another job wrote, or if the code or such a file is
            changed while the job runs.
        LkcaError: If the job rejects its input.
    """
    results = Results(read_snapshot(experiment))
    job, record = results.jobs.by_name(name), results.records.get(name)
    if len(outputs) != len(job.outputs):
        raise ConfigError(f"--outputs: {name} writes {len(job.outputs)} files, not {len(outputs)}: name each of them.")
    source_hash, code = hash_sources(), job.code()
    accepted_codes = record.accepted_codes() if record and code.digest in record.accepted_codes() else set()
    origin = results.origin(job)
    results.check_inputs(job)
    options = _options(job)
    if "scene" in job.inputs:
        check_scene_files(options["scene"], options.get("split"))
    if job.step == "train":
        options |= {"gpus": gpus, "adopted": sorted(accepted_codes - {code.digest})}
    function = _import_function(job.step)
    if hash_sources() != source_hash:
        raise StaleInput(f"the code of lkca was changed while {name} started: run snakemake again.")
    with remember_failure(name, origin), locate_errors(results.experiment):
        function(**options)
    job = Jobs(results.experiment, results.jobs.adoptions).by_name(
        name
    )  # again, because it now finds the files that it has downloaded
    results.hashes.forget_paths()
    for path, digest in origin["reads"].items():
        if digest and results.hashes.get(path) != digest:
            raise StaleInput(f"{path} was changed while {name} read it: run snakemake again.")
    adopted = []
    if record and accepted_codes:
        old_hashes = digests(record.writes)
        if all(results.hashes.get(path) == digest for path, digest in old_hashes.items()):
            adopted = record.adopted  # the job wrote the same files again, such as a training from its saved state
    results.write_record(job, code, adopted)
    for written, expected in zip(job.outputs.values(), outputs, strict=True):
        if expected != Path(written):  # Snakemake moves it to the storage from there
            with atomic_write(expected) as part:
                copyfile(written, part)


def _options(job: Job) -> dict[str, Any]:
    """Return the arguments of a job's function."""
    options = dict(job.arguments)
    options |= {name: _as_paths(paths) for name, paths in job.inputs.items()}
    return options | {name: Path(path) for name, path in job.outputs.items()}


def _as_paths(paths: Paths) -> Path | list[Path] | None:
    if isinstance(paths, list):
        return [Path(path) for path in paths]
    return Path(paths) if paths else None


def _import_function(step: str) -> Callable[..., None]:
    module, _, name = STEPS[step].partition(":")
    function: Callable[..., None] = getattr(import_module(module), name)
    return function
