"""The report: one self-contained HTML page of verdicts, claims, tables, figures and how they were made."""

import gzip
import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from math import floor, log10
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from lkca.core.files import atomic_write, read_csv, read_json, sha256, write_json
from lkca.paper.columns import PRINTED_COLUMNS
from lkca.paper.verdicts import RULES, SIGNS
from lkca.report.images import COLOURS, figure, view
from lkca.report.render import TEMPLATES, render
from lkca.scoring.metrics import SCORES

UNKNOWN = "–"
NOT_HERE = "not in this report"
LIKE = {"reproduced": "match", "contradicted": "outside", "holds": "match", "fails": "outside"}  # the same sign
LIKE |= {"cannot be told": "not run", NOT_HERE: "not run"}
ON_PAPER = ["holds", "fails", "cannot be told"]
ON_OURS = ["reproduced", "contradicted", "not resolved", "not run", "stand-in"]
REFERENCE = "LKCA-LR"  # whose cost the paper compares the others' with
Key = tuple[str, int, str]  # scene, scale, model
Names = dict[tuple[str, int], dict[str, tuple[str, str]]]  # scene, scale -> model -> its label, and of which table


def report(
    settings: str,
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
    """Write the report: no other file, font or script is needed to read it.

    Args:
        settings: The report as JSON text: experiment, title, seeds, adopted (what `Results.adoptions` gives), the facts
            of the scenes, tables and figures (their name, title, rows, scenes and scales, in their order here),
            and the sentence about stand-in data or null.
        scenes: Manifests of the scenes.
        splits: Splits of the scenes.
        runs: run.json of every run. scores.json, history.csv, image.npz and Snakemake's benchmark files are read beside
            it; bicubic has no history.csv.
        tables: HTML of the tables, {name}.html; their CSV, LaTeX, verdicts and comparisons are read beside it.
        figures: PNG of the figures, {name}.png, each with its PDF beside it.
        spectra: Singular values, which figures show and claims are about.
        efficiency: Measured time and memory, {scene}_x{scale}.json; none, and the page says nothing of it.
        claims: claims.json; claims.csv is read beside it.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        out: Written; Snakemake's benchmark files beside and below it tell what the jobs took.
        provenance: Written: the SHA-256 of every file that the page stands on, of the page, and of the other formats of
            its tables and figures.
    """
    chosen = json.loads(settings)
    read = [_run(path) for path in runs]
    scores = [run["scores"] for run in read]
    names = _names(chosen)
    manifests = {manifest["scene"]: manifest for manifest in map(read_json, scenes)}
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    told = read_json(claims)
    verdicts = [line for path in tables for line in _lines(path.with_suffix(".verdicts.csv"), ",")]
    page = render(
        "report.html.j2",
        experiment=chosen["experiment"],
        title=chosen["title"],
        stand_in=chosen["stand_in"],
        signs=SIGNS | {outcome: SIGNS[verdict] for outcome, verdict in LIKE.items()},
        rules=RULES,
        numbers=_numbers(verdicts, printed),
        claims=[_claim(claim) for claim in told["claims"]],
        outcomes=_outcomes(told["claims"]),
        contradictions=told["contradictions"],
        claims_csv=_download(claims.with_suffix(".csv")),
        tables=[_table(table, path) for table, path in zip(chosen["tables"], tables, strict=True)],
        scores=list(SCORES.values()),
        figures=[{**facts, "url": figure(path)} for facts, path in zip(chosen["figures"], figures, strict=True)],
        views=list(_views(chosen, names, manifests, read)),
        colours=COLOURS,
        speed=_speed(chosen, names, [read_json(path) for path in efficiency]),
        facts=_software(chosen, scores),
        scenes=[{**manifest, "facts": chosen["scenes"][name]} for name, manifest in manifests.items()],
        splits=[{**read_json(path), "digest": sha256(path)} for path in splits],
        runs=[run["shown"] for run in read],
        packed_runs=_packed(chosen, names, read, verdicts),
        jobs=_jobs(out.parent),
        script=Markup(script),
        script_sha256=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with atomic_write(out) as part:
        part.write_text(page, encoding="utf-8")
    kinds = (".csv", ".md", ".tex", ".verdicts.csv", ".comparisons.csv")
    files = [out, *scenes, *splits, *tables, *figures, *spectra, *efficiency, claims, claims.with_suffix(".csv")]
    files += [path.with_suffix(kind) for path in tables for kind in kinds]
    files += [path.with_suffix(".pdf") for path in figures]
    found = {path: sha256(path) for path in files}
    for run in read:
        found |= run["files"]
    write_json(provenance, {"files": {path.relative_to(out.parent).as_posix(): found[path] for path in sorted(found)}})
    print(f"Report: {out.resolve()}")


# Runs -------------------------------------------------------------------------------------------------------------


def _run(path: Path) -> dict[str, Any]:
    """All that is shown of a run: its files' content, their hashes, and its line of the table of runs."""
    run, scores = read_json(path), read_json(path.with_name("scores.json"))
    kept = ("window", "scores", "mae", "mae_edges")
    scores["images"] = [{name: image[name] for name in kept} for image in scores["images"]]
    history = _lines(path.with_name("history.csv"), ",")
    files = {other: sha256(other) for other in (path, path.with_name("scores.json"))}
    for name, kind in (("weights.safetensors", "weights"), ("history.csv", "history"), ("image.npz", "image")):
        if digest := scores[f"{kind}_sha256"]:
            files[path.with_name(name)] = digest
    return {
        "path": path,
        "key": (run["scene"], run["scale"], run["model"]),
        "seed": run["seed"],
        "run": run,
        "scores": scores,
        "history": _curve(history),
        "files": files,
        "shown": _line(path, run, scores, history),
    }


def _curve(history: list[dict[str, str]]) -> dict[str, Any] | None:
    """What the page shows of a training: its curve, and its last lines as they stand in the file."""
    if not history:
        return None
    last = [",".join(line) for line in ([*history[0]], *(line.values() for line in history[-3:]))]
    return {
        "steps": [int(line["steps"]) for line in history],
        "mpsnr": [round(float(line["val_mpsnr"]), 4) for line in history],
        "last": "\n".join(last),
    }


def _line(path: Path, run: dict[str, Any], scores: dict[str, Any], history: list[dict[str, str]]) -> dict[str, Any]:
    """A run's line of the table of runs."""
    shown = {name: run[name] for name in ("scene", "scale", "model", "seed")} | dict.fromkeys(
        ("steps", "epoch", "loss", "mpsnr", "training"), UNKNOWN
    )
    if history:
        first, last = history[0], history[-1]
        shown["steps"] = f"{int(last['steps']):,}"
        shown["loss"] = f"{float(first['loss']):.4f} → {float(last['loss']):.4f}"
        shown["mpsnr"] = f"{float(last['val_mpsnr']):.2f}"
        shown["training"] = _duration(float(last["seconds"]))
        shown["epoch"] = f"{scores['epoch']} of {len(history)}"
    shown["evaluation"] = _duration(scores["seconds"]["evaluation"])
    shown["seconds"] = scores["seconds"]
    peaks = [
        float(line["max_rss"])
        for job in ("train", "evaluate")
        for line in _lines(path.with_name(f"{job}.benchmark.tsv"), "\t")
        if line["max_rss"] not in ("-", "NA")  # the job was too short to be measured
    ]
    shown["memory"] = f"{max(peaks) / 1024:.2f} GiB" if peaks else UNKNOWN
    return shown


def _packed(chosen: dict[str, Any], names: Names, read: list[dict[str, Any]], verdicts: list[dict[str, str]]) -> str:
    """What the page's script shows of runs, by (scene, scale, model): JSON, gzip, base64."""
    rows = {table["name"]: table["rows"] for table in chosen["tables"]}
    printed: dict[Key, list[dict[str, str]]] = {}
    for line in verdicts:
        key = line["scene"], int(line["scale"]), rows[line["table"]].get(line["row"])
        shown = {name: line[name] for name in ("table", "column", "printed", "verdict", "why")}
        printed.setdefault(key, []).append(shown)
    groups: dict[str, dict[str, Any]] = {}
    for run in read:
        scene, scale, model = run["key"]
        label, table = names.get((scene, scale), {}).get(model, ("", ""))
        group = groups.setdefault(
            f"run-{scene}-{scale}-{model}",
            {
                "title": f"{model} on {chosen['scenes'][scene]['title']} ×{scale}",
                "label": f"{label}, {table}" if label else "",
                "printed": printed.get(run["key"], []),
                "seeds": [],
            },
        )
        group["seeds"].append({name: run[name] for name in ("run", "scores", "history")})
    return b64encode(gzip.compress(json.dumps(groups).encode(), 6, mtime=0)).decode()


def _names(chosen: dict[str, Any]) -> Names:
    """What each model is called: by the table with most cells, else by a figure; the same order as there."""
    names: Names = {}
    for table in sorted(chosen["tables"], key=lambda t: -len(t["scales"]) * len(t["rows"])):
        for scale in table["scales"]:
            of_table = names.setdefault((table["scene"], scale), {})
            for label, model in table["rows"].items():
                of_table.setdefault(model, (label, f"Table {table['name']}"))
    for drawn in chosen["figures"]:
        for scene in drawn["scenes"]:
            of_figure = names.setdefault((scene, drawn["scale"]), {})
            for label, model in drawn["rows"].items():
                of_figure.setdefault(model, (label, f"Figure {drawn['name']}"))
    return names


# Numbers and claims -----------------------------------------------------------------------------------------------


def _numbers(verdicts: list[dict[str, str]], printed: Path) -> dict[str, Any]:
    """How many printed numbers there are of each verdict: in all, and by table."""
    total = Counter()
    for line in _lines(printed, ","):
        total[line["table"]] += sum(bool(line[name]) for name in PRINTED_COLUMNS)
    found = {name: Counter() for name in total}
    for line in verdicts:
        found[line["table"]][line["verdict"]] += 1
    for name, of_table in found.items():
        of_table[NOT_HERE] = total[name] - of_table.total()
    return {
        "kinds": [*SIGNS, NOT_HERE],
        "tables": [{"name": name, "of": found[name], "all": total[name]} for name in total],
        "of": sum(found.values(), Counter()),
        "all": total.total(),
    }


def _outcomes(claims: list[dict[str, Any]]) -> dict[str, Any]:
    """How many claims there are of each outcome on ours, by that on the paper's own numbers."""
    both = Counter((claim["paper"]["outcome"], claim["ours"]["outcome"]) for claim in claims)
    paper, ours = (Counter(claim[which]["outcome"] for claim in claims) for which in ("paper", "ours"))
    rows = [{"name": name, "of": {k: both[name, k] for k in ON_OURS}, "all": paper[name]} for name in ON_PAPER]
    apart = sum(c["needs"] in ("arithmetic", "code") and c["ours"]["outcome"] in ON_OURS[:2] for c in claims)
    total = {"paper": paper, "of": ours, "apart": apart, "all": len(claims)}
    return {"kinds": ON_OURS, "on_paper": ON_PAPER, "rows": rows, **total}


def _claim(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim with its numbers in words."""
    return {
        **claim,
        **{
            which: {**claim[which], "values": {k: _said(v) for k, v in claim[which]["values"].items()}}
            for which in ("paper", "ours")
        },
    }


def _said(value: Any) -> str:
    """A number, one with its interval, or several.

    Example:
        >>> _said([1.5, {"value": 2.0, "low": 1.25, "high": 2.75}, {"value": 3.0, "low": None, "high": None}])
        '1.5; 2 (1.25 to 2.75); 3'
    """
    if isinstance(value, list):
        return "; ".join(map(_said, value))
    if not isinstance(value, Mapping):
        return f"{value:.4g}"
    bounds = {value["low"], value["high"]} - {None, value["value"]}
    return f"{value['value']:.4g}" + (f" ({value['low']:.4g} to {value['high']:.4g})" if bounds else "")


# Tables -----------------------------------------------------------------------------------------------------------


def _table(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """A table's fragment, its files to download, and its comparisons."""
    kinds = {"CSV": ".csv", "LaTeX": ".tex", "verdicts": ".verdicts.csv", "comparisons": ".comparisons.csv"}
    return {
        **table,
        "html": Markup(path.read_text(encoding="utf-8")),  # escaped by tables.py
        "downloads": {name: _download(path.with_suffix(suffix)) for name, suffix in kinds.items()},
        "against": _against(list(table["rows"]), _lines(path.with_suffix(".comparisons.csv"), ",")),
    }


def _against(labels: list[str], lines: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Comparisons by the method that the others are compared with, both in the order of the table.

    Returns:
        {"name", "scales": {scale: {"rows": {other method: {score: cell}}, "undecided": a sentence or ""}}} of each
        method, where a cell holds the other method's number less this one's.
    """
    cells: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for line in lines:
        for other, name, sign in ((line["a"], line["b"], 1), (line["b"], line["a"], -1)):
            of_pair = cells.setdefault((name, line["scale"]), {}).setdefault(other, {})
            of_pair[line["score"]] = _difference(line, sign)
    result = []
    for name in labels:
        scales = {}
        for (compared, scale), others in cells.items():
            if compared == name:
                rows = {label: others[label] for label in labels if label in others}
                scales[scale] = {"rows": rows, "undecided": _undecided(rows)}
        if scales:
            result.append({"name": name, "scales": scales})
    return result


def _difference(line: Mapping[str, str], sign: int) -> dict[str, Any]:
    """A line of comparisons.csv as the page shows it; of b less a with a `sign` of -1."""
    numbers = {
        name: sign * float(line[name])
        for name in ("difference", "low", "high", "low_blocks", "high_blocks")
        if line[name]
    }
    digits = min(7, max(0, 2 - floor(log10(max(1e-9, *map(abs, numbers.values()))))))  # three of the largest

    def interval(low: str, high: str) -> str:
        ends = sorted(numbers[name] for name in (low, high) if name in numbers)
        return " to ".join(_signed(end, digits) for end in ends)

    better = {"a better": 1, "b better": -1, "not resolved": 0}[line["outcome"]] * sign
    return {
        "value": _signed(numbers["difference"], digits),
        "images": interval("low", "high"),
        "blocks": interval("low_blocks", "high_blocks"),
        "outcome": {1: "better", -1: "worse", 0: "not resolved"}[better],
        "why": line["why"],
    }


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def _undecided(rows: dict[str, dict[str, dict[str, Any]]]) -> str:
    """What the test images cannot decide, with the reasons, as one sentence."""
    told, why = [], []
    for other, cells in rows.items():
        if names := [name for name, cell in cells.items() if cell["outcome"] == "not resolved"]:
            told.append(f"{other} ({'all scores' if len(names) == len(SCORES) else ', '.join(names)})")
            why += [cells[name]["why"] for name in names]
    return f"The test images do not decide: {', '.join(told)}; {' or '.join(dict.fromkeys(why))}." if told else ""


def _download(path: Path) -> dict[str, str]:
    """A file as a link that saves it, byte by byte."""
    kind = {".csv": "text/csv", ".tex": "application/x-tex"}[path.suffix]
    return {"name": path.name, "url": f"data:{kind};charset=utf-8;base64,{b64encode(path.read_bytes()).decode()}"}


# Pictures and spectra ---------------------------------------------------------------------------------------------


def _views(
    chosen: dict[str, Any], names: Names, manifests: dict[str, Any], read: list[dict[str, Any]]
) -> Iterable[dict[str, Any]]:
    """For each scene and scale the test image that the figures show, as every method of its largest table has it."""
    found = {run["key"]: run for run in read if run["seed"] == chosen["seeds"][0]}
    for (scene, scale), of_view in names.items():
        main = next(iter(of_view.values()))[1]
        shown = [(scene, scale, model) for model, (_, table) in of_view.items() if table == main]
        methods = {key[2]: found[key] for key in shown if key in found}
        if not methods:
            continue
        facts, bands = chosen["scenes"][scene], manifests[scene]["bands"]
        untrained = {model for model, run in methods.items() if run["scores"]["untrained"]}
        seen = view({model: run["path"].with_name("image.npz") for model, run in methods.items()}, untrained)
        yield {
            **seen,
            "title": f"{facts['title']} ×{scale}",
            "image": facts["image"] + 1,
            "nanometres": np.interp(bands, (bands[0], bands[-1]), facts["nanometres"]).round(1).tolist(),
            "methods": [
                {
                    **seen["methods"][model],
                    "label": of_view[model][0],
                    "psnr": run["scores"]["images"][facts["image"]]["scores"]["MPSNR"],
                    "untrained": run["scores"]["steps"] if model in untrained else None,
                }
                for model, run in methods.items()
            ],
        }


# Speed ------------------------------------------------------------------------------------------------------------


def _speed(chosen: dict[str, Any], names: Names, measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measured time and memory, by device; each network's MACs and latency also as multiples of LKCA-LR's."""
    devices: dict[str, dict[str, Any]] = {}
    for file in measured:
        scene, scale, title = file["scene"], file["scale"], chosen["scenes"][file["scene"]]["title"]
        of_table = names[scene, scale]
        main = next(iter(of_table.values()))[1]
        for each in file["measured"]:
            name = f"{each['name']}, {_threads(each['threads'])}" if each["device"] == "cpu" else each["name"]
            device = devices.setdefault(name, {"title": name, "groups": [], "most": None})
            models = {model: each["models"][model] for model in of_table if model in each["models"]}
            base = next((cost for model, cost in models.items() if of_table[model][0] == REFERENCE), None)
            networks: dict[str, list[str]] = {}  # models with one network share its numbers, and a row
            for model, cost in models.items():
                networks.setdefault(json.dumps(cost), []).append(model)
            rows = []
            for same in networks.values():
                cost, labels = models[same[0]], [of_table[model][0] for model in same if of_table[model][1] == main]
                row = {**cost, "label": ", ".join(labels) or "{} ({})".format(*of_table[same[0]]), "model": same[0]}
                row["macs_ratio"] = cost["macs"] / base["macs"] if base else 0
                row["time_ratio"] = cost["latency_s"] / base["latency_s"] if base else 0
                if base and (not device["most"] or row["macs_ratio"] > device["most"]["macs_ratio"]):
                    device["most"] = {**row, "where": f"{title} ×{scale}"}
                rows.append(row)
            device["groups"].append({"scene": scene, "scale": scale, "title": title, "rows": rows})
    return list(devices.values())


# How it was made --------------------------------------------------------------------------------------------------


def _software(chosen: dict[str, Any], scores: list[dict[str, Any]]) -> dict[str, str]:
    """What all runs have in common, or the different values."""
    versions = {name for s in scores for name in s["versions"]}
    return {
        "Commit": _all(s["commit"] or "unknown" for s in scores),
        "Device": _all(f"{s['device']}, {_threads(s['threads'])}" for s in scores),
        "Seeds": _all(chosen["seeds"]),
        **{name: _all(s["versions"].get(name, UNKNOWN) for s in scores) for name in sorted(versions)},
        **({"Adopted": "; ".join(map(_adopted, chosen["adopted"]))} if chosen["adopted"] else {}),
    }


def _adopted(adoption: dict[str, Any]) -> str:
    """What was declared of results that other code had made."""
    jobs, files = len(adoption["jobs"]), ", ".join(adoption["modules"])
    return (
        f"{jobs} job{'' if jobs == 1 else 's'}, made with code {adoption['code'][:12]}, declared on {adoption['date']} "
        f"to be the same with {adoption['to'][:12]} (changed: {files}): {adoption['because']}"
    )


def _threads(number: int) -> str:
    return f"{number} thread{'' if number == 1 else 's'}"


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


def _lines(path: Path, delimiter: str) -> list[dict[str, str]]:
    """The lines of a table, none if the file is missing."""
    return read_csv(path, delimiter) if path.exists() else []


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
