"""The horizontal axis of curves over the bands of a scene: wavelengths, or numbers of bands if these are not known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lkca.data.composite import usual_step
from lkca.errors import StaleInput

MARGIN = 0.03  # of the range
MAX_GAP = 2.5  # in usual steps between bands; a line that jumped over more would show values that nobody measured


@dataclass(frozen=True)
class BandAxis:
    """The bands of a scene.

    Args:
        numbers: Numbers of the bands in the file, from 1.
        nanometres: Their wavelengths; None if these are not known.
        fwhm: Their full widths at half maximum, nm; None if these are not known.
        source: Where the wavelengths come from, in words.
    """

    numbers: Sequence[int]
    nanometres: Sequence[float] | None
    fwhm: Sequence[float | None] | None
    source: str | None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "BandAxis":
        """Return the bands of a scene from its manifest."""
        facts = {name: manifest[name] for name in ("nanometres", "fwhm")}
        return cls(numbers=manifest["bands"], source=manifest["wavelength_source"], **facts)

    def check_count(self, count: int, path: Path) -> None:
        """Check that a file has as many bands as the scene.

        Raises:
            StaleInput: If it has not.
        """
        if count != len(self.numbers):
            raise StaleInput(
                f"{path} has {count} bands, but the manifest of its scene {len(self.numbers)}: run snakemake again."
            )

    def name(self, index: int) -> str:
        """Return the number of a band in the file, and its wavelength and width as far as they are known.

        Example:
            >>> BandAxis([29], [661.404], [9.9], None).name(0)
            '29 (661.4 nm, FWHM 9.9 nm)'

        Args:
            index: Index of the band in the scene, from 0.
        """
        facts = []
        for prefix, values in (("", self.nanometres), ("FWHM ", self.fwhm)):
            if values and (value := values[index]):
                facts.append(f"{prefix}{value:.2f}".rstrip("0").rstrip(".") + " nm")
        return f"{self.numbers[index]}" + (f" ({', '.join(facts)})" if facts else "")

    @property
    def positions(self) -> np.ndarray:
        """The position of each band on the axis, (bands,)."""
        return np.array(self.numbers if self.nanometres is None else self.nanometres, float)

    @property
    def label(self) -> str:
        """The label of the axis."""
        return "band" if self.nanometres is None else "wavelength (nm)"

    def limits(self) -> tuple[float, float]:
        """Return the limits of the axis, with a margin if a band at an end is drawn as a point."""
        segments, low, high = self.segments(), self.positions.min(), self.positions.max()
        margin = MARGIN * (high - low) * (len(segments[0]) == 1 or len(segments[-1]) == 1)
        return float(low - margin), float(high + margin)

    def segments(self) -> list[list[int]]:
        """Return the bands that a line connects: lists of indices in ascending order of their positions.

        Between two lists is a gap of more than MAX_GAP usual steps, such as removed bands.
        """
        order = np.argsort(self.positions, kind="stable")
        steps = np.diff(self.positions[order])
        ends = np.flatnonzero(steps > MAX_GAP * usual_step(self.positions.tolist())) + 1
        return [part.tolist() for part in np.split(order, ends)]
