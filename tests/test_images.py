"""Stretch and error scale, which figures and page share."""

import numpy as np
import pytest

from lkca.report.images import error_limit, stretch, stretch_limits


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


def test_untrained_methods_do_not_set_the_error_limit_unless_there_are_no_others():
    errors = {"a": np.full((4, 4), 0.1), "b": np.full((4, 4), 0.2), "untrained": np.full((4, 4), 5.0)}
    assert error_limit(errors, {"untrained"}) == pytest.approx(0.2)
    assert error_limit(errors, errors.keys()) == pytest.approx(5.0)
