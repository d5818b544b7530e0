"""The strict schema of config.yaml.

config.yaml has all values; only what a scene of one's own may leave out has a default here. This module does not import
torch, because every call of snakemake imports it.
"""

import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from lkca.config.figure_kinds import FIGURE_KINDS
from lkca.core.paths import ExperimentPaths, RunGroup, RunKey
from lkca.data.catalog import CUBES, MAX_BANDS, MAX_SIDE, Cube, Text
from lkca.data.composite import parse_wavelength
from lkca.data.settings import MIN_TILE

# Upper bounds are far above any real use. Without them a call of snakemake could count, list or allocate for hours.
MAX_COUNT = 10**6
MAX_SCALE = 16
MAX_TILE = 10**4  # pixels, side of a test image or a patch, which is in memory as a whole
MAX_LABEL = 60  # characters
MAX_KEY = 64  # characters; file names contain two keys and more, and file systems allow 255 bytes
MAX_ENTRIES = 1000  # of a map or a list
MAX_OVERRIDES = 200
MAX_FIGURE_ROWS = 50
MAX_PANELS = 200  # scenes times rows of a figure; PNG files have at most 65535 pixel rows
DEVICES = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)  # no file of Windows has such a name

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Index = Annotated[int, Field(ge=0, le=MAX_SIDE)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Scale = Annotated[int, Field(ge=2, le=MAX_SCALE)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
T = TypeVar("T")


def _check_key(key: str) -> str:
    """Return a key, which is the name of a file or a folder.

    Raises:
        ValueError: If Windows has a device of this name.
    """
    if DEVICES.fullmatch(key):
        raise ValueError("Windows does not allow files of this name: choose another")
    return key


Key = Annotated[str, StringConstraints(pattern=rf"^[A-Za-z0-9_]{{1,{MAX_KEY}}}$"), AfterValidator(_check_key)]


def _check_case(entries: dict[str, T]) -> dict[str, T]:
    """Return a map whose keys are names of files.

    Raises:
        ValueError: If two keys differ only in upper and lower case, which some disks ignore.
    """
    names: dict[str, str] = {}
    for name in entries:
        other = names.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(f"{other} and {name} differ only in upper and lower case: rename one of them")
    return entries


Named = Annotated[dict[Key, T], Field(max_length=MAX_ENTRIES), AfterValidator(_check_case)]


def _unique(values: list[T]) -> list[T]:
    """Return the values.

    Raises:
        ValueError: If a value occurs twice.
    """
    known: set[Any] = set()
    for value in values:
        if value in known:
            raise ValueError(f"duplicate value {str(value)[:MAX_LABEL]}: write it once")
        known.add(value)
    return values


def _check_label(label: str) -> str:
    """Return a label, which the code of a figure must be able to place.

    Raises:
        ValueError: If it is empty, too long, or has line breaks or other control characters.
    """
    if not 1 <= len(label) <= MAX_LABEL or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", label):
        raise ValueError(f"a label has from 1 to {MAX_LABEL} characters in one line: change it")
    return label


Label = Annotated[str, AfterValidator(_check_label)]
Names = Annotated[list[str], Field(max_length=MAX_ENTRIES), AfterValidator(_unique)]
Scales = Annotated[list[Scale], Field(min_length=1), AfterValidator(_unique)]
Rows = Annotated[
    dict[Label, Text | None], Field(min_length=1, max_length=MAX_ENTRIES)
]  # label -> model, "not possible: " and why, or None: not run
NOT_POSSIBLE = "not possible: "


class Settings(BaseModel):
    """A map of config.yaml: unknown keys, missing keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Report(Settings):
    """The tables and figures that the experiment makes; they decide which networks are trained.

    Args:
        tables: Keys of `tables`.
        figures: Keys of `figures`.
    """

    tables: Names
    figures: Names


Side = Annotated[int, Field(ge=MIN_TILE, le=MAX_TILE)]
PatchSide = Annotated[int, Field(ge=1, le=MAX_TILE)]


class TestArea(Settings):
    """The area of a scene that is cut into test images.

    Args:
        row: Row of its top left pixel, from 0, in each file after `crop` and `mirror`. Patches are above and below the
            rows of the area.
        column: Column of its top left pixel, from 0.
        rows: Height, pixels; a multiple of the tile's height.
        columns: Width, pixels; a multiple of the tile's width.
        tile: Side of a square test image, pixels, or its [rows, columns].
        invalid: What happens to test images with invalid pixels: `refuse` stops with a message, `drop` leaves them out.
    """

    row: Index = 0
    column: Index = 0
    rows: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    columns: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    tile: Side | Annotated[list[Side], Field(min_length=2, max_length=2)]
    invalid: Literal["refuse", "drop"] = "refuse"

    def tile_shape(self) -> list[int]:
        """Return the height and the width of a tile, pixels."""
        return [self.tile, self.tile] if isinstance(self.tile, int) else self.tile

    @model_validator(mode="after")
    def _check_tile(self) -> Self:
        if self.rows % self.tile_shape()[0] or self.columns % self.tile_shape()[1]:
            raise ValueError(f"tile {self.tile} must divide rows {self.rows} and columns {self.columns}")
        return self


def _check_colour(band: int | str) -> int | str:
    """Return the number of a band, or its wavelength as text.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(band, str):
        parse_wavelength(band)
    elif band < 1:
        raise ValueError("bands are numbered from 1")
    return band


Colour = Annotated[int | str, AfterValidator(_check_colour)]


class Composite(Settings):
    """What the pictures of a scene show.

    Args:
        image: Number of the test image, from 0.
        bands: Bands of the scene shown as red, green and blue: a number from 1, or a wavelength such as 660 nm or
            0.66 um, for which the nearest band is shown. None for 660, 550 and 480 nm, or for bands spread over the
            scene if it does not have three such bands.
        zoom: Row, column and side of a detail, pixels; None for the place with the largest error of the
            first method that is drawn.
    """

    image: Index = 0
    bands: Annotated[list[Colour], Field(min_length=3, max_length=3)] | None = None
    zoom: Annotated[list[Index], Field(min_length=3, max_length=3)] | None = None


class Scene(Settings):
    """A scene: a crop of a cube, divided by its maximum.

    Args:
        title: Name in tables and figures, at most 60 characters; the key of the scene by default.
        cube: Key of the catalog (`lkca.data.catalog.CUBES`), or a description of a cube.
        bands: Number of the cube's bands that are used, evenly spaced; `all` or nothing for all of them.
        mirror: Axes that are reversed; none by default.
        test: The area of the test images.
        composite: What pictures show.
    """

    title: Label
    cube: str | Cube
    bands: Annotated[int, Field(ge=2, le=MAX_BANDS)]
    mirror: Annotated[list[Literal["rows", "columns"]], AfterValidator(_unique)] = []
    test: TestArea
    composite: Composite = Composite()

    def resolve_cube(self) -> Cube:
        """Return the cube, from the catalog or as described."""
        return CUBES[self.cube] if isinstance(self.cube, str) else self.cube


class Patches(Settings):
    """The grid of HR patches at one scale.

    Args:
        size: Side of a patch, HR pixels; a multiple of the scale.
        stride: Distance from one patch to the next, HR pixels.
    """

    size: PatchSide
    stride: PatchSide


class Train(Settings):
    """How a network is trained (Sec. IV-B, Eq. 17).

    The learning rate follows either a cosine (`cosine_to`) or steps (`step_epochs`, `step_factor`); the other is null.

    Args:
        epochs: Number of epochs; an epoch shows every patch in its 8 orientations.
        steps: Number of steps after which an epoch ends early; None to show all patches.
        batch: Number of patches in a step.
        learning_rate: Adam's learning rate at the start.
        cosine_to: Learning rate at the end of a cosine; None for steps.
        step_epochs: Epochs, counted from 1, between changes by `step_factor`; None for a cosine.
        step_factor: Factor of each change; None for a cosine.
        sam: Weight of the spectral angle, lambda_1 of Eq. 17; L1 has weight 1.
        grad: Weight of the gradient, lambda_2 of Eq. 17.
        spatial_tv: Weight of SSPSR's spatial total variation.
        spectral_tv: Weight of SSPSR's spectral total variation.
        precision: Number format of convolutions and matrix products in training.
        compile: Whether torch.compile is used; it needs a C++ compiler.
        deterministic: Whether a repeated training on a GPU gives the same weights, bit by bit.
    """

    epochs: Count
    steps: Count | None
    batch: Count
    learning_rate: Rate
    cosine_to: Rate | None
    step_epochs: Count | None
    step_factor: Annotated[float, Field(gt=0, le=1)] | None
    sam: Weight
    grad: Weight
    spatial_tv: Weight
    spectral_tv: Weight
    precision: Literal["float32", "bfloat16"]
    compile: bool
    deterministic: bool

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        stepwise = self.step_epochs, self.step_factor
        if (None in stepwise) != (stepwise == (None, None)) or (self.cosine_to is None) == (None in stepwise):
            raise ValueError("set either cosine_to or both step_epochs and step_factor, and null for the other")
        if self.cosine_to is not None and self.cosine_to > self.learning_rate:
            raise ValueError(f"cosine_to {self.cosine_to} is above learning_rate {self.learning_rate}")
        return self


class Distill(Settings):
    """How a network learns from its teacher (Eqs. 18-21).

    Args:
        teacher: Key of `models`.
        features: The features of teacher and student that the loss compares.
        alpha: Initial share of the distillation loss (Eq. 21).
        decay: Factor of its decay, d of Eq. 20.
        every: Epochs between decays, f of Eq. 20.
        cos: Weight of the cosine loss, lambda_3 of Eq. 19.
        sam: Weight of the spectral angle, lambda_4 of Eq. 19.
        grad: Weight of the gradient, lambda_5 of Eq. 19.
    """

    teacher: str
    features: Literal["reconstruction", "upsampler"]
    alpha: Weight
    decay: Annotated[float, Field(gt=0, le=1)]
    every: Count
    cos: Weight
    sam: Weight
    grad: Weight


class Upsampler(Settings):
    """The option of the upsampling layer, for every network in which it is learnable.

    Args:
        groups: Number g of groups of the layer's convolution; 1 for the dense layer.
    """

    groups: Count


class Model(Settings):
    """A network or a method without training, with its settings.

    Args:
        arch: Key of the registry (`lkca.models.registry.MODELS`).
        args: Further arguments of the network's class.
        upsampler: Option of the upsampling layer; None for a network without one.
        train: Training settings; None for a method without training.
        distill: Distillation; None for a network without a teacher.
    """

    arch: str
    args: dict[str, int | float]
    upsampler: Upsampler | None
    train: Train | None
    distill: Distill | None


class Override(Settings):
    """Training settings of single runs, which replace those of the model.

    Args:
        scene: Key of `scenes`.
        scale: Upsampling factor.
        models: Keys of `models`.
        train: The settings that differ, with their values (see Train).
    """

    scene: str
    scale: Scale
    models: Names
    train: dict[str, int | float | str | bool]


class Table(Settings):
    """Rows of one scene at some scales.

    Args:
        title: Title in the caption.
        header: Heading of the first column.
        scene: Key of `scenes`.
        scales: Upsampling factors; each has patches.
        rows: Label, at most 60 characters -> key of `models`, "not possible: " and why, or None: not run. Rows whose
            labels the paper prints are compared with the paper's rows.
    """

    title: Text
    header: Text
    scene: str
    scales: Scales
    rows: Rows

    def groups(self) -> list[RunGroup]:
        """Return the groups of runs that the table shows, with all seeds; each once, also if it is in several rows."""
        models = dict.fromkeys(models_in_rows(self.rows).values())
        return [RunGroup(self.scene, scale, model) for scale in self.scales for model in models]


class Figure(Settings):
    """A picture of some rows.

    Args:
        kind: Kind of the figure (`lkca.config.figure_kinds`).
        title: Title in the caption.
        scenes: Keys of `scenes`.
        scale: Upsampling factor.
        rows: Label -> key of `models`, as in a table.
    """

    kind: Literal[*FIGURE_KINDS]  # type: ignore[valid-type]  # mypy does not unpack here
    title: Text
    scenes: Annotated[Names, Field(min_length=1)]
    scale: Scale
    rows: Rows

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kind, models = FIGURE_KINDS[self.kind], models_in_rows(self.rows)
        if len(self.rows) > MAX_FIGURE_ROWS or len(self.rows) * len(self.scenes) > MAX_PANELS:
            limits = f"at most {MAX_FIGURE_ROWS} rows, and {MAX_PANELS} rows times scenes"
            raise ValueError(f"a figure has {limits}: make several figures")
        if kind.one_scene and len(self.scenes) > 1:
            raise ValueError(f"a {self.kind} figure shows one scene: make a figure for each")
        if kind.compares_rows and (len(models) < 2 or next(iter(self.rows)) not in models):
            raise ValueError(f"a {self.kind} figure compares with the first row: give it and another row a model")
        return self

    def shown_seeds(self, seeds: list[int]) -> list[int]:
        """Return the seeds that the figure shows, out of the experiment's seeds."""
        return seeds if FIGURE_KINDS[self.kind].all_seeds else seeds[:1]

    def groups(self) -> list[RunGroup]:
        """Return the groups of runs that the figure shows, with the seeds of `shown_seeds`; each once."""
        models = dict.fromkeys(models_in_rows(self.rows).values())
        return [RunGroup(scene, self.scale, model) for scene in self.scenes for model in models]


def models_in_rows(rows: Rows) -> dict[str, str]:
    """Return the rows with a model that is run: label -> model."""
    return {label: model for label, model in rows.items() if model and not model.startswith(NOT_POSSIBLE)}


class RunConfig(Settings):
    """The content of run.json: all settings and the hashes of all inputs of one training.

    Four settings are of `lkca sharpen` only. `blur` is how LR images are made (`lkca.data.degrade.degrade`); None for
    MATLAB's bicubic, as in the paper. `smoothed` is the share of the patches that a process computes at once whose
    finest detail is removed, rounded down (`lkca.training.train.smooth_patches`); None for none. `averaged` is the
    decay of the exponential moving average of the weights, which is validated and written in the place of the weights;
    None for no average. `grid` is the weight of `lkca.training.losses.grid`; None for 0.
    """

    experiment: str
    scene: str
    scale: int
    model: str
    seed: int
    bands: int
    arch: str
    args: dict[str, int | float]
    upsampler: dict[str, int] | None
    train: Train | None
    distill: Distill | None
    scene_sha256: str
    split_sha256: str
    teacher_sha256: str | None
    blur: Annotated[str, StringConstraints(pattern=r"^mtf:0?\.[0-9]{1,4}$")] | None = None
    smoothed: Annotated[float, Field(gt=0, le=1)] | None = None
    averaged: Annotated[float, Field(gt=0, lt=1)] | None = None
    grid: Weight | None = None

    @property
    def key(self) -> RunKey:
        """The key of the run."""
        return RunKey(self.scene, self.scale, self.model, self.seed)

    @property
    def label(self) -> str:
        """The run in words, for messages."""
        return self.key.label


class Experiment(Settings):
    """The whole of config.yaml.

    Args:
        experiment: Name of the folder in results/; letters, digits and underscores.
        title: Title of the report.
        stand_in: If the numbers must not be compared with the paper's: the sentence that every table, figure and page
            then shows. Else None.
        seeds: Seeds; every network is trained once with each seed.
        report: The tables and figures to make.
        scenes: The scenes, by key.
        patches: The patches, by scale, such as x4.
        sampling: Whether patches lie on a grid, or at as many random positions in the same rows.
        validation: Fraction of the grid's rows that is used for validation; these are the last rows.
        train: Training settings of every model that does not set its own.
        overrides: Training settings of single runs.
        models: The networks and methods, by key.
        tables: The tables, by key.
        figures: The figures, by key.
    """

    experiment: Key
    title: Text
    stand_in: Text | None
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MAX_ENTRIES), AfterValidator(_unique)]
    report: Report
    scenes: Named[Scene]
    patches: dict[Annotated[str, StringConstraints(pattern=r"^x([2-9]|1[0-6])$")], Patches]
    sampling: Literal["grid", "random"]
    validation: Annotated[float, Field(gt=0, lt=1)]
    train: Train
    overrides: Annotated[list[Override], Field(max_length=MAX_OVERRIDES)]
    models: Named[Model]
    tables: Named[Table]
    figures: Named[Figure]
    _places: dict[str, str] = PrivateAttr(default_factory=dict)  # key -> file and line where the setting is written

    def __eq__(self, other: object) -> bool:
        """Return whether all settings are equal, wherever they are written."""
        return isinstance(other, Experiment) and dict(self) == dict(other)

    @property
    def paths(self) -> ExperimentPaths:
        """The paths of the experiment's results."""
        return ExperimentPaths.of(self.experiment)

    def is_trained(self, model: str) -> bool:
        """Return whether a model is trained; a method such as bicubic is not."""
        return self.models[model].train is not None

    def train_settings(self, group: RunGroup) -> Train | None:
        """Return the training settings of a group of runs: the model's, changed by the overrides that apply."""
        train, changes = self.models[group.model].train, dict[str, Any]()
        for override in self.overrides:
            if (override.scene, override.scale) == (group.scene, group.scale) and group.model in override.models:
                changes |= override.train
        return Train.model_validate(train.model_dump() | changes) if train and changes else train

    def teacher(self, run: RunKey) -> RunKey | None:
        """Return the run whose network teaches the network of a run; None without distillation."""
        distill = self.models[run.model].distill
        return run._replace(model=distill.teacher) if distill else None

    def groups(self) -> list[RunGroup]:
        """Return the groups of runs that tables, figures and students need, sorted by scene, scale and model."""
        groups = {group for name in self.report.tables for group in self.tables[name].groups()}
        groups |= {group for name in self.report.figures for group in self.figures[name].groups()}
        distilled = [(group, self.models[group.model].distill) for group in groups]
        groups |= {group._replace(model=distill.teacher) for group, distill in distilled if distill}
        return sorted(groups)

    def runs(self) -> list[RunKey]:
        """Return all runs of these groups: each with all seeds."""
        return [group.with_seed(seed) for group in self.groups() for seed in self.seeds]
