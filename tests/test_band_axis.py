"""The axis of curves over bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkca.report.band_axis import BandAxis


def axis(positions, numbers=None):
    """Return the bands at these wavelengths."""
    return BandAxis(numbers or [*range(1, len(positions) + 1)], positions, None, None)


def test_removed_water_bands_are_gaps():
    """AVIRIS without bands 104 to 108 and 150 to 163, as in Indian Pines, by wavelength and by number."""
    numbers = [*range(1, 104), *range(109, 150), *range(164, 201)]
    wavelengths = np.linspace(400, 2500, 224)[np.array(numbers) - 1].tolist()
    for bands in (axis(wavelengths), BandAxis(numbers, None, None, None)):
        assert [len(segment) for segment in bands.segments()] == [103, 41, 37]
        assert sum(bands.segments(), []) == [*range(181)]


@pytest.mark.parametrize(("missing", "segments"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_line_crosses_one_missing_band_only(missing, segments):
    numbers = [*range(1, 11), *range(11 + missing, 21)]
    assert len(axis([400 + 9.95 * number for number in numbers]).segments()) == segments
    assert len(BandAxis(numbers, None, None, None).segments()) == segments


def test_steps_that_change_slowly_are_no_gaps():
    """EnMAP's bands are 4.8 to 12 nm apart."""
    steps = np.concatenate([np.linspace(4.8, 12, 90), np.linspace(12, 7.5, 130)])
    assert len(axis(np.cumsum(steps).tolist()).segments()) == 1


@given(st.lists(st.floats(350, 2600), min_size=2, max_size=30, unique=True), st.randoms())
def test_segments_do_not_depend_on_the_order_of_the_bands(wavelengths, random):
    shuffled = random.sample(wavelengths, len(wavelengths))
    parts, other_parts = (
        [[bands.positions[i] for i in segment] for segment in bands.segments()]
        for bands in (axis(wavelengths), axis(shuffled))
    )
    assert parts == other_parts
    assert sum(parts, []) == sorted(wavelengths)


@pytest.mark.parametrize(
    ("nanometres", "fwhm", "names"),
    [
        ([400.0, 661.404], [9.9, None], ["104 (400 nm, FWHM 9.9 nm)", "109 (661.4 nm)"]),
        ([1000.0, 2394.567], None, ["104 (1000 nm)", "109 (2394.57 nm)"]),
        (None, [9.0, 10.0], ["104 (FWHM 9 nm)", "109 (FWHM 10 nm)"]),
        (None, None, ["104", "109"]),
    ],
)
def test_name_has_the_number_of_the_file_and_what_is_known(nanometres, fwhm, names):
    bands = BandAxis([104, 109], nanometres, fwhm, None)
    assert [bands.name(i) for i in (0, 1)] == names
