"""The oracle: the paper's bicubic rows need no training, so they tell whether our protocol is the paper's.

Crop, degradation, normalisation and scores all enter such a row, and its six scores tell them apart. SAM, CC and ERGAS
do not depend on what the scene is divided by; CC and ERGAS not even if every band has a divisor of its own; CC not even
if something is subtracted. 100 RMSE / (r ERGAS) is about the brightness of the images, however good the result.
"""

import json
from math import log10, radians, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

from lkca.core.files import atomic_write, read_csv, read_json, write_json
from lkca.errors import LkcaError
from lkca.paper.columns import PRINTED_SCORES, decimals, last_digit_difference

FREE = ["SAM", "CC", "ERGAS"]  # do not depend on what the scene is divided by
LOOK_AT = {
    "MPSNR": "its peak, and whether its MSE is taken band by band",
    "MSSIM": "SSIM's window, constants and covariance",
    "SAM": "which pixels are left out, and whether angles or cosines are averaged",
    "CC": "whether it is taken band by band and over the whole image",
    "RMSE": "whether it is taken over the whole cube, and how images are averaged",
    "ERGAS": "the factor before its root, and the means it divides by",
}
FINDINGS = {  # kind -> what the numbers show, and what to look at
    "equal": "All six scores are equal in every printed digit: the protocol is the paper's.",
    "rounding": "All six scores agree, but {names} only to 1 in the last digit, which rounding can explain.",
    "stand-in": "The scene is a stand-in: differences say nothing about the protocol.",
    "normalisation": "{names} agree, which do not depend on the divisor. By MPSNR the paper's is {ratio:.6g} times our "
    "{ours:.10g}, so {low:.8g} to {high:.8g}; by RMSE {by_rmse:.3g} times. Look at the divisor.",
    "bands": "CC and ERGAS agree, SAM and what depends on the divisor do not: as if every band had its own divisor in "
    "the paper. Look at the normalisation.",
    "offset": "CC agrees, MPSNR and RMSE fit one divisor; SAM, ERGAS and the brightness do not: as if something, say a "
    "minimum, were subtracted in the paper. Look at the normalisation, then at the crop.",
    "images": "{names} differ, which do not depend on the divisor: other test images or another bicubic. {look}",
    "definition": "{name} is the paper's if it is taken {how}. Look at {where}.",
    "unclear": "{name} differs, what depends on the same images agrees: another definition. Look at {where}.",
}
SAME_LIGHT = (
    "The brightness agrees: look at the bicubic (kernel, antialiasing, borders) and for a crop a few pixels off."
)
OTHER_LIGHT = (
    "The brightness differs: look at the crop, its orientation, the bands and the divisor, then at the bicubic."
)


def bicubic_check(
    settings: str, scores: list[Path], manifests: list[Path], printed: Path, out: Path, markdown: Path
) -> None:
    """Compare our bicubic rows with the paper's, digit by digit, and say what a difference points at; also prints it.

    Args:
        settings: JSON text: experiment, scenes (name -> title), absent (name of a scene that is not there -> the
            sentence that says where to get it) and stand_in, the sentence about stand-in data or null.
        scores: scores.json of the bicubic runs, in any order; of several seeds, which are all equal, one counts.
        manifests: The manifests of their scenes.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        out: Written: everything, as JSON; a mismatch is a finding, not an error.
        markdown: Written: the same for people.

    Raises:
        LkcaError: If there is nothing to compare.
    """
    chosen = json.loads(settings)
    lines = read_csv(printed)
    paper = {(line["scene"], int(line["scale"])): line for line in lines if line["row"] == "Bicubic"}
    divisors = {m["scene"]: m["divisor"] for m in map(read_json, manifests)}
    runs = {(run["scene"], run["scale"]): run for run in map(read_json, scores)}
    rows = [_row(runs[key], line, divisors[key[0]], chosen) for key, line in paper.items() if key in runs]
    if not rows:
        absent = "; ".join(f"{scene}: {why.strip().rstrip('.')}" for scene, why in chosen["absent"].items())
        told = f"put a scene in place ({absent})" if absent else "put a table with one into the report"
        raise LkcaError(f"there are no scores of a bicubic row that the paper prints: {told}.")
    verdict = _verdict(chosen, rows, [key for key in paper if key not in runs and key[0] in divisors])
    write_json(out, {**chosen, "verdict": verdict, "rows": rows})
    with atomic_write(markdown) as part:
        part.write_text(text := _markdown(chosen, verdict, rows), encoding="utf-8")
    print(text, end="")


def _row(run: dict[str, Any], line: dict[str, str], divisor: float, chosen: dict[str, Any]) -> dict[str, Any]:
    """One row of the result: its six cells, its brightness and what they show."""
    ours, r, cells = run["mean"], run["scale"], {}
    for name in PRINTED_SCORES:
        off = last_digit_difference(ours[name], printed := line[name])
        gap = f"off by {off / 10 ** decimals(printed):+g}"
        says = {0: "equal", 1: "off by 1 in the last digit"}.get(abs(off), gap)
        rounded = f"{ours[name]:.{decimals(printed)}f}"
        cells[name] = {"printed": printed, "ours": ours[name], "rounded": rounded, "last_digits": off, "says": says}
    rmse, percent = float(line["RMSE"]), 100 / (r * float(line["ERGAS"]))
    half = 0.5 * 10.0 ** -decimals(line["RMSE"])  # the most that rounding took away
    light = {"printed": percent * rmse, "least": percent * (rmse - half), "most": percent * (rmse + half)}
    light["ours"] = 100 * ours["RMSE"] / (r * ours["ERGAS"])
    findings = [_finding("stand-in")] if chosen["stand_in"] else _findings(run, line, light, divisor)
    title = f"{chosen['scenes'].get(run['scene'], run['scene'])} ×{r}"
    row = {"title": title, "table": line["table"], "scene": run["scene"], "scale": r, "images": len(run["images"])}
    return row | {"cells": cells, "brightness": light, "findings": findings}


def _agree(ours: float, printed: str) -> bool:
    return abs(last_digit_difference(ours, printed)) <= 1  # 1 may be rounding


def _finding(kind: str, **numbers: Any) -> dict[str, Any]:
    return {"kind": kind, "says": FINDINGS[kind].format(**numbers), **numbers}


def _findings(run: dict[str, Any], line: dict[str, str], light: dict[str, float], divisor: float) -> list[dict]:
    """What follows from the numbers of one row."""
    ours, found = run["mean"], []
    near = [name for name in PRINTED_SCORES if abs(last_digit_difference(ours[name], line[name])) == 1]
    differ = [name for name in PRINTED_SCORES if not _agree(ours[name], line[name])]
    if not differ:
        return [_finding("rounding", names=", ".join(near)) if near else _finding("equal")]
    same = ", ".join(name for name in FREE if name not in differ)
    both = {"MPSNR", "RMSE"} if {"MPSNR", "RMSE"} <= set(differ) else set()  # another divisor is the simpler reason
    for name in [name for name in differ if name not in both]:
        if how := [how for how, value in _otherwise(name, run).items() if _agree(value, line[name])]:
            found.append(_finding("definition", name=name, how=" or ".join(how), where=LOOK_AT[name]))
            differ.remove(name)
    images, scaled = [name for name in FREE if name in differ], {"MPSNR", "RMSE"} & set(differ)
    # The paper's divisor over ours: from MPSNR, which has more digits than RMSE; RMSE has to follow.
    half = 0.5 * 10.0 ** -decimals(line["MPSNR"])
    low, ratio, high = (10 ** ((float(line["MPSNR"]) + more - ours["MPSNR"]) / 20) for more in (-half, 0, half))
    one_divisor = _agree(ours["RMSE"] / ratio, line["RMSE"])
    same_light = light["least"] <= light["ours"] <= light["most"]
    if (
        images == ["SAM", "ERGAS"]
        and not same_light
        and one_divisor
        and not last_digit_difference(ours["CC"], line["CC"])
    ):
        return [*found, _finding("offset")]
    if len(images) > 1:
        look = SAME_LIGHT if same_light else OTHER_LIGHT
        return [*found, _finding("images", names=", ".join(images), look=look)]
    if images == ["SAM"] and scaled:
        return [*found, _finding("bands")]
    if scaled and one_divisor:
        numbers = {"ours": divisor, "ratio": ratio, "low": low * divisor, "high": high * divisor}
        by_rmse = ours["RMSE"] / float(line["RMSE"])
        found.append(_finding("normalisation", names=same, by_rmse=by_rmse, **numbers))
        differ = images  # MSSIM depends on the divisor too
    return found + [_finding("unclear", name=name, where=LOOK_AT[name]) for name in differ]


def _otherwise(name: str, run: dict[str, Any]) -> dict[str, float]:
    """A score by other definitions that are in use, as far as scores.json tells."""
    ours, r, errors = run["mean"][name], run["scale"], [image["scores"]["RMSE"] for image in run["images"]]
    if name == "RMSE":
        by_band = fmean(fmean(image["bands"]["RMSE"]) for image in run["images"])
        return {"band by band": by_band, "over all images at once": sqrt(fmean(error**2 for error in errors))}
    return {
        "MPSNR": {"from one MSE over all bands": fmean(-20 * log10(max(error, 1e-5)) for error in errors)},
        "SAM": {"in radians": radians(ours)},
        "ERGAS": {"with 100/4 for 100/r": ours * r / 4, "with 100 r for 100/r": ours * r**2},
    }.get(name, {})


def _verdict(chosen: dict[str, Any], rows: list[dict[str, Any]], without: list[tuple[str, int]]) -> str:
    """The sentences on top."""
    kinds = {row["title"]: " and ".join(dict.fromkeys(f["kind"] for f in row["findings"])) for row in rows}
    near = [title for title, kind in kinds.items() if kind == "rounding"]
    off = [f"{title} ({kind})" for title, kind in kinds.items() if kind not in ("equal", "rounding")]
    absent = [chosen["scenes"].get(scene, scene) for scene in chosen["absent"]]
    left = [f"{chosen['scenes'].get(scene, scene)} ×{r}" for scene, r in without if scene not in chosen["absent"]]
    said = [f"The protocol is the paper's in {[*kinds.values()].count('equal')} of {len(rows)} rows present."]
    said += [f"To 1 in the last digit also in: {', '.join(near)}."] * bool(near)
    said += [f"It is NOT in: {', '.join(off)}."] * bool(off)
    if chosen["stand_in"]:
        several = "s" * (len(rows) > 1)
        said = [
            f"No verdict on {len(rows)} row{several}: the scenes are stand-ins, whose scores cannot match the paper's."
        ]
    said += [f"Missing scenes, {len(absent)}: {', '.join(absent)}."] * bool(absent)
    return " ".join(said + [f"Not computed: {', '.join(left)}."] * bool(left))


def _markdown(chosen: dict[str, Any], verdict: str, rows: list[dict[str, Any]]) -> str:
    lines = ["# Bicubic check", f"**{verdict}**"]
    lines += [f"> Stand-in data: {chosen['stand_in']}"] * bool(chosen["stand_in"])
    lines += [f"- {chosen['scenes'].get(scene, scene)}: {why}" for scene, why in chosen["absent"].items()]
    for row in rows:
        table = [["Score", "Paper", "Ours", "Ours in full", "Ours is"], ["---"] * 5]
        for name, cell in row["cells"].items():
            table.append([name, cell["printed"], cell["rounded"], repr(cell["ours"]), cell["says"]])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        said = [f"- **{finding['kind']}**: {finding['says']}" for finding in row["findings"]]
        light = "{ours:.4f}; the paper's {printed:.4f} ({least:.4f} to {most:.4f} before rounding)"
        said.append(f"- Brightness, 100 RMSE / (r ERGAS): {light.format(**row['brightness'])}.")
        lines.append(f"## {row['title']} (Table {row['table']}, {row['images']} test images)")
        drawn = ["| " + " | ".join(map(str.ljust, texts, widths)) + " |" for texts in table]
        lines += ["\n".join(drawn), "\n".join(said)]
    return "\n\n".join(lines) + "\n"
