"""The settings of each job: the arguments of its function besides its files.

Each class holds the part of the experiment that one job needs: `TableSettings.of(experiment, "V")`. The job, its
function and its tests use the same class. The record of a job keeps the settings as JSON; if they change, the job runs
again.
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
    config = experiment.scenes[scene]
    return SceneSettings(
        name=scene,
        cube_name=config.cube if isinstance(config.cube, str) else None,
        cube=config.resolve_cube(),
        bands=config.bands,
        mirror=[*config.mirror],
        composite=config.composite.bands,
    )


def make_split_settings(experiment: Experiment, scene: str, scale: int) -> SplitSettings:
    """Return how a scene is divided at one scale."""
    patches, test = experiment.patches[f"x{scale}"], experiment.scenes[scene].test
    return SplitSettings(
        scale=scale,
        size=patches.size,
        stride=patches.stride,
        sampling=experiment.sampling,
        validation=experiment.validation,
        test=TestTiles(**dict(test) | {"tile": test.tile_shape()}),
    )


class RunSettings(Settings):
    """The settings of a run from config.yaml; `lkca.config.run.write_run` adds the seed and the hashes of inputs."""

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
        model = experiment.models[group.model]
        return cls(
            experiment=experiment.experiment,
            scene=group.scene,
            scale=group.scale,
            model=group.model,
            bands=experiment.scenes[group.scene].bands,
            arch=model.arch,
            args=model.args,
            upsampler=model.upsampler.model_dump() if model.upsampler else None,
            train=experiment.train_settings(group),
            distill=model.distill,
        )


class NetworkSettings(Settings):
    """The arguments of `lkca.models.registry.build`, except bands and scale."""

    arch: Literal[*MODELS]  # type: ignore[valid-type]  # mypy does not unpack here
    args: dict[str, int | float]
    upsampler: dict[str, int] | None


REFERENCE = "lkca_lr"  # the model that the paper compares the costs of other models with


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
    """A table and the facts about its scene and the experiment that it shows.

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
        config = experiment.tables[table]
        return cls(
            name=table,
            scene_title=experiment.scenes[config.scene].title,
            seeds=experiment.seeds,
            stand_in=experiment.stand_in,
            **{name: getattr(config, name) for name in Table.model_fields},
        )


class BicubicCheckSettings(Settings):
    """The settings of the check of the bicubic rows.

    Args:
        experiment: Name of the experiment.
        scenes: Scene -> title.
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
    """The facts about a scene that a figure shows.

    Args:
        title: Title of the scene.
        image: Number of the test image that pictures show, from 0.
        zoom: Row, column and side of a detail, pixels; None for the place with the largest error of the first
            method that is drawn.
    """

    title: str
    image: int
    zoom: list[int] | None


class FigureSettings(Settings):
    """A figure and the facts about its scenes and the experiment that it shows.

    Args:
        name: Key of the figure, such as 6.
        kind: Kind of the figure.
        title: Title of the figure.
        scale: Upsampling factor.
        rows: Label -> model, or "not possible: " and why, or None: not run.
        scenes: Scene -> facts about it, in the order of the figure.
        seeds: Seeds that the figure shows.
        looks: Label -> index of the model, which gives its colour, dashes and marker.
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
        config, models = experiment.figures[figure], list(experiment.models)
        scenes = {name: experiment.scenes[name] for name in config.scenes}
        return cls(
            name=figure,
            kind=config.kind,
            title=config.title,
            scale=config.scale,
            rows=config.rows,
            scenes={
                name: FigureScene(title=scene.title, image=scene.composite.image, zoom=scene.composite.zoom)
                for name, scene in scenes.items()
            },
            seeds=config.shown_seeds(experiment.seeds),
            looks={label: models.index(model) for label, model in config.rows.items() if model in models},
            stand_in=experiment.stand_in,
        )


class ClaimsSettings(Settings):
    """The settings of the check of the claims.

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
    """The facts about a scene that the report shows.

    Args:
        title: Title of the scene.
        image: Number of the test image that pictures show, from 0.
        sensor: Name of the sensor; None if it is not known, as for the following.
        gsd_m: Ground sampling distance, metres.
        source: Where the files come from.
        citation: The publication to cite.
        terms: Terms of use.
    """

    title: str
    image: int
    sensor: str | None
    gsd_m: float | None
    source: str | None
    citation: str | None
    terms: str | None

    @classmethod
    def of(cls, experiment: Experiment, scene: str) -> Self:
        """Return the facts about a scene."""
        config = experiment.scenes[scene]
        cube = config.resolve_cube()
        facts = {name: getattr(cube, name) for name in cls.model_fields.keys() & type(cube).model_fields.keys()}
        return cls(title=config.title, image=config.composite.image, **facts)


class ReportTable(Table):
    """A table of the report."""

    name: str


class ReportFigure(Figure):
    """A figure of the report."""

    name: str


class ReportSettings(Settings):
    """The settings of the report.

    Args:
        experiment: Name of the experiment.
        title: Title of the experiment.
        stand_in: The sentence about stand-in data, or None.
        seeds: Seeds of the experiment.
        adopted: Adopted changes of code, as `lkca.pipeline.results.Results.adoptions` returns them.
        scenes: Scene -> facts about it.
        tables: Tables, in the order of the page.
        figures: Figures, in the order of the page.
        looks: Model -> its index, which gives its colour and dashes.
    """

    experiment: str
    title: str
    stand_in: str | None
    seeds: list[int]
    adopted: list[dict[str, Any]]
    scenes: dict[str, ReportScene]
    tables: list[ReportTable]
    figures: list[ReportFigure]
    looks: dict[str, int]

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
            looks={model: i for i, model in enumerate(experiment.models)},
        )
