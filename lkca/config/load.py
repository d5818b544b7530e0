"""Read config.yaml and its overlays, and check the result."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lkca.config.messages import SettingError, fail, require_known, show, validate
from lkca.config.schema import MAX_ENTRIES, Experiment
from lkca.config.validate import check_references
from lkca.config.yaml_files import MAX_SHOWN, Map, deep_merge, find_place, list_places, parse_yaml, read_yaml
from lkca.data.bands import resolve_bands
from lkca.data.catalog import ALL_BANDS, CUBES, Cube
from lkca.errors import ConfigError, LkcaError

BASE = Path("config.yaml")  # in the current folder
MAX_BASES = 20  # models of which each is based on the next
REPOSITORY = Path(__file__).parents[2]


def find_config_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files to read for these ones, as Snakemake does: config.yaml of the current folder is the first.

    If there is no config.yaml, or it is already the first, these are the files.

    Raises:
        ConfigError: If config.yaml is wanted but is not in the current folder.
    """
    if not BASE.exists() and (not paths or BASE in paths):
        here = Path.cwd() == REPOSITORY
        remedy = "restore it, git checkout config.yaml" if here else f"change to the checkout of lkca, cd {REPOSITORY}"
        raise ConfigError(f"{BASE.absolute()} does not exist: {remedy}, or name another file with --config.")
    is_first = not BASE.exists() or (bool(paths) and paths[0].exists() and paths[0].samefile(BASE))
    return [*([] if is_first else [BASE]), *paths]


def read_config(paths: Sequence[Path], options: Iterable[str] = ()) -> Experiment:
    """Return the experiment that config.yaml and its overlays describe, after checking it.

    Args:
        paths: The files; each one is merged over the files before it.
        options: Settings as KEY=VALUE, with a value in YAML, which are merged over the files: those of `--config` of
            Snakemake.

    Raises:
        ConfigError: If a file cannot be read or is not a YAML map, or on the first setting that is wrong.
    """
    return parse_config(reduce(deep_merge, [*map(read_yaml, paths), *map(parse_option, options)]))


def parse_option(text: str) -> Map:
    """Return the setting of an option KEY=VALUE; see `read_config`.

    Raises:
        ConfigError: If it has another form or its value is not valid YAML.
    """
    key, equals, value = text.partition("=")
    if not equals:
        fail("--config", f"{text[:MAX_SHOWN]} has no value: write KEY=VALUE.")
    require_known(key, Experiment.model_fields, "--config")
    return Map({key: parse_yaml(value, lambda line: "--config")}, {key: "--config"})


class Snapshot(BaseModel):
    """A checked configuration, as a JSON file for jobs, which must not see later edits of config.yaml.

    Args:
        experiment: The experiment.
        places: Key -> file and line where the setting is written.
    """

    experiment: Experiment
    places: dict[str, str]


def dump_snapshot(experiment: Experiment, secrets: dict[str, str] | None = None) -> str:
    """Return the JSON of the snapshot of an experiment, without what may be secret in the URLs of its files.

    Args:
        experiment: The experiment.
        secrets: Gets these URLs: name -> URL. The names must be environment variables of the jobs; see `read_snapshot`.
    """
    return Snapshot(experiment=experiment, places=experiment._places).model_dump_json(context=secrets)


def read_snapshot(path: Path) -> Experiment:
    """Return the experiment of a snapshot, the JSON file that `lkca.pipeline.rules.write_snapshot` has written.

    Raises:
        ConfigError: If the file is missing or has other content.
    """
    try:
        snapshot = Snapshot.model_validate_json(path.read_bytes(), context=os.environ)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): run snakemake again.") from error
    except ValidationError:
        raise ConfigError(f"{path} is not a configuration written by the workflow: run snakemake again.") from None
    snapshot.experiment._places = snapshot.places
    return snapshot.experiment


def parse_config(config: Mapping[str, Any]) -> Experiment:
    """Return the experiment that a configuration describes, after checking it.

    Args:
        config: The content of config.yaml, with the overlays merged in.

    Raises:
        ConfigError: On the first setting that is wrong, with its file and line, its key and the most similar valid key.
    """
    config = deep_merge(config, {})
    try:
        for name in ("scenes", "models"):  # which are parsed before the schema is applied
            if isinstance(config.get(name), Mapping) and len(config[name]) > MAX_ENTRIES:
                fail(name, f"there are {len(config[name]):,}: write at most {MAX_ENTRIES}.")
        if isinstance(config.get("models"), Mapping):
            config |= {"models": _parse_models(config["models"], config.get("train"))}
        experiment = validate(Experiment, _parse_inline_cubes(config))
        experiment._places = list_places(config)
        check_references(experiment)
    except SettingError as error:
        raise ConfigError(f"{find_place(list_places(config), error.key) or BASE}: {error}") from None
    return experiment


@contextmanager
def locate_errors(experiment: Experiment) -> Iterator[None]:
    """Add file and line to errors of the block about a setting, which begin with its key, such as scenes.chikusei.test.

    Raises:
        ConfigError: The error, with the place.
    """
    try:
        yield
    except ConfigError as error:
        key = re.split("[: ]", str(error))[0]
        place = find_place(experiment._places, key) if key.partition(".")[0] in Experiment.model_fields else ""
        raise ConfigError(f"{place}: {error}" if place else str(error)) from None


def _parse_inline_cubes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with each cube that a scene itself describes as a `Cube`, after checking it."""
    scenes = config.get("scenes")
    if not isinstance(scenes, Mapping):
        return {**config}
    parsed = {name: _parse_scene(name, scene) for name, scene in scenes.items() if isinstance(scene, Mapping)}
    return {**config, "scenes": {**scenes, **parsed}}


def _parse_scene(name: str, scene: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scene with the cube that it describes as a `Cube`, and with the number of its bands instead of `all`."""
    scene = {"title": name, "bands": ALL_BANDS, **scene}
    cube = scene.get("cube")
    if isinstance(cube, Mapping):
        cube = validate(Cube, cube, f"scenes.{name}.cube")
        try:
            cube = scene["cube"] = resolve_bands(cube)
        except LkcaError as error:
            fail(f"scenes.{name}.cube", str(error))
    elif isinstance(cube, str):
        cube = CUBES.get(cube)
    if scene["bands"] == ALL_BANDS and isinstance(cube, Cube):
        scene["bands"] = len(cube.band_numbers())
    return scene


def _parse_models(models: Mapping[str, Any], train: Any) -> Map:
    """Return the models; each is merged over its base, and its training settings are merged over `train`."""
    for name, model in models.items():
        if not isinstance(model, Mapping):
            fail(
                f"models.{name}",
                f"{show(model)} is not a map of settings: write one, or base: and the settings that differ.",
            )
    resolved, known = deep_merge(models, {}), dict[str, Map]()
    for name in models:
        model = resolved[name] = deep_merge(_resolve_base(name, models, (), known), {})
        if isinstance(model.get("train"), Mapping) and isinstance(train, Mapping):
            model["train"] = deep_merge(train, model["train"])
    return resolved


def _resolve_base(name: str, models: Mapping[str, Any], derived: tuple[str, ...], known: dict[str, Map]) -> Map:
    """Return the settings of a model, merged over those of its `base`, which may have a base itself.

    Args:
        name: The model.
        models: The settings of all models as they are written.
        derived: The models that are based on it and wait for its settings.
        known: The results of earlier calls.
    """
    if name not in known:
        model = deep_merge(models[name], {})
        base = model.pop("base", None)
        if base is not None:
            require_known(base, models, f"models.{name}.base")
            if base in (*derived, name):
                fail(f"models.{name}.base", f"{base} is itself based on {name}: name another model.")
            if len(derived) >= MAX_BASES:
                fail(f"models.{name}.base", f"more than {MAX_BASES} models are based on each other: write fewer.")
            model = deep_merge(_resolve_base(base, models, (*derived, name), known), model)
        known[name] = model
    return known[name]
