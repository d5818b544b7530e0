"""Rules for a table of scores of any methods. They follow from the definitions of the scores.

- The mean over bands of 10 log10(1 / MSE) is at least that of the mean MSE (Jensen), so MPSNR >= -20 log10 RMSE.
- ERGAS has the factor 100 / r: from x4 to x8 it grows half as fast as RMSE. With the factor 100 / 4 at every scale it
  grows as fast as RMSE, with 100 r twice as fast.
- 100 RMSE / (r ERGAS) is about the brightness of the images.
"""

from collections.abc import Iterable
from math import degrees, inf, log10
from statistics import median
from typing import NamedTuple

from lkca.paper.columns import decimals

BOUNDS = {
    "Param_M": (0, inf),
    "MACs_G": (0, inf),
    "MSSIM": (-1, 1),
    "SAM": (0, 180),
    "CC": (-1, 1),
    "RMSE": (0, 1),
    "ERGAS": (0, inf),
}
# The paper's own tables stay within these limits.
# Distance of MPSNR + 20 log10 RMSE from its median on a scene; at most 0.4 in the paper's tables
MAX_MPSNR_GAP_DB = 1.0
# Ratio of two brightnesses of a scene; 1.15 in the paper's tables, between the best and the worst method
MAX_BRIGHTNESS_RATIO = 1.25
# Relative error of the growth of ERGAS from x4 to x8; it is 0.480 to 0.506 instead of 0.5 in the paper's tables
MAX_GROWTH_ERROR = 0.06
MAX_MACS_ERROR = 0.02  # relative
MIN_SAM = 2.0  # degrees: the smallest usual angle on a scene that is not one of the paper's

Line = dict[str, str]  # a row of a table of scores: column -> its text, empty if there is no number


class Finding(NamedTuple):
    """What a rule finds in a table.

    Args:
        kind: "impossible": contradicts the definitions; "doubtful": another definition or an error is likely; "good":
            agrees with the rule; "skipped": there is nothing to compare with.
        says: The finding in a sentence.
    """

    kind: str
    says: str


def check_rules(lines: list[Line], paper: list[Line]) -> list[Finding]:
    """Return what all rules find in a table.

    Args:
        lines: The rows of the table.
        paper: The rows of the paper's tables.
    """
    return [
        *check_bounds(lines),
        *check_mpsnr_against_rmse(lines),
        *check_mpsnr_gaps(lines),
        *check_ergas_factor(lines),
        *check_brightness(lines, paper),
        *check_sam_unit(lines, paper),
        *check_macs(lines, paper),
    ]


def describe_row(line: Line) -> str:
    """Return the name of a row."""
    table = f" (Table {line['table']})" if line["table"] else ""
    return f"{line['row']} on {line['scene']} x{line['scale']}{table}"


def check_bounds(lines: list[Line]) -> list[Finding]:
    """Find numbers outside the range of their column."""
    return [
        Finding("impossible", f"{column} of {describe_row(line)} is {line[column]}, outside {low} to {high}.")
        for line in lines
        for column, (low, high) in BOUNDS.items()
        if line[column] and not low <= float(line[column]) <= high
    ]


def check_mpsnr_against_rmse(lines: list[Line]) -> list[Finding]:
    """Find rows whose MPSNR is below the minimum that follows from their RMSE, given the rounding of both."""
    findings, checked = [], _select_rows_with(lines, "MPSNR", "RMSE")
    for line in checked:
        minimum = -20 * log10(float(line["RMSE"]) + _max_rounding_error(line, "RMSE"))
        if float(line["MPSNR"]) + _max_rounding_error(line, "MPSNR") < minimum:
            numbers = f"is {line['MPSNR']} dB, but RMSE {line['RMSE']} means at least {minimum:.2f} dB"
            says = f"MPSNR of {describe_row(line)} {numbers}: another peak value, or other images."
            findings.append(Finding("impossible", says))
    if checked and not findings:
        findings.append(Finding("good", f"MPSNR is at least -20 log10 RMSE in all {len(checked)} rows that have both."))
    return findings


def check_mpsnr_gaps(lines: list[Line]) -> list[Finding]:
    """Find rows where MPSNR + 20 log10 RMSE is far from its median over the rows on the same scene."""
    findings = []
    for scene, rows in _group_by_scene(_select_rows_with(lines, "MPSNR", "RMSE")).items():
        gaps = {describe_row(line): float(line["MPSNR"]) + 20 * log10(float(line["RMSE"])) for line in rows}
        usual = median(gaps.values())
        findings += [
            Finding(
                "doubtful",
                f"MPSNR + 20 log10 RMSE of {name} is {gap:.2f} dB, but about {usual:.2f} dB in the other rows on "
                f"{scene}: a misprint, or RMSE as a mean over bands.",
            )
            for name, gap in gaps.items()
            if len(gaps) > 2 and abs(gap - usual) > MAX_MPSNR_GAP_DB
        ]
    return findings


def check_ergas_factor(lines: list[Line]) -> list[Finding]:
    """Determine the factor in the definition of ERGAS, from the methods that have two scales."""
    methods: dict[tuple[str, ...], dict[int, Line]] = {}
    for line in _select_rows_with(lines, "ERGAS", "RMSE"):
        methods.setdefault((line["table"], line["scene"], line["row"]), {})[int(line["scale"])] = line
    factors: dict[str, list[str]] = {}  # factor -> methods
    for by_scale in methods.values():
        low, high = min(by_scale), max(by_scale)
        if low == high:
            continue
        ergas, rmse = (float(by_scale[high][name]) / float(by_scale[low][name]) for name in ("ERGAS", "RMSE"))
        growths = {
            "the factor 100 / r": low / high,
            "the same factor at every scale": 1.0,
            "the factor 100 r": high / low,
        }
        matching = [name for name, growth in growths.items() if abs(ergas / rmse / growth - 1) < MAX_GROWTH_ERROR]
        factor = matching[0] if matching else "no known factor"
        factors.setdefault(factor, []).append(f"{by_scale[low]['row']} on {by_scale[low]['scene']}")
    findings = []
    for factor, names in factors.items():
        says = f"ERGAS has {factor} in {len(names)} method{'s' * (len(names) > 1)} at two scales"
        if factor == "the factor 100 / r":
            findings.append(Finding("good", f"{says}."))
        else:
            findings.append(Finding("doubtful", f"{says}, not 100 / r: {', '.join(names)}."))
    return findings


def check_brightness(lines: list[Line], paper: list[Line]) -> list[Finding]:
    """Compare the brightness of the paper's scenes, which depends on the divisor and on ERGAS's factor."""
    findings = []
    ours, theirs = (
        {
            scene: median(map(_compute_brightness, scene_rows))
            for scene, scene_rows in _group_by_scene(_select_rows_with(rows, "RMSE", "ERGAS")).items()
        }
        for rows in (lines, paper)
    )
    for scene, printed in theirs.items():
        if scene in ours:
            says = f"100 RMSE / (r ERGAS) on {scene} is {ours[scene]:.4f}, in the paper {printed:.4f}"
            if 1 / MAX_BRIGHTNESS_RATIO < ours[scene] / printed < MAX_BRIGHTNESS_RATIO:
                findings.append(Finding("good", f"{says}: it fits the same images and divisor."))
            else:
                findings.append(
                    Finding("doubtful", f"{says}: another divisor, other images or another factor of ERGAS.")
                )
    return findings


def check_sam_unit(lines: list[Line], paper: list[Line]) -> list[Finding]:
    """Find values of SAM that are so small that they are probably in radians."""
    min_angles = {
        scene: min(float(row["SAM"]) for row in rows)
        for scene, rows in _group_by_scene(_select_rows_with(paper, "SAM")).items()
    }
    return [
        Finding(
            "doubtful",
            f"SAM of {describe_row(line)} is {line['SAM']}, too small for degrees; "
            f"from radians it would be {degrees(float(line['SAM'])):.2f} degrees.",
        )
        for line in _select_rows_with(lines, "SAM")
        if float(line["SAM"]) < min_angles.get(line["scene"], MIN_SAM) / 10
    ]


def check_macs(lines: list[Line], paper: list[Line]) -> list[Finding]:
    """Compare the MACs of the paper's methods with the printed ones; FLOPs are twice the MACs."""
    printed = {(row["scene"], row["scale"], row["row"]): row for row in _select_rows_with(paper, "MACs_G")}
    findings, equal = [], 0
    for line in _select_rows_with(lines, "MACs_G"):
        row = printed.get((line["scene"], line["scale"], line["row"]))
        if row is None:
            continue
        ratio = float(line["MACs_G"]) / float(row["MACs_G"])
        says = f"MACs of {describe_row(line)} are {line['MACs_G']} G, in print {row['MACs_G']} G"
        if abs(ratio - 1) < MAX_MACS_ERROR:
            equal += 1
        elif abs(ratio / 2 - 1) < MAX_MACS_ERROR:
            findings.append(
                Finding("doubtful", f"{says}: twice, so these are FLOPs (a multiply and an add), not MACs.")
            )
        else:
            says += f", {ratio:.3g} times as many: another network, or an LR image that is not 16 x 16."
            findings.append(Finding("doubtful", says))
    if equal:
        findings.append(Finding("good", f"MACs are for a 16 x 16 LR image in {equal} rows of the paper's methods."))
    return findings


def _select_rows_with(lines: list[Line], *columns: str) -> list[Line]:
    """Return the rows that have a number above 0 in each of these columns."""
    return [line for line in lines if all(line[column] and float(line[column]) > 0 for column in columns)]


def _group_by_scene(lines: Iterable[Line]) -> dict[str, list[Line]]:
    scenes: dict[str, list[Line]] = {}
    for line in lines:
        scenes.setdefault(line["scene"], []).append(line)
    return scenes


def _max_rounding_error(line: Line, column: str) -> float:
    """Return the largest rounding error of a printed number."""
    return 0.5 * 10.0 ** -decimals(line[column])


def _compute_brightness(line: Line) -> float:
    return 100 * float(line["RMSE"]) / (int(line["scale"]) * float(line["ERGAS"]))
