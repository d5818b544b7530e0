"""What the paper claims, checked on its own tables and on our results: lkca/paper/claims.yaml."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lkca.core.files import read_csv, read_json, write_csv, write_json
from lkca.errors import LkcaError
from lkca.paper.columns import COST_UNITS, PRINTED_COLUMNS, PRINTED_SCORES
from lkca.paper.expressions import Expression, Missing, Truth, Value, greater
from lkca.paper.statistics import Uncertain, VarianceComponent, estimate_mean, estimate_score, value_of

CLAIMS = Path(__file__).parent / "claims.yaml"
MAIN = {
    "chikusei": "V",
    "houston2018": "VI",
    "pavia_centre": "VII",
}  # scene -> the table that compares all methods on it
BANDS = {"chikusei": 128, "houston2018": 48, "pavia_centre": 102}  # in the paper
HEAVY, LIGHT = ["SSPSR", "MSDformer", "ESSAformer"], ["VDSR", "3DFCNN"]
MOST_WEIGHTS = 10**7  # of a matrix whose rank is asked for
ROUNDED = np.array([12**-0.5])  # the standard deviation of what whole numbers leave out
OURS = ["LKCA-Net", "LKCA-LR", "LKCA-KD"]
NAMES: dict[str, Value] = {
    "HEAVY": HEAVY,
    "LIGHT": LIGHT,
    "OURS": OURS,
    "ALL": ["Bicubic", *LIGHT, *HEAVY, *OURS],
    "SCENES": list(MAIN),
    "SCALES": [4, 8],
    "SETTINGS": [[scene, scale] for scene in MAIN for scale in (4, 8)],
    "SCORES": PRINTED_SCORES,
}

SLOT = re.compile(r"\{\w+:\.\df\}")  # {name:.2f}

Text = Annotated[str, Field(min_length=1)]


class Entry(BaseModel):
    """A map of claims.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Claim(Entry):
    """One claim; `replication` is what our results have to show, where that is not the expression itself."""

    id: Text
    section: Text
    kind: Text
    says: Text
    needs: Literal["tables", "arithmetic", "code", "weights", "images"]
    expression: Text
    replication: Text | None = None
    values: dict[str, str] = {}
    note: Text | None = None


class Contradiction(Entry):
    """One sentence about where the paper contradicts itself, with slots for `numbers`."""

    about: list[str]
    says: Text
    numbers: dict[str, str] = {}


class Claims(Entry):
    """The whole of claims.yaml."""

    claims: list[Claim]
    contradictions: list[Contradiction]


def read_claims(path: Path = CLAIMS) -> Claims:
    """Read claims.yaml.

    Raises:
        LkcaError: If it is missing, no YAML, or an entry is not as it should be.
    """
    try:
        read = Claims.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise LkcaError(f"{path} cannot be read ({error.strerror}): name a file of claims.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LkcaError(f"{path} is no YAML ({' '.join(str(error).split())}): correct it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise LkcaError(f"{path}: {place}: {first['msg'].lower()}: correct it.") from None
    known = [claim.id for claim in read.claims]
    for name in known:
        if known.count(name) > 1:
            raise LkcaError(f"{path}: {name} stands there twice: give each claim an id of its own.")
    for name in (name for contradiction in read.contradictions for name in contradiction.about):
        if name not in known:
            raise LkcaError(f"{path}: a contradiction is about {name}, which is no claim: name one that is.")
    return read


# Where numbers come from ------------------------------------------------------------------------------------------

Functions = dict[str, Callable[..., Value]]


def _absent(name: str) -> Callable[..., Value]:
    def function(*_: Value) -> Value:
        raise Missing(name)

    return function


def _better(x: Uncertain | float, y: Uncertain | float, column: str) -> Truth:
    if column not in PRINTED_COLUMNS or not PRINTED_COLUMNS[column].direction:
        raise ValueError(f"{column} is no score")
    return greater(x, y) if PRINTED_COLUMNS[column].direction > 0 else greater(y, x)


def _patches(rows: int, columns: int, size: int, stride: int) -> int:
    return ((rows - size) // stride + 1) * ((columns - size) // stride + 1)


def _bands(scene: str) -> int:
    if scene not in BANDS:
        raise Missing(f"the scene {scene}")
    return BANDS[scene]


COMMON: Functions = {"bands": _bands, "patches": _patches, "better": _better}
OF_RUNS = ("rank90", "rank90_start", "mae", "mae_edges", "band_mean_rmse")
OF_CODE = ("setting", "grouped_rank", "shortcut_error")


def of_table(lines: Iterable[Mapping[str, str]]) -> Functions:
    """The functions of claims on printed numbers.

    Args:
        lines: As lkca/paper/paper_tables.csv has them.
    """
    cells = {(line["table"], line["scene"], str(line["scale"]), line["row"]): line for line in lines}

    def cell(table: str, scene: str, scale: int, row: str, column: str) -> float:
        printed = cells.get((table, scene, str(scale), row), {}).get(column)
        if not printed:
            raise Missing(f"{column} of {row} on {scene} x{scale} in Table {table}")
        return float(printed)

    return {
        **COMMON,
        **{name: _absent(name) for name in (*OF_RUNS, *OF_CODE)},
        "v": lambda row, column, scene, scale: cell(MAIN.get(scene, scene), scene, scale, row, column),
        "t": lambda table, row, column: cell(table, "chikusei", 4, row, column),
    }


def of_results(
    scores: Iterable[Mapping[str, Any]],
    spectra: Iterable[Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, str | None]],
    models: Mapping[str, Mapping[str, Any]],
) -> Functions:
    """The functions of claims on our results.

    Args:
        scores: scores.json of all runs.
        spectra: spectrum.json of the runs that have one.
        rows: Table -> label -> model, as config.yaml has them.
        models: Model -> its settings.
    """
    runs: dict[tuple[str, int, str], list] = {}
    for run in scores:
        runs.setdefault((run["scene"], run["scale"], run["model"]), []).append(run)
    ranks: dict[tuple[str, int, str], list] = {}
    for run in spectra:
        ranks.setdefault((run["scene"], run["scale"], run["model"]), []).append(run["layers"][0]["rank90"])

    def of_row(table: str, row: str, scene: str, scale: int) -> list[Mapping[str, Any]]:
        model = rows.get(table, {}).get(row)
        if model is None or (scene, scale, model) not in runs:
            raise Missing(f"{row} on {scene} x{scale}")
        return runs[scene, scale, model]

    def scored(row: str, of: list[Mapping[str, Any]], name: str | Callable) -> Uncertain:
        if of[0]["untrained"]:
            raise Missing(f"{row} on {of[0]['scene']} x{of[0]['scale']} whose training saw all patches once")
        return estimate_score(of, name)

    def column(row: str, of: list[Mapping[str, Any]], name: str) -> Uncertain | float:
        if name not in COST_UNITS:
            return scored(row, of, name)
        key, unit = COST_UNITS[name]
        return of[0][key] / unit

    def rank(kind: str) -> Callable[[str], Uncertain]:
        def function(scene: str) -> Uncertain:
            model = rows.get(MAIN.get(scene, ""), {}).get("LKCA-Net")
            if (scene, 4, model) not in ranks or any(run["untrained"] for run in runs.get((scene, 4, model), [])):
                raise Missing(f"singular values of a trained LKCA-Net on {scene} x4")
            found = [[each[kind]] for each in ranks[scene, 4, model]]
            whole = estimate_mean(np.array(found, float), images=None, seeds=(scene, 4, model, kind))
            if len(found) > 1:  # else two equal ranks would be certain
                whole.components["seeds", "whole numbers", scene, kind] = VarianceComponent(ROUNDED, len(found) - 1, 1)
            return whole

        return function

    def of_images(name: str | Callable) -> Callable[[str, str, int], Uncertain]:
        return lambda row, scene, scale: scored(row, of_row(MAIN.get(scene, ""), row, scene, scale), name)

    def setting(model: str, path: str) -> float | str:
        found: Any = models.get(model)
        for part in str(path).split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if not isinstance(found, str | int | float):
            raise Missing(f"the setting {path} of {model}")
        return found

    return {
        **COMMON,
        "v": lambda row, name, scene, scale: column(row, of_row(MAIN.get(scene, ""), row, scene, scale), name),
        "t": lambda table, row, name: column(row, of_row(table, row, "chikusei", 4), name),
        "rank90": rank("trained"),
        "rank90_start": rank("start"),
        "mae": of_images("mae"),
        "mae_edges": of_images("mae_edges"),
        "band_mean_rmse": of_images(lambda image: fmean(image["bands"]["RMSE"])),
        "setting": setting,
        "grouped_rank": _grouped_rank,
        "shortcut_error": _shortcut_error(models),
    }


@cache
def _grouped_rank(outputs: int, inputs: int, groups: int) -> int:
    from scipy.linalg import block_diag

    if groups < 1 or not 0 < outputs * inputs <= MOST_WEIGHTS:
        raise ValueError(f"a matrix of {outputs} x {inputs} in {groups} groups is beyond {MOST_WEIGHTS} weights")

    blocks = np.random.default_rng(0).standard_normal((groups, outputs // groups, inputs // groups))
    return int(np.linalg.matrix_rank(block_diag(*blocks)))


def _shortcut_error(models: Mapping[str, Mapping[str, Any]]) -> Callable[[], float]:
    """Computed when it is asked for, since it needs torch."""

    def function() -> float:
        import torch

        from lkca.data.resize import resize
        from lkca.models.layers import upsamplers
        from lkca.models.registry import build

        if "lkca" not in models:
            raise Missing("the model lkca")
        model = models["lkca"]
        net = build(model["arch"], 31, 4, model["args"], model["upsampler"]).eval()
        image = torch.rand(1, 31, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for layer in upsamplers(net).values():
                for parameter in layer.parameters():
                    parameter.zero_()
            return float((net(image) - resize(image, 4)).abs().max())

    return function


# Outcomes ---------------------------------------------------------------------------------------------------------


def judge(claim: Claim, functions: Functions, text: str) -> Truth:
    """What a source of numbers says of a claim.

    Args:
        claim: The claim.
        functions: From `of_table` or `of_results`.
        text: Its expression or its replication.

    Raises:
        Missing: If a number does not exist.
        LkcaError: If the text is not in the language, or no statement.
    """
    where = f"claim {claim.id}"
    truth = Expression(text, where).evaluate(NAMES, functions)
    if not isinstance(truth, Truth):
        raise LkcaError(f"{where}: {text!r} is no statement that holds or not: compare something.")
    return truth


def on_table(claim: Claim, functions: Functions) -> dict[str, Any]:
    """The outcome on printed numbers: holds, fails, or cannot be told; with where it fails and the numbers to show."""
    try:
        truth = judge(claim, functions, claim.expression)
    except Missing as missing:
        needed = {"code": "our code", "weights": "trained weights", "images": "reconstructed images"}.get(claim.needs)
        why = f"It takes {needed}." if needed else f"There is no {missing}."
        return {"outcome": "cannot be told", "why": why, "values": {}}
    why = f"Not for {'; '.join(truth.fails)}." if truth.fails and not truth.holds else ""
    return {
        "outcome": "holds" if truth.holds else "fails",
        "why": why,
        "values": _values(claim, functions, value_of),
    }


def on_results(claim: Claim, functions: Functions, stand_in: bool) -> dict[str, Any]:
    """The outcome on our results: reproduced, contradicted, not resolved, not run, or stand-in."""
    stand_in = stand_in and claim.needs not in ("arithmetic", "code")
    try:
        truth = judge(claim, functions, claim.replication or claim.expression)
    except Missing as missing:
        outcome = "stand-in" if stand_in else "not run"
        return {"outcome": outcome, "why": f"There is no {missing}.", "points_to": None, "values": {}}
    outcome = {True: "reproduced", False: "contradicted", None: "not resolved"}[truth.outcome()]
    points_to = "holds" if truth.holds else "fails"
    told = [f"Not for {'; '.join(truth.fails)}."] if truth.fails and not truth.holds else []
    if outcome == "not resolved":
        told.append(
            f"No interval: {' and '.join(sorted(truth.unknown))}."
            if truth.unknown
            else "The interval crosses the threshold."
        )
    if stand_in:
        outcome, told = "stand-in", [f"On this data it {points_to}, which says nothing about the paper's.", *told]
    return {
        "outcome": outcome,
        "why": " ".join(told),
        "points_to": points_to,
        "values": _values(claim, functions, _interval),
    }


def _interval(value: Uncertain | float) -> dict[str, float | None]:
    low, high = (value.interval() or (None, None)) if isinstance(value, Uncertain) else (float(value), float(value))
    return {"value": value_of(value), "low": low, "high": high}


def _values(claim: Claim, functions: Functions, shown: Callable[[Any], Any]) -> dict[str, Any]:
    found = {}
    for label, text in claim.values.items():
        try:
            value = Expression(text, f"claim {claim.id}, {label}").evaluate(NAMES, functions)
        except Missing:
            continue
        found[label] = [shown(each) for each in value] if isinstance(value, list) else shown(value)
    return found


def contradictions(read: Claims, functions: Functions) -> list[dict[str, Any]]:
    """The sentences about where the paper contradicts itself, their numbers from its tables.

    Raises:
        LkcaError: If a sentence has a slot without a number, or a number is not finite.
    """
    said = []
    for entry in read.contradictions:
        where = f"the contradiction about {', '.join(entry.about)}"
        try:
            numbers = {
                name: value_of(Expression(text, where).evaluate(NAMES, functions))
                for name, text in entry.numbers.items()
            }
            if "{" in SLOT.sub("", entry.says):
                raise ValueError("a slot is not like {name:.2f}")
            sentence = entry.says.format(**numbers)
        except (Missing, KeyError, ValueError) as error:
            raise LkcaError(f"{where}: its sentence cannot be filled ({error}): correct it.") from None
        if not all(map(isfinite, numbers.values())):
            raise LkcaError(f"{where}: a number is not finite: correct it.")
        said.append({"says": sentence, "about": entry.about})
    return said


def claims(
    settings: str, scores: list[Path], spectra: list[Path], printed: Path, claims: Path, out: Path, csv: Path
) -> None:
    """Check every claim on the paper's tables and on our results.

    Args:
        settings: JSON text: rows (table -> label -> model), models (their settings), stand_in (the sentence or null).
        scores: scores.json of all runs.
        spectra: spectrum.json of the runs that have one.
        printed: The paper's numbers, lkca/paper/paper_tables.csv.
        claims: What it claims, lkca/paper/claims.yaml.
        out: Written: claims and contradictions, as JSON.
        csv: Written: the claims, a line each.

    Raises:
        LkcaError: If an expression of claims.yaml cannot be read or computed.
    """
    chosen, read = json.loads(settings), read_claims(claims)
    paper = of_table(read_csv(printed))
    ours = of_results(map(read_json, scores), map(read_json, spectra), chosen["rows"], chosen["models"])
    found = [
        {
            **claim.model_dump(exclude={"values"}),
            "paper": on_table(claim, paper),
            "ours": on_results(claim, ours, bool(chosen["stand_in"])),
        }
        for claim in read.claims
    ]
    write_json(out, {"claims": found, "contradictions": contradictions(read, paper)})
    lines = [
        {key: claim[key] for key in ("id", "section", "kind", "says", "expression", "replication")}
        | {f"paper_{key}": claim["paper"][key] for key in ("outcome", "why")}
        | {f"ours_{key}": claim["ours"][key] for key in ("outcome", "points_to", "why")}
        | {"note": claim["note"]}
        for claim in found
    ]
    write_csv(csv, lines[0], lines)
    print(summary([claim["ours"]["outcome"] for claim in found]))


def summary(outcomes: list[str]) -> str:
    """How many there are of each outcome.

    Example:
        >>> summary(["holds", "fails", "holds"])
        '2 holds, 1 fails'
    """
    return ", ".join(f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes))
