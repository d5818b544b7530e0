"""The report: one self-contained HTML page with summary, tables, pictures, figures, claims, speed and provenance."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from lkca.config.settings import ReportSettings, ReportTable
from lkca.core.files import atomic_write, read_text, sha256, write_json
from lkca.core.result_files import ShownManifest, SplitFile, damaged, read_result, read_table
from lkca.data.splits import describe_numbers, uses_few
from lkca.errors import StaleInput
from lkca.paper.verdicts import RULES, SIGNS
from lkca.report.images import ERROR_COLOURS, encode_png
from lkca.report.page_comparisons import read_differences
from lkca.report.page_images import encode_images
from lkca.report.page_results import describe_data, describe_training, summarize_results
from lkca.report.page_runs import (
    UNKNOWN,
    ReportRun,
    format_duration,
    label_rows,
    pack_run_windows,
    read_benchmark,
    sort_tables,
)
from lkca.report.page_speed import collect_speed, format_threads, reference_label
from lkca.report.page_summaries import (
    OUTCOME_SIGNS,
    ClaimsFile,
    count_claims,
    count_untrained_decisions,
    count_verdicts,
    group_claims,
)
from lkca.report.render import TEMPLATES, render
from lkca.report.table_html import read_table_html
from lkca.scoring.metrics import SCORES

JOB_FILES = {  # kind of job -> its benchmark files below results/{experiment}
    "scene": "scenes/*",
    "split": "splits/*",
    "train": "runs/*/*/*/train",
    "evaluate": "runs/*/*/*/evaluate",
    "spectrum": "runs/*/*/*/spectrum",
    "table": "tables/*",
    "figure": "figures/*",
}
TABLE_SUFFIXES = (".csv", ".md", ".tex", ".verdicts.csv", ".comparisons.csv")
DOWNLOADS = {"CSV": ".csv", "LaTeX": ".tex", "verdicts": ".verdicts.csv", "comparisons": ".comparisons.csv"}
MIME_TYPES = {".csv": "text/csv", ".tex": "application/x-tex"}


def write_report(
    settings: ReportSettings,
    scenes: list[Path],
    splits: list[Path],
    runs: list[Path],
    tables: list[Path],
    figures: list[Path],
    spectra: list[Path],
    efficiency: list[Path],
    claims: Path,
    printed: Path,
    out: Path,
    provenance: Path,
) -> None:
    """Write the report, which needs no other file, font or script.

    Args:
        settings: What the report shows.
        scenes: Manifests of the scenes.
        splits: Splits of the scenes.
        runs: run.json of every run. scores.json, history.csv, image.npz and Snakemake's benchmark files are read from
            its folder; methods without training have no history.csv.
        tables: HTML of the tables, {name}.html; their CSV, LaTeX, verdicts and comparisons are next to it.
        figures: PNG of the figures, {name}.png, each with its PDF next to it.
        spectra: spectrum.json of the runs whose singular values the figures and claims use.
        efficiency: Measured time and memory, {scene}_x{scale}.json; if empty, the page has no section on speed.
        claims: claims.json; claims.csv is next to it.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        out: The HTML to write. The durations of the jobs are read from Snakemake's benchmark files in its folder.
        provenance: The JSON to write: the SHA-256 of the page, of every file that it is made from, and of the other
            formats of its tables and figures.
    """
    report_runs = [ReportRun(path) for path in runs]
    labels = label_rows(settings)
    manifests = {manifest["scene"]: manifest for manifest in (read_result(path, ShownManifest) for path in scenes)}
    _check_scenes(settings, manifests.keys() | {run.scene for run in report_runs})
    verdicts = [line for path in tables for line in _read_verdicts(path.with_suffix(".verdicts.csv"), settings)]
    table_views = [_describe_table(table, path) for table, path in zip(settings.tables, tables, strict=True)]
    split_views = [_describe_split(path) for path in splits]
    comparisons = {table["settings"].name: table["differences"] for table in table_views}
    devices = collect_speed(settings, labels, report_runs, efficiency)
    claims_content = read_result(claims, ClaimsFile)
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    page = render(
        "report.html.j2",
        report=settings,
        results=summarize_results(settings, labels, report_runs, comparisons, devices),
        data=describe_data(settings, manifests.values(), split_views),
        training=describe_training(settings, report_runs),
        open_table=next((table.name for table in sort_tables(settings)), ""),  # the others are folded
        in_paper=bool(verdicts),  # whether the paper prints a number of one of these tables
        signs=OUTCOME_SIGNS,
        rules=RULES,
        number_counts=count_verdicts(verdicts, printed),
        claim_sections=group_claims(claims_content["claims"]),
        claim_counts=count_claims(claims_content["claims"]),
        untrained_decisions=count_untrained_decisions(claims_content["claims"]),
        contradictions=claims_content["contradictions"],
        claims_csv=_encode_download(claims.with_suffix(".csv")),
        tables=table_views,
        scores=list(SCORES.values()),
        score_units={name: score.unit for name, score in SCORES.items()},
        figures=[(figure, *encode_png(path)) for figure, path in zip(settings.figures, figures, strict=True)],
        viewer_images=list(encode_images(settings, labels, manifests, report_runs)),
        error_colours=ERROR_COLOURS,
        devices=devices,
        reference=reference_label(labels),
        software=_describe_software(settings, [run.scores for run in report_runs]),
        manifests=manifests,
        splits=split_views,
        runs=[run.table_line() for run in report_runs],
        run_windows=pack_run_windows(settings, labels, report_runs, verdicts),
        jobs=_read_job_durations(out.parent),
        script=Markup(script),
        script_sha256=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic_write(out) as part:
        part.write_text(page, encoding="utf-8")
    files = [out, *scenes, *splits, *tables, *figures, *spectra, *efficiency, claims, claims.with_suffix(".csv")]
    files += [path.with_suffix(suffix) for path in tables for suffix in TABLE_SUFFIXES]
    files += [path.with_suffix(".pdf") for path in figures]
    hashes = {path: sha256(path) for path in files}
    for run in report_runs:
        hashes |= run.hashes()
    names = {path.relative_to(out.parent).as_posix(): hashes[path] for path in sorted(hashes)}
    write_json(provenance, {"files": names})
    print(f"Report: {out.resolve()}")


def _check_scenes(settings: ReportSettings, scenes: Iterable[str]) -> None:
    """Check that the report has these scenes.

    Raises:
        StaleInput: If it lacks one.
    """
    if unknown := sorted(set(scenes) - settings.scenes.keys()):
        raise StaleInput(
            f"there are results of the scene {unknown[0]}, which the report does not have: run snakemake again."
        )


def _read_verdicts(path: Path, settings: ReportSettings) -> list[dict[str, str]]:
    """Return the lines of a *.verdicts.csv.

    Raises:
        DataError: If it is missing or damaged, or of a table that the report does not have.
    """
    lines = read_table(path, ("table", "scene", "scale", "row", "column", "printed", "verdict", "why"))
    names = {table.name for table in settings.tables}
    for line in lines:
        if line["table"] not in names or line["verdict"] not in SIGNS or not re.fullmatch(r"[0-9]{1,4}", line["scale"]):
            raise damaged(path, "it has a table, a scale or a verdict that the report does not have")
    return lines


def _describe_split(path: Path) -> dict[str, Any]:
    """Return the content of a split, its hash, the use of its patches in words, and whether it uses few of them."""
    split = read_result(path, SplitFile)
    numbers, left_out = split["numbers"], split.get("left_out", {})
    words = {"use": describe_numbers(numbers, left_out), "uses_few": uses_few(numbers, left_out)}
    return {**split, **words, "digest": sha256(path)}


def _describe_table(table: ReportTable, path: Path) -> dict[str, Any]:
    """Return the settings of a table, its HTML, its files as links, and its comparisons."""
    return {
        "settings": table,
        "html": read_table_html(path),
        "downloads": {name: _encode_download(path.with_suffix(suffix)) for name, suffix in DOWNLOADS.items()},
        "differences": read_differences(path.with_suffix(".comparisons.csv"), list(table.rows)),
    }


def _encode_download(path: Path) -> dict[str, str]:
    """Return the name of a file and a data URL with its bytes, for a link that saves it."""
    content = b64encode(read_text(path).encode()).decode()
    return {"name": path.name, "url": f"data:{MIME_TYPES[path.suffix]};charset=utf-8;base64,{content}"}


def _describe_software(settings: ReportSettings, scores: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return commit, device, seeds, versions and adoptions; several values of one fact are separated by semicolons."""
    facts = {
        "Commit": _join_distinct(run["commit"] or "unknown" for run in scores),
        "Device": _join_distinct(f"{run['device']}, {format_threads(run['threads'])}" for run in scores),
        "Seeds": _join_distinct(settings.seeds),
    }
    for name in sorted({name for run in scores for name in run["versions"]}):
        facts[name] = _join_distinct(run["versions"].get(name, UNKNOWN) for run in scores)
    if settings.adopted:
        facts["Adopted"] = "; ".join(map(_describe_adoption, settings.adopted))
    return facts


def _describe_adoption(adoption: dict[str, Any]) -> str:
    """Return the sentence about results that were made with other code and declared to be the same."""
    jobs, files = len(adoption["jobs"]), ", ".join(adoption["modules"])
    return (
        f"{jobs} job{'' if jobs == 1 else 's'}, made with code {adoption['code'][:12]}, declared on {adoption['date']} "
        f"to be the same with {adoption['to'][:12]} (changed: {files}): {adoption['because']}"
    )


def _join_distinct(values: Iterable[Any]) -> str:
    """Return the different values in order of appearance, separated by semicolons."""
    return "; ".join(dict.fromkeys(map(str, values))) or UNKNOWN


def _read_job_durations(root: Path) -> list[dict[str, Any]]:
    """Return count, total and longest duration of each kind of job, from Snakemake's benchmark files."""
    jobs = []
    for kind, pattern in JOB_FILES.items():
        files = root.glob(f"{pattern}.benchmark.tsv")
        seconds = [float(line["s"]) for path in files for line in read_benchmark(path) if line["s"]]
        if seconds:
            total, longest = format_duration(sum(seconds)), format_duration(max(seconds))
            jobs.append({"kind": kind, "count": len(seconds), "total": total, "longest": longest})
    return jobs
