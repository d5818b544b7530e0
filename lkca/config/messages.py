"""Error messages about settings: one sentence with the key, the fault and the most similar valid key."""

import inspect
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from lkca.errors import ConfigError

T = TypeVar("T", bound=BaseModel)
TYPES_IN_LOCATIONS = ("int", "float", "str", "Cube")  # pydantic names the type that failed as part of the location
MAX_SHOWN_VALUE = 80  # characters


def validate(kind: type[T], values: Any, where: str) -> T:
    """Return values as an instance of a model, after checking them.

    Args:
        kind: The class of the model.
        values: A map of settings, as YAML or JSON gives it.
        where: The file or the key, for the message.

    Raises:
        ConfigError: On the first wrong value.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(format_error(kind, error, where)) from None


def format_error(kind: type[BaseModel], error: ValidationError, where: str) -> str:
    """Return a sentence about the first wrong value."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in TYPES_IN_LOCATIONS]
    path = [part for part in path if not re.search(r"constrained|\[", part)]
    key, value, error_type = f"{where}: {'.'.join(path)}", first["input"], first["type"]
    if error_type == "extra_forbidden":
        return f"{key} is not a setting{_suggest(path[-1], _fields_at(kind, path[:-1]))}"
    if error_type == "missing":
        return f"{key} is missing: set it."
    if "[key]" in first["loc"] and not isinstance(value, str):
        return f"{key} is the number {value!r}: put the key in quotes."
    if error_type in ("model_type", "dict_type"):
        return f"{key} is {value!r}: write a map of settings."
    if error_type in ("float_type", "int_type") and isinstance(value, str):
        return f"{key} is the text {value!r}, not a number: write numbers without quotes and 1e-3 as 1.0e-3."
    if error_type == "literal_error" and (choices := re.findall(r"'([^']*)'", first["ctx"]["expected"])):
        return f"{key} is {value!r}, which does not exist{_suggest(str(value), choices)}"
    text = first["msg"].replace("tuple", "list")
    message = text.removeprefix("Value error, ") if error_type == "value_error" else text[:1].lower() + text[1:]
    shown = "" if isinstance(value, Mapping) or len(repr(value)) > MAX_SHOWN_VALUE else f" is {value!r}"
    return f"{key}{shown}: {message}."


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
    return f": did you mean {similar[0]}?" if similar else f": choose one of {', '.join(sorted(valid))}."


def fail(key: str, message: str) -> NoReturn:
    """Raise a ConfigError about a setting of config.yaml."""
    raise ConfigError(f"config.yaml: {key}: {message}")


def require_known(name: object, valid: Iterable[str], key: str, otherwise: str = "") -> None:
    """Check that a setting of config.yaml names something that exists.

    Raises:
        ConfigError: If it does not exist; the message has the most similar valid name, and what to do
            otherwise, if that is given.
    """
    valid = [*valid]
    if name not in valid:
        fail(key, f"{name} does not exist{_suggest(str(name), valid)}{otherwise and f' Or {otherwise}.'}")
