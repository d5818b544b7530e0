"""Make phrases about files and runs that are safe to print: texts from files are escaped and shortened."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from lkca.core.printing import printable
from lkca.core.result_files import describe_first

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MAX_LISTED_NAMES = 4
MAX_TEXT = 120  # characters


def escape(text: object, max_length: int = MAX_TEXT) -> str:
    """Return a text for the terminal, with control characters escaped and at most `max_length` characters and "..."."""
    return printable(text, max_length)


def list_names(names: Iterable[str], max_names: int = MAX_LISTED_NAMES) -> str:
    """Return the first names, and how many more there are.

    Example:
        >>> list_names(["a", "b", "c"]), list_names("abcdef")
        ('a, b and c', 'a, b, c, d and 2 more')
    """
    names = [*names]
    parts = [escape(name) for name in names[:max_names]]
    return join_parts(parts + [f"{len(names) - max_names} more"] * (len(names) > max_names))


def join_parts(parts: list[str]) -> str:
    """Return the parts with commas, and "and" before the last one."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)


def count_values(values: Mapping[str, str]) -> str:
    """Return how many runs have the most frequent value, and which runs have each other value.

    Args:
        values: Run -> value.

    Example:
        >>> count_values({"a": "cpu", "b": "cpu", "c": "cuda"})
        'cpu (2) and cuda (c)'
    """
    runs_of_values = group_unique((value, run) for run, value in values.items())
    groups = sorted(runs_of_values.items(), key=lambda item: -len(item[1]))
    (most_frequent, runs), *others = groups
    parts = [f"{escape(most_frequent)} ({len(runs)})"]
    return join_parts(parts + [f"{escape(value)} ({list_names(runs)})" for value, runs in others])


def group_unique(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return first -> the different values of second in its pairs, in order."""
    groups: dict[K, list[V]] = defaultdict(list)
    for first, second in pairs:
        if second not in groups[first]:
            groups[first].append(second)
    return dict(groups)


def describe_error(error: Exception) -> str:
    """Return a short description of an error."""
    if isinstance(error, ValidationError):
        return escape(describe_first(error))
    if isinstance(error, OSError):
        return error.strerror or "no reason is known"
    return "it is nested too deep" if isinstance(error, RecursionError) else escape(error)
