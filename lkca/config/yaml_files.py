"""Read YAML files so that each setting knows its file and line, and merge them.

Differences from PyYAML's `safe_load`: a key that a map has twice is an error; all keys are texts; `1e3` is a number;
`010` is 10; dates are texts; the size of a file and of each value is limited; texts have no control characters.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lkca.core.files import is_file, remedy
from lkca.core.printing import printable
from lkca.data.urls import hide_secrets
from lkca.errors import ConfigError, LkcaError

TAG = "tag:yaml.org,2002:"
MAX_SHOWN = 80  # characters of a value in a message

# config.yaml has 18 kB and 2000 values, of which none is deeper than 7 levels. Every limit is far above that, and low
# enough for a file to be read in seconds.
MAX_BYTES = 1_000_000  # of a file
MAX_VALUES = 50_000  # keys, values, lists and maps; an alias counts as what it stands for
MAX_CHARACTERS = 1_000_000  # of all values; an alias counts as what it stands for
MAX_DEPTH = 20  # levels of lists and maps
MAX_TEXT = 5000  # characters of a text
MAX_KEY = 200  # characters of a key
MAX_NUMBER = 100  # characters of a number

# What no text may contain: control characters except tab and line break, halves of surrogate pairs, line and paragraph
# separators, marks that show text in another order than it is stored, and code points that are no characters.
FORBIDDEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff\\u2028-\\u202e\\u2066-\\u2069\\ufdd0-\\ufdef\\ufffe\\uffff"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)
DIGITS = "[0-9]+(?:_[0-9]+)*"
NUMBERS = {  # tag -> pattern of the plain texts that are such numbers
    "int": rf"[-+]?{DIGITS}|0x[0-9a-fA-F]+|0o[0-7]+",
    "float": rf"[-+]?(?:{DIGITS}(?:\.(?:{DIGITS})?)?|\.{DIGITS})(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}


class Map(dict[str, Any]):
    """A map of settings.

    Args:
        values: The settings.
        places: Key -> where the setting is written, such as config.yaml:12.
        file: The file, if this is the content of a whole file.
    """

    def __init__(self, values: Mapping[str, Any], places: Mapping[str, str], file: str = "") -> None:
        super().__init__(values)
        self.places = dict(places)
        self.file = file


class List(list[Any]):
    """A list of settings.

    Args:
        values: The settings.
        places: Where each is written.
    """

    def __init__(self, values: Iterable[Any], places: Iterable[str]) -> None:
        super().__init__(values)
        self.places = list(places)


def read_yaml(path: Path) -> Map:
    """Return the content of a YAML file.

    Raises:
        ConfigError: If the file cannot be read or does not contain a map of settings, or as `parse_yaml`.
    """
    try:
        is_file(path)  # a pipe or a device is not opened
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        what_to_do = remedy(error) or "name another file"
        raise ConfigError(f"{path} cannot be read ({error.strerror}): {what_to_do}.") from error
    except ValueError as error:
        problem = f"{printable(path)} is not a valid file name: correct it."
        raise ConfigError(str(error) if isinstance(error, LkcaError) else problem) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes, which no configuration needs: name another file.")
    values = parse_yaml(content, lambda line: f"{path}:{line}")
    if not isinstance(values, Map):
        raise ConfigError(f"{path} has no settings: write a map of them, like config.yaml.")
    return Map(values, values.places, str(path))


def parse_yaml(text: str | bytes, place: Callable[[int], str]) -> Any:
    """Return the value of a YAML text: a `Map`, a `List`, a text, a number, true, false or null.

    Args:
        text: The text.
        place: Return where a line is written, given its number from 1.

    Raises:
        ConfigError: If it is not valid YAML, a map has a key twice, a value has a tag that settings do not use, a text
            has characters that none may have, or it is larger than the limits of this module.
    """
    loader = None
    try:
        _check_events(text, place)
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _Constructor(loader, place).construct(node)
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ConfigError(
            f"{place(mark.line + 1 if mark else 1)}: this is not valid YAML ({problem}): correct it."
        ) from error
    finally:
        if loader:
            loader.dispose()


def _check_events(text: str | bytes, place: Callable[[int], str]) -> None:
    """Check the number of values and levels of a YAML text as it is written, before its values are in memory.

    Raises:
        ConfigError: If there are too many.
        YAMLError: If it is not valid YAML.
    """
    depth = 0
    for number, event in enumerate(yaml.parse(text, _Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if problem := _describe_excess(_Size(number, 0, depth)):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigError(f"{place(line)}: {problem}.")


class _Size(NamedTuple):
    """The size of a value.

    Args:
        values: Number of values in it, itself included.
        characters: Number of characters of these.
        depth: Levels of lists and maps.
    """

    values: int
    characters: int
    depth: int


def _describe_excess(size: _Size) -> str:
    """Return which limit a size exceeds, in words; empty if it exceeds none."""
    if size.depth > MAX_DEPTH:
        return f"maps and lists are nested too deep: write at most {MAX_DEPTH} levels"
    for number, limit, what in (
        (size.values, MAX_VALUES, "values"),
        (size.characters, MAX_CHARACTERS, "characters"),
    ):
        if number > limit:
            return f"there are more than {limit:,} {what} if each alias (*) is replaced: write fewer"
    return ""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's parser, with the numbers of YAML 1.2 and without dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(TAG) in ("null", "bool", "merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _tag, _pattern in NUMBERS.items():
    _Loader.add_implicit_resolver(f"{TAG}{_tag}", re.compile(rf"(?:{_pattern})\Z"), list("-+.0123456789"))


class _Constructor:
    """Make the values of the nodes of a YAML text.

    Args:
        loader: The loader of the text.
        place: Return where a line is written, given its number from 1.
    """

    def __init__(self, loader: Any, place: Callable[[int], str]) -> None:
        self._loader, self._place_of_line = loader, place
        # By the id of the node; an alias has the node of its anchor.
        self._values: dict[int, Any] = {}
        self._sizes: dict[int, _Size | None] = {}  # None while the nodes inside it are measured

    def construct(self, node: yaml.Node) -> Any:
        """Return the value of a node."""
        if id(node) not in self._values:
            self._measure(node)  # before the value is made, because merge keys copy what they name
            self._values[id(node)] = self._construct(node)
        return self._values[id(node)]

    def _measure(self, node: yaml.Node) -> _Size:
        """Return the size of a node, in which each alias counts as what it stands for."""
        if id(node) not in self._sizes:
            self._sizes[id(node)] = None
            if isinstance(node, yaml.ScalarNode):
                size = _Size(1, len(node.value), 0)
            else:
                inner = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
                sizes = [_Size(1, 0, 0), *map(self._measure, inner)]
                values, characters, depths = zip(*sizes, strict=True)
                size = _Size(sum(values), sum(characters), 1 + max(depths))
            if problem := _describe_excess(size):
                raise self._error(node, problem)
            self._sizes[id(node)] = size
        known = self._sizes[id(node)]
        if known is None:
            raise self._error(node, "this value contains itself: delete the alias (*)")
        return known

    def _construct(self, node: yaml.Node) -> Any:
        kind = node.tag.removeprefix(TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._construct_map(node)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return List(map(self.construct, node.value), map(self._place, node.value))
        if isinstance(node, yaml.ScalarNode) and kind in ("str", "int", "float", "bool", "null"):
            return self._construct_scalar(node, kind)
        raise self._error(node, f"the tag {node.tag} has no meaning here: delete it")

    def _construct_map(self, node: yaml.MappingNode) -> Map:
        merged, own = Map({}, {}), Map({}, {})
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a map or a list cannot be a key: write a text")
            key = self._check_text(key_node, MAX_KEY)
            if key in lines:
                first = f"the first time in line {lines[key]}"
                raise self._error(key_node, f"{key} is written twice in one map, {first}: delete one of the two")
            lines[key] = key_node.start_mark.line + 1
            if key_node.tag == f"{TAG}merge":
                merged = self._merge(value_node)
            else:
                own[key], own.places[key] = self.construct(value_node), self._place(key_node)
        return Map(merged | own, merged.places | own.places)

    def _merge(self, node: yaml.Node) -> Map:
        """Return the maps that a merge key (<<) names as one map; the first one that has a key decides."""
        value, result = self.construct(node), Map({}, {})
        for each in reversed(value if isinstance(value, List) else [value]):
            if not isinstance(each, Map):
                raise self._error(node, "<< needs a map or a list of maps: name an anchor, as in <<: *name")
            result = Map(result | each, result.places | each.places)
        return result

    def _construct_scalar(self, node: yaml.ScalarNode, kind: str) -> Any:
        text = self._check_text(node, MAX_TEXT if kind == "str" else MAX_NUMBER)
        try:
            if kind == "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            if kind == "float":
                return _parse_float(text)
            return text if kind == "str" else self._loader.construct_object(node)
        except (ValueError, KeyError):  # an explicit tag, as in !!int x
            raise self._error(node, f"{text[:MAX_SHOWN]} cannot be read as {kind}: correct it") from None

    def _check_text(self, node: yaml.ScalarNode, limit: int) -> str:
        """Return the text of a scalar.

        Raises:
            ConfigError: If it is longer than the limit, or contains a character that no text may have.
        """
        text: str = node.value
        if len(text) > limit:
            start = f"{text[:MAX_SHOWN]} is the start of {len(text):,} characters"
            raise self._error(node, f"{start}: write at most {limit}")
        if found := FORBIDDEN.search(text):
            before, character = text[: found.start()][-MAX_SHOWN:], ord(found[0])
            place = f"after {before}" if before else "at the start of a text"
            raise self._error(node, f"{place} is the character U+{character:04X}, which no text may have: delete it")
        return text

    def _place(self, node: yaml.Node) -> str:
        return self._place_of_line(node.start_mark.line + 1)

    def _error(self, node: yaml.Node, problem: str) -> ConfigError:
        return ConfigError(f"{self._place(node)}: {printable(hide_secrets(problem))}.")


def _parse_float(text: str) -> int | float:
    """Return a number; a whole number if it is one and has an exponent, so that 1e3 also fits settings that count."""
    text = text.replace("_", "").lower()
    value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return int(value) if "e" in text and value.is_integer() else value


def deep_merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Map:
    """Return `base` changed by `overlay`: maps are merged, all other values are replaced."""
    places = getattr(base, "places", {}) | getattr(overlay, "places", {})
    result = Map(base, places, getattr(base, "file", ""))
    for key, value in overlay.items():
        both_maps = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = deep_merge(result[key], value) if both_maps else value
    return result


def list_places(settings: Any, key: str = "") -> dict[str, str]:
    """Return where each setting is written: key -> place, such as scenes.chikusei.bands -> config.yaml:12.

    Args:
        settings: Settings, as `read_yaml` or `deep_merge` returns them.
        key: Their key; empty for those of a whole file, whose place is the file.
    """
    places = {"": settings.file} if isinstance(settings, Map) and not key else {}
    if isinstance(settings, Map):
        parts = [(name, settings.places.get(name), value) for name, value in settings.items()]
    else:
        parts = [(str(i), settings.places[i], settings[i]) for i in range(len(settings))]
    for name, place, value in parts:
        path = f"{key}.{name}" if key else name
        if place:
            places[path] = place
        if isinstance(value, Map | List):
            places |= list_places(value, path)
    return places


def find_place(places: Mapping[str, str], key: str) -> str:
    """Return where a setting is written; for a missing one, where the innermost map that should have it is written.

    Args:
        places: The result of `list_places`.
        key: The key of the setting.

    Returns:
        A place such as config.yaml:12, or the name of a file; empty if the settings are from no file.
    """
    while key and key not in places:
        key = key.rpartition(".")[0]
    return places.get(key, "")
