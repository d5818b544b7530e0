"""Check one setting against another: names that must exist, sizes that must divide."""

from pydantic import ValidationError

from lkca.config.figure_kinds import FIGURE_KINDS
from lkca.config.messages import fail, format_error, require_known
from lkca.config.schema import Experiment, Model, Scene, Train, models_in_rows
from lkca.core.paths import RunGroup
from lkca.data.catalog import CUBES
from lkca.errors import ConfigError, LkcaError
from lkca.models.registry import MODELS, check_arguments, check_entry, check_sizes


def check_references(e: Experiment) -> None:
    """What one setting says of another: names that must exist, sizes that must divide."""
    for name in e.report.tables:
        require_known(name, e.tables, "report.tables")
    for name in e.report.figures:
        require_known(name, e.figures, "report.figures")
    for name, scene in e.scenes.items():
        _check_scene(f"scenes.{name}", scene)
    for name, model in e.models.items():
        require_known(model.arch, MODELS, f"models.{name}.arch")
        _check_args(name, model)
        if model.distill:
            where = f"models.{name}.distill.teacher"
            require_known(model.distill.teacher, e.models, where)
            teacher = e.models[model.distill.teacher]
            if teacher.train is None or teacher.distill or model.train is None:
                fail(where, "teacher and student must be trained, the teacher without one of its own: choose another.")
    for i, override in enumerate(e.overrides):
        require_known(override.scene, e.scenes, f"overrides.{i}.scene")
        require_known(f"x{override.scale}", e.patches, f"overrides.{i}.scale")
        for key in override.train:
            require_known(key, Train.model_fields, f"overrides.{i}.train")
        for model in override.models:
            require_known(model, [name for name in e.models if e.models[name].train], f"overrides.{i}.models")
            try:
                e.train_settings(RunGroup(override.scene, override.scale, model))
            except ValidationError as error:
                where = f"overrides for {override.scene} x{override.scale} {model}, train"
                raise LkcaError(format_error(Train, error.errors()[0], where)) from None
    for name, table in e.tables.items():
        _check_rows(e, f"tables.{name}", [table.scene], table.scales, table.rows)
    for name, figure in e.figures.items():
        for label, model in figure.rows.items():
            lacks = FIGURE_KINDS[figure.kind].untrained_lacks
            if lacks and model in e.models and not e.models[model].train:
                fail(f"figures.{name}.rows.{label}", f"{model} has {lacks}: choose another model.")
        _check_rows(e, f"figures.{name}", figure.scenes, [figure.scale], figure.rows)


def _check_scene(where: str, scene: Scene) -> None:
    if isinstance(scene.cube, str):
        require_known(scene.cube, CUBES, f"{where}.cube")
    cube = scene.resolve_cube()
    most = len(cube.band_numbers())
    if scene.bands > most:
        fail(f"{where}.bands", f"{scene.bands} is more than the cube's {most}: choose {most} or fewer.")
    uses = {file.use for file in cube.files}
    for use, doing in (("test", "testing"), ("train", "training")):
        if not uses & {use, "both"}:
            fail(f"{where}.cube.files", f"none is for {doing}: write use: {use} or use: both at one of them.")
    crop = cube.crop or (cube.shape and (0, cube.shape[0], 0, cube.shape[1]))  # else the split will see
    rows, columns = (crop[1] - crop[0], crop[3] - crop[2]) if crop else (scene.test.rows + 1, scene.test.columns)
    if scene.test.rows > rows - ("both" in uses) or scene.test.columns > columns:
        told = f"{scene.test.rows} x {scene.test.columns} leave no room in {rows} x {columns} pixels"
        fail(f"{where}.test", f"{told}: choose less.")
    height, width = scene.test.tile_shape()
    if scene.composite.zoom:
        row, column, side = scene.composite.zoom
        if side < 1 or row + side > height or column + side > width:
            fail(f"{where}.composite.zoom", f"the box leaves the image: stay within {height} x {width}.")
    last = max(scene.composite.bands)
    if last > scene.bands:
        fail(f"{where}.composite.bands", f"{last} is beyond the last band: choose from 1 to {scene.bands}.")
    images = scene.test.rows * scene.test.columns // (height * width) * sum(f.use != "train" for f in cube.files)
    if scene.composite.image >= images:
        fail(f"{where}.composite.image", f"there are {images} test images: choose from 0 to {images - 1}.")


def _check_rows(e: Experiment, where: str, scenes: list[str], scales: list[int], rows: dict[str, str | None]) -> None:
    """The rows of a table or a figure and what they are of."""
    models = models_in_rows(rows)
    for label, model in models.items():
        require_known(model, e.models, f"{where}.rows.{label}")
    for scene in scenes:
        require_known(scene, e.scenes, f"{where}.scene")
        for scale in scales:
            require_known(f"x{scale}", e.patches, f"{where}.scale")
            sizes = [(f"scenes.{scene}.test.tile", side) for side in e.scenes[scene].test.tile_shape()]
            for key, side in [(f"patches.x{scale}.size", e.patches[f"x{scale}"].size), *sizes]:
                if side % scale:
                    fail(key, f"{side} is no multiple of the scale {scale}: choose {side // scale * scale or scale}.")
            for label, name in models.items():
                model, bands = e.models[name], e.scenes[scene].bands
                upsampler = model.upsampler.model_dump() if model.upsampler else None
                try:
                    check_sizes(model.arch, bands, scale, model.args, upsampler)
                except ConfigError as error:
                    fail(f"{where}.rows.{label}: models.{name} on {scene} x{scale}", f"{error}")


def _check_args(name: str, model: Model) -> None:
    """Check the arguments of a network against its specification."""
    spec = MODELS[model.arch]
    for key in model.args:
        require_known(key, spec.arguments, f"models.{name}.args")
    try:
        check_entry(model.arch)
        check_arguments(model.arch, model.args, model.upsampler and model.upsampler.model_dump())
    except ConfigError as error:
        raise ConfigError(f"config.yaml: models.{name}.{error}") from None
    if not spec.trainable and model.train is not None:
        fail(f"models.{name}.train", f"{model.arch} has nothing to train: write null.")
    if spec.trainable and model.train is None:
        fail(f"models.{name}.train", f"{model.arch} has to be trained: write {{}} or what differs.")
