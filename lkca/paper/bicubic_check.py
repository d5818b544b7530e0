"""Check of our bicubic rows against the paper's: without any training, they show whether our protocol is the paper's.

Crop, degradation, normalisation and the definitions of the scores all affect such a row. If our row differs from the
printed one, its six scores show the cause. SAM, CC and ERGAS do not depend on the divisor of the scene. CC and ERGAS
would not change if each band had a divisor of its own, and CC would not change if a constant were subtracted.
100 RMSE / (r ERGAS) is approximately the brightness of the images, with any method.
"""

from collections.abc import Mapping
from math import log10, radians, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

from lkca.config.settings import BicubicCheckSettings
from lkca.core.files import atomic_write, read_csv, write_json
from lkca.core.result_files import SceneDivisor, damaged, read_result
from lkca.errors import DataError, StaleInput
from lkca.paper.columns import PRINTED_SCORES, decimals, last_digit_difference
from lkca.paper.statistics import RunScores
from lkca.scoring.score_files import read_scores

INDEPENDENT_OF_DIVISOR = ["SAM", "CC", "ERGAS"]
DEFINITION = {  # score -> the part of its definition that most likely differs
    "MPSNR": "its peak, and whether the MSE is taken band by band",
    "MSSIM": "the window, the constants and the covariance of SSIM",
    "SAM": "which pixels are left out, and whether angles or cosines are averaged",
    "CC": "whether it is taken band by band and over the whole image",
    "RMSE": "whether it is taken over the whole cube, and how images are averaged",
    "ERGAS": "the factor before the root, and the means that it divides by",
}
FINDINGS = {  # kind -> what the numbers show, and what to check
    "equal": "All six scores are equal in every printed digit: the protocol is the paper's.",
    "rounding": "All six scores agree, but {names} only to 1 in the last digit, which rounding can explain.",
    "stand-in": "The scene is a stand-in: differences say nothing about the protocol.",
    "normalisation": "{names} agree, which do not depend on the divisor. By MPSNR the paper's divisor is {ratio:.6g} "
    "times our {ours:.10g}, between {low:.8g} and {high:.8g}; by RMSE {by_rmse:.3g} times. Check the divisor.",
    "bands": "CC and ERGAS agree, but SAM and the scores that depend on the divisor do not, as if every band had a "
    "divisor of its own in the paper. Check the normalisation.",
    "offset": "CC agrees, and MPSNR and RMSE fit one divisor, but SAM, ERGAS and the brightness do not, as if a "
    "constant, such as the minimum, were subtracted in the paper. Check the normalisation, then the crop.",
    "images": "{names} differ, which do not depend on the divisor: other test images or another bicubic. {look}",
    "definition": "{name} is the paper's if it is computed {how}. Check {where}.",
    "unclear": "{name} differs, but the scores of the same images agree: another definition. Check {where}.",
}
SAME_BRIGHTNESS = (
    "The brightness agrees: check the bicubic (kernel, antialiasing, borders) and for a crop that is a few pixels off."
)
OTHER_BRIGHTNESS = (
    "The brightness differs: check the crop, its orientation, the bands and the divisor, then the bicubic."
)

Finding = dict[str, Any]  # `kind`, a key of FINDINGS; `says`, its sentence; and the numbers in it


class Cell(TypedDict):
    """One score of a row: as printed, ours in full and as it would be printed, and how far they are apart."""

    printed: str
    ours: float
    rounded: str
    last_digits: int
    says: str


class Brightness(TypedDict):
    """100 RMSE / (r ERGAS).

    `printed`: from the printed RMSE and ERGAS; `least` and `most`: its limits, given the rounding of the printed RMSE.
    `ours`: from our scores.
    """

    printed: float
    least: float
    most: float
    ours: float


class Row(TypedDict):
    """A bicubic row: its scores, its brightness and the findings."""

    title: str
    table: str
    scene: str
    scale: int
    images: int
    cells: dict[str, Cell]
    brightness: Brightness
    findings: list[Finding]


def bicubic_check(
    settings: BicubicCheckSettings, scores: list[Path], manifests: list[Path], printed: Path, out: Path, markdown: Path
) -> None:
    """Compare our bicubic rows with the paper's, digit by digit, and say what causes a difference; also print it.

    Args:
        settings: The titles of the scenes, and which scenes are absent or stand-ins.
        scores: scores.json of the bicubic runs, in any order. All seeds have the same scores, so one of them is used.
        manifests: Manifests of their scenes.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        out: The JSON to write: the settings, the verdict and the rows. A difference is a finding, not an error.
        markdown: The Markdown to write, with the same content.

    Raises:
        DataError: If there are no scores of any bicubic row that the paper prints.
    """
    lines = read_csv(printed)
    paper = {(line["scene"], int(line["scale"])): line for line in lines if line["row"] == "Bicubic"}
    scenes = [read_result(path, SceneDivisor) for path in manifests]
    divisors = {manifest["scene"]: manifest["divisor"] for manifest in scenes}
    runs = {(run["scene"], run["scale"]): run for run in map(_read_scores, scores)}
    if missing := {scene for scene, _ in runs} - divisors.keys():
        raise StaleInput(f"there are scores of {min(missing)}, but no manifest: run snakemake again.")
    rows = [_compare_row(runs[key], line, divisors[key[0]], settings) for key, line in paper.items() if key in runs]
    if not rows:
        absent = "; ".join(f"{scene}: {why.strip().rstrip('.')}" for scene, why in settings.absent.items())
        remedy = f"get a scene ({absent})" if absent else "add a table with such a row to the report"
        raise DataError(f"there are no scores of a bicubic row that the paper prints: {remedy}.")
    not_computed = [key for key in paper if key not in runs and key[0] in divisors]
    verdict = _describe_verdict(settings, rows, not_computed)
    write_json(out, {**settings.model_dump(), "verdict": verdict, "rows": rows})
    text = _format_markdown(settings, verdict, rows)
    with atomic_write(markdown) as part:
        part.write_text(text, encoding="utf-8")
    print(text, end="")


def _read_scores(path: Path) -> RunScores:
    """Return the content of the scores.json of a bicubic run.

    Raises:
        DataError: If it is missing or damaged.
    """
    run = read_scores(path)
    if run["mean"]["ERGAS"] <= 0 or run["mean"]["RMSE"] <= 0:
        raise damaged(path, "RMSE or ERGAS is not above 0, which bicubic always is")
    return run


def _compare_row(run: RunScores, printed: Mapping[str, str], divisor: float, settings: BicubicCheckSettings) -> Row:
    brightness = _compare_brightness(run, printed)
    stand_in = [_finding("stand-in")] if settings.stand_in else []
    return {
        "title": f"{_get_title(settings, run['scene'])} ×{run['scale']}",
        "table": printed["table"],
        "scene": run["scene"],
        "scale": run["scale"],
        "images": len(run["images"]),
        "cells": {name: _compare_cell(run["mean"][name], printed[name]) for name in PRINTED_SCORES},
        "brightness": brightness,
        "findings": stand_in or _find_causes(run, printed, brightness, divisor),
    }


def _compare_cell(ours: float, printed: str) -> Cell:
    difference, places = last_digit_difference(ours, printed), decimals(printed)
    says = {0: "equal", 1: "off by 1 in the last digit"}.get(abs(difference), f"off by {difference / 10**places:+g}")
    return {"printed": printed, "ours": ours, "rounded": f"{ours:.{places}f}", "last_digits": difference, "says": says}


def _compare_brightness(run: RunScores, printed: Mapping[str, str]) -> Brightness:
    rmse, factor = float(printed["RMSE"]), 100 / (run["scale"] * float(printed["ERGAS"]))
    half = 0.5 * 10.0 ** -decimals(printed["RMSE"])  # the largest rounding error of the printed RMSE
    return {
        "printed": factor * rmse,
        "least": factor * (rmse - half),
        "most": factor * (rmse + half),
        "ours": 100 * run["mean"]["RMSE"] / (run["scale"] * run["mean"]["ERGAS"]),
    }


def _get_title(settings: BicubicCheckSettings, scene: str) -> str:
    return settings.scenes.get(scene, scene)


def _agrees(ours: float, printed: str) -> bool:
    return abs(last_digit_difference(ours, printed)) <= 1  # 1 may be rounding


def _finding(kind: str, **numbers: Any) -> Finding:
    return {"kind": kind, "says": FINDINGS[kind].format(**numbers), **numbers}


def _find_causes(run: RunScores, printed: Mapping[str, str], brightness: Brightness, divisor: float) -> list[Finding]:
    """Return the likely causes of the differences in one row."""
    ours = run["mean"]
    differing = [name for name in PRINTED_SCORES if not _agrees(ours[name], printed[name])]
    if not differing:
        rounded = [name for name in PRINTED_SCORES if last_digit_difference(ours[name], printed[name])]
        return [_finding("rounding", names=", ".join(rounded)) if rounded else _finding("equal")]
    agreeing = ", ".join(name for name in INDEPENDENT_OF_DIVISOR if name not in differing)
    findings = _find_definitions(run, printed, differing)
    explained = [finding["name"] for finding in findings]
    differing = [name for name in differing if name not in explained]
    independent = [name for name in INDEPENDENT_OF_DIVISOR if name in differing]
    dependent = {"MPSNR", "RMSE"} & set(differing)

    # The ratio of the paper's divisor to ours, from MPSNR, because it has more digits than RMSE; RMSE has to agree.
    half = 0.5 * 10.0 ** -decimals(printed["MPSNR"])
    low, ratio, high = (
        10 ** ((float(printed["MPSNR"]) + rounding - ours["MPSNR"]) / 20) for rounding in (-half, 0, half)
    )
    one_divisor = _agrees(ours["RMSE"] / ratio, printed["RMSE"])
    same_brightness = brightness["least"] <= brightness["ours"] <= brightness["most"]
    same_cc = last_digit_difference(ours["CC"], printed["CC"]) == 0

    if independent == ["SAM", "ERGAS"] and not same_brightness and one_divisor and same_cc:
        return [*findings, _finding("offset")]
    if len(independent) > 1:
        look = SAME_BRIGHTNESS if same_brightness else OTHER_BRIGHTNESS
        return [*findings, _finding("images", names=", ".join(independent), look=look)]
    if independent == ["SAM"] and dependent:
        return [*findings, _finding("bands")]
    if dependent and one_divisor:
        numbers = {"ours": divisor, "ratio": ratio, "low": low * divisor, "high": high * divisor}
        by_rmse = ours["RMSE"] / float(printed["RMSE"])
        findings.append(_finding("normalisation", names=agreeing, by_rmse=by_rmse, **numbers))
        differing = independent  # MSSIM depends on the divisor too
    return findings + [_finding("unclear", name=name, where=DEFINITION[name]) for name in differing]


def _find_definitions(run: RunScores, printed: Mapping[str, str], differing: list[str]) -> list[Finding]:
    """Return a finding for each differing score that agrees with print if another definition is used."""
    # If MPSNR and RMSE both differ, another divisor explains it more simply than two other definitions.
    skipped = {"MPSNR", "RMSE"} if {"MPSNR", "RMSE"} <= set(differing) else set()
    findings = []
    for name in differing:
        definitions = _compute_other_definitions(name, run) if name not in skipped else {}
        if how := [how for how, value in definitions.items() if _agrees(value, printed[name])]:
            findings.append(_finding("definition", name=name, how=" or ".join(how), where=DEFINITION[name]))
    return findings


def _compute_other_definitions(name: str, run: RunScores) -> dict[str, float]:
    """Return the values of a score by other common definitions, if scores.json suffices: definition -> value."""
    ours, r, errors = run["mean"][name], run["scale"], [image["scores"]["RMSE"] for image in run["images"]]
    if name == "RMSE":
        by_band = fmean(fmean(image["bands"]["RMSE"]) for image in run["images"])
        return {"band by band": by_band, "over all images at once": sqrt(fmean(error**2 for error in errors))}
    return {
        "MPSNR": {"from one MSE over all bands": fmean(-20 * log10(max(error, 1e-5)) for error in errors)},
        "SAM": {"in radians": radians(ours)},
        "ERGAS": {"with 100/4 for 100/r": ours * r / 4, "with 100 r for 100/r": ours * r**2},
    }.get(name, {})


def _describe_verdict(settings: BicubicCheckSettings, rows: list[Row], not_computed: list[tuple[str, int]]) -> str:
    """Return the summary at the top: which rows agree with print, and which are missing."""
    kinds = {row["title"]: " and ".join(dict.fromkeys(f["kind"] for f in row["findings"])) for row in rows}
    if settings.stand_in:
        rows_text = f"{len(rows)} row{'s' * (len(rows) > 1)}"
        sentences = [f"No verdict on {rows_text}: the scenes are stand-ins, whose scores cannot match the paper's."]
    else:
        rounded = [title for title, kind in kinds.items() if kind == "rounding"]
        different = [f"{title} ({kind})" for title, kind in kinds.items() if kind not in ("equal", "rounding")]
        equal = [*kinds.values()].count("equal")
        sentences = [f"The protocol is the paper's in {equal} of {len(rows)} rows present."]
        sentences += [f"To 1 in the last digit also in: {', '.join(rounded)}."] * bool(rounded)
        sentences += [f"It is NOT in: {', '.join(different)}."] * bool(different)
    absent = [_get_title(settings, scene) for scene in settings.absent]
    missing = [f"{_get_title(settings, scene)} ×{r}" for scene, r in not_computed if scene not in settings.absent]
    sentences += [f"Missing scenes, {len(absent)}: {', '.join(absent)}."] * bool(absent)
    sentences += [f"Not computed: {', '.join(missing)}."] * bool(missing)
    return " ".join(sentences)


def _format_markdown(settings: BicubicCheckSettings, verdict: str, rows: list[Row]) -> str:
    blocks = ["# Bicubic check", f"**{verdict}**"]
    blocks += [f"> Stand-in data: {settings.stand_in}"] * bool(settings.stand_in)
    blocks += [f"- {_get_title(settings, scene)}: {why}" for scene, why in settings.absent.items()]
    for row in rows:
        blocks.append(f"## {row['title']} (Table {row['table']}, {row['images']} test images)")
        table = [["Score", "Paper", "Ours", "Ours in full", "Ours is"], ["---"] * 5]
        for name, cell in row["cells"].items():
            table.append([name, cell["printed"], cell["rounded"], repr(cell["ours"]), cell["says"]])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        blocks.append("\n".join("| " + " | ".join(map(str.ljust, cells, widths)) + " |" for cells in table))
        items = [f"- **{finding['kind']}**: {finding['says']}" for finding in row["findings"]]
        numbers = "{ours:.4f}; the paper's {printed:.4f} ({least:.4f} to {most:.4f} before rounding)"
        items.append(f"- Brightness, 100 RMSE / (r ERGAS): {numbers.format(**row['brightness'])}.")
        blocks.append("\n".join(items))
    return "\n\n".join(blocks) + "\n"
