"""The columns of the paper's tables, and how its numbers are rounded."""

from decimal import Decimal
from typing import NamedTuple


class Column(NamedTuple):
    """A column as the paper has it."""

    heading: str
    unit: str
    decimals: int  # as the paper prints
    better: int  # 1: more, -1: less, 0: a cost, of which none is called best


COLUMNS = {
    "Param_M": Column("Params", "M", 3, 0),
    "MACs_G": Column("MACs", "G", 3, 0),
    "MPSNR": Column("MPSNR", "dB", 4, 1),
    "MSSIM": Column("MSSIM", "", 4, 1),
    "SAM": Column("SAM", "degrees", 4, -1),
    "CC": Column("CC", "", 4, 1),
    "RMSE": Column("RMSE", "", 4, -1),
    "ERGAS": Column("ERGAS", "", 4, -1),
}
SCORES = [name for name, column in COLUMNS.items() if column.better]


def decimals(printed: str) -> int:
    """The decimals of a printed number.

    Example:
        >>> decimals("2.18"), decimals("1e-2"), decimals("12")
        (2, 2, 0)
    """
    return max(0, -Decimal(printed).as_tuple().exponent)


def last_digits(ours: float, printed: str) -> int:
    """How far ours, rounded as in print, lies from print, in units of print's last digit.

    Example:
        >>> last_digits(37.63784, "37.6377")
        1
    """
    return int((Decimal(f"{ours:.{decimals(printed)}f}") - Decimal(printed)).scaleb(decimals(printed)))
