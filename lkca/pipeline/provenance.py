"""Whether the files of an experiment still belong together: `lkca check`.

What was made from files has recorded their SHA-256: the records of the jobs (records.py) those of all that each job
read and wrote, report.json those of all that the report shows, scores.json those of run.json, weights, history and
image, weights that of their run.json, run.json those of scene, split and teacher, manifest and split that of the scene.
Here all are hashed again and compared. scores.json also has a digest of itself.
"""

import csv
import json
import shlex
import stat
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from rich.filesize import decimal
from safetensors import SafetensorError, safe_open

from lkca.config.schema import RunConfig
from lkca.core.files import json_digest, sha256
from lkca.core.fingerprint import of_step
from lkca.data.catalog import CUBES, File
from lkca.errors import LkcaError
from lkca.models.registry import class_path
from lkca.pipeline.records import Record as JobRecord
from lkca.pipeline.records import changed_files

REPORT, RUN, SCORES, WEIGHTS = "report.json", "run.json", "scores.json", "weights.safetensors"
LARGE = {".npy", ".npz", ".safetensors"}  # what is left out where results are published
MOST_READ = 2**26  # bytes of a JSON or CSV file
LONG = 2**30  # bytes from which it is said that they are hashed, which takes a while
MOST_NAMES = 4  # in a sentence
THREADS = 8  # hashing does not hold Python's lock
SHOWN = {".csv", ".md", ".tex", ".html", ".png", ".pdf", ".json"}  # of what is made of scores
JUDGED = {"match", "outside", "not resolved"}  # verdicts on numbers of ours


class Made(BaseModel):
    """What is looked at of a JSON file; the rest is let be."""

    model_config = ConfigDict(strict=True)


class Listing(Made):
    """report.json: path below results/{experiment} -> SHA-256."""

    files: dict[str, str]


class Manifest(Made):
    """scenes/{scene}.json."""

    cube: str | None
    sha256: str


class Split(Made):
    """splits/{scene}_x{scale}.json."""

    scene_sha256: str


class OfRun(Made):
    """spectrum.json."""

    scene: str
    scale: int
    model: str
    seed: int


class Scores(OfRun):
    """scores.json."""

    device: str
    commit: str | None
    versions: dict[str, str]
    run_sha256: str
    weights_sha256: str | None
    history_sha256: str | None
    image_sha256: str | None
    digest: str

    @model_validator(mode="before")
    @classmethod
    def _unedited(cls, value: Any) -> Any:
        if isinstance(value, dict) and "digest" in value and value["digest"] != json_digest(value):
            raise ValueError("it was edited, its digest is that of other content")
        return value


class Header(Made):
    """What weights.safetensors says of itself."""

    run_sha256: str


class Record(NamedTuple):
    """What a file says of another one."""

    by: str
    sha256: str


T = TypeVar("T", bound=BaseModel)


def check(folder: Path) -> int:
    """Print of each experiment what was checked and what does not belong together.

    Args:
        folder: results/, one experiment of it, or a copy of either.

    Returns:
        The exit code: 1 if something does not belong together, else 0.

    Raises:
        LkcaError: If there is no experiment.
    """
    try:
        roots = [folder] if _experiment(folder) else [path for path in sorted(folder.iterdir()) if _experiment(path)]
    except OSError as error:
        told = f"{_told(folder)} cannot be read ({error.strerror})"
        raise LkcaError(f"{told}: name the folder results, or one in it.") from error
    if not roots:
        raise LkcaError(
            f"{_told(folder)} holds no experiment, no report and no runs: name another folder, or run snakemake."
        )
    wrong = 0
    for root in roots:
        found = Check(root)
        wrong += len(found.wrong)
        print(_told(root))
        for kind, lines in (("checked", [found.checked]), ("note", found.notes), ("WRONG", found.wrong)):
            for line in lines:
                print(f"  {kind:<9}{line}")
    print(f"Wrong: {wrong}." if wrong else "What was checked belongs together.")
    return int(wrong > 0)


def _experiment(folder: Path) -> bool:
    """Whether a folder holds results."""
    holds = (REPORT, "report.html", f"runs/*/*/*/{RUN}", f"runs/*/*/*/{SCORES}")
    return any(next(folder.glob(pattern), None) for pattern in holds)


class Check:
    """An experiment.

    Args:
        root: results/{experiment}, or a copy of it.

    Attributes:
        checked: What was, in numbers.
        notes: Sentences on what may be as it is, and on what could not be checked.
        wrong: Sentences on what does not belong together.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes: list[str] = []
        self.wrong: dict[str, None] = {}  # each once, in order
        self.sizes: dict[str, int] = {}  # of the files that are there, bytes
        self.gone: set[str] = set()
        self.damaged: set[str] = set()
        self.current: set[str] = set()  # folders of runs that were scored by the code of now
        self.absent: list[str] = []  # files from outside of the experiment that are not here
        self.strange: list[str] = []  # folders of runs that hold another run
        self.records: dict[str, list[Record]] = defaultdict(list)  # of each file
        self.headers: dict[str, str] = {}  # of weights: the run.json that they are of
        self.runs: dict[str, RunConfig] = {}  # by folder
        self.scores: dict[str, Scores] = {}
        self.jobs: dict[str, JobRecord] = {}  # the records of jobs, by file
        listed = self._report()
        self._jobs()
        for folder in self._folders(listed):
            self._run(folder)
        for scene, scales in _grouped((run.scene, run.scale) for run in self.runs.values()).items():
            self._scene(scene, sorted(scales), listed)
        for name in [name for name in self.records if name.rpartition("/")[0] in self.strange]:
            del self.records[name]  # all of it would be wrong, which has been said
        hashes = self._hashes()
        changed = self._compare(hashes)
        self._missing(listed)
        self._one_experiment({folder: run for folder, run in self.runs.items() if f"{folder}/{RUN}" not in changed})
        self._made_alike()
        shown = [len({n.partition(".")[0] for n in hashes if n.startswith(top)}) for top in ("tables/", "figures/")]
        self.checked = (
            f"{len(self.runs)} runs, weights of {len(self.headers)}, scores of {len(self.scores)}, tables: {shown[0]}, "
            f"figures: {shown[1]}{f', records: {len(self.jobs)}' if self.jobs else ''}; "
            f"{len(hashes)} files, {decimal(sum(self.sizes[name] for name in hashes))}."
        )

    def _find(self, told: str, todo: str) -> None:
        """Note what is wrong, once."""
        self.wrong[f"{told}: {todo}."] = None

    def _again(self, names: Iterable[str]) -> str:
        """How to have files made again: missing ones, too, which no later file waits for, and what is made of them."""
        names = dict.fromkeys(self._inside(next(iter(self.jobs[n].writes))) if n in self.jobs else n for n in names)
        paths = [shlex.quote(_told(self.root / name, 400)) for name in names]
        more = f" ... ({len(paths)} files)" if len(paths) > MOST_NAMES else ""
        return f"have snakemake -R {' '.join(paths[:MOST_NAMES])}{more} make {'them' if paths[1:] else 'it'} again"

    def _put(self, names: Iterable[str]) -> str:
        """How to have the files that were there."""
        return f"put the original back, or {self._again(names)}"

    # What there is --------------------------------------------------------------------------------------------------

    def _here(self, name: str) -> bool:
        """Whether a file is there and may be read: it must lie in the experiment's folder, and no link leads to it."""
        if name in self.sizes or name in self.gone:
            return name in self.sizes
        path, parts = self.root, name.split("/")
        if {"", ".", ".."} & {*parts}:
            self._find(f"{_told(name)!r} is no path inside of the experiment", self._put([REPORT]))
            return False
        try:
            for i, part in enumerate(parts, 1):
                path = path / part
                status = path.lstat()
                if stat.S_ISLNK(status.st_mode):
                    self._find(
                        f"{_told('/'.join(parts[:i]))} is a link, which is not followed", "put there what it names"
                    )
                    return False
            if stat.S_ISREG(status.st_mode):
                self.sizes[name] = status.st_size
                return True
            self._find(f"{_told(name)} is no file", self._put([name]))
        except (FileNotFoundError, NotADirectoryError):
            self.gone.add(name)
        except (OSError, ValueError) as error:
            self._find(f"{_told(name)} cannot be read ({_why(error)})", self._put([name]))
        return False

    def _text(self, name: str) -> str:
        """Read a text that may be of any size and encoding."""
        with (self.root / name).open("rb") as file:
            data = file.read(MOST_READ + 1)
        if len(data) > MOST_READ:
            raise ValueError(f"it has more than {decimal(MOST_READ)}")
        return data.decode("utf-8")

    def _read(self, name: str, kind: type[T]) -> T | None:
        """Read a JSON file; None where it is not there, and where it is damaged."""
        if not self._here(name):
            return None
        try:
            return kind.model_validate(json.loads(self._text(name)))
        except (OSError, ValueError, RecursionError) as error:
            return self._damage(name, _why(error))

    def _damage(self, name: str, why: str) -> None:
        self.damaged.add(name)
        self._find(f"{_told(name)} is not as it was made ({why})", self._put([name]))

    def _report(self) -> dict[str, str]:
        """Note what report.json records; returns it."""
        listing = self._read(REPORT, Listing)
        if listing is None:
            if REPORT in self.gone and self._here("report.html"):
                self._find(f"report.html has no {REPORT} beside it", self._put([REPORT]))
            elif REPORT in self.gone:
                self.notes.append("There is no report yet, so edits of tables and figures cannot be seen.")
            return {}
        self._record(REPORT, listing.files)
        found = sorted(path for top in ("tables", "figures", "efficiency") for path in self.root.glob(f"{top}/*"))
        names = [path.relative_to(self.root).as_posix() for path in found if path.suffix in SHOWN]
        if loose := [name for name in names if name not in listing.files]:
            self.notes.append(f"Edits of {_names(loose)} cannot be seen: {REPORT} does not record them.")
        return listing.files

    def _jobs(self) -> None:
        """Note what the records of jobs say of the files that each read and wrote."""
        outside: dict[str, dict[str, str]] = defaultdict(dict)  # path -> of a job its SHA-256
        for path in sorted(self.root.glob("records/**/*.json")):
            name = path.relative_to(self.root).as_posix()
            if not (record := self._read(name, JobRecord)) or not record.writes:
                continue
            self.jobs[name] = record
            self._record(name, {self._inside(path): sha for path, (sha, *_) in record.writes.items()})
            made = self._inside(next(iter(record.writes)))
            for label, (sha, *_) in record.reads.items():
                if label.startswith("results/"):
                    self._record(made, {self._inside(label): str(sha)})
                else:
                    outside[label][made] = str(sha)
        for label, made in outside.items():
            self._outside(label, made)
        self._code()

    def _inside(self, path: str) -> str:
        """The path of a file of the workflow below results/{experiment}."""
        return path.split("/", 2)[-1]

    def _outside(self, label: str, made: Mapping[str, str]) -> None:
        """Compare a file from outside of the experiment, where it is here, with what was read of it."""
        try:
            now = sha256(File(path=label, axes="bands rows columns").local_path())
        except (OSError, LkcaError, ValueError):
            self.absent.append(label)
            return
        if others := [name for name, sha in made.items() if sha != now]:
            self._find(f"{_told(label)} is not the file that {_names(others)} was made from", self._again(others))

    def _code(self) -> None:
        """Tell which jobs other code has made than that of now, and what was adopted."""
        others, adopted = defaultdict(list), defaultdict(list)
        for name, record in self.jobs.items():
            try:
                code = of_step(record.step, map(class_path, record.archs))
            except KeyError:
                others["steps that are no more"].append(name)
                continue
            if code.digest in record.codes():
                if record.step == "evaluate":
                    self.current.add(name.removeprefix("records/").rpartition("/")[0])
            else:
                others[_names(changed_files(record, code))].append(name)
            for each in record.adopted:
                words = f"with code {each.code[:12]} and declared to be the same with {each.to[:12]}"
                adopted[f"{words} on {each.date}, because: {_told(each.because)}"].append(name)
        for files, names in others.items():
            self.notes.append(f"Made with other code than that of now, in {files}: {_names(names)}.")
        for words, names in adopted.items():
            self.notes.append(f"Made {words.rstrip('.')}: {_names(names)}.")

    def _folders(self, listed: Mapping[str, str]) -> list[str]:
        """The folders of the runs that the report shows; of all, where there is no report."""
        found = {path.parent for name in (RUN, SCORES) for path in self.root.glob(f"runs/*/*/*/{name}")}
        folders = sorted(path.relative_to(self.root).as_posix() for path in found)
        shown = {name.rpartition("/")[0] for name in listed} if listed else {*folders}
        if others := [folder for folder in folders if folder not in shown]:
            self.notes.append(
                f"The report does not show {_names(others)}, so they were not checked: delete them, or run snakemake "
                "with a configuration that has them."
            )
        return [folder for folder in folders if folder in shown]

    def _run(self, folder: str) -> None:
        """Note what the files of a run record."""
        run, scores = self._read(f"{folder}/{RUN}", RunConfig), self._read(f"{folder}/{SCORES}", Scores)
        of = {RUN: run, SCORES: scores, "spectrum.json": self._read(f"{folder}/spectrum.json", OfRun)}
        strangers = {name: _folder(made) for name, made in of.items() if made and _folder(made) != folder}
        if strangers:
            self.strange.append(folder)
            told = f"{_names(strangers)} in {_told(folder)} tell of {_names(sorted({*strangers.values()}))}"
            return self._find(told, f"delete that folder, and {self._again([f'{folder}/{RUN}'])}")
        if run:
            self.runs[folder] = run
            recorded = {f"scenes/{run.scene}.npy": run.scene_sha256, _split(run.scene, run.scale): run.split_sha256}
            if run.distill and run.teacher_sha256:
                recorded[f"{_folder(run, run.distill.teacher)}/{RUN}"] = run.teacher_sha256
            self._record(f"{folder}/{RUN}", recorded)
        if scores:
            self.scores[folder] = scores
            recorded = {RUN: scores.run_sha256, WEIGHTS: scores.weights_sha256}
            recorded |= {"history.csv": scores.history_sha256, "image.npz": scores.image_sha256}
            self._record(f"{folder}/{SCORES}", {f"{folder}/{name}": sha for name, sha in recorded.items() if sha})
        if self._here(weights := f"{folder}/{WEIGHTS}"):
            try:
                with safe_open(self.root / weights, "numpy") as file:  # the header; no tensor is read
                    made = json.loads((file.metadata() or {}).get("lkca", "{}"))
                self.headers[weights] = Header.model_validate(made).run_sha256
                self._record(weights, {f"{folder}/{RUN}": self.headers[weights]})
            except (OSError, SafetensorError, ValueError, RecursionError) as error:
                self._damage(weights, _why(error))

    def _record(self, by: str, recorded: Mapping[str, str]) -> None:
        for name, sha in recorded.items():
            self.records[name].append(Record(by, sha))

    def _scene(self, scene: str, scales: Iterable[int], listed: Mapping[str, str]) -> None:
        """Note what manifest and splits of a scene record, and whether a stand-in is told as one."""
        for split in (_split(scene, scale) for scale in scales):
            if made := self._read(split, Split):
                self._record(split, {f"scenes/{scene}.npy": made.scene_sha256})
        if manifest := self._read(f"scenes/{scene}.json", Manifest):
            self._record(f"scenes/{scene}.json", {f"scenes/{scene}.npy": manifest.sha256})
            if scene in CUBES and manifest.cube not in (scene, None):
                told = f"{scene} is cut from {_told(manifest.cube)}"
                self.notes.append(f"{told}: its scores are no scores of the paper's scene.")
                for name in listed:
                    if name.startswith("tables/") and name.endswith(".verdicts.csv") and self._judged(name, scene):
                        told = f"{_told(name)} judges {scene} by the paper's numbers, but {told}"
                        self._find(told, "set stand_in in the configuration and run snakemake again")

    def _judged(self, name: str, scene: str) -> bool:
        """Whether a table judges scores of a scene."""
        if not self._here(name):
            return False
        try:
            lines = csv.DictReader(self._text(name).splitlines())
            return any(line.get("scene") == scene and line.get("verdict") in JUDGED for line in lines)
        except (OSError, ValueError, csv.Error) as error:
            self._damage(name, _why(error))
            return False

    # Whether it belongs together ------------------------------------------------------------------------------------

    def _hashes(self) -> dict[str, str]:
        """The SHA-256 of each file of which something is recorded."""

        def hashed(name: str) -> str | OSError:
            try:
                return sha256(self.root / name)
            except OSError as error:
                return error

        names = [name for name in sorted(self.records) if self._here(name)]
        size = sum(self.sizes[name] for name in names)
        if size > LONG:
            print(f"{_told(self.root)}: hashing {len(names)} files, {decimal(size)}", file=sys.stderr)
        with ThreadPoolExecutor(THREADS) as pool:
            results = dict(zip(names, pool.map(hashed, names), strict=True))
        for name, result in results.items():
            if isinstance(result, OSError):
                self._damage(name, _why(result))
        return {name: result for name, result in results.items() if isinstance(result, str)}

    def _compare(self, hashes: Mapping[str, str]) -> set[str]:
        """Compare every file with what others recorded of it.

        A file that is as nobody recorded it has changed, and what it records itself says nothing any more. A file that
        is as some recorded it, or that vouches for itself, shows that the others were made from another one.

        Returns:
            The files that have changed.
        """
        vouched = {REPORT, *(f"{folder}/{SCORES}" for folder in self.scores)}
        vouched |= {w for w, run in self.headers.items() if hashes.get(w.removesuffix(WEIGHTS) + RUN) == run}
        known = {name for name, sha in hashes.items() if any(sha == record.sha256 for record in self.records[name])}
        changed = hashes.keys() - known - vouched - self.damaged
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in sorted(self.records.keys() - self.damaged):
            records = [record for record in self.records[name] if record.by not in changed]
            if name in hashes:
                groups[tuple(record.by for record in records if record.sha256 != hashes[name])].append(name)
            elif name in self.gone and len({record.sha256 for record in records}) > 1:
                one, others = (
                    [r.by for r in records if (r.sha256 == records[0].sha256) == same] for same in (True, False)
                )
                told = f"{_names(one)} recorded another one than {_names(others)}"
                self._find(f"{_told(name)} is not here, but {told}", self._put([name]))
        for by, names in groups.items():
            if by:
                new = [name for name in names if name in changed]
                self._differ(new, by, self._put(new))
                old = [name for name in by if name != REPORT] or [REPORT]
                self._differ([name for name in names if name not in changed], by, self._again(old))
        return changed

    def _differ(self, names: list[str], by: Iterable[str], todo: str) -> None:
        """A finding, if there are such files: they are not what others recorded."""
        if names:
            what = "are not the files" if names[1:] else "is not the file"
            self._find(f"{_names(names)} {what} that {_names(by)} recorded", todo)

    def _missing(self, listed: Mapping[str, str]) -> None:
        """Tell what is gone: wrong if the report shows it, unless it is left out where results are published."""
        wrong, left_out = defaultdict(list), Counter()
        for name in sorted(self.gone & self.records.keys()):
            folder, _, last = name.rpartition("/")
            top = name.partition("/")[0]
            if folder and not (self.root / top).exists():
                left_out[f"{top}/"] += 1
            elif name in listed and Path(name).suffix not in LARGE:
                wrong[folder].append(last)
            else:
                left_out[last if top == "runs" else name] += 1
        for folder, names in wrong.items():
            told = f"{_told(folder or self.root)} has lost {_names(names)}, on which the report stands"
            self._find(told, self._put(f"{folder}/{name}" if folder else name for name in names))
        left_out.update(self.absent)
        if left_out:
            told = _names(f"{name} ({number})" if number > 1 else name for name, number in left_out.items())
            self.notes.append(f"Not here, so not checked: {told}.")

    def _one_experiment(self, runs: Mapping[str, RunConfig]) -> None:
        """Compare settings and code of runs."""
        again = "have snakemake -R settings set all runs again; it trains those again whose settings change"
        self._one("The runs are of several experiments", {f: run.experiment for f, run in runs.items()}, again)
        for arch in sorted({run.arch for run in runs.values()}):
            trained = {folder: self.jobs.get(f"records/{folder}/train.json") for folder in runs}
            code = {
                folder: record.code[:12]
                for folder, record in trained.items()
                if record and runs[folder].arch == arch and not runs[folder].distill
            }
            self._one(
                f"Runs of {_told(arch)} are of different code",
                code,
                "run snakemake, or declare with lkca adopt that the numbers are the same",
            )
        others = {"experiment", "seed", "scene_sha256", "split_sha256", "teacher_sha256"}  # than settings
        for folder, seeds in _grouped((f.rpartition("/")[0], f) for f in runs).items():
            if len({json.dumps(runs[seed].model_dump(exclude=others)) for seed in seeds}) > 1:
                self._find(f"The seeds in {_told(folder)} have different settings, so they have no mean", again)

    def _made_alike(self) -> None:
        """Compare what the scores were made by."""
        again = "have snakemake -R evaluate make all scores at one commit"
        commits, dirty = {}, {}
        for folder, scores in self.scores.items():
            commit, _, changes = (scores.commit or "").partition(" ")
            if commit:
                commits[folder] = commit
            if changes and folder not in self.current:
                dirty[folder] = commit
        if len({*commits.values()}) > 1 and commits.keys() <= self.current:
            self.notes.append(f"The scores were made at different commits, {_shares(commits)}, by the same code.")
        else:
            self._one("The scores were made at different commits", commits, again)
        if dirty:
            told = f"{len(dirty)} of {len(self.scores)} scores.json were made with uncommitted changes"
            self._find(f"{told}, at {_shares(dirty)}", f"commit, and {again}")
        if unknown := len(self.scores) - len(commits):
            self.notes.append(f"{unknown} of {len(self.scores)} scores.json tell no commit: made outside of git.")
        made = {"device": {folder: scores.device for folder, scores in self.scores.items()}}
        for name in sorted({name for scores in self.scores.values() for name in scores.versions}):
            made[name] = {folder: scores.versions.get(name, "unknown") for folder, scores in self.scores.items()}
        for name, values in made.items():
            if len({*values.values()}) > 1:
                self.notes.append(f"The scores were not made with one {_told(name)}: {_shares(values)}.")
        if unscored := [folder for folder in self.runs if f"{folder}/{SCORES}" in self.gone - self.records.keys()]:
            self.notes.append(f"Without scores: {_names(unscored)}; a teacher that no table shows, or not finished.")

    def _one(self, what: str, values: Mapping[str, str], todo: str) -> None:
        """A finding where runs differ in what must be one."""
        if len({*values.values()}) > 1:
            self._find(f"{what}, {_shares(values)}", todo)


def _folder(made: RunConfig | OfRun, model: str | None = None) -> str:
    """The folder of a run, or of another model's beside it."""
    return f"runs/{made.scene}_x{made.scale}/{model or made.model}/seed{made.seed}"


def _split(scene: str, scale: int) -> str:
    return f"splits/{scene}_x{scale}.json"


def _grouped(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """The different second values of each first one."""
    groups: dict[str, list[Any]] = {}
    for first, second in pairs:
        if second not in groups.setdefault(first, []):
            groups[first].append(second)
    return groups


def _why(error: Exception) -> str:
    """What an error says, in short."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _told(first["msg"].removeprefix("Value error, ") if not where else f"{where}: {first['msg']}")
    if isinstance(error, OSError):
        return error.strerror or "no reason is known"
    return "it is nested too deep" if isinstance(error, RecursionError) else _told(error)


def _told(text: object, most: int = 120) -> str:
    """A text of others, fit for a terminal: nothing in it is obeyed, and it is not too long."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[: most + 1])
    return plain if len(plain) <= most else f"{plain[:most]}..."


def _names(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """Names as one reads them: some, and how many more."""
    names = [*names]
    some = [_told(name) for name in names[:most]]
    return _joined(some + [f"{len(names) - most} more"] * (len(names) > most))


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


def _shares(values: Mapping[str, str]) -> str:
    """How many runs have which value; of all but the most frequent one, which."""
    groups = sorted(_grouped((value, run) for run, value in values.items()).items(), key=lambda group: -len(group[1]))
    (most, runs), *others = groups
    return _joined([f"{_told(most)} ({len(runs)})", *(f"{_told(value)} ({_names(of)})" for value, of in others)])
