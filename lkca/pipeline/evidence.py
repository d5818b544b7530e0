"""Collect the hashes that the files of an experiment record: the SHA-256 of the files that they were made from.

report.json records all files that the report depends on; the record of a job all files that it read and wrote;
scores.json the run.json, weights, history and image of its run; weights their run.json; run.json its scene, split and
teacher; manifest and split their scene.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from lkca.config.schema import RunConfig
from lkca.core.files import is_file, sha256
from lkca.core.fingerprint import step_code
from lkca.core.paths import (
    HISTORY_FILE,
    IMAGE_FILE,
    PAGE_FILE,
    REPORT_FILE,
    RESULTS,
    RUN_FILE,
    RUN_FOLDERS,
    SCORES_FILE,
    SPECTRUM_FILE,
    WEIGHTS_FILE,
    ExperimentPaths,
)
from lkca.data.catalog import CUBES, File
from lkca.errors import LkcaError
from lkca.models.registry import class_path
from lkca.pipeline.experiment_folder import RECORDS, ExperimentFolder
from lkca.pipeline.file_models import Manifest, ReportListing, RunOutput, Scores, Split
from lkca.pipeline.phrases import escape, group_unique, list_names
from lkca.pipeline.records import Record, StoredRecord, changed_files

LISTED_SUFFIXES = {".csv", ".md", ".tex", ".html", ".png", ".pdf", ".json"}  # of the files that report.json lists
LISTED_FOLDERS = ("tables", "figures", "efficiency")
JUDGING_VERDICTS = {"match", "outside", "not resolved"}  # verdicts that compare our numbers with the paper's
PATHS = ExperimentPaths()  # relative to the folder of the experiment


class RecordedHash(NamedTuple):
    """The SHA-256 of a file, as another file records it."""

    by: str
    sha256: str


class Evidence:
    """The hashes that the files of an experiment record. All paths are relative to the folder of the experiment.

    Args:
        folder: The folder of the experiment; errors and notes are added to it.

    Attributes:
        listed: File -> SHA-256, as report.json lists them; empty if there is no report.
        hashes: File -> the hashes of it that other files record.
        runs: Folder of a run -> its run.json.
        scores: Folder of a run -> its scores.json.
        weights: Path of weights -> the SHA-256 of run.json that they record.
        job_records: Path of a job's record -> its content.
        scored_by_current_code: Folders of the runs whose scores the current code has made.
        missing_raw_files: Files from outside of the experiment that are not on this machine.
    """

    def __init__(self, folder: ExperimentFolder) -> None:
        self.folder = folder
        self.hashes: dict[str, list[RecordedHash]] = defaultdict(list)
        self.runs: dict[str, RunConfig] = {}
        self.scores: dict[str, Scores] = {}
        self.weights: dict[str, str] = {}
        self.job_records: dict[str, Record] = {}
        self.scored_by_current_code: set[str] = set()
        self.missing_raw_files: list[str] = []
        self._misplaced: list[str] = []  # folders of runs that hold the files of another run
        self.listed = self._read_report()
        self._read_job_records()
        self._note_code()
        for run in self._run_folders():
            self._read_run(run)
        for scene, scales in group_unique((run.scene, run.scale) for run in self.runs.values()).items():
            self._read_scene(scene, sorted(scales))
        for path in [path for path in self.hashes if path.rpartition("/")[0] in self._misplaced]:
            del self.hashes[path]  # all files there are wrong, and an error says so already

    def _add(self, by: str, hashes: Mapping[str, str | None]) -> None:
        """Add the hashes that a file records."""
        for path, digest in hashes.items():
            if digest:
                self.hashes[path].append(RecordedHash(by, digest))

    def _read_report(self) -> dict[str, str]:
        listing = self.folder.read(REPORT_FILE, ReportListing)
        if listing is None:
            if REPORT_FILE in self.folder.missing and self.folder.exists(PAGE_FILE):
                self.folder.add_error(
                    f"{PAGE_FILE} has no {REPORT_FILE} next to it", self.folder.restore_or_rerun([REPORT_FILE])
                )
            elif REPORT_FILE in self.folder.missing:
                self.folder.notes.append("There is no report yet, so edits of tables and figures cannot be detected.")
            return {}
        self._add(REPORT_FILE, listing.files)
        paths = sorted(path for top in LISTED_FOLDERS for path in self.folder.root.glob(f"{top}/*"))
        shown = [path.relative_to(self.folder.root).as_posix() for path in paths if path.suffix in LISTED_SUFFIXES]
        if unlisted := [path for path in shown if path not in listing.files]:
            self.folder.notes.append(
                f"Edits of {list_names(unlisted)} cannot be detected: {REPORT_FILE} does not record them."
            )
        return listing.files

    def _read_job_records(self) -> None:
        raw_files: dict[str, dict[str, str]] = defaultdict(
            dict
        )  # label -> output of a job -> SHA-256 of the file that the job read
        for path in sorted(self.folder.root.glob("records/**/*.json")):
            name = path.relative_to(self.folder.root).as_posix()
            record = self.folder.read(name, StoredRecord)
            if not record or not record.writes:
                continue
            if not _is_record_of(name, record):
                self.folder.add_error(f"{escape(name)} is the record of another job", self.folder.rerun([name]))
                continue
            self.job_records[name] = record
            self._add(name, {_relative(output): file[0] for output, file in record.writes.items()})
            output = self.folder.outputs[name] = _relative(next(iter(record.writes)))
            for label, file in record.reads.items():
                if label.startswith(f"{RESULTS}/"):
                    self._add(output, {_relative(label): file[0]})
                else:
                    raw_files[label][output] = file[0]
        for label, digests in raw_files.items():
            self._check_raw_file(label, digests)

    def _check_raw_file(self, label: str, digests: Mapping[str, str]) -> None:
        """Check that jobs read a file from outside of the experiment as it is now, if it is on this machine."""
        try:
            path = File(path=label, axes="bands rows columns").local_path()
            digest = sha256(path) if is_file(path) else None  # a record may name a pipe, which would block
        except (OSError, LkcaError, ValueError):
            digest = None
        if digest is None:
            self.missing_raw_files.append(label)
            return
        if others := [output for output, read in digests.items() if read != digest]:
            problem = f"{escape(label)} is not the file that {list_names(others)} was made from"
            self.folder.add_error(problem, self.folder.rerun(others))

    def _note_code(self) -> None:
        """Add notes about the jobs that ran with other code than the current one, and about adoptions."""
        changed, adopted = defaultdict(list), defaultdict(list)
        for path, record in self.job_records.items():
            try:
                code = step_code(record.step, map(class_path, record.archs))
            except KeyError:
                changed["steps that no longer exist"].append(path)
                continue
            if code.digest not in record.accepted_codes():
                changed[list_names(changed_files(record, code))].append(path)
            elif record.step == "evaluate":
                self.scored_by_current_code.add(path.removeprefix("records/").rpartition("/")[0])
            for adoption in record.adopted:
                description = f"with code {adoption.code[:12]} and declared to be the same with {adoption.to[:12]}"
                adopted[f"{description} on {adoption.date}, because: {escape(adoption.because)}"].append(path)
        for files, paths in changed.items():
            self.folder.notes.append(f"Made with other code than the current one, in {files}: {list_names(paths)}.")
        for description, paths in adopted.items():
            self.folder.notes.append(f"Made {description.rstrip('.')}: {list_names(paths)}.")

    def _run_folders(self) -> list[str]:
        """Return the folders of the runs that the report shows; of all runs if there is no report."""
        root = self.folder.root
        found = {path.parent for name in (RUN_FILE, SCORES_FILE) for path in root.glob(f"{RUN_FOLDERS}/{name}")}
        folders = sorted(path.relative_to(root).as_posix() for path in found)
        shown = {path.rpartition("/")[0] for path in self.listed} if self.listed else {*folders}
        if others := [folder for folder in folders if folder not in shown]:
            self.folder.notes.append(
                f"The report does not show {list_names(others)}, so they were not checked: delete them, or run "
                "snakemake with a configuration that has them."
            )
        return [folder for folder in folders if folder in shown]

    def _read_run(self, folder: str) -> None:
        read = self.folder.read
        run, scores = read(f"{folder}/{RUN_FILE}", RunConfig), read(f"{folder}/{SCORES_FILE}", Scores)
        spectrum = read(f"{folder}/{SPECTRUM_FILE}", RunOutput)
        keys = {RUN_FILE: run.key if run else None}
        keys |= {name: file.run if file else None for name, file in ((SCORES_FILE, scores), (SPECTRUM_FILE, spectrum))}
        others = {name: key.folder for name, key in keys.items() if key and key.folder != folder}
        if others:
            self._misplaced.append(folder)
            problem = f"{list_names(others)} in {escape(folder)} belong to {list_names(sorted({*others.values()}))}"
            remedy = f"delete that folder, and {self.folder.rerun([f'{folder}/{RUN_FILE}'])}"
            self.folder.add_error(problem, remedy)
            return
        if run:
            self.runs[folder] = run
            teacher = PATHS.run_file(run.key._replace(model=run.distill.teacher), RUN_FILE) if run.distill else None
            self._add(
                f"{folder}/{RUN_FILE}",
                {PATHS.scene(run.scene): run.scene_sha256, PATHS.split(run.scene, run.scale): run.split_sha256}
                | ({teacher: run.teacher_sha256} if teacher else {}),
            )
        if scores:
            self.scores[folder] = scores
            hashes = {RUN_FILE: scores.run_sha256, WEIGHTS_FILE: scores.weights_sha256}
            hashes |= {HISTORY_FILE: scores.history_sha256, IMAGE_FILE: scores.image_sha256}
            self._add(f"{folder}/{SCORES_FILE}", {f"{folder}/{name}": digest for name, digest in hashes.items()})
        weights = f"{folder}/{WEIGHTS_FILE}"
        if header := self.folder.read_weights_header(weights):
            self.weights[weights] = header.run_sha256
            self._add(weights, {f"{folder}/{RUN_FILE}": header.run_sha256})

    def _read_scene(self, scene: str, scales: list[int]) -> None:
        """Read the manifest and the splits of a scene, and check that a stand-in is not compared with the paper."""
        for path in (PATHS.split(scene, scale) for scale in scales):
            if split := self.folder.read(path, Split):
                self._add(path, {PATHS.scene(scene): split.scene_sha256})
                if overlap := split.overlap():
                    self.folder.add_error(f"{escape(path)} was edited: {overlap}", self.folder.rerun([path]))
        manifest = self.folder.read(PATHS.manifest(scene), Manifest)
        if manifest is None:
            return
        self._add(PATHS.manifest(scene), {PATHS.scene(scene): manifest.sha256})
        if scene not in CUBES or manifest.cube in (scene, None):
            return
        fact = f"{scene} is cut from {escape(manifest.cube)}"
        self.folder.notes.append(f"{fact}: its scores are not scores of the paper's scene.")
        for path in self.listed:
            if path.startswith("tables/") and path.endswith(".verdicts.csv") and self._judges(path, scene):
                problem = f"{escape(path)} compares {scene} with the paper's numbers, but {fact}"
                self.folder.add_error(problem, "set stand_in in the configuration and run snakemake again")

    def _judges(self, path: str, scene: str) -> bool:
        """Return whether the verdicts of a table compare scores of a scene with the paper's."""
        if not self.folder.exists(path):
            return False
        try:
            lines = csv.DictReader(self.folder.read_text(path).splitlines())
            return any(line.get("scene") == scene and line.get("verdict") in JUDGING_VERDICTS for line in lines)
        except (OSError, ValueError, csv.Error) as error:
            self.folder.add_damage(path, error)
            return False


def _is_record_of(path: str, record: Record) -> bool:
    """Return whether a record with this path is that of its job: one of a run, or of files with the name of the job."""
    job = path.removeprefix(f"{RECORDS}/").removesuffix(".json")
    folder, _, step = job.rpartition("/")
    is_run = folder.startswith("runs/")
    start = f"{folder}/" if is_run else f"{job}."
    return (not is_run or record.step == step) and all(_relative(output).startswith(start) for output in record.writes)


def _relative(path: str) -> str:
    """Return the path of a file of the workflow relative to results/{experiment}."""
    return path.split("/", 2)[-1]
