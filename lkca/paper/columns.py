"""The columns of the tables: those that the paper prints, and those that our tables show.

Our tables show every score that we compute (`lkca.scoring.metrics.SCORES`). Comparisons with the paper use only the
columns that the paper prints, so a new score does not change them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from lkca.paper.statistics import seed_means
from lkca.scoring.metrics import SCORES


class Column(NamedTuple):
    """A column of a table.

    Args:
        heading: Heading of the column.
        unit: Unit of its numbers; empty for a number without unit.
        decimals: Number of decimals that a table shows.
        direction: 1 if a higher number is better, -1 if a lower one is; 0 for a cost, where tables mark no best one.
    """

    heading: str
    unit: str
    decimals: int
    direction: int


COSTS = {"Param_M": Column("Params", "M", 3, 0), "MACs_G": Column("MACs", "G", 3, 0)}
COST_UNITS = {"Param_M": ("params", 1e6), "MACs_G": ("macs", 1e9)}  # column -> key in scores.json, and its value for 1


def table_columns() -> dict[str, Column]:
    """Return the columns of our tables by name: the costs, then every score."""
    scores = {name: Column(s.heading, s.unit, s.decimals, s.direction) for name, s in SCORES.items()}
    return COSTS | scores


PRINTED_SCORES = ["MPSNR", "MSSIM", "SAM", "CC", "RMSE", "ERGAS"]
PRINTED_COLUMNS = {name: table_columns()[name] for name in (*COSTS, *PRINTED_SCORES)}  # as in paper_tables.csv


def column_values(runs: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return the number of a column for each run, in the unit of the column.

    Args:
        runs: Contents of scores.json.
        name: Name of the column.
    """
    if name in COST_UNITS:
        key, unit = COST_UNITS[name]
        return [run[key] / unit for run in runs]
    return seed_means(runs, name)


def decimals(printed: str) -> int:
    """Return the number of decimals of a printed number.

    Example:
        >>> decimals("2.18"), decimals("1e-2"), decimals("12")
        (2, 2, 0)
    """
    return max(0, -int(Decimal(printed).as_tuple().exponent))


def last_digit_difference(ours: float, printed: str) -> int:
    """Return our number, rounded as in print, minus the printed one, in units of the last printed digit.

    Example:
        >>> last_digit_difference(37.63784, "37.6377")
        1
    """
    return int((Decimal(f"{ours:.{decimals(printed)}f}") - Decimal(printed)).scaleb(decimals(printed)))
