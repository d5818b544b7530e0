"""Say in one sentence, with the key and the nearest valid one, what is wrong with a setting."""

import inspect
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from lkca.errors import ConfigError

T = TypeVar("T", bound=BaseModel)


def validate(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Validate, or say in one sentence what is wrong first."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(format_error(kind, error.errors()[0], where)) from None


PYDANTIC = ("int", "float", "str", "Cube")  # parts of its own in a path


def format_error(kind: type[BaseModel], error: Mapping[str, Any], where: str) -> str:
    path = [str(part) for part in error["loc"] if part not in PYDANTIC and not re.search(r"constrained|\[", str(part))]
    place = f"{where}: {'.'.join(path)}"
    if error["type"] == "extra_forbidden":
        return f"{place} is no setting{_suggestion(path[-1], _fields_at(kind, path[:-1]))}"
    if error["type"] == "missing":
        return f"{place} is missing: set it."
    value = error["input"]
    if "[key]" in error["loc"] and not isinstance(value, str):
        return f"{place} is the number {value!r}: put the key in quotes."
    if error["type"] in ("model_type", "dict_type"):
        return f"{place} is {value!r}: write a map of settings."
    if error["type"] in ("float_type", "int_type") and isinstance(value, str):
        return f"{place} is the text {value!r}, not a number: write numbers without quotes and 1e-3 as 1.0e-3."
    told = error["msg"].replace("tuple", "list")
    told = told.removeprefix("Value error, ") if error["type"] == "value_error" else told[:1].lower() + told[1:]
    shown = "" if isinstance(value, Mapping) or len(repr(value)) > 80 else f" is {value!r}"
    return f"{place}{shown}: {told}."


def _fields_at(kind: type[BaseModel], path: list[str]) -> Iterable[str]:
    """The settings that exist at a path inside `kind`; keys of maps and list indices are passed over."""
    for part in path:
        field = kind.model_fields.get(part)
        if field is not None:
            inner = [t for t in _types_in(field.annotation) if inspect.isclass(t) and issubclass(t, BaseModel)]
            if inner:
                kind = inner[0]
    return [*kind.model_fields, *(["base"] if "arch" in kind.model_fields else [])]


def _types_in(annotation: Any) -> Iterable[Any]:
    """A type and all types inside it."""
    yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _types_in(part)


def _suggestion(word: str, valid: Iterable[str]) -> str:
    valid = [str(v) for v in valid]
    if not valid:
        return ": there are none, delete it."
    near = get_close_matches(word, valid, 1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": choose one of {', '.join(sorted(valid))}."


def fail(where: str, told: str) -> NoReturn:
    raise ConfigError(f"config.yaml: {where}: {told}")


def require_known(name: Any, valid: Iterable[str], where: str) -> None:
    if name not in list(valid):
        fail(where, f"{name!s} does not exist{_suggestion(str(name), valid)}")
