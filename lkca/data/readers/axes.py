"""Which axis of an array has the rows, the columns and the bands of a cube."""

import math
import re
from collections.abc import Sequence

from lkca.data.readers.base import SettingsError, UnreadableError
from lkca.data.readers.layout import Layout

BANDS = r"n?_?(wave(s|_?lengths?)?|wl|wvl|lambda|lam|spectral|(spectral_?)?(bands?|channels?))(_?(dim|number|index))?"
ROWS = r"n?_?(y|rows?|lines?|scan(line)?s?|lat(itude)?s?|northing|(down|along)_?track|y_?dim|dim_?y)"
COLUMNS = r"n?_?(x|col(umn)?s?|samples?|pixels?|lon(gitude)?s?|easting|(cross|across)_?track|x_?dim|dim_?x)"
ROLES = {"bands": BANDS, "rows": ROWS, "columns": COLUMNS}
MAX_ASPECT, MAX_SHAPES = 10, 4  # of the shapes that a message proposes: longer side / shorter side, and their number


def resolve_axes(
    axes: Sequence[str] | None,
    shape: Sequence[int],
    pixels: tuple[int, int] | None = None,
    *,
    dimensions: Sequence[str] = (),
    default: Sequence[str] | None = None,
    format: str = "an array",
) -> Layout:
    """Return the order of the axes of an array.

    Args:
        axes: The order that the entry sets, None if it sets none.
        shape: The shape of the array.
        pixels: Rows and columns, if `axes` has an axis that runs through all pixels.
        dimensions: The names that the file gives to its axes; empty if it names none, "" for an axis without a name.
        default: The order if neither the entry nor the names tell it; None if the format has no usual order.
        format: What messages call the format.

    Raises:
        UnreadableError: If the order is unknown, or does not fit the shape or the names, or the array is empty.
    """
    if min(shape, default=1) < 1:
        raise UnreadableError(f"its array is empty, it has the shape {_join(shape)}")
    if sum(length > 1 for length in shape) > 3:
        raise SettingsError(f"its array has more than three axes, {_join(shape)}: write one cube to an array of three")
    roles = [find_role(name) for name in dimensions] or [None] * len(shape)
    named = f"its axes are named {', '.join(name or '?' for name in dimensions)}" if any(dimensions) else ""
    wanted = ["columns", "rows"] if axes and len(axes) == 2 and "bands" not in axes else ["bands", "columns", "rows"]
    if sorted(filter(None, roles)) == wanted and all(
        length == 1 for length, role in zip(shape, roles, strict=True) if role is None
    ):
        if axes and len(wanted) == 3 and list(axes) != [role for role in roles if role]:
            right = " ".join(role for role in roles if role)
            raise SettingsError(
                f"{named}, but its entry sets axes: {' '.join(axes)}; leave axes out or set axes: {right}"
            )
        return Layout(tuple(roles))
    default = default or (("rows", "columns", "bands") if len(shape) == 2 else None)  # then `_fit` says what to set
    if axes is None and default is None:
        raise SettingsError(
            f"{named or f'{format} does not say the order of its axes'}, its shape is {_join(shape)}: set axes, as in: "
            "rows columns bands"
        )
    axes = axes or default or ()
    pairs = zip(axes, roles, strict=True) if len(axes) == len(shape) else ()
    if any(role and "*" not in axis and axis != role for axis, role in pairs):
        raise SettingsError(f"{named}, but its entry sets axes: {' '.join(axes)}; correct axes")
    return _fit(axes, shape, pixels, roles)


def find_role(name: str) -> str | None:
    """Return which axis of a cube a name stands for, None if it is unknown."""
    plain = name.rpartition("/")[2].strip().lower().replace(" ", "_").replace("-", "_")
    roles = [role for role, pattern in ROLES.items() if re.fullmatch(pattern, plain)]
    return roles[0] if roles else None


def _fit(
    axes: Sequence[str], shape: Sequence[int], pixels: tuple[int, int] | None, roles: Sequence[str | None]
) -> Layout:
    """Return the axes of an array of a shape; axes of length 1 may be left out."""
    surplus = len(shape) - len(axes)
    single = [i for i, length in enumerate(shape) if length == 1 and roles[i] is None]
    if surplus == -1 and "bands" in axes and pixels is None:
        proposal = _propose(max(shape, default=0))
        raise SettingsError(
            f"its array has the shape {_join(shape)}: if one of its axes runs through all pixels, set axes: bands "
            f"columns*rows (MATLAB's order) or bands rows*columns, and pixels: [rows, columns]{proposal}"
        )
    if surplus < 0 or (surplus and surplus != len(single)):
        raise SettingsError(f"its array has the shape {_join(shape)} instead of {' x '.join(axes)}")
    remaining = iter(axes)
    layout = Layout(tuple(None if surplus and i in single else next(remaining) for i in range(len(shape))), pixels)
    for axis, length in zip(layout.axes, shape, strict=True):
        if axis and "*" in axis and (pixels is None or math.prod(pixels) != length):
            wrong = f", but pixels are {pixels[0]} x {pixels[1]}" if pixels else ""
            raise SettingsError(
                f"its axis {axis} has the length {length}{wrong}: set pixels: [rows, columns]{_propose(length)}"
            )
    return layout


def _propose(length: int) -> str:
    """Return the end of a message: rows and columns that a number of pixels could have, nearest to a square first."""
    pairs = [(rows, length // rows) for rows in range(1, math.isqrt(max(length, 0)) + 1) if length % rows == 0]
    fitting = [pair for pair in reversed(pairs) if pair[1] <= MAX_ASPECT * pair[0]]
    texts = [f"{a} x {b}" if a == b else f"{a} x {b} or {b} x {a}" for a, b in fitting[:MAX_SHAPES]]
    return f"; {length} pixels can be {', '.join(texts)}" if texts else ""


def _join(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"
