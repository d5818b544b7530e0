"""Read config.yaml and its overlays, and check the result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lkca.config.messages import fail, require_known, validate
from lkca.config.schema import Experiment
from lkca.config.validate import check_references
from lkca.data.catalog import Cube
from lkca.errors import ConfigError


def read_config(paths: Sequence[Path]) -> Experiment:
    """Return the experiment that config.yaml and its overlays describe, after checking it.

    Args:
        paths: The files; each one is merged over the files before it.

    Raises:
        ConfigError: If a file is missing or is not a YAML map, or on the first setting that is wrong.
    """
    config: dict[str, Any] = {}
    for path in paths:
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror}): name a configuration file.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid YAML ({' '.join(str(error).split())}): correct it.") from error
        if not isinstance(layer, Mapping):
            raise ConfigError(f"{path} has no settings: write a map of them, like config.yaml.")
        config = deep_merge(config, layer)
    return parse_config(config)


def read_snapshot(path: Path) -> Experiment:
    """Return the experiment of a snapshot, the JSON file that `lkca.pipeline.rules.write_snapshot` has written.

    Raises:
        ConfigError: If the file is missing or has other content.
    """
    try:
        return Experiment.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): run snakemake again.") from error
    except ValidationError:
        raise ConfigError(f"{path} is not a configuration written by the workflow: run snakemake again.") from None


def parse_config(config: Mapping[str, Any]) -> Experiment:
    """Return the experiment that a configuration describes, after checking it.

    Args:
        config: The content of config.yaml, with the overlays merged in.

    Raises:
        ConfigError: On the first setting that is wrong, with its key and the most similar valid key.
    """
    config = dict(config)
    if isinstance(config.get("models"), Mapping):
        config["models"] = _parse_models(config["models"], config.get("train"))
    scenes = config.get("scenes")
    if isinstance(scenes, Mapping):
        config["scenes"] = {name: _parse_inline_cube(name, scene) for name, scene in scenes.items()}
    experiment = validate(Experiment, config, "config.yaml")
    check_references(experiment)
    return experiment


def deep_merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` changed by `overlay`: maps are merged, all other values are replaced."""
    result = dict(base)
    for key, value in overlay.items():
        both_maps = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = deep_merge(result[key], value) if both_maps else value
    return result


def _parse_inline_cube(name: str, scene: Any) -> Any:
    """Return a scene; if it describes a cube itself, the description is checked and becomes a `Cube`."""
    if not isinstance(scene, Mapping) or not isinstance(scene.get("cube"), Mapping):
        return scene
    return {**scene, "cube": validate(Cube, scene["cube"], f"config.yaml: scenes.{name}.cube")}


def _parse_models(models: Mapping[str, Any], train: Any) -> dict[str, Any]:
    """Return the models; each is merged over its base, and its training settings are merged over `train`."""
    for name, model in models.items():
        if not isinstance(model, Mapping):
            fail(
                f"models.{name}",
                f"{model!r} is not a map of settings: write one, or base: and the settings that differ.",
            )
    resolved = {name: _resolve_base(name, models, ()) for name in models}
    for model in resolved.values():
        if isinstance(model.get("train"), Mapping) and isinstance(train, Mapping):
            model["train"] = deep_merge(train, model["train"])
    return resolved


def _resolve_base(name: str, models: Mapping[str, Any], derived: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of a model, merged over those of its `base`, which may have a base itself."""
    model = dict(models[name])
    base = model.pop("base", None)
    if base is None:
        return model
    require_known(base, models, f"models.{name}.base")
    if base in (*derived, name):
        fail(f"models.{name}.base", f"{base} is itself based on {name}: name another model.")
    return deep_merge(_resolve_base(base, models, (*derived, name)), model)
