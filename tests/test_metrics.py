"""The scores, compared with scikit-image, torchmetrics and closed forms, and the cases where they are undefined."""

import json
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional import image as tm
from torchmetrics.functional.regression import mean_squared_error, pearson_corrcoef

from lkca.paper.columns import PRINTED_SCORES
from lkca.scoring.metrics import SCORES, Score, ScoreValues, absolute_error, edges, scores

mpsnr, mssim, sam, cc, rmse, ergas = map(SCORES.get, PRINTED_SCORES)


def mape(pair):
    """Return a score without blocks, as a newcomer might."""
    return np.mean(abs(pair.sr - pair.hr) / pair.hr)


EVERY_SCORE = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())


def pair():
    """Return a noisy and a smooth image; the bands differ in noise and in brightness."""
    rng = np.random.default_rng(0)
    hr = gaussian_filter(rng.random((6, 40, 32)), (1, 3, 3)) * np.linspace(0.4, 1.6, 6)[:, None, None]
    sr = hr + rng.normal(size=hr.shape) * np.linspace(0.01, 0.05, 6)[:, None, None]
    return sr, hr


def tensors():
    return [torch.from_numpy(image)[None] for image in pair()]


def test_mpsnr_equals_scikit_image_and_torchmetrics():
    sr, hr = pair()
    bands = [peak_signal_noise_ratio(y, x, data_range=1) for x, y in zip(sr, hr, strict=True)]
    assert mpsnr(sr, hr) == pytest.approx(np.mean(bands), abs=1e-6)
    assert scores(sr, hr, 4)["bands"]["MPSNR"] == pytest.approx(bands, abs=1e-6)
    expected = tm.peak_signal_noise_ratio(*tensors(), 1.0, dim=(2, 3))
    assert mpsnr(sr, hr) == pytest.approx(float(expected), abs=1e-5)  # its factor 10 / ln 10 is a float32


def test_mssim_equals_scikit_image():
    sr, hr = pair()
    bands = [structural_similarity(x, y, data_range=1) for x, y in zip(sr, hr, strict=True)]
    assert mssim(sr, hr) == pytest.approx(np.mean(bands), abs=1e-6)
    assert scores(sr, hr, 4)["bands"]["MSSIM"] == pytest.approx(bands, abs=1e-6)


def test_sam_equals_torchmetrics():
    expected = np.degrees(float(tm.spectral_angle_mapper(*tensors())))
    assert sam(*pair()) == pytest.approx(expected, abs=1e-6)


def test_cc_equals_torchmetrics():
    sr, hr = (t[0].flatten(1).T for t in tensors())
    bands = pearson_corrcoef(sr, hr)
    assert cc(*pair()) == pytest.approx(float(bands.mean()), abs=1e-6)
    assert scores(*pair(), 4)["bands"]["CC"] == pytest.approx(bands.tolist(), abs=1e-6)


def test_rmse_equals_torchmetrics():
    sr, hr = tensors()
    assert rmse(*pair()) == pytest.approx(
        float(mean_squared_error(sr.flatten(), hr.flatten(), squared=False)), abs=1e-6
    )
    bands = [float(mean_squared_error(x, y, squared=False)) for x, y in zip(sr[0], hr[0], strict=True)]
    assert scores(*pair(), 4)["bands"]["RMSE"] == pytest.approx(bands, abs=1e-6)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_ergas_equals_torchmetrics(scale):
    expected = tm.error_relative_global_dimensionless_synthesis(*tensors(), ratio=scale)
    assert ergas(*pair(), scale) == pytest.approx(float(expected), abs=1e-6)


def test_scores_are_in_the_order_of_the_registry_and_are_json():
    sr, hr = (image.astype(np.float32) for image in pair())
    result = json.loads(json.dumps(scores(sr, hr, 4), allow_nan=False))
    assert list(result["scores"].items()) == [(name, score(sr, hr, 4)) for name, score in SCORES.items()]
    by_band = {"MPSNR", "MSSIM", "CC", "RMSE"}
    assert by_band <= result["bands"].keys() and not {"SAM", "ERGAS"} & result["bands"].keys()
    assert {len(values) for values in result["bands"].values()} == {6}


@EVERY_SCORE
def test_float32_images_are_summed_in_float64(score):
    sr, hr = (image.astype(np.float32) for image in pair())
    assert score(sr, hr) == pytest.approx(score(sr.astype(float), hr.astype(float)), rel=1e-14)


@EVERY_SCORE
def test_flips_do_not_matter(score):
    sr, hr = pair()
    assert score(sr[::-1, ::-1], hr[::-1, ::-1]) == pytest.approx(score(sr, hr), rel=1e-10)


def test_identical_images_have_the_best_scores():
    hr = pair()[1]
    best = {"MPSNR": 100, "MSSIM": 1, "SAM": 0, "CC": 1, "RMSE": 0, "ERGAS": 0}
    result = scores(hr, hr, 4)["scores"]
    assert {name: result[name] for name in best} == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(("offset", "decibels"), [(0.1, 20), (0.01, 40), (2e-5, 93.9794), (1e-6, 100), (0, 100)])
def test_mpsnr_of_offset_and_its_maximum(offset, decibels):
    assert mpsnr(np.full((2, 3, 3), offset), np.zeros((2, 3, 3))) == pytest.approx(decibels, abs=1e-4)


@pytest.mark.parametrize("radians", [1e-9, 1e-3, 0.5, np.pi / 2, 3, np.pi])
def test_sam_of_known_angle(radians):
    sr = np.array([np.cos(radians), np.sin(radians)]).reshape(2, 1, 1)
    hr = np.array([7.0, 0.0]).reshape(2, 1, 1)
    assert sam(sr, hr) == pytest.approx(np.degrees(radians), rel=1e-9)


def test_sam_ignores_brightness():
    sr, hr = pair()
    assert sam(3 * sr, hr) == pytest.approx(sam(sr, hr), rel=1e-12)


def test_sam_leaves_out_zero_spectra():
    sr, hr = pair()
    expected = sam(sr[:, 2:], hr[:, 2:])
    sr[:, 0], hr[:, 1] = 0, 0
    assert sam(sr, hr) == pytest.approx(expected, rel=1e-12)


def test_sam_of_zeros_is_refused():
    hr = pair()[1]
    with pytest.raises(ValueError, match="SAM is undefined"):
        sam(np.zeros_like(hr), hr)


def test_sam_of_one_band_is_refused():
    with pytest.raises(ValueError, match="2 bands"):
        sam(np.ones((1, 4, 4)), np.ones((1, 4, 4)))


def test_cc_of_constant_bands():
    ramp = np.linspace(0, 1, 16).reshape(4, 4)
    flat = np.full((4, 4), 0.1)  # the mean of sixteen 0.1 is rounded, which must not count as contrast
    sr = np.stack([flat, flat, ramp, flat, 1 - ramp])
    hr = np.stack([flat, flat + 0.1, flat, ramp, ramp])
    result = cc(sr, hr)
    assert result == pytest.approx((1 + 0 + 0 + 0 - 1) / 5)


def test_rmse_is_of_the_whole_cube():
    sr = np.zeros((2, 3, 3))
    sr[1] = 1  # bands of 0 and of 1; the mean of the roots of the bands would be 0.5
    assert rmse(sr, np.zeros_like(sr)) == pytest.approx(0.5**0.5)


def test_ergas_leaves_out_bands_of_mean_0():
    sr, hr = pair()
    expected = ergas(sr[1:], hr[1:], 4)
    hr[0] = 0
    assert ergas(sr, hr, 4) == pytest.approx(expected, rel=1e-12)


def test_ergas_of_black_truth_is_refused():
    sr = pair()[0]
    with pytest.raises(ValueError, match="ERGAS is undefined"):
        ergas(sr, np.zeros_like(sr), 4)


@pytest.mark.parametrize("scale", [0, -4])
def test_ergas_needs_a_scale(scale):
    with pytest.raises(ValueError, match="upsampling factor"):
        ergas(*pair(), scale)


@pytest.mark.parametrize("shape", [(2, 6, 7), (2, 7, 6)])
def test_mssim_needs_a_whole_window(shape):
    assert mssim(np.ones((2, 7, 7)), np.ones((2, 7, 7))) == 1
    with pytest.raises(ValueError, match="at least 7 pixels"):
        mssim(np.ones(shape), np.ones(shape))


@EVERY_SCORE
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 1), (2, 9, 8), (8, 8), (1, 2, 8, 8)])
def test_different_shapes_are_not_broadcast(score, shape):
    with pytest.raises(ValueError, match="one shape"):
        score(np.ones(shape), np.ones((2, 8, 8)))


@EVERY_SCORE
@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 8, 8), (0, 8, 8), (2, 0, 8)])
def test_other_dimensions_are_refused(score, shape):
    with pytest.raises(ValueError, match="bands, rows, columns"):
        score(np.ones(shape), np.ones(shape))


@EVERY_SCORE
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(score, value):
    good, bad = np.ones((2, 8, 8)), np.ones((2, 8, 8))
    bad[1, 2, 3] = value
    for images in [(good, bad), (bad, good)]:
        with pytest.raises(ValueError, match="NaN or infinite"):
            score(*images)


def masks_without_block(shape, down, across):
    """Yield masks (rows, columns) of the image without one block, for given borders of the blocks."""
    for top, bottom in pairwise(down):
        for left, right in pairwise(across):
            mask = np.ones(shape[1:], bool)
            mask[top:bottom, left:right] = False
            yield mask


def reference_scores(sr, hr, mask):
    """Return the scores by scikit-image and torchmetrics for the pixels of a mask; MSSIM: the windows around them."""
    x, y = sr[:, mask], hr[:, mask]
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    ssim = [structural_similarity(*bands, data_range=1, full=True)[1] for bands in zip(sr, hr, strict=True)]
    whole = np.zeros_like(mask)
    whole[3:-3, 3:-3] = True  # whole windows
    return {
        "MPSNR": np.mean([peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(x, y, strict=True)]),
        "MSSIM": np.stack(ssim)[:, mask & whole].mean(),
        "SAM": np.degrees(float(tm.spectral_angle_mapper(tx[None, ..., None], ty[None, ..., None]))),
        "CC": float(pearson_corrcoef(tx.T, ty.T).mean()),
        "RMSE": float(mean_squared_error(tx.flatten(), ty.flatten(), squared=False)),
        "ERGAS": float(tm.error_relative_global_dimensionless_synthesis(tx[None, ..., None], ty[None, ..., None], 4)),
    }


@pytest.mark.parametrize(
    ("rows", "columns", "down", "across"),
    [
        (40, 32, (0, 10, 20, 30, 40), (0, 8, 16, 24, 32)),
        (38, 29, (0, 10, 19, 28, 38), (0, 7, 14, 22, 29)),  # 9.5, 28.5; 7.25, 14.5, 21.75: halves to even
    ],
)
def test_scores_without_block_equal_references(rows, columns, down, across):
    sr, hr = (image[:, :rows, :columns] for image in pair())
    result = scores(sr, hr, 4)["without_block"]
    expected = [reference_scores(sr, hr, mask) for mask in masks_without_block(hr.shape, down, across)]
    assert list(result) == list(SCORES)
    for name in expected[0]:
        values = result[name]
        assert values == pytest.approx([each[name] for each in expected], rel=1e-6), name
        assert len(set(values)) == 16


def test_image_without_its_only_wrong_block_is_perfect():
    hr = pair()[1]
    sr = hr.copy()
    sr[:, 10:20, 24:32] += np.linspace(0.1, 0.5, 6)[:, None, None]
    block = 1 * 4 + 3
    result = scores(sr, hr, 4)
    for name, perfect in {"MPSNR": 100, "SAM": 0, "CC": 1, "RMSE": 0, "ERGAS": 0}.items():
        assert result["without_block"][name][block] == pytest.approx(perfect, abs=1e-14)
    for name, growth in {"RMSE": (16 / 15) ** 0.5, "SAM": 16 / 15}.items():  # the same error on 15 of 16 equal blocks
        rest = [value for i, value in enumerate(result["without_block"][name]) if i != block]
        assert rest == pytest.approx([growth * result["scores"][name]] * 15, rel=1e-12)


def test_cc_without_dominant_block_is_precise():
    x, y = np.random.default_rng(0).random((2, 2, 32, 32))
    sr, hr = x + 1e9 * (np.indices((32, 32)) < 8).all(0), y + 1e9 * (np.indices((32, 32)) < 8).all(0)
    (left, *_) = masks_without_block(hr.shape, (0, 8, 16, 24, 32), (0, 8, 16, 24, 32))
    bands = pearson_corrcoef(torch.from_numpy(x[:, left]).T, torch.from_numpy(y[:, left]).T)
    assert scores(sr, hr, 4)["without_block"]["CC"][0] == pytest.approx(float(bands.mean()), rel=1e-9)


def test_rmse_without_dominant_block_is_precise():
    hr = pair()[1]
    sr = hr + 1e-7
    sr[:, :10, :8] += 1
    assert scores(sr, hr, 4)["without_block"]["RMSE"][0] == pytest.approx(1e-7, rel=1e-6)


def test_sam_without_block_counts_pixels_with_spectrum():
    angles = np.kron(np.arange(16.0).reshape(4, 4), np.ones((2, 2)))  # degrees: 0 in the first block, 1 in the second
    sr, hr = np.array([np.cos(np.radians(angles)), np.sin(np.radians(angles))]), np.ones((2, 8, 8))
    hr[1], hr[:, :, 0] = 0, 0
    pixels = np.tile([2, 4, 4, 4], 4)
    expected = [np.average(np.delete(np.arange(16), i), weights=np.delete(pixels, i)) for i in range(16)]
    assert scores(sr, hr, 4)["without_block"]["SAM"] == pytest.approx(expected, rel=1e-12)


def test_cc_of_band_that_is_constant_without_block():
    hr = np.full((2, 16, 16), 0.1)
    hr[:, :4, :4] = np.random.default_rng(0).random((2, 4, 4))
    sr = hr.copy()
    sr[1, 8:] = 0.2
    first, *rest = scores(sr, hr, 4)["without_block"]["CC"]
    assert first == 0.5  # the first band is equal, the second is not
    assert set(rest) & {0, 0.5, 1} == set()


@pytest.mark.parametrize(("name", "block"), [("MSSIM", 5), ("SAM", 0), ("ERGAS", 0)])
def test_undefined_score_without_block_is_none(name, block):
    if name == "MSSIM":  # the only window is around (3, 3), in the second of rows 0-1, 2-3, 4, 5-6
        hr = pair()[1][:, :7, :7]
    else:
        hr = np.zeros((6, 16, 16))
        hr[:, :4, :4] = pair()[1][:, :4, :4]
    result = json.loads(json.dumps(scores(hr + 0.1, hr, 4), allow_nan=False))["without_block"]
    assert [i for i, value in enumerate(result[name]) if value is None] == [block]


def test_absolute_error_is_mean_over_bands():
    sr, hr = np.zeros((2, 2, 1, 3), np.float32)
    sr[:, 0, 1], hr[0, 0, 2] = (0.5, -0.25), 0.5
    assert absolute_error(sr, hr).tolist() == [[0, 0.375, 0.25]]


def test_edges_are_strongest_tenth_of_gradients():
    hr = pair()[1]
    slopes = torch.stack(torch.gradient(torch.from_numpy(hr), dim=(1, 2)))
    strongest = slopes.square().sum((0, 1)).flatten().topk(128).indices  # of 40 x 32 pixels
    assert np.flatnonzero(edges(hr)).tolist() == sorted(strongest.tolist())


def test_equally_strong_edges_are_all_included():
    step = np.zeros((2, 9, 9))
    step[1, :, 5:] = 1
    assert np.argwhere(edges(step).all(0)).ravel().tolist() == [4, 5] and edges(step).sum() == 18
    assert edges(np.ones((2, 9, 9))).all()


def test_scores_need_less_memory_than_an_image():
    hr = np.random.default_rng(0).random((128, 128, 128), dtype=np.float32)
    sr = np.roll(hr, 1)
    tracemalloc.start()
    scores(sr, hr, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < hr.nbytes


# Entries of SCORES ----------------------------------------------------------------------------------------------------


@EVERY_SCORE
def test_direction_says_which_image_is_better(score):
    sr, hr = pair()
    worse = hr + 4 * (sr - hr)
    assert score.direction * (score(sr, hr, 4) - score(worse, hr, 4)) > 0


def test_headings_are_unique():
    assert len({score.heading for score in SCORES.values()}) == len(SCORES)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"direction": 0}, "direction of MAPE in SCORES is 0: write 1"),
        ({"decimals": -1}, "decimals of MAPE in SCORES are -1"),
        ({"decimals": 1.0}, "decimals of MAPE in SCORES are 1.0"),
        ({"heading": ""}, "heading of a score in SCORES is empty"),
    ],
)
def test_wrong_entry_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Score(**{"function": mape, "heading": "MAPE", "unit": "%", "decimals": 2, "direction": -1} | wrong)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (mape, TypeError, r"MAPE must return ScoreValues with subsets of shape \(17,\), not float64"),
        (lambda _: ScoreValues(np.zeros(6)), TypeError, r"MAPE must return .* of shape \(17,\), not \(6,\)"),
        (lambda _: ScoreValues(np.zeros(17), np.zeros(2)), TypeError, r"MAPE must return bands of shape \(6,\)"),
        (lambda _: ScoreValues(np.full(17, np.nan)), ValueError, "MAPE is NaN or infinite: .*raise ValueError"),
        (lambda _: ScoreValues(np.zeros(17), np.full(6, np.inf)), ValueError, "MAPE is NaN or infinite"),
    ],
)
def test_wrong_values_name_the_score(monkeypatch, function, error, message):
    monkeypatch.setitem(SCORES, "MAPE", Score(function, "MAPE", "%", 2, -1))
    with pytest.raises(error, match=message):
        scores(*pair(), 4)
