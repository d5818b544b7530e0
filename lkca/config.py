"""Strict settings: config.yaml (with its overlays) in, the settings of every run, table and figure out.

Nothing has a default here: config.yaml is the one place. Nothing needs torch: the Snakefile reads this on every call.
"""

import ast
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lkca.cubes import CUBES, Cube
from lkca.errors import InputError
from lkca.files import read_json, sha256, write_json
from lkca.models import MODELS, check

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]  # keys become folders
MOST_SCALE = 16
MOST_ARG = 4096  # of a network's width or number of layers
Scale = Annotated[int, Field(ge=2, le=MOST_SCALE)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _once(values: list) -> list:
    twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands there twice: once is enough")
    return values


Names = Annotated[list[str], AfterValidator(_once)]
Scales = Annotated[list[Scale], Field(min_length=1), AfterValidator(_once)]
Rows = Annotated[dict[str, str | None], Field(min_length=1)]  # label -> model, "not possible: why", None: not run
NOT_POSSIBLE = "not possible: "


class Settings(BaseModel):
    """A map of config.yaml: unknown keys, missing keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


T = TypeVar("T", bound=Settings)


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

    def sides(self) -> list[int]:
        """Rows and columns of a tile."""
        return [self.tile, self.tile] if isinstance(self.tile, int) else self.tile

    @model_validator(mode="after")
    def _tiles(self) -> Self:
        if self.rows % self.sides()[0] or self.columns % self.sides()[1]:
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
    mirror: Annotated[list[Literal["rows", "columns"]], AfterValidator(_once)]
    test: TestArea
    composite: Composite

    def described(self) -> Cube:
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

    def runs(self) -> list[tuple[str, int, str]]:
        """Its (scene, scale, model), of each seed."""
        return [(self.scene, scale, model) for scale in self.scales for model in _models(self.rows).values()]


class Figure(Settings):
    """A picture of some rows."""

    kind: Literal["share", "spectrum", "composite", "speed", "bands", "pixels", "curves", "differences"]
    title: str
    scenes: Annotated[Names, Field(min_length=1)]
    scale: Scale
    rows: Rows

    @model_validator(mode="after")
    def _one_scene(self) -> Self:
        if self.kind == "composite" and len(self.scenes) > 1:
            raise ValueError("a composite shows one scene: make a figure for each")
        return self

    @model_validator(mode="after")
    def _reference(self) -> Self:
        models = _models(self.rows)
        if self.kind == "differences" and (len(models) < 2 or next(iter(self.rows)) not in models):
            raise ValueError("differences are from the first row: give it and another one a model")
        return self

    def seeds(self, seeds: list[int]) -> list[int]:
        """Which of the experiment's seeds it shows."""
        return seeds if self.kind in ("speed", "curves", "differences") else seeds[:1]

    def runs(self) -> list[tuple[str, int, str]]:
        """Its (scene, scale, model), of the seeds that it shows."""
        return [(scene, self.scale, model) for scene in self.scenes for model in _models(self.rows).values()]


def _models(rows: Rows) -> dict[str, str]:
    """The rows that are run, label -> model."""
    return {label: model for label, model in rows.items() if model and not model.startswith(NOT_POSSIBLE)}


class Run(Settings):
    """Everything that one training depends on: the content of run.json."""

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
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_once)]
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

    def train_of(self, scene: str, scale: int, model: str) -> Train | None:
        """The training settings of a run: the model's, with the overrides for this scene and scale laid over them."""
        train = self.models[model].train
        for override in self.overrides:
            if train and (override.scene, override.scale) == (scene, scale) and model in override.models:
                where = f"overrides for {scene} x{scale} {model}, train"
                train = _checked(Train, train.model_dump() | override.train, where)
        return train

    def runs(self) -> list[tuple[str, int, str, int]]:
        """All (scene, scale, model, seed) that the tables, figures and teachers need, in a stable order."""
        wanted = {run for name in self.report.tables for run in self.tables[name].runs()}
        wanted |= {run for name in self.report.figures for run in self.figures[name].runs()}
        distilled = [(scene, scale, self.models[model].distill) for scene, scale, model in wanted]
        wanted |= {(scene, scale, distill.teacher) for scene, scale, distill in distilled if distill}
        return [(*run, seed) for run in sorted(wanted) for seed in self.seeds]


def read_config(paths: Sequence[Path]) -> Experiment:
    """Read config.yaml and the overlays behind it, and check the whole.

    Raises:
        InputError: If a file is missing or no YAML map, or on the first setting that is wrong.
    """
    config: dict[str, Any] = {}
    for path in paths:
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): name a configuration file.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no YAML ({' '.join(str(error).split())}): correct it.") from error
        if not isinstance(layer, Mapping):
            raise InputError(f"{path} holds no settings: write a map of them, like config.yaml's.")
        config = merged(config, layer)
    return experiment(config)


def read_frozen(path: Path) -> Experiment:
    """Read a checked configuration, as Experiment.model_dump_json() gives it.

    Raises:
        InputError: If the file is missing or holds something else.
    """
    try:
        return Experiment.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): run snakemake again.") from error
    except ValidationError:
        raise InputError(f"{path} is no configuration that the workflow has written: run snakemake again.") from None


def experiment(config: Mapping[str, Any]) -> Experiment:
    """Check a whole configuration.

    Args:
        config: config.yaml as YAML gives it, overlays merged in.

    Raises:
        InputError: On the first thing that is wrong, with the key and the nearest valid one.
    """
    config = dict(config)
    models = config.get("models")
    if isinstance(models, Mapping):
        for name, model in models.items():
            if not isinstance(model, Mapping):
                _refuse(f"models.{name}", f"{model!r} is no map of settings: write one, or base: and what differs.")
        resolved = {name: _resolve(name, models, ()) for name in models}
        shared = config.get("train")
        for model in resolved.values():
            if isinstance(model.get("train"), Mapping) and isinstance(shared, Mapping):
                model["train"] = merged(shared, model["train"])
        config["models"] = resolved
    scenes = config.get("scenes")
    if isinstance(scenes, Mapping):
        config["scenes"] = {name: _own(f"config.yaml: scenes.{name}.cube", scene) for name, scene in scenes.items()}
    checked = _checked(Experiment, config, "config.yaml")
    _check_references(checked)
    return checked


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: maps are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def _own(where: str, scene: Any) -> Any:
    """A scene whose cube is described by config.yaml itself, with that description checked."""
    if not isinstance(scene, Mapping) or not isinstance(scene.get("cube"), Mapping):
        return scene
    return {**scene, "cube": _checked(Cube, scene["cube"], where)}


def _resolve(name: str, models: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    """A model's settings with those of its `base`, and of that one's, underneath."""
    model = dict(models[name])
    base = model.pop("base", None)
    if base is None:
        return model
    _known(base, models, f"models.{name}.base")
    if base in (*seen, name):
        _refuse(f"models.{name}.base", f"{base} leads back to {name}: name a model that does not.")
    return merged(_resolve(base, models, (*seen, name)), model)


def _checked(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Validate, or say in one sentence what is wrong first."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(_sentence(kind, error.errors()[0], where)) from None


PYDANTIC = ("int", "float", "str", "Cube")  # parts of its own in a path


def _sentence(kind: type[BaseModel], error: Mapping[str, Any], where: str) -> str:
    path = [str(part) for part in error["loc"] if part not in PYDANTIC and not re.search(r"constrained|\[", str(part))]
    place = f"{where}: {'.'.join(path)}"
    if error["type"] == "extra_forbidden":
        return f"{place} is no setting{_nearest(path[-1], _fields(kind, path[:-1]))}"
    if error["type"] == "missing":
        return f"{place} is missing: set it."
    value = error["input"]
    if "[key]" in error["loc"] and not isinstance(value, str):
        return f"{place} is the number {value!r}: put the key in quotes."
    if error["type"] in ("model_type", "dict_type"):
        return f"{place} is {value!r}: write a map of settings."
    if error["type"] in ("float_type", "int_type") and isinstance(value, str):
        return f"{place} is the text {value!r}, not a number: write numbers without quotes and 1e-3 as 1.0e-3."
    told = error["msg"].replace("tuple", "list")
    told = told.removeprefix("Value error, ") if error["type"] == "value_error" else told[:1].lower() + told[1:]
    shown = "" if isinstance(value, Mapping) or len(repr(value)) > 80 else f" is {value!r}"
    return f"{place}{shown}: {told}."


def _fields(kind: type[BaseModel], path: list[str]) -> Iterable[str]:
    """The settings that exist at a path inside `kind`; keys of maps and list indices are passed over."""
    for part in path:
        field = kind.model_fields.get(part)
        if field is not None:
            inner = [t for t in _types(field.annotation) if inspect.isclass(t) and issubclass(t, BaseModel)]
            if inner:
                kind = inner[0]
    return [*kind.model_fields, *(["base"] if kind is Model else [])]


def _types(annotation: Any) -> Iterable[Any]:
    """A type and all types inside it."""
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _types(part)


def _nearest(word: str, valid: Iterable[str]) -> str:
    valid = [str(v) for v in valid]
    if not valid:
        return ": there are none, delete it."
    near = get_close_matches(word, valid, 1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": choose one of {', '.join(sorted(valid))}."


def _refuse(where: str, told: str) -> NoReturn:
    raise InputError(f"config.yaml: {where}: {told}")


def _known(name: Any, valid: Iterable[str], where: str) -> None:
    if name not in list(valid):
        _refuse(where, f"{name!s} does not exist{_nearest(str(name), valid)}")


NO_TRAINING = {"spectrum": "no trained upsampling layer", "curves": "no training"}  # kinds that need it


def _check_references(e: Experiment) -> None:
    """What one setting says of another: names that must exist, sizes that must divide."""
    for name in e.report.tables:
        _known(name, e.tables, "report.tables")
    for name in e.report.figures:
        _known(name, e.figures, "report.figures")
    for name, scene in e.scenes.items():
        _check_scene(f"scenes.{name}", scene)
    for name, model in e.models.items():
        _known(model.arch, MODELS, f"models.{name}.arch")
        _check_args(name, model)
        if model.distill:
            where = f"models.{name}.distill.teacher"
            _known(model.distill.teacher, e.models, where)
            teacher = e.models[model.distill.teacher]
            if teacher.train is None or teacher.distill or model.train is None:
                _refuse(
                    where, "teacher and student must be trained, the teacher without one of its own: choose another."
                )
    for i, override in enumerate(e.overrides):
        _known(override.scene, e.scenes, f"overrides.{i}.scene")
        _known(f"x{override.scale}", e.patches, f"overrides.{i}.scale")
        for key in override.train:
            _known(key, Train.model_fields, f"overrides.{i}.train")
        for model in override.models:
            _known(model, [name for name in e.models if e.models[name].train], f"overrides.{i}.models")
            e.train_of(override.scene, override.scale, model)
    for name, table in e.tables.items():
        _check_rows(e, f"tables.{name}", [table.scene], table.scales, table.rows)
    for name, figure in e.figures.items():
        for label, model in figure.rows.items():
            if figure.kind in NO_TRAINING and model in e.models and not e.models[model].train:
                told = f"{model} has {NO_TRAINING[figure.kind]}: choose another model."
                _refuse(f"figures.{name}.rows.{label}", told)
        _check_rows(e, f"figures.{name}", figure.scenes, [figure.scale], figure.rows)


def _check_scene(where: str, scene: Scene) -> None:
    if isinstance(scene.cube, str):
        _known(scene.cube, CUBES, f"{where}.cube")
    cube = scene.described()
    most = len(cube.numbers())
    if scene.bands > most:
        _refuse(f"{where}.bands", f"{scene.bands} is more than the cube's {most}: choose {most} or fewer.")
    uses = {file.use for file in cube.files}
    for use, doing in (("test", "testing"), ("train", "training")):
        if not uses & {use, "both"}:
            _refuse(f"{where}.cube.files", f"none is for {doing}: write use: {use} or use: both at one of them.")
    crop = cube.crop or (cube.shape and (0, cube.shape[0], 0, cube.shape[1]))  # else the split will see
    rows, columns = (crop[1] - crop[0], crop[3] - crop[2]) if crop else (scene.test.rows + 1, scene.test.columns)
    if scene.test.rows > rows - ("both" in uses) or scene.test.columns > columns:
        told = f"{scene.test.rows} x {scene.test.columns} leave no room in {rows} x {columns} pixels"
        _refuse(f"{where}.test", f"{told}: choose less.")
    height, width = scene.test.sides()
    if scene.composite.zoom:
        row, column, side = scene.composite.zoom
        if side < 1 or row + side > height or column + side > width:
            _refuse(f"{where}.composite.zoom", f"the box leaves the image: stay within {height} x {width}.")
    last = max(scene.composite.bands)
    if last > scene.bands:
        _refuse(f"{where}.composite.bands", f"{last} is beyond the last band: choose from 1 to {scene.bands}.")
    images = scene.test.rows * scene.test.columns // (height * width) * sum(f.use != "train" for f in cube.files)
    if scene.composite.image >= images:
        _refuse(f"{where}.composite.image", f"there are {images} test images: choose from 0 to {images - 1}.")


def _check_rows(e: Experiment, where: str, scenes: list[str], scales: list[int], rows: dict[str, str | None]) -> None:
    """The rows of a table or a figure and what they are of."""
    models = _models(rows)
    for label, model in models.items():
        _known(model, e.models, f"{where}.rows.{label}")
    for scene in scenes:
        _known(scene, e.scenes, f"{where}.scene")
        for scale in scales:
            _known(f"x{scale}", e.patches, f"{where}.scale")
            sizes = [(f"scenes.{scene}.test.tile", side) for side in e.scenes[scene].test.sides()]
            for key, side in [(f"patches.x{scale}.size", e.patches[f"x{scale}"].size), *sizes]:
                if side % scale:
                    _refuse(
                        key, f"{side} is no multiple of the scale {scale}: choose {side // scale * scale or scale}."
                    )
            for label, name in models.items():
                model, bands = e.models[name], e.scenes[scene].bands
                upsampler = model.upsampler.model_dump() if model.upsampler else None
                try:
                    check(model.arch, bands, scale, model.args, upsampler)
                except InputError as error:
                    _refuse(f"{where}.rows.{label}: models.{name} on {scene} x{scale}", f"{error}")


def _check_args(name: str, model: Model) -> None:
    """The arguments of a network, against the signature of its class."""
    where = f"models.{name}.args"
    signature = _signature(model.arch)
    if "groups" in signature and model.upsampler is None:
        _refuse(f"models.{name}.upsampler", f"{model.arch} needs it: write {{groups: 1}}.")
    if "groups" not in signature and model.upsampler is not None:
        _refuse(f"models.{name}.upsampler", f"{model.arch} has no learnable upsampling layer: write null.")
    if not signature and model.train is not None:
        _refuse(f"models.{name}.train", f"{model.arch} has nothing to train: write null.")
    if signature and model.train is None:
        _refuse(f"models.{name}.train", f"{model.arch} has to be trained: write {{}} or what differs.")
    expected = {key: kind for key, kind in signature.items() if key != "groups"}
    for key, value in model.args.items():
        _known(key, expected, where)
        if expected[key] == "int" and (not isinstance(value, int) or not 1 <= value <= MOST_ARG):
            _refuse(f"{where}.{key}", f"{value!r} is no whole number from 1 to {MOST_ARG}: choose one.")
        if expected[key] == "float" and not 0 <= value < 1:
            _refuse(f"{where}.{key}", f"{value!r} is out of range: choose from 0 to below 1.")
    for key in expected:
        if key not in model.args:
            _refuse(f"{where}.{key}", "is missing: set it.")


MODELS_FOLDER = Path(__file__).parent / "models"


@cache
def _signature(arch: str) -> dict[str, str]:
    """Names and annotations of a network's own arguments, read from its file: importing that would wait for torch."""
    tree = ast.parse((MODELS_FOLDER / f"{arch}.py").read_text(encoding="utf-8"))
    network = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == MODELS[arch].network)
    init = next(node for node in network.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    return {arg.arg: ast.unparse(arg.annotation) for arg in init.args.args if arg.arg not in ("self", "bands", "scale")}


def read_run(path: Path) -> Run:
    """Read a run.json.

    Raises:
        InputError: If it is missing or no run.
    """
    return _checked(Run, read_json(path), str(path))


def settings(settings: str, seed: int, scene: Path, split: Path, teacher: Path | None, out: Path) -> None:
    """Write a run.json: all that a training depends on, and nothing else.

    Args:
        settings: What `jobs.run_settings` says, as JSON.
        seed: Of the run.
        scene: The scene's manifest.
        split: The split of the scene.
        teacher: The teacher's run.json if the run distils.
        out: The run.json to write.
    """
    run = json.loads(settings) | {
        "seed": seed,
        "scene_sha256": read_json(scene)["sha256"],
        "split_sha256": sha256(split),
        "teacher_sha256": sha256(teacher) if teacher else None,
    }
    write_json(out, _checked(Run, run, "run.json").model_dump())
