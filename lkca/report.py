"""The report: one self-contained HTML page of tables, figures and how they were made."""

import json
from base64 import b64encode
from collections.abc import Iterable
from csv import DictReader
from pathlib import Path
from typing import Any

from lkca.files import read_json, replacing, sha256
from lkca.templates import render

UNKNOWN = "–"


def report(
    settings: str,
    scenes: list[Path],
    splits: list[Path],
    runs: list[Path],
    tables: list[Path],
    figures: list[Path],
    out: Path,
) -> None:
    """Write the report: no other file, font or script is needed to read it.

    Args:
        settings: The report as JSON text: experiment, title, seeds, the facts of the scenes, tables and figures (each
            name and title, in their order here), and the sentence about stand-in data or null.
        scenes: Manifests of the scenes.
        splits: Splits of the scenes.
        runs: run.json of every run. scores.json, history.csv and Snakemake's benchmark files are read beside it; a
            teacher that is in no table has no scores.json, bicubic has no history.csv.
        tables: HTML of the tables, {name}.html.
        figures: PNG of the figures, {name}.png.
        out: Written; Snakemake's benchmark files beside and below it tell what the jobs took.
    """
    chosen = json.loads(settings)
    read = [_run(path) for path in runs]
    scores = [run["scores"] for run in read if run["scores"]]
    fragments = {path.stem: path.read_text(encoding="utf-8") for path in tables}
    pictures = {path.stem: b64encode(path.read_bytes()).decode() for path in figures}
    versions = {name for s in scores for name in s["versions"]}
    page = render(
        "report.html.j2",
        experiment=chosen["experiment"],
        title=chosen["title"],
        stand_in=chosen["stand_in"],
        tables=[{**t, "html": fragments[t["name"]]} for t in chosen["tables"]],
        figures=[{**f, "png": pictures[f["name"]]} for f in chosen["figures"]],
        facts={
            "Commit": _all(s["commit"] or "unknown" for s in scores),
            "Device": _all(f"{s['device']}, {s['threads']} thread{'' if s['threads'] == 1 else 's'}" for s in scores),
            "Seeds": _all(chosen["seeds"]),
            **{name: _all(s["versions"].get(name, UNKNOWN) for s in scores) for name in sorted(versions)},
        },
        scenes=[_scene(path, chosen["scenes"]) for path in scenes],
        splits=[{**read_json(path), "digest": sha256(path)} for path in splits],
        runs=[run["shown"] for run in read],
        jobs=_jobs(out.parent),
    )
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")
    print(f"Report: {out.resolve()}")


def _scene(path: Path, facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A scene's manifest and the facts of its cube."""
    manifest = read_json(path)
    return {**manifest, "facts": facts[manifest["scene"]]}


JOBS = {  # kind -> its benchmark files below results/{experiment}
    "scene": "scenes/*",
    "split": "splits/*",
    "train": "runs/*/*/*/train",
    "evaluate": "runs/*/*/*/evaluate",
    "spectrum": "runs/*/*/*/spectrum",
    "table": "tables/*",
    "figure": "figures/*",
}


def _jobs(root: Path) -> list[dict[str, Any]]:
    """What each kind of job took, by Snakemake's benchmark files: count, total and longest time."""
    jobs = []
    for kind, pattern in JOBS.items():
        seconds = [float(line["s"]) for path in root.glob(f"{pattern}.benchmark.tsv") for line in _lines(path, "\t")]
        if seconds:
            jobs.append(
                {
                    "kind": kind,
                    "count": len(seconds),
                    "total": _duration(sum(seconds)),
                    "longest": _duration(max(seconds)),
                }
            )
    return jobs


def _all(values: Iterable[Any]) -> str:
    """The different values, in order of appearance: one, where all runs agree."""
    return "; ".join(dict.fromkeys(str(value) for value in values)) or UNKNOWN


def _run(path: Path) -> dict[str, Any]:
    """The scores of a run (None without) and its line of the table of trainings."""
    run = read_json(path)
    beside = path.with_name("scores.json")
    scores = read_json(beside) if beside.exists() else None
    history = _lines(path.with_name("history.csv"), ",")
    shown = {name: run[name] for name in ("scene", "scale", "model", "seed")} | dict.fromkeys(
        ("steps", "epoch", "loss", "mpsnr", "training", "evaluation"), UNKNOWN
    )
    if history:
        first, last = history[0], history[-1]
        shown["steps"] = f"{int(last['steps']):,}"
        shown["loss"] = f"{float(first['loss']):.4f} → {float(last['loss']):.4f}"
        shown["mpsnr"] = f"{float(last['val_mpsnr']):.2f}"
        shown["training"] = _duration(float(last["seconds"]))
    if scores:
        shown["evaluation"] = _duration(scores["seconds"]["evaluation"])
        shown["epoch"] = f"{scores['epoch']} of {len(history)}" if history else UNKNOWN
    peaks = [
        float(line["max_rss"])
        for job in ("train", "evaluate")
        for line in _lines(path.with_name(f"{job}.benchmark.tsv"), "\t")
        if line["max_rss"] not in ("-", "NA")  # the job was too short to be measured
    ]
    shown["memory"] = f"{max(peaks) / 1024:.2f} GiB" if peaks else UNKNOWN
    return {"scores": scores, "shown": shown}


def _lines(path: Path, delimiter: str) -> list[dict[str, str]]:
    """The lines of a table, none if the file is missing."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(DictReader(file, delimiter=delimiter))


def _duration(seconds: float) -> str:
    """A time as one reads it.

    Example:
        >>> _duration(12.34), _duration(200), _duration(3725)
        ('12.3 s', '3 min 20 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
