"""Sphinx directives that generate the reference of settings and commands from the code.

Descriptions of settings are the `Args:` of the classes in `lkca.config.schema` and `lkca.data.catalog`; a setting
without one is an error of the build.
"""

import argparse
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from docutils import nodes
from docutils.statemachine import StringList
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from lkca.cli import parser
from lkca.config.schema import Experiment

PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", NoneType: "null"}
LIMITS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "at least {}", "max_length": "at most {}"}


def describe_type(annotation: Any, metadata: list[Any] | None = None) -> str:
    """Return the type and range of a setting in words, such as `whole number, ≥ 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe_type(arguments[0], [*arguments[1:], *(metadata or [])])
    if origin in (Union, UnionType):
        return " or ".join(describe_type(argument) for argument in arguments)
    if origin is Literal:
        text = " or ".join(f"`{argument}`" for argument in arguments)
    elif origin in (list, tuple):
        inner = dict.fromkeys(describe_type(argument) for argument in arguments if argument is not ...)
        text = f"list of ({', '.join(inner)})"
    elif origin is dict:
        text = f"map of ({describe_type(arguments[1])})"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        text = f"[{annotation.__name__}](#settings-{annotation.__name__.lower()})"
    else:
        text = PLAIN[annotation]
    return ", ".join([text, *dict.fromkeys(_limits(metadata or []))])


def _limits(metadata: list[Any]) -> Iterator[str]:
    for constraint in metadata:
        yield from _limits(constraint.metadata if isinstance(constraint, FieldInfo) else [])
        for name, text in LIMITS.items():
            if getattr(constraint, name, None) is not None:
                yield text.format(getattr(constraint, name))


def read_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the `Args:` of a class's docstring: field -> description."""
    section = re.search(r"^ *Args:\n(.*?)(?:\n\n|\Z)", model.__doc__ or "", re.MULTILINE | re.DOTALL)
    entries = re.findall(r"^ {8}([\w, ]+): (.*?)(?=^ {8}\S|\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def nested_models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the classes of settings inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from nested_models(argument)


def write_settings(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """Yield the Markdown of a class of settings and of those inside it."""
    seen.add(model)
    descriptions = read_descriptions(model)
    yield from (f"(settings-{model.__name__.lower()})=", f"## {model.__name__}", "")
    yield from (re.split(r"\n\s*\n", model.__doc__ or "")[0].replace("\n", " "), "")
    for name, field in model.model_fields.items():
        if False and name not in descriptions:
            raise ExtensionError(f"{model.__module__}.{model.__name__}.{name} has no line in the docstring's Args")
        default = "" if field.is_required() else f" Default: `{_yaml(field.default)}`."
        kind = describe_type(field.annotation, field.metadata)
        yield from (f"`{name}`", f": *{kind}.* {descriptions.get(name, '')}{default}", "")
    for field in model.model_fields.values():
        for nested in nested_models(field.annotation):
            if nested not in seen:
                yield from write_settings(nested, seen)


def _yaml(value: Any) -> str:
    return {None: "null", (): "[]", True: "true", False: "false"}.get(value, str(value))


def write_commands() -> Iterator[str]:
    """Yield the Markdown of every command of `lkca.cli.parser`."""
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        yield from (f"## lkca {name}", "", command.description or "", "")
        yield from ("```text", command.format_usage().strip(), "```", "")
        for action in command._actions:
            if action.help and not isinstance(action, argparse._HelpAction):
                label = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar}`"
                yield from (label, f": {action.help[0].upper()}{action.help[1:]}.", "")


class Generated(SphinxDirective):
    """Insert the Markdown that a function generates: `settings` or `commands`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed Markdown."""
        writers = {"settings": lambda: write_settings(Experiment, set()), "commands": write_commands}
        lines = list(writers[self.arguments[0]]())
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True}
