"""Bicubic resizing: compared with MATLAB, another implementation and weights computed by hand; its properties."""

import subprocess
import sys

import numpy as np
import pytest
import resize_right
import torch

from lkca.data.resize import resize, resize_matrix, resized_length

FACTORS = pytest.mark.parametrize("factor", [1 / 8, 1 / 4, 1 / 3, 1 / 2, 2, 3, 4, 8], ids="x{:.3g}".format)


def noise(*shape):
    return np.random.default_rng(0).random(shape)


@FACTORS
@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_resize_equals_resize_right(factor, dtype, error, kind):
    image = noise(2, 48, 24)
    expected = resize_right.resize(image, [1, factor, factor], pad_mode="symmetric")
    result = resize(kind(image.astype(dtype)), factor)
    assert result.shape == expected.shape
    np.testing.assert_allclose(np.asarray(result), expected, rtol=0, atol=error)


MATLAB = {  # results of R2019b, imresize(..., 'bicubic'): test_answer/*.mat of github.com/sanghyun-son/bicubic_pytorch
    "down_down_x4_aa": (
        *(np.arange(64.0).reshape(8, 8), 1 / 4),
        [[12.3837890625, 16.6318359375], [46.3681640625, 50.6162109375]],
    ),
    "down_down_x5_aa": (
        *(np.arange(225.0).reshape(15, 15), 1 / 5),
        [[29.1072, 34.288, 39.4688], [106.8192, 112, 117.1808], [184.5312, 189.712, 194.8928]],
    ),
    "up_up_topleft_noaa": (  # enlarging needs no antialiasing
        *(np.array([[100.0, 1, 0, 100], [10, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), 5 / 4),
        [
            [108.685225, 27.6970975, -12.4465625, 26.8841925, 109.2025],
            [35.471365, 8.970789, -3.5895625, 6.637437, 26.961],
            [-0.6503125, -0.21221875, 0.39453125, -1.60790625, -6.53125],
            [-0.768075, -0.18963, 0.0459375, 0, 0],
            [0, 0, 0, 0, 0],
        ],
    ),
}


@pytest.mark.parametrize(("image", "factor", "expected"), MATLAB.values(), ids=MATLAB)
def test_resize_equals_matlab(image, factor, expected):
    np.testing.assert_allclose(resize(image, factor), expected, rtol=0, atol=1e-12)


def test_weights_of_enlarging_by_two():
    taps = np.array([-9, 111, 29, -3]) / 128  # the cubic at 1.25, 0.25, 0.75 and 1.75
    matrix = resize_matrix(8, 2)
    np.testing.assert_allclose(matrix[7, 2:6], taps, atol=1e-15)  # at 3.25
    np.testing.assert_allclose(matrix[8, 2:6], taps[::-1], atol=1e-15)  # at 3.75
    np.testing.assert_allclose(matrix[0, :3], np.array([111 + 29, -9 - 3, 0]) / 128, atol=1e-15)  # at -0.25, mirrored


def test_weights_of_shrinking_by_two():
    taps = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    np.testing.assert_allclose(resize_matrix(16, 1 / 2)[3, 3:11], taps, atol=1e-15)


def test_factor_one_is_the_identity():
    image = noise(3, 5, 7)
    np.testing.assert_array_equal(resize(image, 1), image)


@FACTORS
@pytest.mark.parametrize("length", [1, 2, 5, 24, 37])
def test_constant_is_preserved(factor, length):
    result = resize(np.full((length, 30), 0.7), factor)
    np.testing.assert_allclose(result, 0.7, atol=1e-14)


@FACTORS
def test_ramp_is_preserved_away_from_borders(factor):
    columns = 96
    result = resize(np.tile(np.arange(columns, dtype=float), (24, 1)), factor)
    expected = (np.arange(result.shape[1]) + 0.5) / factor - 0.5  # old coordinates of the centres of new pixels
    inside = (expected > 2 / min(factor, 1)) & (expected < columns - 1 - 2 / min(factor, 1))
    assert inside.sum() > len(expected) / 2
    np.testing.assert_allclose(result[:, inside] - expected[inside], 0, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_mean_is_preserved_by_enlarging(factor):
    image = noise(6, 9)
    assert resize(image, factor).mean() == pytest.approx(image.mean(), abs=1e-14)


@pytest.mark.parametrize("factor", [1 / 8, 1 / 4, 4])
@pytest.mark.parametrize("shape", [(8, 8), (16, 8), (8, 24)])
def test_borders_are_mirrored_repeatedly(factor, shape):
    image, rim = noise(*shape), 80  # the rim is wider than the image and the kernel, and cut off after resizing
    rim_after = int(rim * factor)
    expected = resize(np.pad(image, rim, mode="symmetric"), factor)[rim_after:-rim_after, rim_after:-rim_after]
    np.testing.assert_allclose(resize(image, factor), expected, atol=1e-13)


@pytest.mark.parametrize("factor", [1 / 4, 1 / 3, 2, 4])
@pytest.mark.parametrize("turns", range(4))
def test_resize_commutes_with_flips_and_rotations(factor, turns):
    image = noise(24, 36)
    np.testing.assert_allclose(
        resize(np.rot90(image, turns), factor), np.rot90(resize(image, factor), turns), atol=1e-14
    )
    np.testing.assert_allclose(
        resize(np.rot90(image.T, turns), factor), np.rot90(resize(image, factor).T, turns), atol=1e-14
    )


def test_sizes_are_rounded_up():
    assert resize(noise(10, 7), 1 / 4).shape == (3, 2)
    assert resize(noise(3, 1, 1), 1 / 4).shape == (3, 1, 1)
    assert resized_length(15, 1.5) == 23


@pytest.mark.parametrize("factor", [1 / 4, 4])
def test_torch_gradients_dtype_and_leading_axes(factor):
    image = torch.from_numpy(noise(2, 1, 4, 8)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, factor), image)
    single = resize(image.detach().float(), factor)
    assert single.dtype == torch.float32
    assert single.shape == (2, 1, 4 * factor, 8 * factor)


def test_cached_matrix_of_inference_can_be_trained_with():
    image = torch.ones(1, 22, 26)  # sizes of no other test, so that the matrices are not cached yet
    with torch.inference_mode():
        resize(image, 2)
    image.requires_grad_()
    resize(image, 2).sum().backward()
    torch.testing.assert_close(
        image.grad, torch.full_like(image, 4.0)
    )  # the mean is preserved: each pixel becomes 2 x 2


@pytest.mark.filterwarnings("ignore:invalid value")  # of infinities in products
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("factor", [1 / 8, 1 / 4, 1 / 2, 2, 4])
@pytest.mark.parametrize(("row", "column"), [(0, 31), (17, 2), (40, 46)])
def test_bad_pixel_reaches_only_the_pixels_of_its_kernel(bad, factor, row, column):
    """The kernel is zero at whole numbers of pixels; with these factors no new pixel is at such a distance."""
    image = noise(3, 48, 48)
    expected = resize(image, factor)
    centres = (np.arange(expected.shape[-1]) + 0.5) / factor - 0.5
    reach = 2 / min(factor, 1)
    rows, columns = (
        np.any([abs(centres - x) < reach for x in (pixel, -1 - pixel, 95 - pixel)], axis=0)  # and its mirror images
        for pixel in (row, column)
    )
    image[1, row, column] = bad
    result = resize(image, factor)
    np.testing.assert_array_equal(result[[0, 2]], expected[[0, 2]])
    reached = np.outer(rows, columns)
    assert 0 < reached.sum() < reached.size
    assert np.isnan(result[1][reached]).all()
    np.testing.assert_allclose(result[1][~reached], expected[1][~reached], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(resize(image[1], factor), result[1])


def test_half_precision_is_rounded_once():
    image = noise(2, 64, 64).astype(np.float16)
    result = resize(image, 1 / 4)
    assert result.dtype == np.float16
    np.testing.assert_allclose(result, resize(image.astype(np.float64), 1 / 4), rtol=2**-11 + 1e-5, atol=0)


@pytest.mark.parametrize("image", [np.ones((4, 4), int), torch.ones(4, 4, dtype=torch.uint8)], ids=["numpy", "torch"])
def test_integers_are_refused(image):
    with pytest.raises(ValueError, match="floating point"):
        resize(image, 2)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_factor_must_be_positive(factor):
    with pytest.raises(ValueError, match="positive"):
        resize(noise(4, 4), factor)


def test_empty_image_is_refused():
    with pytest.raises(ValueError, match="positive"):
        resize(np.ones((3, 0, 4)), 2)


def test_cached_matrix_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        resize_matrix(8, 2)[0, 0] = 1


def test_array_commands_start_without_torch():
    code = "import sys, lkca.commands.arrays; assert 'lkca.data.resize' in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
