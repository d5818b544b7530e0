"""Check whether a run will accept the files of a scene: the part of `lkca verify` that concerns all files together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lkca.config.schema import Experiment
from lkca.config.settings import make_split_settings
from lkca.data.catalog import File
from lkca.data.composite import choose_bands
from lkca.data.inspection import compare_files, resolve_wavelengths
from lkca.data.measurement import Measurement
from lkca.data.scenes import check_distinct, choose_divisor, lay_out, stack_masks
from lkca.data.splits import check_image, describe_split, make_split
from lkca.data.windows import Area, InvalidPixels
from lkca.errors import ConfigError, LkcaError


def check_scene(
    experiment: Experiment,
    scene: str,
    files: Sequence[File],
    digests: Sequence[str],
    measurements: Sequence[Measurement],
) -> None:
    """Check the files of a scene as its jobs will, and print how the scene will be cut and divided.

    Args:
        experiment: The experiment.
        scene: Key of the scene.
        files: Its files.
        digests: Their SHA-256.
        measurements: The statistics of its bands in each file.

    Raises:
        ConfigError: If the settings do not fit the files, or the files do not fit each other. The message has a
            sentence for each problem.
    """
    config, first = experiment.scenes[scene], measurements[0]
    cube, problems = config.resolve_cube(), list[str]()
    print(scene)
    with _collect(problems):
        check_distinct(scene, files, digests)
    with _collect(problems):
        compare_files(files, measurements)
    with _collect(problems):
        nanometres, _, source = resolve_wavelengths(cube, first.description, first.bands)
        _print("bands", f"{len(first.bands)}; wavelengths: {source or 'unknown'}")
        colours = choose_bands(scene, config.composite.bands, nanometres, len(first.bands))
        _print("composite", f"bands {', '.join(map(str, colours))} of test image {config.composite.image}")
    with _collect(problems):
        maximum = max(band.maximum for measured in measurements for band in measured.statistics)
        _print("divisor", f"{choose_divisor(cube, files[0], maximum):g}")
    mask = stack_masks(measurements, config.mirror)
    _print("pixels", f"{mask.shape[0]} x {mask.shape[1]}, {mask.sum()} of them invalid")
    areas: list[Area] = [
        {"use": area["use"], "row": area["row"], "rows": area["rows"], "columns": area["columns"]}
        for area in lay_out(files, [measured.crop for measured in measurements])
    ]
    _check_splits(experiment, scene, areas, InvalidPixels(mask) if mask.any() else None, problems)
    if problems:
        raise ConfigError(" ".join(problems))


def _check_splits(
    experiment: Experiment, scene: str, areas: Sequence[Area], invalid: InvalidPixels | None, problems: list[str]
) -> None:
    """Print how a scene will be divided at each scale; add a sentence to `problems` if it cannot be divided."""
    scales = sorted({run.scale for run in experiment.runs() if run.scene == scene})
    if not scales:
        _print("split", "none, because no table or figure of the report shows the scene")
    for scale in scales:
        settings = make_split_settings(experiment, scene, scale)
        with _collect(problems):
            split = make_split(settings, areas, f"scenes.{scene}", invalid)
            check_image(scene, experiment.scenes[scene].composite.image, split)
            _print(f"split x{scale}", describe_split(settings, areas, split, invalid))


@contextmanager
def _collect(problems: list[str]) -> Iterator[None]:
    """Add the message of an error to a list of problems, unless the list has it already."""
    try:
        yield
    except LkcaError as error:
        if str(error) not in problems:
            problems.append(str(error))


def _print(label: str, text: str) -> None:
    print(f"  {label:<12} {text}")
