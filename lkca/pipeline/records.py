"""What has to run again, and why: for every rule by the record of what a job was made from.

A job that has ended well leaves a record: results/{experiment}/records/{job}.json holds the settings and the digest of
the code that decided its result, and the SHA-256 of every file that it read and wrote. A job runs again when one of
these is different now. Times of files decide nothing: with size and inode they only tell which files need no hashing.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from time import sleep, time_ns
from typing import Annotated, Any, NamedTuple, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from lkca.config.job import Job
from lkca.config.jobs import Jobs
from lkca.config.load import read_config, read_snapshot
from lkca.config.schema import Experiment
from lkca.core.files import atomic_write, sha256, write_json
from lkca.core.fingerprint import PACKAGE, STEPS, Code, sources
from lkca.errors import LkcaError
from lkca.pipeline.failures import failing_once

HASHES = Path("results/.hashes.json")  # of files whose records do not know them as they are now, such as copies
TICK_NS, SECOND_NS = 20_000_000, 2_100_000_000  # after which another change has another time: most disks, coarse ones
MOST_NAMED = 3  # changes that a reason names
CACHED = TypeAdapter(dict[str, tuple[str, int, int, int, int]])  # path -> SHA-256 and stamp
CHANGED, MISSING = "changed", "missing"


class Stamp(NamedTuple):
    """What the file system says of a file. A file with the same stamp has the same content."""

    size: int
    mtime_ns: int
    ctime_ns: int  # which no program can set
    inode: int


def stamp(path: str | Path) -> Stamp:
    """The stamp of a file; of the file that a link leads to.

    Raises:
        OSError: If there is none.
    """
    status = os.stat(path)
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_settled(of: Stamp) -> bool:
    """Whether a file that changes after this moment gets another stamp: time has moved on since its last change."""
    coarse = of.ctime_ns % 10**9 == 0
    return time_ns() - of.ctime_ns > (SECOND_NS if coarse else TICK_NS)


class Hashes:
    """The SHA-256 of files, each of which is read once, or not at all where it is known by its stamp.

    Args:
        cache: A JSON file with what was hashed before; None to keep nothing.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache
        self.by_stamp: dict[Stamp, str] = {}
        self.by_path: dict[str, str | None] = {}
        self.cached: dict[str, tuple[str, int, int, int, int]] = {}
        self.new = False
        if cache:
            with suppress(OSError, ValidationError):  # it can always be made again
                self.cached = CACHED.validate_json(cache.read_bytes())
        for digest, *numbers in self.cached.values():
            self.know(digest, numbers)

    def know(self, digest: str, numbers: Iterable[int]) -> None:
        """Take over the SHA-256 of a file and its stamp at that time."""
        self.by_stamp[Stamp(*numbers)] = digest

    def of(self, path: str) -> str | None:
        """The SHA-256 of a file; None where there is none.

        Raises:
            LkcaError: If it cannot be read.
        """
        if path not in self.by_path:
            self.by_path[path] = self._hash(path)
        return self.by_path[path]

    def _hash(self, path: str) -> str | None:
        try:
            before = stamp(path)
            if before in self.by_stamp:
                return self.by_stamp[before]
            settled, digest = is_settled(before), sha256(Path(path))
            if settled and stamp(path) == before:
                self.know(digest, before)
                self.cached[path], self.new = (digest, *before), True
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise LkcaError(f"{path} is a folder, and a file is expected there: move it away.") from None
        except OSError as error:
            raise LkcaError(f"{path} cannot be read ({error.strerror}): make it readable.") from error
        return digest

    def save(self) -> None:
        """Keep what had to be hashed for the next call; where that is not possible it is hashed again."""
        if self.cache and self.new:
            with suppress(LkcaError):
                write_json(self.cache, {path: each for path, each in self.cached.items() if Path(path).exists()})


class Adoption(BaseModel):
    """That somebody has said: this change of code does not change the numbers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str  # the digest before
    to: str  # ... and after
    modules: list[str]  # where the two differ
    because: str
    date: str


def _entry(values: list[str | int]) -> list[str | int]:
    if [type(each) for each in values] not in ([str], [str, int, int, int, int]):
        raise ValueError("a file has a SHA-256, and its stamp or none")
    return values


Entry = Annotated[list[str | int], AfterValidator(_entry)]


class Record(BaseModel):
    """What a job was made from and what it wrote. Of each file: SHA-256, size, mtime and ctime in ns, inode."""

    model_config = ConfigDict(extra="forbid", strict=True)

    step: str
    archs: list[str]
    settings: Any
    code: str
    modules: dict[str, str]
    reads: dict[str, Entry]
    writes: dict[str, Entry]
    adopted: list[Adoption] = []

    def codes(self) -> set[str]:
        """The digests of the code that gives these results: that of the record, and those that it was adopted from."""
        return {self.code, *(each.code for each in self.adopted)}


def _digests(files: Mapping[str, list[Any]]) -> dict[str, str]:
    """The SHA-256 of files of a record, without their stamps."""
    return {path: each[0] for path, each in files.items()}


class Reason(NamedTuple):
    """Why a job has to run.

    Args:
        kind: MISSING if files that it writes are not there, else CHANGED.
        text: Which setting, which code or which file, for a user.
        code_alone: Whether nothing but the code differs.
    """

    kind: str
    text: str
    code_alone: bool = False


class Results:
    """The jobs of an experiment and what has become of them.

    Args:
        experiment: The experiment.

    Attributes:
        forced: Rules and files whose jobs run whatever their records say.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.forced: set[str] = set()
        self.folder = Path(f"results/{experiment.experiment}/records")
        self.hashes = Hashes(HASHES)
        self.records: dict[str, Record] = {}
        for path in sorted(self.folder.rglob("*.json")):
            if record := read_record(path):
                self.records[path.relative_to(self.folder).with_suffix("").as_posix()] = record
                for digest, *numbers in (*record.reads.values(), *record.writes.values()):
                    if numbers:
                        self.hashes.know(digest, numbers)
        self.experiment = experiment
        self.jobs = Jobs(experiment, self.adoptions())
        self._reasons: dict[str, Reason | None] = {}
        self._changed: dict[str, bool] = {}

    def adoptions(self) -> list[dict[str, Any]]:
        """What was adopted: each statement with the jobs that it is about."""
        jobs: dict[str, list[str]] = {}
        for name, record in self.records.items():
            for adoption in record.adopted:
                jobs.setdefault(adoption.model_dump_json(), []).append(name)
        return [{**json.loads(text), "jobs": names} for text, names in jobs.items()]

    def reason(self, job: Job) -> Reason | None:
        """Why a job has to run, whatever becomes of those that it needs; None if it need not."""
        if job.name not in self._reasons:
            self._reasons[job.name] = self._reason(job)
        return self._reasons[job.name]

    def _reason(self, job: Job) -> Reason | None:
        missing, record = sorted(self._gone(job)), self.records.get(job.name)
        if record is None and len(missing) == len(job.outputs):
            return Reason(MISSING, "it was not made yet")
        if record is None:
            return Reason(CHANGED, "there is no record of how it was made")
        if record.settings != job.decided_by():
            return Reason(CHANGED, _listed(_differences(record.settings, job.decided_by())))
        read, now = _digests(record.reads), {label: self.hashes.of(path) for label, path in job.reads().items()}
        gone = sorted(read.keys() - now.keys())
        renamed = {read[label] for label in gone}  # the same content under another name is no change
        changed = [
            label
            for label, digest in now.items()
            if digest and digest != read.get(label) and (label in read or digest not in renamed)
        ]
        headers = [label for label in gone if job.raw_files and label.lower().endswith(".hdr")]  # their files are there
        changed += [label for label in gone if label in headers or self.hashes.of(label)]
        if changed:
            return Reason(CHANGED, _listed(_change(label, read, now) for label in changed))
        written = _digests(record.writes).items()
        edited = [path for path, digest in written if self.hashes.of(path) not in (None, digest)]
        if edited:
            return Reason(CHANGED, f"{_listed(edited)} {'are' if edited[1:] else 'is'} not what this job wrote")
        code = job.code()
        if code.digest not in record.codes():
            return Reason(CHANGED, f"the code has changed in {_listed(changed_files(record, code))}", code_alone=True)
        if missing:
            return Reason(MISSING, f"{_listed(missing)} {'are' if missing[1:] else 'is'} missing")
        return None

    def changed(self, job: Job) -> bool:
        """Whether a job has to run because of a change, its own or one of a job that it needs."""
        if job.name not in self._changed:
            reason = self.reason(job)
            own = self.is_forced(job) or reason is not None and reason.kind == CHANGED
            self._changed[job.name] = own or any(self.changed(needed) for needed in self.jobs.needs(job))
        return self._changed[job.name]

    def is_forced(self, job: Job) -> bool:
        """Whether the user forces a job to run."""
        return bool(self.forced & {job.step, *job.outputs.values()})

    def why(self, job: Job) -> str:
        """Why a job runs, where it does: its own reason, or the first job that it needs and that runs."""
        if own := self.reason(job):
            return own.text
        again = (each.name for each in self.jobs.needs(job) if self.reason(each) or self.changed(each))
        return next((f"{name} runs again" for name in again), "it was asked for")

    def pending(self) -> dict[str, str]:
        """What a call of snakemake would run: job -> why, each behind those that it needs.

        As for Snakemake, a file that is missing is made again only when a job that runs needs it; whoever reads it runs
        then, too.
        """
        jobs = {job.name: job for job in self.jobs.all}
        users: dict[str, list[Job]] = {name: [] for name in jobs}
        for job in jobs.values():
            for needed in self.jobs.needs(job):
                users[needed.name].append(job)
        wanted = {*self.jobs.targets()}
        waiting = [job for job in jobs.values() if self.changed(job) or self._gone(job) & wanted]
        running: set[str] = set()
        while waiting:
            job = waiting.pop()
            if job.name in running:
                continue
            running.add(job.name)
            waiting += [user for user in users[job.name] if self._gone(job) & user.reads().keys()]
            waiting += [needed for needed in self.jobs.needs(job) if self._gone(needed) & job.reads().keys()]
        return {name: self.why(job) for name, job in jobs.items() if name in running}

    def _gone(self, job: Job) -> set[str]:
        """The files of a job that are not there."""
        return {path for path in job.outputs.values() if self.hashes.of(path) is None}

    def write(self, job: Job, code: Code, adopted: list[Adoption]) -> None:
        """Write the record of a job that has just ended.

        Args:
            job: The job.
            code: The code that it ran with.
            adopted: What its results were adopted from before.
        """
        record = Record(
            step=job.step,
            archs=[*job.archs],
            settings=job.decided_by(),
            code=code.digest,
            modules=code.modules,
            reads={label: _stamped(self.hashes, path) for label, path in job.reads().items() if Path(path).exists()},
            writes={path: _stamped(self.hashes, path) for path in job.outputs.values() if Path(path).exists()},
            adopted=adopted,
        )
        write_json(self.folder / f"{job.name}.json", record.model_dump())


def _stamped(hashes: Hashes, path: str) -> list[str | int]:
    """The SHA-256 of a file and its stamp, for which a moment may have to pass."""
    now = stamp(path)
    for _ in range(SECOND_NS // TICK_NS):
        if is_settled(now):
            break
        sleep(TICK_NS / 10**9)
    digest = hashes.of(path)
    known = now if hashes.by_stamp.get(now) == digest else ()
    return [str(digest), *known]


def read_record(path: Path) -> Record | None:
    """Read a record; one that is damaged counts as none: the job runs again."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _change(label: str, read: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if label not in now:
        return f"it no longer reads {label}"
    return f"{label} has changed" if label in read else f"it now reads {label}"


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    """Which settings differ, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in dict.fromkeys([*new, *old]):
            found += _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
        return found
    name = where.removeprefix("settings.") or "what is set"
    return [] if old == new else [f"{name} is {_short(new)}, not {_short(old)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def changed_files(record: Record, code: Code) -> list[str]:
    """The files in which the code of a record and another one differ."""
    names = {*record.modules, *code.modules}
    changed = sorted(name for name in names if record.modules.get(name) != code.modules.get(name))
    return [_file(name) for name in changed] or ["the way its parts are put together"]


def _file(module: str) -> str:
    """The file of a module of lkca, as one sees it in the checkout."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    inside = Path(PACKAGE.name) / path.relative_to(PACKAGE)
    return str(inside / "__init__.py" if path.is_dir() else inside.with_suffix(".py"))


def _listed(texts: Iterable[str]) -> str:
    texts = [*texts]
    more = len(texts) - MOST_NAMED
    return "; ".join(texts[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def step(name: str, experiment: Path, outputs: list[Path], gpus: int) -> None:
    """Run one job of the workflow and write its record.

    Args:
        name: The job.
        experiment: The checked configuration, as the Snakefile has written it.
        outputs: Where the rule has its files: in results/, or where Snakemake keeps its copies of a storage.
        gpus: GPUs, for a training.

    Raises:
        LkcaError: If the job refuses its input, or a file that it reads is changed meanwhile.
    """
    results = Results(read_snapshot(experiment))
    job, record = results.jobs.by_name(name), results.records.get(name)
    if len(outputs) != len(job.outputs):
        raise LkcaError(f"--outputs: {name} writes {len(job.outputs)} files, not {len(outputs)}: name each of them.")
    files, code = sources(), job.code()
    same = record.codes() if record and code.digest in record.codes() else set()
    before = {path: results.hashes.of(path) for path in job.reads().values()}
    options: dict[str, Any] = dict(job.arguments)
    for key, paths in job.inputs.items():
        options[key] = [Path(path) for path in paths] if isinstance(paths, list) else paths and Path(paths)
    options |= {key: Path(path) for key, path in job.outputs.items()}
    if job.step == "train":
        options |= {"gpus": gpus, "adopted": sorted(same - {code.digest})}
    module, _, function = STEPS[job.step].partition(":")
    run = getattr(import_module(module), function)
    for key, kind in get_type_hints(run).items():
        if kind is str and isinstance(options.get(key), BaseModel):  # a function that does not take its class yet
            options[key] = options[key].model_dump_json()
    if sources() != files:
        raise LkcaError(f"the code of lkca was changed while {name} started: run snakemake again.")
    with failing_once(name, {"settings": job.decided_by(), "code": code.digest, "reads": before}):
        run(**options)
    job = Jobs(results.experiment, results.jobs.adoptions).by_name(name)  # files that were downloaded are there now
    results.hashes.by_path.clear()
    for path, digest in before.items():
        if digest and results.hashes.of(path) != digest:
            raise LkcaError(f"{path} was changed while {name} read it: run snakemake again.")
    unchanged = record is not None and all(
        results.hashes.of(path) == digest for path, digest in _digests(record.writes).items()
    )
    results.write(job, code, record.adopted if same and unchanged else [])  # such as a training from its saved state
    for path, wanted in zip(job.outputs.values(), outputs, strict=True):
        if wanted != Path(path):  # the place from which Snakemake takes it to a storage
            with atomic_write(wanted) as part:
                copyfile(path, part)


def adopt(config: list[Path], because: str, jobs: list[str]) -> int:
    """Declare that a change of code does not change the numbers: finished jobs then count as made by the code of now.

    The records keep the digest of the code before and after, the date and the reason.

    Args:
        config: config.yaml and overlays.
        because: Why the numbers are the same, for those who read the results.
        jobs: Names of jobs as `lkca plan` prints them, or of their folders; all of the experiment, if none is given.

    Returns:
        The exit code: 1 if a job was refused, because its settings or its data differ as well, else 0.

    Raises:
        LkcaError: If there is nothing to adopt.
    """
    if not because.strip():
        raise LkcaError("--because is empty: say why the numbers stay the same.")
    results = Results(read_config(config))
    every = [job for job in results.jobs.all if job.step != "report"]  # which is made again, to show what was adopted
    for name in jobs:
        if not any(_is_below(job, name) for job in every):
            raise LkcaError(
                f"{name} is no job of {results.experiment.experiment}, nor the folder of one: see lkca plan."
            )
    every = [job for job in every if not jobs or any(_is_below(job, name) for name in jobs)]
    found = {job.name: (job, reason) for job in every if (reason := results.reason(job))}
    results.hashes.save()
    ready = [job for job, reason in found.values() if reason.code_alone]
    refused = {name: reason for name, (_, reason) in found.items() if reason.kind == CHANGED and not reason.code_alone}
    for name, reason in refused.items():
        print(f"refused  {name}: {reason.text}")
    if not ready and not refused:
        raise LkcaError("there is nothing to adopt: no finished job was made by other code; lkca plan lists the jobs.")
    for job in ready:
        record, code = results.records[job.name], job.code()
        adoption = Adoption(
            code=record.code,
            to=code.digest,
            modules=changed_files(record, code),
            because=because.strip(),
            date=date.today().isoformat(),
        )
        new = {"code": code.digest, "modules": code.modules, "adopted": [*record.adopted, adoption]}
        write_json(results.folder / f"{job.name}.json", record.model_copy(update=new).model_dump())
        print(f"adopted  {job.name}: {results.reason(job).text}")
    print(f"Adopted: {len(ready)}; refused: {len(refused)}.")
    return int(bool(refused))


def _is_below(job: Job, name: str) -> bool:
    """Whether a name is that of a job or of a folder of it."""
    return job.name == name or job.name.startswith(f"{name.rstrip('/')}/")
