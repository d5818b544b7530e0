"""Read and write run.json, which has all settings and the hashes of all inputs of one training."""

from pathlib import Path
from typing import Any

from lkca.config.messages import SettingError, validate
from lkca.config.schema import RunConfig
from lkca.config.settings import RunSettings
from lkca.core.files import read_json, sha256, write_json
from lkca.errors import ConfigError


def read_run(path: Path) -> RunConfig:
    """Read a run.json.

    Raises:
        DataError: If the file is missing or is not JSON.
        ConfigError: If it lacks a field of a run.json, or has a wrong one.
    """
    try:
        return validate(RunConfig, read_json(path))
    except SettingError as error:
        raise ConfigError(f"{path}: {error}") from None


def write_run(settings: RunSettings, seed: int, scene: Path, split: Path, teacher: Path | None, out: Path) -> None:
    """Write the run.json of a run.

    Args:
        settings: The settings of the run from config.yaml.
        seed: The seed of the run.
        scene: The manifest of the scene.
        split: The split of the scene.
        teacher: The run.json of the teacher, if the run has one.
        out: The run.json to write.
    """
    run = RunConfig(
        **dict(settings),
        seed=seed,
        scene_sha256=read_json(scene)["sha256"],
        split_sha256=sha256(split),
        teacher_sha256=sha256(teacher) if teacher else None,
    )
    write_json(out, dump_run(run))


def dump_run(run: RunConfig) -> dict[str, Any]:
    """Return the content of a run.json; without the settings that only `lkca sharpen` has if they are None."""
    own = ("blur", "smoothed", "averaged", "grid")
    return run.model_dump(exclude={name for name in own if getattr(run, name) is None})
