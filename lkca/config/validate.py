"""Check settings against each other: names must exist, and sizes must fit and divide each other."""

import re
from collections.abc import Sequence

from pydantic import ValidationError

from lkca.config.figure_kinds import FIGURE_KINDS, check_kind
from lkca.config.messages import SettingError, fail, make_error, require_known
from lkca.config.schema import Experiment, Figure, Model, Override, Rows, Scene, Train, models_in_rows
from lkca.core.paths import RunGroup
from lkca.data.catalog import CUBES
from lkca.data.settings import MAX_PATCHES, count_patches
from lkca.errors import ConfigError
from lkca.models.registry import MODELS, REGISTRY, check_arguments, check_entry, check_sizes, estimate_cost

# Limits of products of settings. Like those of the schema, they are far above any real use.
MAX_RUNS = 10_000
MAX_TEST_IMAGES = 10_000
MAX_BYTES = 10**12  # of a network with its gradient, Adam's two moments and the activations of one patch


def check_references(experiment: Experiment) -> None:
    """Check the settings of an experiment against each other.

    Raises:
        ConfigError: On the first setting that is wrong.
    """
    for name in experiment.report.tables:
        require_known(name, experiment.tables, "report.tables")
    for name in experiment.report.figures:
        require_known(name, experiment.figures, "report.figures")
    for name, scene in experiment.scenes.items():
        _check_scene(f"scenes.{name}", scene)
    for name, model in experiment.models.items():
        _check_model(experiment, f"models.{name}", model)
    for index, override in enumerate(experiment.overrides):
        _check_override(experiment, f"overrides.{index}", override)
    for name, table in experiment.tables.items():
        require_known(table.scene, experiment.scenes, f"tables.{name}.scene")
        for scale in table.scales:
            require_known(f"x{scale}", experiment.patches, f"tables.{name}.scales")
        _check_rows(experiment, f"tables.{name}", [table.scene], table.scales, table.rows)
    for name, figure in experiment.figures.items():
        _check_figure(experiment, f"figures.{name}", figure)
    num_groups, num_seeds = len(experiment.groups()), len(experiment.seeds)
    if num_groups * num_seeds > MAX_RUNS:
        runs = f"{num_groups:,} networks on scenes with {num_seeds:,} seeds"
        fail("seeds", f"{runs} are more than {MAX_RUNS:,} runs: choose fewer seeds, tables or figures.")


def _check_scene(key: str, scene: Scene) -> None:
    if isinstance(scene.cube, str):
        require_known(scene.cube, CUBES, f"{key}.cube")
    cube = scene.resolve_cube()
    num_bands = len(cube.band_numbers())
    if scene.bands > num_bands:
        fail(f"{key}.bands", f"{scene.bands} is more than the cube's {num_bands}: choose {num_bands} or fewer.")
    uses = {file.use for file in cube.files}
    for use, purpose in (("test", "testing"), ("train", "training")):
        if not uses & {use, "both"}:
            fail(f"{key}.cube.files", f"no file is for {purpose}: set use: {use} or use: both for one of them.")
    for name, files in (("files", cube.files), ("forms", cube.forms)):
        for index, file in enumerate(files):
            if not all(re.match("https?://", url, re.IGNORECASE) for url in file.sources):
                fail(f"{key}.cube.{name}.{index}.sources", "write URLs that begin with http:// or https://.")
    _check_test_area(key, scene)
    _check_composite(f"{key}.composite", scene)


def _check_test_area(key: str, scene: Scene) -> None:
    """Check that the test area leaves room for training; skip it if the shape of the files is not known yet."""
    cube = scene.resolve_cube()
    known = _known_size(scene)
    if not known:
        return
    rows, columns = known
    shared = any(file.use == "both" for file in cube.files)  # training needs at least one row of these files
    test = scene.test
    too_low = test.row + test.rows > rows or test.rows > rows - shared
    if too_low or test.column + test.columns > columns:
        size = f"{test.rows} x {test.columns}" + (f" at {test.row}, {test.column}" if test.row or test.column else "")
        fail(f"{key}.test", f"{size} leaves no room for training in {rows} x {columns} pixels: choose less.")


def _known_size(scene: Scene) -> tuple[int, int] | None:
    """Return the rows and columns of each file of a scene after its crop, None if they are not known yet."""
    cube = scene.resolve_cube()
    crop = cube.crop or (cube.shape and (0, cube.shape[0], 0, cube.shape[1]))
    return (crop[1] - crop[0], crop[3] - crop[2]) if crop else None


def _check_composite(key: str, scene: Scene) -> None:
    height, width = scene.test.tile_shape()
    if scene.composite.zoom:
        row, column, side = scene.composite.zoom
        if side < 1 or row + side > height or column + side > width:
            fail(f"{key}.zoom", f"the box is not inside the image: stay within {height} x {width}.")
    last = max((band for band in scene.composite.bands or [] if isinstance(band, int)), default=0)
    if last > scene.bands:
        choices = f"choose from 1 to {scene.bands}, or write a wavelength such as 660 nm"
        fail(f"{key}.bands", f"{last} is more than the number of bands: {choices}.")
    tiles = scene.test.rows * scene.test.columns // (height * width)
    images = tiles * sum(file.use != "train" for file in scene.resolve_cube().files)
    if images > MAX_TEST_IMAGES:
        too_many = f"there are {images:,} test images, more than {MAX_TEST_IMAGES:,}"
        fail(f"{key}.image", f"{too_many}: choose a smaller test area or larger tiles.")
    if scene.composite.image >= images:
        fail(f"{key}.image", f"there are {images} test images: choose from 0 to {images - 1}.")


def _check_model(experiment: Experiment, key: str, model: Model) -> None:
    require_known(model.arch, MODELS, f"{key}.arch", f"add it to {REGISTRY}")
    spec = MODELS[model.arch]
    try:
        check_entry(model.arch)
    except ConfigError as error:
        fail(key, str(error))
    for name in model.args:
        require_known(name, spec.arguments, f"{key}.args", f"give it a range at {model.arch} in {REGISTRY}")
    try:
        check_arguments(model.arch, model.args, model.upsampler.model_dump() if model.upsampler else None)
    except ConfigError as error:
        name = re.split("[: ]", str(error))[0]  # such as args.width
        raise SettingError(f"{key}.{name}", str(error).removeprefix(name)) from None
    if not spec.trainable and model.train is not None:
        fail(f"{key}.train", f"{model.arch} has nothing to train: write null.")
    if spec.trainable and model.train is None:
        fail(f"{key}.train", f"{model.arch} has to be trained: write {{}} or the settings that differ.")
    if model.distill:
        require_known(model.distill.teacher, experiment.models, f"{key}.distill.teacher")
        teacher = experiment.models[model.distill.teacher]
        if teacher.train is None or teacher.distill or model.train is None:
            fail(
                f"{key}.distill.teacher",
                "teacher and student must be trained, and the teacher must have no teacher: choose another.",
            )


def _check_override(experiment: Experiment, key: str, override: Override) -> None:
    require_known(override.scene, experiment.scenes, f"{key}.scene")
    require_known(f"x{override.scale}", experiment.patches, f"{key}.scale")
    for name in override.train:
        require_known(name, Train.model_fields, f"{key}.train")
    trained = [name for name in experiment.models if experiment.is_trained(name)]
    for name in override.models:
        require_known(name, trained, f"{key}.models")
        try:
            experiment.train_settings(RunGroup(override.scene, override.scale, name))
        except ValidationError as error:
            raise make_error(Train, error, override.train, f"{key}.train") from None


def _check_figure(experiment: Experiment, key: str, figure: Figure) -> None:
    try:
        check_kind(figure.kind)
    except ConfigError as error:
        fail(key, str(error))
    lacks = FIGURE_KINDS[figure.kind].untrained_lacks
    for label, model in figure.rows.items():
        if lacks and model in experiment.models and not experiment.is_trained(model):
            fail(f"{key}.rows.{label}", f"{model} has {lacks}: choose another model.")
    for scene in figure.scenes:
        require_known(scene, experiment.scenes, f"{key}.scenes")
    require_known(f"x{figure.scale}", experiment.patches, f"{key}.scale")
    _check_rows(experiment, key, figure.scenes, [figure.scale], figure.rows)


def _check_rows(experiment: Experiment, key: str, scenes: Sequence[str], scales: Sequence[int], rows: Rows) -> None:
    """Check the rows of a table or a figure, and the sizes of their runs."""
    models = models_in_rows(rows)
    for label, model in models.items():
        require_known(model, experiment.models, f"{key}.rows.{label}")
    for scene in scenes:
        for scale in scales:
            _check_scale(experiment, scene, scale)
            for label, model in models.items():
                _check_run(experiment, f"{key}.rows.{label}", RunGroup(scene, scale, model))


def _check_scale(experiment: Experiment, scene: str, scale: int) -> None:
    """Check that patches and test images are multiples of the scale."""
    sides = [(f"patches.x{scale}.size", experiment.patches[f"x{scale}"].size)]
    sides += [(f"scenes.{scene}.test.tile", side) for side in experiment.scenes[scene].test.tile_shape()]
    for key, side in sides:
        if side % scale:
            nearest = side // scale * scale or scale
            fail(key, f"{side} is not a multiple of the scale {scale}: choose {nearest}.")
    known, patches = _known_size(experiment.scenes[scene]), experiment.patches[f"x{scale}"]
    if known:
        files = [file for file in experiment.scenes[scene].resolve_cube().files if file.use != "test"]
        number = len(files) * count_patches(*known, patches.size, patches.stride)
        if number > MAX_PATCHES:
            what = f"{scene} has {number:,} of these patches, more than {MAX_PATCHES:,}"
            fail(f"patches.x{scale}.stride", f"{what}: choose a larger stride.")


def _check_run(experiment: Experiment, key: str, group: RunGroup) -> None:
    """Check that a network supports the number of bands of a scene, and a scale."""
    model, bands = experiment.models[group.model], experiment.scenes[group.scene].bands
    upsampler = model.upsampler.model_dump() if model.upsampler else None
    where = f"models.{group.model} on {group.scene} x{group.scale}"
    try:
        check_sizes(model.arch, bands, group.scale, model.args, upsampler)
        cost = estimate_cost(model.arch, bands, group.scale, model.args, upsampler)
    except ConfigError as error:
        fail(key, f"{where}: {error}")
    pixels = (experiment.patches[f"x{group.scale}"].size // group.scale) ** 2
    needed = 16 * cost.parameters + 4 * cost.activations * pixels
    if model.train and needed > MAX_BYTES:
        fail(key, f"{where} needs about {needed / 1e12:.0f} TB of memory: choose a smaller network or smaller patches.")
