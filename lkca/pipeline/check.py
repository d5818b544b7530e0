"""`lkca check`: check that the files of an experiment are consistent.

Each file is hashed and compared with the hashes of it that other files record (evidence.py). scores.json also has a
digest of its own content.
"""

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.filesize import decimal

from lkca.config.schema import RunConfig
from lkca.core.files import sha256
from lkca.core.paths import PAGE_FILE, REPORT_FILE, RUN_FILE, RUN_FOLDERS, SCORES_FILE, WEIGHTS_FILE
from lkca.errors import DataError
from lkca.pipeline.evidence import Evidence
from lkca.pipeline.experiment_folder import ExperimentFolder
from lkca.pipeline.phrases import count_values, describe_error, escape, group_unique, list_names

LARGE_SUFFIXES = {".npy", ".npz", ".safetensors"}  # suffixes of files that published results may lack
SLOW_BYTES = 2**30  # size of the files above which a message announces the hashing
THREADS = 8  # for hashing, which releases the global interpreter lock
NOT_SETTINGS = {
    "experiment",
    "seed",
    "scene_sha256",
    "split_sha256",
    "teacher_sha256",
}  # fields of run.json that may differ between seeds


def check(folder: Path) -> int:
    """Print what was checked in each experiment, and which files are inconsistent.

    Args:
        folder: results/, one experiment of it, or a copy of either.

    Returns:
        The exit code: 1 if something is inconsistent, else 0.

    Raises:
        DataError: If the folder cannot be read or has no experiment.
    """
    num_errors = 0
    for root in _find_experiments(folder):
        files = ExperimentFolder(root)
        summary = _check_experiment(files)
        num_errors += len(files.errors)
        print(escape(root))
        for kind, lines in (("checked", [summary]), ("note", files.notes), ("WRONG", files.errors)):
            for line in lines:
                print(f"  {kind:<9}{line}")
    print(f"Wrong: {num_errors}." if num_errors else "All checked files are consistent.")
    return int(num_errors > 0)


def _find_experiments(folder: Path) -> list[Path]:
    """Return the folder if it is an experiment, else the experiments in it; see `check` for the error."""
    try:
        roots = (
            [folder] if _is_experiment(folder) else [path for path in sorted(folder.iterdir()) if _is_experiment(path)]
        )
    except OSError as error:
        raise DataError(
            f"{escape(error.filename)} cannot be read ({error.strerror}): name the folder results, or one in it."
        ) from error
    if not roots:
        raise DataError(
            f"{escape(folder)} has no experiment, that is no report and no runs: name another folder, or run snakemake."
        )
    return roots


def _is_experiment(folder: Path) -> bool:
    """Return whether a folder has a report or a run.

    Raises:
        OSError: If it cannot be read.
    """
    if folder.is_dir():
        os.listdir(folder)  # unlike glob, this raises
    patterns = (REPORT_FILE, PAGE_FILE, f"{RUN_FOLDERS}/{RUN_FILE}", f"{RUN_FOLDERS}/{SCORES_FILE}")
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _check_experiment(folder: ExperimentFolder) -> str:
    """Check an experiment; return a sentence with the numbers of checked files."""
    _check_folders(folder)
    evidence = Evidence(folder)
    hashes = _hash_files(evidence)
    changed = _compare(evidence, hashes)
    _check_missing(evidence)
    _check_settings(
        evidence, {run: config for run, config in evidence.runs.items() if f"{run}/{RUN_FILE}" not in changed}
    )
    _check_scores(evidence)
    tables, figures = (
        len({path.partition(".")[0] for path in hashes if path.startswith(top)}) for top in ("tables/", "figures/")
    )
    records = f", records: {len(evidence.job_records)}" if evidence.job_records else ""
    return (
        f"{len(evidence.runs)} runs, weights of {len(evidence.weights)}, scores of {len(evidence.scores)}, "
        f"tables: {tables}, figures: {figures}{records}; "
        f"{len(hashes)} files, {decimal(sum(folder.sizes[path] for path in hashes))}."
    )


def _check_folders(folder: ExperimentFolder) -> None:
    """Add an error about each folder that cannot be read, because its files are not checked."""

    def add(error: OSError) -> None:
        path = escape(Path(error.filename).relative_to(folder.root))
        folder.add_error(f"{path} cannot be read ({describe_error(error)})", "give yourself the permission to read it")

    for _ in os.walk(folder.root, onerror=add):
        pass


def _hash_files(evidence: Evidence) -> dict[str, str]:
    """Return the SHA-256 of each existing file whose SHA-256 another file records."""
    folder = evidence.folder

    def hash_file(path: str) -> str | OSError:
        try:
            return sha256(folder.root / path)
        except OSError as error:
            return error

    paths = [path for path in sorted(evidence.hashes) if folder.exists(path)]
    size = sum(folder.sizes[path] for path in paths)
    if size > SLOW_BYTES:
        print(f"{escape(folder.root)}: hashing {len(paths)} files, {decimal(size)}", file=sys.stderr)
    with ThreadPoolExecutor(THREADS) as pool:
        results = dict(zip(paths, pool.map(hash_file, paths), strict=True))
    for path, result in results.items():
        if isinstance(result, OSError):
            folder.add_damage(path, result)
    return {path: result for path, result in results.items() if isinstance(result, str)}


def _compare(evidence: Evidence, hashes: Mapping[str, str]) -> set[str]:
    """Compare every file with what others record of it.

    A file that matches none of its recorded hashes was modified, and the hashes that it records itself are ignored. If
    it matches some of them, or is confirmed by other means, the files that record another hash were made from another
    version of it.

    Returns:
        The paths of the modified files.
    """
    confirmed = {REPORT_FILE, *(f"{run}/{SCORES_FILE}" for run in evidence.scores)}
    confirmed |= {
        path for path, run in evidence.weights.items() if hashes.get(path.removesuffix(WEIGHTS_FILE) + RUN_FILE) == run
    }
    matching = {
        path for path, digest in hashes.items() if any(digest == record.sha256 for record in evidence.hashes[path])
    }
    modified = hashes.keys() - matching - confirmed - evidence.folder.damaged
    differing: dict[tuple[str, ...], list[str]] = defaultdict(
        list
    )  # files that record another hash -> files with that other hash
    for path in sorted(evidence.hashes.keys() - evidence.folder.damaged):
        records = [record for record in evidence.hashes[path] if record.by not in modified]
        if path in hashes:
            differing[tuple(record.by for record in records if record.sha256 != hashes[path])].append(path)
        elif path in evidence.folder.missing:
            _compare_records(evidence.folder, path, {record.by: record.sha256 for record in records})
    for by, paths in differing.items():
        if by:
            _add_difference(evidence.folder, [path for path in paths if path in modified], by, restore=True)
            _add_difference(evidence.folder, [path for path in paths if path not in modified], by, restore=False)
    return modified


def _compare_records(folder: ExperimentFolder, path: str, digests: Mapping[str, str]) -> None:
    """Check that all files that record the hash of a missing file record the same one."""
    if len({*digests.values()}) > 1:
        first = next(iter(digests.values()))
        same, others = ([by for by, digest in digests.items() if (digest == first) == equal] for equal in (True, False))
        problem = f"{escape(path)} is missing, but {list_names(same)} recorded another one than {list_names(others)}"
        folder.add_error(problem, folder.restore_or_rerun([path]))


def _add_difference(folder: ExperimentFolder, paths: list[str], by: Iterable[str], restore: bool) -> None:
    """Add an error about files whose hash differs from the one that the files `by` recorded."""
    if not paths:
        return
    are = "are not the files" if paths[1:] else "is not the file"
    outdated = [name for name in by if name != REPORT_FILE] or [REPORT_FILE]
    remedy = folder.restore_or_rerun(paths) if restore else folder.rerun(outdated)
    folder.add_error(f"{list_names(paths)} {are} that {list_names(by)} recorded", remedy)


def _check_missing(evidence: Evidence) -> None:
    """Add an error about missing files that the report lists, and a note about others, such as unpublished ones."""
    folder, lost, unchecked = evidence.folder, defaultdict(list), Counter[str]()
    for path in sorted(folder.missing & evidence.hashes.keys()):
        parent, _, name = path.rpartition("/")
        top = path.partition("/")[0]
        if parent and not (folder.root / top).exists():
            unchecked[f"{top}/"] += 1
        elif path in evidence.listed and Path(path).suffix not in LARGE_SUFFIXES:
            lost[parent].append(name)
        else:
            unchecked[name if top == "runs" else path] += 1
    for parent, names in lost.items():
        problem = f"{escape(parent or folder.root)} has lost {list_names(names)}, on which the report depends"
        folder.add_error(problem, folder.restore_or_rerun(f"{parent}/{name}" if parent else name for name in names))
    unchecked.update(evidence.missing_raw_files)
    if unchecked:
        files = list_names(f"{name} ({count})" if count > 1 else name for name, count in unchecked.items())
        folder.notes.append(f"Missing, so not checked: {files}.")


def _check_settings(evidence: Evidence, runs: Mapping[str, RunConfig]) -> None:
    """Check that all runs have one experiment, those of a network one code, and the seeds of a model one setting."""
    folder = evidence.folder
    remedy = "run snakemake -R settings to set up all runs again; those whose settings change are trained again"
    _check_equal(
        folder, "The runs are of several experiments", {path: run.experiment for path, run in runs.items()}, remedy
    )
    for arch in sorted({run.arch for run in runs.values()}):
        codes = {}
        for path, run in runs.items():
            record = evidence.job_records.get(f"records/{path}/train.json")
            if record and run.arch == arch and not run.distill:
                codes[path] = record.code[:12]
        _check_equal(
            folder,
            f"Runs of {escape(arch)} are of different code",
            codes,
            "run snakemake, or declare with lkca adopt that the numbers are the same",
        )
    for model, paths in group_unique((path.rpartition("/")[0], path) for path in runs).items():
        if len({json.dumps(runs[path].model_dump(exclude=NOT_SETTINGS)) for path in paths}) > 1:
            folder.add_error(f"The seeds in {escape(model)} have different settings, so they have no mean", remedy)


def _check_scores(evidence: Evidence) -> None:
    """Check that all scores were computed at one commit without uncommitted changes; note other differences."""
    folder, scores = evidence.folder, evidence.scores
    remedy = "run snakemake -R evaluate to compute all scores at one commit"
    commits, uncommitted = {}, {}
    for path, score in scores.items():
        commit, _, changes = (score.commit or "").partition(" ")
        if commit:
            commits[path] = commit
        if changes and path not in evidence.scored_by_current_code:
            uncommitted[path] = commit
    if len({*commits.values()}) > 1 and commits.keys() <= evidence.scored_by_current_code:
        folder.notes.append(f"The scores were made at different commits, {count_values(commits)}, by the same code.")
    else:
        _check_equal(folder, "The scores were made at different commits", commits, remedy)
    if uncommitted:
        problem = f"{len(uncommitted)} of {len(scores)} scores.json were made with uncommitted changes"
        folder.add_error(f"{problem}, at {count_values(uncommitted)}", f"commit, and {remedy}")
    if unknown := len(scores) - len(commits):
        folder.notes.append(f"{unknown} of {len(scores)} scores.json have no commit: they were made outside of git.")
    facts = {"device": {path: score.device for path, score in scores.items()}}
    for name in sorted({name for score in scores.values() for name in score.versions}):
        facts[name] = {path: score.versions.get(name, "unknown") for path, score in scores.items()}
    for name, values in facts.items():
        if len({*values.values()}) > 1:
            folder.notes.append(
                f"The scores were made with different values of {escape(name)}: {count_values(values)}."
            )
    missing = folder.missing - evidence.hashes.keys()
    if unscored := [path for path in evidence.runs if f"{path}/{SCORES_FILE}" in missing]:
        folder.notes.append(f"Without scores: {list_names(unscored)}; a teacher that no table shows, or not finished.")


def _check_equal(folder: ExperimentFolder, problem: str, values: Mapping[str, str], remedy: str) -> None:
    """Add an error if runs differ in a value that must be the same; `values` maps runs to values."""
    if len({*values.values()}) > 1:
        folder.add_error(f"{problem}, {count_values(values)}", remedy)
