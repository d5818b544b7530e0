"""`lkca adopt`: declare that a change of code does not change the numbers of finished jobs."""

from datetime import date
from pathlib import Path

from lkca.config.job import Job
from lkca.config.load import find_config_files, read_config
from lkca.core.printing import printable
from lkca.errors import ConfigError
from lkca.pipeline.records import Adoption, changed_files
from lkca.pipeline.results import CHANGED, Reason, Results


def adopt(config: list[Path], because: str, jobs: list[str]) -> int:
    """Declare that a change of code changes no number, so that finished jobs count as made by the current code.

    The records keep the digests of the code before and after, the date and the reason.

    Args:
        config: Overlays of config.yaml, or other files: see `find_config_files`.
        because: Why the numbers are the same, for the readers of the results.
        jobs: Names of jobs as `lkca plan` prints them, or of folders of jobs; empty for all jobs of the experiment.

    Returns:
        The exit code: 1 if a job was refused because its settings or its files differ as well; else 0.

    Raises:
        ConfigError: If the reason is empty, a job does not exist, or there is nothing to adopt.
    """
    if not because.strip():
        raise ConfigError("--because is empty: give the reason why the numbers stay the same.")
    results = Results(read_config(find_config_files(config)))
    selected = _select(results, jobs)
    reasons = [(job, reason) for job in selected if (reason := results.reason(job))]
    results.hashes.save()
    ready = [(job, reason) for job, reason in reasons if reason.only_code]
    refused = [(job, reason) for job, reason in reasons if reason.kind == CHANGED and not reason.only_code]
    for job, reason in refused:
        print(f"refused  {job.name}: {printable(reason.text)}")
    if not ready and not refused:
        raise ConfigError(
            "there is nothing to adopt: no finished job was made by other code; lkca plan lists the jobs."
        )
    for job, reason in ready:
        _adopt_job(results, job, reason, because.strip())
    print(f"Adopted: {len(ready)}; refused: {len(refused)}.")
    return int(bool(refused))


def _select(results: Results, names: list[str]) -> list[Job]:
    """Return the jobs with these names or in these folders; all jobs if `names` is empty.

    The report is never among them, because it has to be made again to show the adoptions.

    Raises:
        ConfigError: If a name is neither that of a job nor that of a folder.
    """
    jobs = [job for job in results.jobs.all if job.step != "report"]
    for name in names:
        if not any(_matches(job, name) for job in jobs):
            raise ConfigError(
                f"{name} is not a job of {results.experiment.experiment} and not a folder of jobs: see lkca plan."
            )
    return [job for job in jobs if not names or any(_matches(job, name) for name in names)]


def _matches(job: Job, name: str) -> bool:
    """Return whether a name is the name of a job or of a folder that contains it."""
    return job.name == name or job.name.startswith(f"{name.rstrip('/')}/")


def _adopt_job(results: Results, job: Job, reason: Reason, because: str) -> None:
    """Make the record of a job name the current code, and add an adoption to it."""
    record, code = results.records[job.name], job.code()
    adoption = Adoption(
        code=record.code,
        to=code.digest,
        modules=changed_files(record, code),
        because=because,
        date=date.today().isoformat(),
    )
    update = {"code": code.digest, "modules": code.modules, "adopted": [*record.adopted, adoption]}
    record.model_copy(update=update).write(Path(results.experiment.paths.record(job.name)))
    print(f"adopted  {job.name}: {printable(reason.text)}")
