"""The jobs of an experiment and their results: which jobs have to run again, and why.

A job runs again if its settings, its code, or the content of a file that it read or wrote differ from its record
(records.py). The times of files never make a job run; they only help to find the files that need not be hashed.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lkca.config.job import Job
from lkca.config.jobs import Jobs
from lkca.config.schema import Experiment
from lkca.core.files import list_files, read_json
from lkca.core.fingerprint import Code
from lkca.core.paths import HASH_CACHE
from lkca.errors import StaleInput
from lkca.pipeline.hashes import FileHashes, Stamp
from lkca.pipeline.phrases import list_names
from lkca.pipeline.records import Adoption, Record, changed_files, describe_file, digests, read_record

MAX_LISTED_CHANGES = 3  # in one reason
MAX_VALUE_LENGTH = 40  # characters of a setting in a reason
CHANGED, MISSING = "changed", "missing"


class Reason(NamedTuple):
    """Why a job has to run.

    Args:
        kind: MISSING if nothing but files that it writes are missing, else CHANGED.
        text: The setting, code or file that differs, in words.
        only_code: Whether only the code differs.
    """

    kind: str
    text: str
    only_code: bool = False


class Results:
    """The jobs of an experiment and their results.

    Args:
        experiment: The experiment.

    Attributes:
        jobs: The jobs.
        records: Name of a job -> its record.
        hashes: The hashes of files.
        forced: Rules and files whose jobs the user forces to run.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.forced: set[str] = set()
        self.hashes = FileHashes(HASH_CACHE)
        self.records = self._read_records()
        self.jobs = Jobs(experiment, self.adoptions())
        self._reasons: dict[str, Reason | None] = {}
        self._changed: dict[str, bool] = {}

    def _read_records(self) -> dict[str, Record]:
        """Return the records of all jobs by name, and add the hashes in them to `hashes`.

        Raises:
            OSError: If a record or a folder of them cannot be read; without them, everything would run again.
        """
        folder, records = Path(self.experiment.paths.records()), dict[str, Record]()
        for path in list_files(folder, ".json"):
            if record := read_record(path):
                records[path.relative_to(folder).with_suffix("").as_posix()] = record
                for digest, *stamp in (*record.reads.values(), *record.writes.values()):
                    if stamp:
                        self.hashes.add(digest, Stamp(*stamp))
        return records

    def adoptions(self) -> list[dict[str, Any]]:
        """Return all adoptions: the fields of `Adoption`, and as "jobs" the names of the jobs that it applies to."""
        jobs: dict[str, list[str]] = {}
        for name, record in self.records.items():
            for adoption in record.adopted:
                jobs.setdefault(adoption.model_dump_json(), []).append(name)
        return [{**json.loads(text), "jobs": names} for text, names in jobs.items()]

    def reason(self, job: Job) -> Reason | None:
        """Return why a job has to run, regardless of the jobs that it needs; None if it need not run."""
        if job.name not in self._reasons:
            self._reasons[job.name] = self._find_reason(job)
        return self._reasons[job.name]

    def _find_reason(self, job: Job) -> Reason | None:
        missing, record = sorted(self._missing_outputs(job)), self.records.get(job.name)
        if record is None and len(missing) == len(job.outputs):
            return Reason(MISSING, "not made yet")
        if record is None:
            return Reason(CHANGED, "there is no record of how it was made")
        if record.settings != job.canonical_settings():
            return Reason(CHANGED, _list_changes(_differences(record.settings, job.canonical_settings())))
        if changes := self._input_changes(job, record):
            return Reason(CHANGED, _list_changes(changes))
        if edited := [path for path in job.outputs.values() if self._is_edited(path, record)]:
            return Reason(CHANGED, f"{_list_changes(edited)} {'are' if edited[1:] else 'is'} not what this job wrote")
        if differences := self._config_differences(job):
            return Reason(CHANGED, _list_changes(differences))
        code = job.code()
        if code.digest not in record.accepted_codes():
            return Reason(CHANGED, f"the code has changed in {_list_changes(changed_files(record, code))}", True)
        if missing:
            return Reason(MISSING, f"{_list_changes(missing)} {'are' if missing[1:] else 'is'} missing")
        return None

    def _input_changes(self, job: Job, record: Record) -> list[str]:
        """Return the differences between the files that a job reads now and those in its record, in words.

        Missing files do not count.
        """
        read = digests(record.reads)
        current = {label: self.hashes.get(path) for label, path in job.reads().items()}
        removed = sorted(read.keys() - current.keys())
        renamed = {read[label] for label in removed}  # the same content under another name is no change
        changes = [
            f"{label} has changed" for label, digest in current.items() if digest and read.get(label, digest) != digest
        ]
        added = [label for label, digest in current.items() if digest and label not in read and digest not in renamed]
        if added:
            changes.append(f"it now reads {list_names(added)}")
        # A deleted header counts, because its cube is still read; other missing files are made again by their jobs.
        deleted_headers = [label for label in removed if job.raw_files and label.lower().endswith(".hdr")]
        dropped = [label for label in removed if label in deleted_headers or os.path.exists(label)]
        if dropped:
            changes.append(f"it no longer reads {list_names(dropped)}")
        return changes

    def _is_edited(self, path: str, record: Record) -> bool:
        """Return whether a file exists and is not the one that the job of a record wrote."""
        return self.hashes.get(path) not in (None, digests(record.writes).get(path))

    def _config_differences(self, job: Job) -> list[str]:
        """Return the settings in which a run.json, which repeats the configuration, differs from it, in words."""
        path = job.outputs.get("out", "")
        if job.step != "settings" or not self.hashes.get(path):
            return []
        content, arguments = read_json(Path(path)), job.canonical_settings()
        expected = {**arguments["settings"], "seed": arguments["seed"]}
        written = {name: content.get(name) for name in expected} if isinstance(content, dict) else {}
        return [f"in {path}, {difference}" for difference in _differences(written, expected)]

    def check_inputs(self, job: Job) -> None:
        """Check that each file that a job reads is the one that another job wrote, with the current settings.

        Raises:
            StaleInput: If a file was edited or damaged after its job wrote it, or that job has other settings now.
        """
        reads = job.reads()
        for needed in self.jobs.needs(job):
            record, paths = self.records.get(needed.name), [path for path in needed.outputs.values() if path in reads]
            if record is None:
                raise StaleInput(f"{paths[0]} has no record of how it was made: run snakemake again.")
            if record.settings != needed.canonical_settings():
                raise StaleInput(
                    f"{paths[0]} was made with other settings than the configuration has now: run snakemake again."
                )
            if edited := [path for path in paths if self._is_edited(path, record)]:
                raise StaleInput(f"{edited[0]} is not what {needed.name} wrote: run snakemake again to make it again.")
            if differences := self._config_differences(needed):
                raise StaleInput(f"{differences[0]}: run snakemake again to make the file again.")

    def changed(self, job: Job) -> bool:
        """Return whether a job has to run because of a change, in itself or in a job that it needs."""
        if job.name not in self._changed:
            reason = self.reason(job)
            changed_itself = self.is_forced(job) or (reason is not None and reason.kind == CHANGED)
            self._changed[job.name] = changed_itself or any(self.changed(needed) for needed in self.jobs.needs(job))
        return self._changed[job.name]

    def is_forced(self, job: Job) -> bool:
        """Return whether the user forces a job to run."""
        return bool(self.forced & {job.step, *job.outputs.values()})

    def explain(self, job: Job) -> str:
        """Return the reason why a job runs, in words: its own one, or the first job that it needs and that runs."""
        if reason := self.reason(job):
            return reason.text
        running = (needed for needed in self.jobs.needs(job) if self.reason(needed) or self.changed(needed))
        return next((f"{needed.name} runs again" for needed in running), "it was requested")

    def pending(self) -> dict[str, str]:
        """Return the jobs that a call of snakemake would run: name -> reason; each comes after the jobs that it needs.

        As in Snakemake, a missing file is made again only if a job that runs reads it; then all jobs that read it run.
        """
        jobs = {job.name: job for job in self.jobs.all}
        readers: dict[str, list[Job]] = {name: [] for name in jobs}
        for job in jobs.values():
            for needed in self.jobs.needs(job):
                readers[needed.name].append(job)
        targets = {*self.jobs.targets()}
        waiting = [job for job in jobs.values() if self.changed(job) or self._missing_outputs(job) & targets]
        running: set[str] = set()
        while waiting:
            job = waiting.pop()
            if job.name in running:
                continue
            running.add(job.name)
            waiting += [reader for reader in readers[job.name] if self._missing_outputs(job) & reader.reads().keys()]
            waiting += [needed for needed in self.jobs.needs(job) if self._missing_outputs(needed) & job.reads().keys()]
        return {name: self.explain(job) for name, job in jobs.items() if name in running}

    def _missing_outputs(self, job: Job) -> set[str]:
        return {path for path in job.outputs.values() if self.hashes.get(path) is None}

    def origin(self, job: Job) -> dict[str, Any]:
        """Return what determines the result of a job now: its settings, its code, and the hashes of its input files."""
        hashes = {path: self.hashes.get(path) for path in job.reads().values()}
        return {"settings": job.canonical_settings(), "code": job.code().digest, "reads": hashes}

    def write_record(self, job: Job, code: Code, adopted: list[Adoption]) -> None:
        """Write the record of a job that has just succeeded.

        Args:
            job: The job.
            code: The code that it ran with.
            adopted: The adoptions of its result that stay valid.
        """
        reads = {label: path for label, path in job.reads().items() if Path(path).exists()}
        record = Record(
            step=job.step,
            archs=[*job.archs],
            settings=job.canonical_settings(),
            code=code.digest,
            modules=code.modules,
            reads={label: describe_file(self.hashes, path) for label, path in reads.items()},
            writes={path: describe_file(self.hashes, path) for path in job.outputs.values() if Path(path).exists()},
            adopted=adopted,
        )
        record.write(Path(self.experiment.paths.record(job.name)))


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the settings that differ, in words with both values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        differences = []
        for key in dict.fromkeys([*new, *old]):
            differences += _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return differences
    name = path.removeprefix("settings.") or "the setting"
    return [] if old == new else [f"{name} was {_shorten(old)}, is {_shorten(new)} now"]


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 3]}..."


def _list_changes(texts: Iterable[str]) -> str:
    texts = [*texts]
    more = len(texts) - MAX_LISTED_CHANGES
    return "; ".join(texts[:MAX_LISTED_CHANGES]) + (f"; and {more} more" if more > 0 else "")
