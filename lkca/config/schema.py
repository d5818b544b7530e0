"""Strict settings: config.yaml (with its overlays) in, the settings of every run, table and figure out.

Nothing has a default here: config.yaml is the one place. Nothing needs torch: the Snakefile reads this on every call.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lkca.config.figure_kinds import FIGURE_KINDS
from lkca.core.paths import ExperimentPaths, RunGroup, RunKey
from lkca.data.catalog import CUBES, Cube

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]  # keys become folders
MAX_SCALE = 16
Scale = Annotated[int, Field(ge=2, le=MAX_SCALE)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _unique(values: list) -> list:
    twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands there twice: once is enough")
    return values


Names = Annotated[list[str], AfterValidator(_unique)]
Scales = Annotated[list[Scale], Field(min_length=1), AfterValidator(_unique)]
Rows = Annotated[dict[str, str | None], Field(min_length=1)]  # label -> model, "not possible: why", None: not run
NOT_POSSIBLE = "not possible: "


class Settings(BaseModel):
    """A map of config.yaml: unknown keys, missing keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Report(Settings):
    """What the experiment makes."""

    tables: Names
    figures: Names


Side = Annotated[int, Field(ge=7)]  # SSIM's window


class TestArea(Settings):
    """The top-left rows x columns of a scene, cut into tiles: squares, or [rows, columns]."""

    rows: Count
    columns: Count
    tile: Side | Annotated[list[Side], Field(min_length=2, max_length=2)]

    def tile_shape(self) -> list[int]:
        """Rows and columns of a tile."""
        return [self.tile, self.tile] if isinstance(self.tile, int) else self.tile

    @model_validator(mode="after")
    def _tiles(self) -> Self:
        if self.rows % self.tile_shape()[0] or self.columns % self.tile_shape()[1]:
            raise ValueError(f"tile {self.tile} must divide rows {self.rows} and columns {self.columns}")
        return self


class Composite(Settings):
    """What a scene's pictures show."""

    image: Index
    bands: Annotated[list[Count], Field(min_length=3, max_length=3)]
    zoom: Annotated[list[Index], Field(min_length=3, max_length=3)] | None


class Scene(Settings):
    """A cube, cut and divided."""

    title: str
    cube: str | Cube
    bands: Annotated[int, Field(ge=2)]
    mirror: Annotated[list[Literal["rows", "columns"]], AfterValidator(_unique)]
    test: TestArea
    composite: Composite

    def resolve_cube(self) -> Cube:
        """Its cube."""
        return CUBES[self.cube] if isinstance(self.cube, str) else self.cube


class Patches(Settings):
    """The grid of HR patches at one scale."""

    size: Count
    stride: Count


class Train(Settings):
    """How a network is trained (Sec. IV-B, Eq. 17); either the cosine or the steps are null."""

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
    def _one_schedule(self) -> Self:
        stepwise = self.step_epochs, self.step_factor
        if (None in stepwise) != (stepwise == (None, None)) or (self.cosine_to is None) == (None in stepwise):
            raise ValueError("set either cosine_to or both step_epochs and step_factor, and null for the other")
        if self.cosine_to is not None and self.cosine_to > self.learning_rate:
            raise ValueError(f"cosine_to {self.cosine_to} is above learning_rate {self.learning_rate}")
        return self


class Distill(Settings):
    """How a network learns from its teacher (Eqs. 18-21)."""

    teacher: str
    features: Literal["reconstruction", "upsampler"]
    alpha: Weight
    decay: Annotated[float, Field(gt=0, le=1)]
    every: Count
    cos: Weight
    sam: Weight
    grad: Weight


class Upsampler(Settings):
    """The option that every network with a learnable upsampling layer takes."""

    groups: Count


class Model(Settings):
    """A network with all that its training needs; `train: null` is a method without training."""

    arch: str
    args: dict[str, int | float]
    upsampler: Upsampler | None
    train: Train | None
    distill: Distill | None


class Override(Settings):
    """Training settings of single runs."""

    scene: str
    scale: Scale
    models: list[str]
    train: dict[str, int | float | str | bool]


class Table(Settings):
    """Rows of one scene at some scales."""

    title: str
    header: str
    scene: str
    scales: Scales
    rows: Rows

    def groups(self) -> list[RunGroup]:
        """Return the runs that it shows, each with all seeds."""
        models = models_in_rows(self.rows).values()
        return [RunGroup(self.scene, scale, model) for scale in self.scales for model in models]


class Figure(Settings):
    """A picture of some rows."""

    kind: Literal[*FIGURE_KINDS]
    title: str
    scenes: Annotated[Names, Field(min_length=1)]
    scale: Scale
    rows: Rows

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kind, models = FIGURE_KINDS[self.kind], models_in_rows(self.rows)
        if kind.one_scene and len(self.scenes) > 1:
            raise ValueError(f"a {self.kind} figure shows one scene: make a figure for each")
        if kind.compares_rows and (len(models) < 2 or next(iter(self.rows)) not in models):
            raise ValueError(f"a {self.kind} figure compares with the first row: give it and another row a model")
        return self

    def shown_seeds(self, seeds: list[int]) -> list[int]:
        """Return those of the experiment's seeds that it shows."""
        return seeds if FIGURE_KINDS[self.kind].all_seeds else seeds[:1]

    def groups(self) -> list[RunGroup]:
        """Return the runs that it shows, each with the seeds of `shown_seeds`."""
        models = models_in_rows(self.rows).values()
        return [RunGroup(scene, self.scale, model) for scene in self.scenes for model in models]


def models_in_rows(rows: Rows) -> dict[str, str]:
    """Return the rows that are run, label -> model."""
    return {label: model for label, model in rows.items() if model and not model.startswith(NOT_POSSIBLE)}


class RunConfig(Settings):
    """The content of run.json: everything that one training depends on."""

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


class Experiment(Settings):
    """The whole of config.yaml."""

    experiment: Key
    title: str
    stand_in: str | None
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_unique)]
    report: Report
    scenes: dict[Key, Scene]
    patches: dict[Annotated[str, StringConstraints(pattern=r"^x([2-9]|1[0-6])$")], Patches]
    sampling: Literal["grid", "random"]
    validation: Annotated[float, Field(gt=0, lt=1)]
    train: Train
    overrides: list[Override]
    models: dict[Key, Model]
    tables: dict[Key, Table]
    figures: dict[Key, Figure]

    @property
    def paths(self) -> ExperimentPaths:
        """Where the results of the experiment are."""
        return ExperimentPaths.of(self.experiment)

    def is_trained(self, model: str) -> bool:
        """Return whether a model is a network, not a method without training."""
        return self.models[model].train is not None

    def train_settings(self, group: RunGroup) -> Train | None:
        """Return the training settings of runs: the model's, with the overrides for this scene and scale laid over."""
        train = self.models[group.model].train
        for override in self.overrides:
            applies = (override.scene, override.scale) == (group.scene, group.scale) and group.model in override.models
            if train and applies:
                train = Train.model_validate(train.model_dump() | override.train)
        return train

    def teacher(self, run: RunKey) -> RunKey | None:
        """Return the run whose network teaches the network of a run; None without distillation."""
        distill = self.models[run.model].distill
        return run._replace(model=distill.teacher) if distill else None

    def runs(self) -> list[RunKey]:
        """Return all runs that the tables, the figures and the students need, sorted by scene, scale and model."""
        groups = {group for name in self.report.tables for group in self.tables[name].groups()}
        groups |= {group for name in self.report.figures for group in self.figures[name].groups()}
        distilled = [(group, self.models[group.model].distill) for group in groups]
        groups |= {group._replace(model=distill.teacher) for group, distill in distilled if distill}
        return [group.with_seed(seed) for group in sorted(groups) for seed in self.seeds]
