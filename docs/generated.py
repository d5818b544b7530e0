"""A Sphinx directive that generates the reference of settings, commands and Python names from the code.

The description of a setting is its line under `Args:` in the docstring of its class (`lkca.config.schema` and
`lkca.data.catalog`); the build fails if a setting has none.
"""

import argparse
import inspect
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

import lkca
from lkca.cli import make_parser
from lkca.config.schema import Experiment
from lkca.data.readers.description import FORMAT_FACTS

PLAIN = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", NoneType: "`null`"}
LIMITS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "pattern": "matches `{}`"}


def describe_type(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """Return the type and range of a setting in words, such as `whole number ≥ 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    limits = read_limits(metadata)
    if origin is Annotated:
        return describe_type(arguments[0], (*arguments[1:], *metadata))
    if origin in (Union, UnionType):
        kinds = [describe_type(argument) for argument in arguments]
        return " or ".join(sorted(kinds, key=lambda kind: kind.startswith("list")))  # last, so that `each` ends there
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin is dict:
        return f"map of names to {describe_type(arguments[1])}"
    if origin in (list, tuple):
        items = " or ".join(dict.fromkeys(describe_type(argument) for argument in arguments if argument is not ...))
        most = len(arguments) if origin is tuple and ... not in arguments else limits.get("max_length")
        least = most if origin is tuple and ... not in arguments else limits.get("min_length")
        number = f" of {'' if most == least else 'at most '}{most} values" if most else ""
        return f"list{number}, each {items}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#settings-{annotation.__name__.lower()})"
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in limits.items()}
    words = [LIMITS[name].format(limit) for name, limit in limits.items() if name in LIMITS]
    return f"{PLAIN[annotation]} {' and '.join(words)}".strip()


def read_limits(metadata: tuple[Any, ...]) -> dict[str, Any]:
    """Return the constraints among the metadata of a type: name -> limit."""
    limits: dict[str, Any] = {}
    for constraint in metadata:
        if isinstance(constraint, FieldInfo):
            limits |= read_limits(tuple(constraint.metadata))
        for name in (*LIMITS, "min_length", "max_length"):
            if getattr(constraint, name, None) is not None:
                limits[name] = getattr(constraint, name)
    return limits


def read_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the entries under `Args:` in the docstring of a class: field -> description."""
    flags = re.MULTILINE | re.DOTALL
    section = re.search(r"^ *Args:\n(.*?)(?:\n\n|\Z)", model.__doc__ or "", flags)
    entries = re.findall(r"^ {8}([\w, ]+): (.*?)(?=^ {8}\S|\Z)", section[1] if section else "", flags)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def nested_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of settings inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from nested_models(argument)


def find_settings(model: type[BaseModel], path: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Yield a class of settings and those inside it, each with its place in config.yaml."""
    yield model, path
    for name, field in model.model_fields.items():
        key = ".*" if re.search(r"\b(dict|list|tuple)\b", str(field.annotation)) else ""
        for nested in nested_models(field.annotation):
            yield from find_settings(nested, f"{path}.{name}{key}".lstrip("."))


def write_settings(model: type[BaseModel], paths: list[str]) -> Iterator[str]:
    """Yield the Markdown of a class of settings."""
    descriptions = read_descriptions(model)
    summary = re.split(r"\n\s*\n", model.__doc__ or "")[0]
    yield from (f"(settings-{model.__name__.lower()})=", f"## {model.__name__}", "", " ".join(summary.split()), "")
    if all(paths):
        yield from (f"In {', '.join(f'`{path}`' for path in paths)}.", "")
    for name, field in model.model_fields.items():
        if name not in descriptions:
            raise ExtensionError(f"{model.__module__}.{model.__name__}: describe {name} under Args in the docstring")
        description = re.sub(r"\bNone\b", "null", descriptions[name])
        kind = describe_type(field.annotation, tuple(field.metadata))
        default = "" if field.is_required() else f" Default: `{write_yaml(field.default)}`."
        yield from (f"`{name}`", f": *{kind}.* {description}{default}", "")


def write_yaml(value: Any) -> str:
    """Return a default as config.yaml would write it."""
    if isinstance(value, BaseModel):
        return f"{{{', '.join(f'{name}: {write_yaml(inner)}' for name, inner in value)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def write_all_settings() -> Iterator[str]:
    """Yield the Markdown of all settings of config.yaml."""
    paths: dict[type[BaseModel], list[str]] = {}
    for model, path in find_settings(Experiment):
        paths.setdefault(model, []).append(path)
    for model, places in paths.items():
        yield from write_settings(model, places)


def write_commands() -> Iterator[str]:
    """Yield the Markdown of every command of `lkca.cli.parser`."""
    commands = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        yield from (f"## lkca {name}", "", command.description or "", "")
        yield from ("```text", command.format_usage().removeprefix("usage: ").strip(), "```", "")
        for action in command._actions:
            if action.help and not isinstance(action, argparse._HelpAction):
                label = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar}`"
                is_file = "." in action.help.split()[0]  # such as config.yaml, which keeps its small letter
                text = action.help if is_file else action.help[0].upper() + action.help[1:]
                yield from (label, f": {text}.", "")


def write_api() -> Iterator[str]:
    """Yield the Markdown of the public names of `lkca`."""
    for name in lkca.__all__:
        value = getattr(lkca, name)
        if isinstance(value, dict):
            entries = {key: describe_entry(name, entry) for key, entry in value.items()}
            yield from (f"## lkca.{name}", "")
            yield from (line for key, text in entries.items() for line in (f"`{key}`", f": {text}", ""))
        else:
            kind = "autoexception" if isinstance(value, type) else "autofunction"
            yield from (f"## lkca.{name}", "", "```{eval-rst}", f".. {kind}:: lkca.{name}", "```", "")


def describe_entry(registry: str, entry: Any) -> str:
    """Return one sentence about an entry of a public dict."""
    if registry == "SCORES":
        return inspect.getdoc(entry.function).split("\n")[0]
    if registry == "MODELS":
        return f"{entry.class_name}. Arguments: {', '.join(f'`{name}`' for name in entry.arguments) or 'none'}."
    return f"{entry.sensor}, bands {entry.bands}. {entry.citation}. Terms: {entry.terms}."


FACTS = {  # field of CubeDescription -> what the matrix of formats calls it
    "gains": "gain and offset",
    "invalid": "values of invalid pixels",
    "valid_range": "range of valid values",
    "has_mask": "mask of invalid pixels",
    "nanometres": "wavelengths",
    "fwhm": "FWHM",
    "bad_bands": "bad bands",
    "crs": "coordinate system",
    "geotransform": "position of the pixels",
    "units": "units",
    "history": "history",
}


def write_formats() -> Iterator[str]:
    """Yield a table of the facts that each format can declare."""
    yield f"| Format | {' | '.join(FACTS.values())} |"
    yield "|---" * (len(FACTS) + 1) + "|"
    for name, facts in FORMAT_FACTS.items():
        if unknown := facts - FACTS.keys():
            raise ExtensionError(f"{name} has facts without a name in the table: {', '.join(unknown)}")
        yield f"| {name} | {' | '.join('yes' if fact in facts else '–' for fact in FACTS)} |"


class Generated(SphinxDirective):
    """Insert generated Markdown: `settings`, `commands`, `api` or `formats`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed Markdown."""
        writers = {
            "settings": write_all_settings,
            "commands": write_commands,
            "api": write_api,
            "formats": write_formats,
        }
        return self.parse_text_to_nodes("\n".join(writers[self.arguments[0]]()), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True}
