"""Read the files of an experiment that steps exchange, after checking that they have the form that their step writes.

A results folder may come from a stranger. Every number that is read here is finite and not so large that sums and
squares of it overflow, and lists that belong together have the same length, so that the code that computes with them
needs no checks of its own. Fields that are not declared here are not read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lkca.core.files import read_csv, read_json, read_text
from lkca.core.printing import printable
from lkca.errors import DataError

REMEDY = "restore the original, or delete it and run snakemake again"
MAX_DEPTH = 20  # levels of lists and maps
MAX_NUMBER = 1e12
MAX_REASON = 300  # characters

Number = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=MAX_NUMBER, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**18)]
Scale = Annotated[int, Field(ge=1, le=1000)]
Index = Annotated[int, Field(ge=0, le=10**9)]  # of a pixel
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Corner = Annotated[list[Index], Field(min_length=2, max_length=2)]  # first row and column
Window = Annotated[list[Index], Field(min_length=4, max_length=4)]  # and numbers of rows and columns


class ResultFile(BaseModel):
    """The base class: wrong types are errors, unknown fields are ignored."""

    model_config = ConfigDict(strict=True)


def read_result(path: Path, kind: type[ResultFile]) -> dict[str, Any]:
    """Return the content of a JSON file that a step has written.

    Raises:
        DataError: If the file is missing, not JSON, or not of this kind.
    """
    content = read_json(path)
    try:
        _check_depth(content, MAX_DEPTH)
        kind.model_validate(content)
    except ValidationError as error:
        raise damaged(path, describe_first(error)) from None
    except ValueError as error:
        raise damaged(path, error) from None
    result: dict[str, Any] = content
    return result


def describe_first(error: ValidationError) -> str:
    """Return where the first fault is that a model has found, and what it is."""
    first = error.errors(include_input=False, include_url=False)[0]
    place, reason = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


def damaged(path: Path, reason: str | Exception) -> DataError:
    """Return the error about a file whose content is not what its step writes."""
    text = printable(str(reason) or type(reason).__name__, MAX_REASON)
    return DataError(f"{path} was damaged or edited ({text}): {REMEDY}.")


def _check_depth(value: object, depth: int) -> None:
    """Check how deep lists and maps are nested.

    Raises:
        ValueError: If it is deeper than `depth`.
    """
    if isinstance(value, dict | list):
        if not depth:
            raise ValueError("it is nested too deep")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, depth - 1)


def require_equal(what: str, lengths: Sequence[int]) -> None:
    """Check that lists have the same length.

    Raises:
        ValueError: If they do not.
    """
    if len(set(lengths)) > 1:
        raise ValueError(f"{what} have different lengths")


class RunIdentity(ResultFile):
    """The fields that say of which run a file is."""

    scene: str
    scale: Scale
    model: str
    seed: Count


class Area(ResultFile):
    """The part of a scene that comes from one file."""

    use: str
    row: Index
    rows: Index
    columns: Index


class SceneDivisor(ResultFile):
    """scenes/{scene}.json, as far as the bicubic check reads it."""

    scene: str
    divisor: Positive


class SceneAreas(ResultFile):
    """scenes/{scene}.json, as far as `lkca plan` reads it."""

    invalid_pixels: Count = 0
    areas: Annotated[list[Area], Field(min_length=1)]


class CroppedArea(Area):
    """An area with its place in the file."""

    crop: Window


class ManifestFile(SceneAreas, SceneDivisor):
    """scenes/{scene}.json, as far as a split and an evaluation read it."""

    nanometres: list[Positive] | None = None
    areas: Annotated[list[CroppedArea], Field(min_length=1)]  # type: ignore[assignment]  # a list of a narrower type
    sha256: Digest


class ShownArea(CroppedArea):
    """An area with the facts about its file that the page shows."""

    file: str
    sha256: Digest


class ShownManifest(ManifestFile):
    """scenes/{scene}.json with what figures and the page show."""

    shape: Annotated[list[Annotated[int, Field(ge=1, le=10**9)]], Field(min_length=3, max_length=3)]
    minimum: Number
    maximum: Number
    nanometres: list[Positive] | None
    bands: list[Count]
    fwhm: list[Positive | None] | None
    wavelength_source: str | None
    mirror: list[str]
    areas: list[ShownArea]  # type: ignore[assignment]  # a list of a narrower type

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        lengths = [len(values) for values in (self.bands, self.nanometres, self.fwhm) if values is not None]
        require_equal("the bands, their wavelengths and their widths", [self.shape[0], *lengths])
        return self


class SplitFile(ResultFile):
    """splits/{scene}_x{scale}.json."""

    scene: str
    scale: Scale
    size: Annotated[int, Field(ge=1, le=10**6)]
    stride: Annotated[int, Field(ge=1, le=10**9)]
    numbers: dict[str, Count]
    left_out: dict[str, Number] = {}
    train: Annotated[list[Corner], Field(min_length=1)]
    validation: Annotated[list[Corner], Field(min_length=1)]
    test: Annotated[list[Window], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if missing := {"grid", "train", "validation", "test"} - self.numbers.keys():
            raise ValueError(f"numbers has no {min(missing)}")
        if not self.numbers["grid"] or not all(rows and columns for _, _, rows, columns in self.test):
            raise ValueError("it has an empty grid or an empty test image")
        return self


class WeightsMetadata(ResultFile):
    """The metadata of weights.safetensors.

    Args:
        run_sha256: Hash of the run.json of the training.
        epoch: Epoch of the weights, from 1.
    """

    run_sha256: str
    epoch: Annotated[int, Field(ge=1)]


class Ranks(ResultFile):
    """Effective ranks of a layer."""

    trained: Annotated[int, Field(ge=1)]
    start: Annotated[int, Field(ge=1)]


class Layer(ResultFile):
    """The singular values of an upsampling layer."""

    trained: Annotated[list[Number], Field(min_length=1, max_length=10**6)]
    start: Annotated[list[Number], Field(min_length=1, max_length=10**6)]
    rank90: Ranks

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_equal("the singular values", [len(self.trained), len(self.start)])
        if max(self.rank90.trained, self.rank90.start) > len(self.trained):
            raise ValueError("a rank is above the number of singular values")
        return self


class SpectrumFile(RunIdentity):
    """spectrum.json."""

    layers: Annotated[list[Layer], Field(min_length=1)]


class TimeRatio(ResultFile):
    """The time of a network divided by that of the reference, and its 95 % interval."""

    value: Positive
    low: Positive
    high: Positive


class MeasuredCost(ResultFile):
    """The time, memory and energy that a network takes.

    `disturbed` says why its times cannot be quoted; it is empty if they can.
    """

    latency_s: Positive | None
    latency_low_s: Positive | None
    latency_high_s: Positive | None
    batch: Count
    throughput_per_s: Positive | None
    memory_mib: Number
    energy_j: Number | None
    time_ratio: TimeRatio | None
    disturbed: Annotated[str, Field(max_length=MAX_REASON)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.disturbed and self.time_ratio:
            raise ValueError("a disturbed measurement has no ratio")
        if not self.disturbed and None in (self.latency_s, self.latency_low_s, self.latency_high_s):
            raise ValueError("a measurement that is not disturbed has a time")
        return self


class MeasuredDevice(ResultFile):
    """The measurements on a device."""

    device: str
    name: str
    threads: Count
    processors: Count
    models: dict[str, MeasuredCost]


class EfficiencyFile(ResultFile):
    """efficiency/{scene}_x{scale}.json."""

    scene: str
    scale: Scale
    measured: list[MeasuredDevice]


def read_table(
    path: Path,
    texts: Sequence[str],
    numbers: Sequence[str] = (),
    delimiter: str = ",",
    unknown: Sequence[str] = (),
) -> list[dict[str, str]]:
    """Return the lines of a CSV file that a step has written, column -> text.

    Args:
        path: The file.
        texts: Columns that it must have.
        numbers: Columns that it must have, too, with a number in every line, or nothing.
        delimiter: The character between cells.
        unknown: Texts that stand for no number; these cells become empty.

    Raises:
        DataError: If the file is missing, not CSV, lacks a column, or has something else for a number.
    """
    lines = read_csv(path, delimiter)
    header = read_text(path).partition("\n")[0].rstrip("\r").split(delimiter)  # also of a file without lines
    if missing := [name for name in (*texts, *numbers) if name not in header]:
        raise damaged(path, f"it has no column {missing[0]}")
    for line in lines:
        for name in numbers:
            if line[name] in unknown:
                line[name] = ""
            if line[name] and not _is_number(line[name]):
                raise damaged(path, f"{name} is {line[name][:20]!r}, not a number")
    return lines


def read_history(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the lines of a history.csv: at least one, each with numbers in these columns.

    Raises:
        DataError: As in `read_table`.
    """
    lines = read_table(path, (), columns)
    if not lines or not all(line[name] for line in lines for name in columns):
        raise damaged(path, "it has no lines, or lines without numbers")
    if not all(line[name].isdecimal() for line in lines for name in {"epoch", "steps"} & {*columns}):
        raise damaged(path, "an epoch or a number of steps is not a whole number")
    return lines


def _is_number(text: str) -> bool:
    try:
        return len(text) <= 40 and abs(float(text)) <= MAX_NUMBER
    except ValueError:
        return False
