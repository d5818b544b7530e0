"""Error messages about settings: one sentence with the key, the fault and the most similar valid key.

The reader of the settings adds where the setting is written: `lkca.config.load` the file and the line in config.yaml or
an overlay, and the readers of JSON files the path of the file.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lkca.config.yaml_files import MAX_SHOWN
from lkca.core.printing import printable
from lkca.data.urls import NOT_SHOWN, hide_secrets, is_url, public_url
from lkca.errors import ConfigError

T = TypeVar("T", bound=BaseModel)
MAX_CHOICES = 50  # names in a message


class SettingError(ConfigError):
    """A setting is wrong; the message begins with its key.

    Attributes:
        key: The key, with dots between its parts.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(printable(hide_secrets(f"{key}{message}")))
        self.key = key


def validate(kind: type[T], values: Any, key: str = "") -> T:
    """Return values as an instance of a model, after checking them.

    Args:
        kind: The class of the model.
        values: A map of settings, as YAML or JSON gives it.
        key: The key of the map, empty for that of a whole file.

    Raises:
        SettingError: On the first wrong value.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise make_error(kind, error, values, key) from None


def make_error(kind: type[BaseModel], error: ValidationError, values: Any, key: str = "") -> SettingError:
    """Return an error about the first wrong value; see `validate`."""
    first = error.errors()[0]
    path = []
    for part in first["loc"]:
        is_key = isinstance(values, Mapping) and part in values
        if is_key or (isinstance(values, list | tuple) and isinstance(part, int) and part < len(values)):
            values = values[part]
            path.append(str(part))
    if first["type"] == "missing":
        path.append(str(first["loc"][-1]))  # the other parts that the values do not have are types
    return SettingError(".".join([key, *path] if key else path), _describe_fault(kind, first, path))


def _describe_fault(kind: type[BaseModel], error: ErrorDetails, path: list[str]) -> str:
    """Return what follows the key in a message about a wrong value at a path inside a model."""
    value, error_type = error["input"], error["type"]
    if "sources" in path and isinstance(value, str | list | Mapping):
        value = NOT_SHOWN
    elif isinstance(value, str) and is_url(value):
        value = public_url(value)
    if error_type == "extra_forbidden":
        return f" is not a setting{_suggest(path[-1], _fields_at(kind, path[:-1]))}"
    if error_type == "missing":
        return " is missing: set it."
    if "[key]" in error["loc"] and not isinstance(value, str):
        return f" is the number {value!r}: put the key in quotes."
    if error_type in ("model_type", "dict_type"):
        return f" is {show(value)}: write a map of settings."
    if error_type in ("float_type", "int_type", "float_parsing", "int_parsing") and isinstance(value, str):
        return f" is the text {show(value)}, not a number: write a number, without quotes."
    if error_type in ("tuple_type", "list_type"):
        return f" is {show(value)}: write a list, in square brackets."
    if error_type == "string_type":
        return f" is {show(value)}, not a text: put a text in quotes."
    if error_type == "literal_error" and (choices := re.findall(r"'([^']*)'", error["ctx"]["expected"])):
        return f" is {show(value)}, which does not exist{_suggest(_shorten(str(value)), choices)}"
    text = error["msg"].replace("tuple", "list")
    message = text.removeprefix("Value error, ") if error_type == "value_error" else text[:1].lower() + text[1:]
    shown = "" if isinstance(value, Mapping) or len(repr(value)) > MAX_SHOWN else f" is {value!r}"
    return f"{shown}: {message}."


def show(value: Any) -> str:
    """Return a value as Python writes it, shortened."""
    return _shorten(repr(value))


def _shorten(text: str) -> str:
    """Return the start of a text."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _fields_at(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Return the settings that exist at a path inside a model; keys of maps and indices of lists are skipped."""
    for part in path:
        field = kind.model_fields.get(part)
        if field is not None:
            types = _inner_types(field.annotation)
            models = [each for each in types if inspect.isclass(each) and issubclass(each, BaseModel)]
            if models:
                kind = models[0]
    return [*kind.model_fields, *(["base"] if "arch" in kind.model_fields else [])]


def _inner_types(annotation: Any) -> Iterable[Any]:
    """Yield a type and all types inside it."""
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _inner_types(part)


def _suggest(word: str, valid: Iterable[str]) -> str:
    """Return the end of a message: the most similar valid word, or all valid words."""
    valid = [*valid]
    if not valid:
        return ": there are none, delete it."
    similar = get_close_matches(word, valid, 1, cutoff=0.5)
    if similar:
        return f": did you mean {similar[0]}?"
    more = f" and {len(valid) - MAX_CHOICES} others" if len(valid) > MAX_CHOICES else ""
    return f": choose one of {', '.join(sorted(valid)[:MAX_CHOICES])}{more}."


def fail(key: str, message: str) -> NoReturn:
    """Raise a SettingError about a setting of config.yaml."""
    raise SettingError(key, f": {message}")


def require_known(name: object, valid: Iterable[str], key: str, otherwise: str = "") -> None:
    """Check that a setting of config.yaml names something that exists.

    Raises:
        SettingError: If it does not exist; the message has the most similar valid name, and what to do
            otherwise, if that is given.
    """
    valid = [*valid]
    if name not in valid:
        text = _shorten(str(name))
        fail(key, f"{text} does not exist{_suggest(text, valid)}{otherwise and f' Or {otherwise}.'}")
