"""The bands that pictures show, chosen by number or wavelength."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkca.config.schema import Composite
from lkca.data.composite import choose_bands, parse_wavelength
from lkca.errors import ConfigError

# Central wavelengths of Sentinel-2A's bands 1, 2, ..., 8, 8A, 9, 10, 11, 12, nm (ESA)
SENTINEL_2 = [442.7, 492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4]
AVIRIS = np.linspace(400, 2500, 224).tolist()


@pytest.mark.parametrize(
    ("text", "nanometres"),
    [("660 nm", 660), ("660nm", 660), (" 660.5 NM ", 660.5), ("0.66 um", 660), (".66µm", 660), ("2.2 μm", 2200)],
)
def test_wavelengths_have_units(text, nanometres):
    assert parse_wavelength(text) == pytest.approx(nanometres)


@pytest.mark.parametrize("text", ["660", "nm", "-660 nm", "0 nm", "660 mm", "1e3 nm", "red", "", "nan nm", "6 60 nm"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="a wavelength such as 660 nm or 0.66 um"):
        parse_wavelength(text)


def test_default_of_sentinel_2_is_its_true_colour_composite():
    """ESA's true-colour image shows bands 4, 3 and 2."""
    assert choose_bands("x", None, SENTINEL_2, 13) == [4, 3, 2]
    assert choose_bands("x", None, SENTINEL_2[::-1], 13) == [10, 11, 12]


@pytest.mark.parametrize(
    "nanometres",
    [
        None,
        np.linspace(1000, 2500, 12).tolist(),
        np.linspace(600, 900, 12).tolist(),
        np.linspace(520, 2400, 12).tolist(),
    ],
)
def test_default_without_visible_bands_is_spread(nanometres):
    assert choose_bands("x", None, nanometres, 12) == [11, 7, 3]
    if nanometres:
        assert choose_bands("x", None, nanometres[::-1], 12) == [2, 6, 10]  # red still has the longest wavelength


@pytest.mark.parametrize("number", [2, 3, 200])
def test_default_exists_for_any_number_of_bands(number):
    red, green, blue = choose_bands("x", None, None, number)
    assert number >= red >= green >= blue >= 1 and red > blue


@given(st.floats(400, 2500), st.permutations(range(224)))
def test_nearest_band_is_shown_in_any_order(wavelength, order):
    nanometres = [AVIRIS[i] for i in order]
    (band,) = choose_bands("x", [f"{wavelength:.3f} nm"], nanometres, 224)
    assert abs(nanometres[band - 1] - wavelength) <= 2100 / 223 / 2 + 1e-3  # half of the step between two bands


@pytest.mark.parametrize(
    ("wavelength", "nanometres", "band"),
    [
        ("2220 nm", [2190, 2195, 2200], 3),  # 20 nm away
        ("2220.1 nm", [2190, 2195, 2200], None),
        ("740 nm", [680, 690, 710], 3),  # 30 nm: within three steps of 15 nm
        ("755.1 nm", [680, 695, 710], None),
        ("750 nm", [500, 600, 700], 3),  # 50 nm
        ("750.1 nm", [500, 600, 700], None),
    ],
)
def test_band_must_be_near(wavelength, nanometres, band):
    if band:
        assert choose_bands("x", [wavelength], nanometres, 3) == [band]
    else:
        with pytest.raises(
            ConfigError, match=f"^scenes.x.composite.bands: no band is near {wavelength}; the nearest is"
        ):
            choose_bands("x", [wavelength], nanometres, 3)


def test_numbers_and_wavelengths_can_be_mixed():
    assert choose_bands("x", [13, "0.56 um", 1], SENTINEL_2, 13) == [13, 3, 1]
    with pytest.raises(ConfigError, match=r"no band is near 3 um; the nearest is band 13 at 2202.4 nm: choose another"):
        choose_bands("x", [13, "3 um", 1], SENTINEL_2, 13)
    with pytest.raises(ConfigError, match=r"there is no band 14: choose numbers from 1 to 13, or a wavelength"):
        choose_bands("x", [14, 2, 1], None, 13)
    with pytest.raises(
        ConfigError, match=r"560 nm stands for no band.*not known: choose numbers from 1 to 13, or give"
    ):
        choose_bands("x", [13, "560 nm", 1], None, 13)


def test_composite_is_optional():
    assert Composite() == Composite(image=0, bands=None, zoom=None)
    written = Composite(bands=["660 nm", 20, "0.48 um"])
    assert Composite.model_validate_json(written.model_dump_json()) == written
