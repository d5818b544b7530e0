"""Stretch and error scale, which figures and page share."""

import numpy as np
import pytest

from lkca.report.images import error_limit, find_worst_window, stretch, stretch_limits


def test_stretch_cuts_two_percent_at_both_ends_of_each_band():
    ramp = np.linspace(0, 100, 101)
    hr = np.stack([ramp, 2 * ramp, ramp - 50], -1)[:, None]  # (101, 1, 3)
    limits = stretch_limits(hr)
    assert limits == pytest.approx(np.array([[2, 4, -48], [98, 196, 48]]))
    stretched = stretch(hr, limits)
    assert stretched[[0, 2, 50, 98, 100], 0] == pytest.approx(np.repeat([[0], [0], [0.5], [1], [1]], 3, 1))


def test_stretch_of_constant_band_is_finite():
    hr = np.full((4, 4, 3), 0.25)
    assert (stretch(hr, stretch_limits(hr)) == 0).all()


def test_error_limit_is_the_largest_of_the_quantiles():
    """Each map has 1000 pixels, of which four, less than 0.5 %, are outliers."""
    errors = {"a": np.full((40, 25), 0.1), "b": np.full((40, 25), 0.2)}
    errors["a"][0, :4] = 5.0
    assert error_limit(errors) == pytest.approx(0.2)


def test_worst_window_has_the_largest_error():
    error = np.zeros((20, 30))
    error[7:11, 21:25] = 1.0
    error[2, 3] = 9.0  # one pixel of 9 is less than 16 of 1
    assert find_worst_window(error, 4) == (7, 21)
    assert find_worst_window(error, 20) == (0, 3)  # the pixel of 9, and 8 pixels of 1
