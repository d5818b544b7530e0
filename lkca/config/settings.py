"""The settings of each job: what a function is given beside its files.

Each class takes from the experiment what one job needs: `TableSettings.of(experiment, "V")`. The rule, the function and
its tests use the same class. The record of a job keeps the settings as JSON, and a difference makes the job run again.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from lkca.config.schema import (
    Distill,
    Experiment,
    Figure,
    Model,
    Rows,
    Scale,
    Settings,
    Table,
    Train,
)
from lkca.core.paths import RunGroup
from lkca.data.settings import SceneSettings, SplitSettings, TestTiles
from lkca.models.registry import MODELS


def make_scene_settings(experiment: Experiment, scene: str) -> SceneSettings:
    """Return how a scene is cut from its cube."""
    s = experiment.scenes[scene]
    cube_name = s.cube if isinstance(s.cube, str) else None
    return SceneSettings(name=scene, cube_name=cube_name, cube=s.resolve_cube(), bands=s.bands, mirror=[*s.mirror])


def make_split_settings(experiment: Experiment, scene: str, scale: int) -> SplitSettings:
    """Return how a scene is divided at one scale."""
    patches, test = experiment.patches[f"x{scale}"], experiment.scenes[scene].test
    return SplitSettings(
        scale=scale,
        size=patches.size,
        stride=patches.stride,
        sampling=experiment.sampling,
        validation=experiment.validation,
        test=TestTiles(rows=test.rows, columns=test.columns, tile=test.tile_shape()),
    )


class RunSettings(Settings):
    """What config.yaml says of a run; `config.run.write_run` adds the seed and what the files say."""

    experiment: str
    scene: str
    scale: int
    model: str
    bands: int
    arch: str
    args: dict[str, int | float]
    upsampler: dict[str, int] | None
    train: Train | None
    distill: Distill | None

    @classmethod
    def of(cls, experiment: Experiment, group: RunGroup) -> Self:
        """Return the settings of the runs of a group."""
        m = experiment.models[group.model]
        return cls(
            experiment=experiment.experiment,
            scene=group.scene,
            scale=group.scale,
            model=group.model,
            bands=experiment.scenes[group.scene].bands,
            arch=m.arch,
            args=m.args,
            upsampler=m.upsampler.model_dump() if m.upsampler else None,
            train=experiment.train_settings(group),
            distill=m.distill,
        )


class NetworkSettings(Settings):
    """The arguments of `lkca.models.registry.build`, except for bands and scale."""

    arch: Literal[*MODELS]  # type: ignore[valid-type]  # mypy does not unpack here
    args: dict[str, int | float]
    upsampler: dict[str, int] | None


class BenchmarkSettings(Settings):
    """The networks whose speed is measured on one scene at one scale."""

    scene: str
    scale: Scale
    bands: Annotated[int, Field(ge=2)]
    models: Annotated[dict[str, NetworkSettings], Field(min_length=1)]

    @classmethod
    def of(cls, experiment: Experiment, scene: str, scale: int, models: list[str]) -> Self:
        """Return the settings for these models."""
        fields = {"arch", "args", "upsampler"}
        networks = {name: experiment.models[name].model_dump(include=fields) for name in models}
        return cls(
            scene=scene,
            scale=scale,
            bands=experiment.scenes[scene].bands,
            models={name: NetworkSettings(**network) for name, network in networks.items()},
        )


class TableSettings(Table):
    """A table with what it says of its scene.

    Args:
        name: Key of the table, such as V.
        scene_title: Title of the scene.
        seeds: Seeds of the experiment.
        stand_in: The sentence about stand-in data, or None.
    """

    name: str
    scene_title: str
    seeds: list[int]
    stand_in: str | None

    @classmethod
    def of(cls, experiment: Experiment, table: str) -> Self:
        """Return the settings of a table."""
        t = experiment.tables[table]
        return cls(
            name=table,
            scene_title=experiment.scenes[t.scene].title,
            seeds=experiment.seeds,
            stand_in=experiment.stand_in,
            **{name: getattr(t, name) for name in Table.model_fields},
        )


class BicubicCheckSettings(Settings):
    """What the check of the bicubic rows is about.

    Args:
        experiment: Name of the experiment.
        scenes: Scene -> its title.
        stand_in: The sentence about stand-in data, or None.
        absent: Scene whose files are missing -> the sentence that says where to get them.
    """

    experiment: str
    scenes: dict[str, str]
    stand_in: str | None
    absent: dict[str, str]

    @classmethod
    def of(cls, experiment: Experiment, absent: dict[str, str]) -> Self:
        """Return the settings of the check."""
        return cls(
            experiment=experiment.experiment,
            scenes={name: scene.title for name, scene in experiment.scenes.items()},
            stand_in=experiment.stand_in,
            absent=absent,
        )


class FigureScene(Settings):
    """What a figure says of a scene.

    Args:
        title: Title of the scene.
        nanometres: Wavelengths of the first and the last band.
        image: Number of the test image that pictures show, from 0.
        bands: Bands that a composite shows as red, green and blue, from 1.
        zoom: Row, column and size of a detail, pixels; None: where the first method errs most.
    """

    title: str
    nanometres: tuple[float, float]
    image: int
    bands: list[int]
    zoom: list[int] | None


class FigureSettings(Settings):
    """A figure with what it says of its scenes.

    Args:
        name: Key of the figure, such as 6.
        kind: Kind of the figure.
        title: Title of the figure.
        scale: Upsampling factor.
        rows: Label -> model; None: not run.
        scenes: Scene -> what the figure says of it, in the order of the figure.
        seeds: Seeds that it shows.
        looks: Label -> number of its colour, dashes and marker.
        stand_in: The sentence about stand-in data, or None.
    """

    name: str
    kind: str
    title: str
    scale: int
    rows: Rows
    scenes: dict[str, FigureScene]
    seeds: list[int]
    looks: dict[str, int]
    stand_in: str | None

    @classmethod
    def of(cls, experiment: Experiment, figure: str) -> Self:
        """Return the settings of a figure."""
        f, models = experiment.figures[figure], list(experiment.models)
        scenes = {name: experiment.scenes[name] for name in f.scenes}
        return cls(
            name=figure,
            kind=f.kind,
            title=f.title,
            scale=f.scale,
            rows=f.rows,
            scenes={
                name: FigureScene(
                    title=scene.title, nanometres=scene.resolve_cube().nanometres, **scene.composite.model_dump()
                )
                for name, scene in scenes.items()
            },
            seeds=f.shown_seeds(experiment.seeds),
            looks={label: models.index(model) for label, model in f.rows.items() if model in models},
            stand_in=experiment.stand_in,
        )


class ClaimsSettings(Settings):
    """What the claims are checked on.

    Args:
        models: Model -> its settings.
        stand_in: The sentence about stand-in data, or None.
    """

    models: dict[str, Model]
    stand_in: str | None

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Return the settings of the claims."""
        return cls(models=experiment.models, stand_in=experiment.stand_in)


class ReportScene(Settings):
    """What the report says of a scene; the ground sampling distance in metres, wavelengths in nanometres."""

    title: str
    image: int
    sensor: str
    gsd_m: float
    nanometres: tuple[float, float]
    source: str
    citation: str
    terms: str

    @classmethod
    def of(cls, experiment: Experiment, scene: str) -> Self:
        """Return what the report says of a scene."""
        s = experiment.scenes[scene]
        cube = s.resolve_cube()
        cited = {name: getattr(cube, name) for name in cls.model_fields.keys() & type(cube).model_fields.keys()}
        return cls(title=s.title, image=s.composite.image, **cited)


class ReportTable(Table):
    """A table of the report."""

    name: str


class ReportFigure(Figure):
    """A figure of the report."""

    name: str


class ReportSettings(Settings):
    """What the report shows.

    Args:
        experiment: Name of the experiment.
        title: Title of the experiment.
        stand_in: The sentence about stand-in data, or None.
        seeds: Seeds of the experiment.
        adopted: Changes of code that were declared to change no number, as `Results.adoptions` gives them.
        scenes: Scene -> what the page says of it.
        tables: Tables, in the order of the page.
        figures: Figures, in the order of the page.
    """

    experiment: str
    title: str
    stand_in: str | None
    seeds: list[int]
    adopted: list[dict[str, Any]]
    scenes: dict[str, ReportScene]
    tables: list[ReportTable]
    figures: list[ReportFigure]

    @classmethod
    def of(cls, experiment: Experiment, adopted: list[dict[str, Any]]) -> Self:
        """Return the settings of the report."""
        return cls(
            experiment=experiment.experiment,
            title=experiment.title,
            stand_in=experiment.stand_in,
            seeds=experiment.seeds,
            adopted=adopted,
            scenes={name: ReportScene.of(experiment, name) for name in experiment.scenes},
            tables=[ReportTable(name=name, **dict(experiment.tables[name])) for name in experiment.report.tables],
            figures=[ReportFigure(name=name, **dict(experiment.figures[name])) for name in experiment.report.figures],
        )
