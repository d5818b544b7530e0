"""Read config.yaml and its overlays, and say in one sentence what is wrong with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lkca.config.messages import fail, require_known, validate
from lkca.config.schema import Experiment
from lkca.config.validate import check_references
from lkca.data.catalog import Cube
from lkca.errors import LkcaError


def read_config(paths: Sequence[Path]) -> Experiment:
    """Read config.yaml and the overlays behind it, and check the whole.

    Raises:
        LkcaError: If a file is missing or no YAML map, or on the first setting that is wrong.
    """
    config: dict[str, Any] = {}
    for path in paths:
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise LkcaError(f"{path} cannot be read ({error.strerror}): name a configuration file.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise LkcaError(f"{path} is no YAML ({' '.join(str(error).split())}): correct it.") from error
        if not isinstance(layer, Mapping):
            raise LkcaError(f"{path} holds no settings: write a map of them, like config.yaml's.")
        config = deep_merge(config, layer)
    return parse_config(config)


def read_snapshot(path: Path) -> Experiment:
    """Read a checked configuration, as Experiment.model_dump_json() gives it.

    Raises:
        LkcaError: If the file is missing or holds something else.
    """
    try:
        return Experiment.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LkcaError(f"{path} cannot be read ({error.strerror}): run snakemake again.") from error
    except ValidationError:
        raise LkcaError(f"{path} is no configuration that the workflow has written: run snakemake again.") from None


def parse_config(config: Mapping[str, Any]) -> Experiment:
    """Check a whole configuration.

    Args:
        config: config.yaml as YAML gives it, overlays merged in.

    Raises:
        LkcaError: On the first thing that is wrong, with the key and the nearest valid one.
    """
    config = dict(config)
    models = config.get("models")
    if isinstance(models, Mapping):
        for name, model in models.items():
            if not isinstance(model, Mapping):
                fail(f"models.{name}", f"{model!r} is no map of settings: write one, or base: and what differs.")
        resolved = {name: _resolve_base(name, models, ()) for name in models}
        shared = config.get("train")
        for model in resolved.values():
            if isinstance(model.get("train"), Mapping) and isinstance(shared, Mapping):
                model["train"] = deep_merge(shared, model["train"])
        config["models"] = resolved
    scenes = config.get("scenes")
    if isinstance(scenes, Mapping):
        config["scenes"] = {
            name: _parse_inline_cube(f"config.yaml: scenes.{name}.cube", scene) for name, scene in scenes.items()
        }
    checked = validate(Experiment, config, "config.yaml")
    check_references(checked)
    return checked


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: maps are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = deep_merge(result[key], value) if both else value
    return result


def _parse_inline_cube(where: str, scene: Any) -> Any:
    """A scene whose cube is described by config.yaml itself, with that description checked."""
    if not isinstance(scene, Mapping) or not isinstance(scene.get("cube"), Mapping):
        return scene
    return {**scene, "cube": validate(Cube, scene["cube"], where)}


def _resolve_base(name: str, models: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    """A model's settings with those of its `base`, and of that one's, underneath."""
    model = dict(models[name])
    base = model.pop("base", None)
    if base is None:
        return model
    require_known(base, models, f"models.{name}.base")
    if base in (*seen, name):
        fail(f"models.{name}.base", f"{base} leads back to {name}: name a model that does not.")
    return deep_merge(_resolve_base(base, models, (*seen, name)), model)
