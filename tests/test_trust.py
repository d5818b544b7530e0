"""Trust: what is known of a result beforehand is what the map and the summary say."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from netCDF4 import Dataset
from rasterio.crs import CRS
from scipy.stats import spearmanr
from spectral import spectral_angles

from lkca.data.degrade import degrade
from lkca.data.resize import resize
from lkca.data.writers import OutputDescription, encode, open_output
from lkca.errors import DataError
from lkca.inference import trust
from lkca.inference.cube_file import CubeFile
from lkca.inference.trust import (
    FLAGS,
    INCONSISTENT,
    INVALID,
    MEASURES,
    NEAR_INVALID,
    OUTSIDE,
    SPREAD,
    UNFAMILIAR,
    HeldOutImage,
    TrainingSpectra,
    TrustSummary,
    correlate_ranks,
    degradation_reach,
    degrade_in_blocks,
    describe_correlation,
    find_map_path,
    learn_training_spectra,
    measure_pixels,
    write_trust_map,
)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ROWS, COLUMNS, BANDS, SCALE, DIVISOR = 20, 15, 6, 2, 50.0
BLURS = ["bicubic", "mtf:0.3", "mtf:0.05"]
UTM = CRS.from_epsg(32632).to_wkt()
ROTATED = (500_000.0, 12.0, 9.0, 5_000_000.0, 9.0, -12.0)
LAYERS = [*(name for name in MEASURES if name != "spread"), "flags"]


def make_cube(rows: int = ROWS, columns: int = COLUMNS, seed: int = 0) -> np.ndarray:
    """Return mixtures of three smooth spectra with smooth shares, (bands, rows, columns) in [0.1, 1]."""
    generator = np.random.default_rng(seed)
    spectra = np.abs(np.sin(np.arange(BANDS)[:, None] * [0.3, 0.7, 1.1] + [0.5, 0.9, 0.2])) + 0.2
    shares = resize(generator.random((3, rows // 5, columns // 5)), 5)
    cube = np.tensordot(spectra, np.abs(shares) + 0.1, 1)
    return (cube / cube.max()).astype(np.float32)


def make_held_out(number: int = 2) -> list[HeldOutImage]:
    """Return held-out images and their reconstruction by bicubic."""
    truths = [make_cube(seed=seed)[:, :, :14] for seed in range(1, number + 1)]
    return [HeldOutImage(resize(degrade(hr, SCALE), SCALE), hr) for hr in truths]


def write_result(path: Path, result: np.ndarray, dtype: str = "float32", **facts: Any) -> None:
    """Write a result (bands, rows, columns), divided; pixels that are NaN are invalid."""
    bands, rows, columns = result.shape
    mark = math.nan if dtype == "float32" else 0
    facts = {"invalid": mark, "units": "counts", **facts}
    description = OutputDescription(shape=(rows, columns, bands), dtype=np.dtype(dtype), **facts)
    stored, _ = encode(np.nan_to_num(result) * DIVISOR, np.isnan(result).any(0), description, 0)
    with open_output(path, description) as output:
        output.write(0, 0, 0, stored)


def read_map(path: Path, names: list[str] = LAYERS) -> dict[str, np.ndarray]:
    """Return the layers of the map next to a result, read by GDAL."""
    with rasterio.open(find_map_path(path)) as file:
        assert file.count == len(names)
        return dict(zip(names, file.read(), strict=True))


def run(
    folder: Path, lr: np.ndarray, result: np.ndarray, blur: str = "bicubic", suffix: str = ".tif", **options: Any
) -> tuple[TrustSummary, dict[str, np.ndarray]]:
    """Write the map of a result; return the summary and the layers."""
    np.save(folder / "lr.npy", lr)
    path = folder / f"sharp{suffix}"
    facts = {name: options.pop(name) for name in ("dtype", "crs", "geotransform") if name in options}
    write_result(path, result, **facts)
    options = {"training_rows": [(0, len(lr[0]))], "held_out": make_held_out(), **options}
    summary = write_trust_map(path, folder / "lr.npy", DIVISOR, SCALE, blur, **options)
    names = [*(name for name in MEASURES if name != "spread" or options.get("spread")), "flags"]
    return summary, read_map(path, names) if suffix == ".tif" else {}


def has_flag(layers: dict[str, np.ndarray], flag: int) -> np.ndarray:
    return (layers["flags"].astype(int) & flag) > 0


@pytest.mark.parametrize("blur", BLURS)
def test_a_constant_cube_is_consistent(tmp_path: Path, blur: str) -> None:
    lr = np.broadcast_to(np.linspace(0.2, 0.9, BANDS, dtype=np.float32)[:, None, None], (BANDS, ROWS, COLUMNS))
    result = resize(lr, SCALE)
    held_out = [HeldOutImage(result, result)]
    summary, layers = run(tmp_path, lr, result, blur, held_out=held_out)
    assert layers["consistency"].max() < 1e-5 * DIVISOR
    assert max(layers[name].max() for name in ("angle_to_input", "angle_in_pixel", "shape")) < 1e-4
    assert not layers["flags"].any()
    assert summary.unflagged == 1
    assert all(measure.correlation is None for measure in summary.measures.values())
    assert "nothing" in summary.measures["consistency"].says


@pytest.mark.parametrize("blur", BLURS)
def test_a_plane_is_consistent_inside(tmp_path: Path, blur: str) -> None:
    # A symmetric kernel gives a plane back: the plane at the centres of the large pixels. Borders are mirrored.
    def plane(step: float) -> np.ndarray:
        y = (np.arange(round(ROWS / step)) + 0.5) * step
        x = (np.arange(round(COLUMNS / step)) + 0.5) * step
        slopes = np.linspace(0.5, 1, BANDS)[:, None, None]
        return (0.2 + slopes * (0.02 * y[:, None] + 0.03 * x)).astype(np.float32)

    _, layers = run(tmp_path, plane(1), plane(1 / SCALE), blur)
    border = SCALE * degradation_reach(SCALE, blur)
    consistency = layers["consistency"]
    assert consistency[border:-border, border:-border].max() < 1e-5 * DIVISOR
    assert consistency[0].min() > 1e-4 * DIVISOR


@pytest.mark.parametrize("blur", BLURS)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_blocks_of_columns_do_not_change_the_degraded_image(blur: str, scale: int) -> None:
    image = np.random.default_rng(0).random((2, 5 * scale, 150 * scale))
    blocks = degrade_in_blocks(image, scale, blur, degradation_reach(scale, blur))
    assert blocks == pytest.approx(degrade(image, scale, blur), abs=1e-12)


@pytest.mark.parametrize("blur", BLURS)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_degradation_reaches_no_further(blur: str, scale: int) -> None:
    reach, size = degradation_reach(scale, blur), 21
    image = np.zeros((size * scale, size * scale))
    image[10 * scale : 11 * scale, 10 * scale : 11 * scale] = 1
    rows, columns = np.nonzero(degrade(image, scale, blur))
    assert abs(rows - 10).max() <= reach
    assert abs(columns - 10).max() <= reach


def test_a_spot_outside_of_the_range_is_flagged_there_alone(tmp_path: Path) -> None:
    lr = make_cube()
    result = resize(lr, SCALE).clip(lr.min((1, 2))[:, None, None], lr.max((1, 2))[:, None, None])
    result[:, 13, 8] *= 3 * lr.max() / result[:, 13, 8].min()  # brighter, of the same shape
    result[:3, 20, 21] = -0.5  # half of the bands
    _, layers = run(tmp_path, lr, result)
    assert np.argwhere(has_flag(layers, OUTSIDE)).tolist() == [[13, 8], [20, 21]]
    assert layers["outside"][13, 8] == 1
    assert layers["outside"][20, 21] == pytest.approx(0.5)
    assert np.count_nonzero(layers["outside"]) == 2
    assert not has_flag(layers, UNFAMILIAR)[13, 8]


def test_a_spectrum_that_no_mixture_gives_is_unfamiliar_there_alone(tmp_path: Path) -> None:
    lr = make_cube()  # mixtures of three spectra, which the three leading ones of six bands give exactly
    result = resize(lr, SCALE)
    spectra = np.linalg.svd(lr.reshape(BANDS, -1).astype(np.float64))[0]
    result[:, 7, 9] = 0.5 * spectra[:, 4]  # at right angles to all of them
    mixture = 0.5 * spectra[:, 0] + 0.5 * spectra[:, 5]
    result[:, 30, 20] = mixture
    _, layers = run(tmp_path, lr, result)
    assert np.argwhere(has_flag(layers, UNFAMILIAR)).tolist() == [[7, 9], [30, 20]]
    assert layers["shape"][7, 9] == pytest.approx(90, abs=0.01)
    assert layers["shape"][30, 20] == pytest.approx(45, abs=0.01)


def test_a_shifted_result_is_inconsistent(tmp_path: Path) -> None:
    lr = make_cube()
    result = resize(lr, SCALE)
    right, layers = run(tmp_path, lr, result)
    assert right.flags[INCONSISTENT] < 0.1
    shifted, moved = run(tmp_path, lr, np.roll(result, 3 * SCALE, -1))
    assert shifted.flags[INCONSISTENT] > 0.8
    assert np.median(moved["consistency"]) > 10 * np.median(layers["consistency"])
    assert min(shifted.consistency_bands or ()) > 5 * max(right.consistency_bands or ())


def test_the_consistency_of_an_added_constant_is_that_constant(tmp_path: Path) -> None:
    lr = make_cube()
    offsets = np.linspace(0, 0.1, BANDS, dtype=np.float32)
    plain, _ = run(
        tmp_path, np.full_like(lr, 0.5), np.full((BANDS, 2 * ROWS, 2 * COLUMNS), 0.5) + offsets[:, None, None]
    )
    assert plain.consistency_bands == pytest.approx(offsets * DIVISOR, abs=1e-5)


def test_strips_do_not_change_the_map(tmp_path: Path) -> None:
    lr = make_cube()
    lr[:, 9, 4] = np.nan
    result = resize(np.nan_to_num(lr, nan=0.4), SCALE) + np.float32(0.03) * np.sin(
        np.arange(2 * COLUMNS), dtype=np.float32
    )
    result[:, 18:20, 8:10] = np.nan
    whole, expected = run(tmp_path, lr, result, "mtf:0.3", strip_rows=ROWS)
    for height in (1, 3, 7, None):
        summary, layers = run(tmp_path, lr, result, "mtf:0.3", strip_rows=height)
        for name in LAYERS:
            assert layers[name] == pytest.approx(expected[name], abs=2e-4, nan_ok=True), name
        assert summary.flags == whole.flags
        assert summary.consistency_bands == pytest.approx(whole.consistency_bands)


def test_angles_are_those_of_another_implementation() -> None:
    generator = np.random.default_rng(0)
    pixels, inputs = generator.random((BANDS, 6, 8)), generator.random((BANDS, 3, 4))
    training = TrainingSpectra(np.zeros(BANDS), np.ones(BANDS), np.eye(BANDS)[:1])
    layers = measure_pixels([(0, pixels[:4]), (4, pixels[4:])], inputs, training, SCALE)
    for row, column in [(0, 0), (5, 7), (3, 2)]:
        angle = spectral_angles(pixels[:, row, column][None, None], inputs[:, row // 2, column // 2][None])
        assert layers["angle_in_pixel"][row, column] == pytest.approx(np.degrees(angle.item()))
    cosine = pixels[0] / np.linalg.norm(pixels, axis=0)  # the only leading spectrum is the first axis
    assert np.cos(np.radians(layers["shape"])) == pytest.approx(cosine)
    zero = measure_pixels([(0, 0 * pixels)], inputs, training, SCALE)
    assert np.isnan(zero["angle_in_pixel"]).all()


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_invalid_pixels_stay_invalid_and_mark_their_neighbours(tmp_path: Path, dtype: str) -> None:
    lr = make_cube()
    lr[:, 6, 7] = np.nan
    result = resize(np.nan_to_num(lr, nan=0.4), SCALE)
    result[:, 12:14, 14:16] = np.nan
    summary, layers = run(tmp_path, lr, result, dtype=dtype)
    invalid = np.zeros((2 * ROWS, 2 * COLUMNS), bool)
    invalid[12:14, 14:16] = True
    near = np.zeros_like(invalid)
    near[8:18, 10:20] = True  # two LR pixels on each side
    assert (layers["flags"][invalid] == INVALID).all()
    assert np.array_equal(has_flag(layers, INVALID), invalid)
    assert np.array_equal(has_flag(layers, NEAR_INVALID), near & ~invalid)
    for name in ("angle_in_pixel", "outside", "shape"):
        assert np.array_equal(np.isnan(layers[name]), invalid), name
    assert np.array_equal(np.isnan(layers["consistency"]), near)  # bicubic reaches as far
    assert summary.pixels - summary.valid == 4
    assert summary.flags[INVALID] == 4 / summary.pixels
    assert summary.flags[NEAR_INVALID] == pytest.approx(96 / summary.valid)


def test_a_result_without_a_value_at_a_valid_pixel_is_invalid_there(tmp_path: Path) -> None:
    lr = make_cube()
    result = resize(lr, SCALE)
    result[:, 3, 3] = np.nan
    _, layers = run(tmp_path, lr, result)
    assert np.argwhere(has_flag(layers, INVALID)).tolist() == [[3, 3]]


def test_rounding_to_integers_is_no_inconsistency(tmp_path: Path) -> None:
    results = np.random.default_rng(0).uniform(0.2, 1, (2, BANDS, 2 * ROWS, 2 * COLUMNS)).astype(np.float32)
    perfect = [HeldOutImage(results[0], results[0])]  # before it is rounded
    lr = degrade(results[1], SCALE)
    for dtype in ("float32", "uint16"):
        summary, _ = run(tmp_path, lr, results[1], dtype=dtype, held_out=perfect)
        assert summary.flags[INCONSISTENT] < 0.05, dtype
    assert min(summary.consistency_bands or ()) > 0.05  # of 1 count


def test_noise_that_the_truth_has_is_familiar(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (3, BANDS, 2 * ROWS, 2 * COLUMNS)).astype(np.float32)
    lr = make_cube() + noise[0, :, :ROWS, :COLUMNS]
    held_out = [image._replace(hr=image.hr + noise[1, :, :ROWS, :14]) for image in make_held_out()]
    summary, _ = run(tmp_path, lr, resize(make_cube(), SCALE) + noise[2], held_out=held_out)
    assert summary.flags[UNFAMILIAR] < 0.03
    assert summary.measures["shape"].held_out[2] < summary.measures["shape"].threshold / 2


@pytest.mark.parametrize("suffix", [".tif", ".img", ".bip", ".nc", ".npy"])
def test_the_map_has_the_format_and_the_place_of_the_result(tmp_path: Path, suffix: str) -> None:
    place = {} if suffix == ".npy" else {"crs": UTM, "geotransform": ROTATED}
    lr = make_cube()
    summary, _ = run(tmp_path, lr, resize(lr, SCALE), suffix=suffix, **place)
    path = tmp_path / f"sharp_trust{suffix}"
    assert summary.valid == 4 * ROWS * COLUMNS
    if suffix == ".npy":
        assert np.load(path).shape == (len(LAYERS), 2 * ROWS, 2 * COLUMNS)
        return
    if suffix == ".nc":
        with Dataset(path) as file:
            names = list(file["band_names"][:])
            geotransform = [float(number) for number in file["crs"].GeoTransform.split()]
    else:
        with rasterio.open(path) as file:
            names, geotransform = list(file.descriptions), list(file.transform.to_gdal())
            assert file.crs == CRS.from_wkt(UTM)
            assert np.isnan(file.nodata)
            if suffix == ".tif":
                limits = re.findall(r"(-?[\d.]+(?:e-?\d+)?)[,.]", file.tags()["HISTORY"].partition("Yardsticks")[2])
                assert [float(limit) for limit in limits] == [
                    pytest.approx(measure.threshold, rel=1e-3) for measure in summary.measures.values()
                ]
    assert geotransform == pytest.approx(ROTATED)
    assert len(names) == len(LAYERS)
    assert "(counts)" in names[0] and "(degrees)" in names[1]
    assert all(text in names[-1] for text in FLAGS.values())


def test_the_spread_is_a_layer_with_its_own_yardstick(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def spread(first: int, last: int) -> np.ndarray:
        calls.append((first, last))
        layer = np.full((last - first, 2 * COLUMNS), 0.01)
        layer[max(0, 10 - first) : max(0, 11 - first), 5] = 0.2
        return layer

    generator = np.random.default_rng(0)
    held_out = [
        image._replace(spread=abs(image.sr - image.hr).mean(0) * generator.uniform(0.9, 1.1, image.hr.shape[1:]) + 0.01)
        for image in make_held_out()
    ]
    lr = make_cube()
    summary, layers = run(tmp_path, lr, resize(lr, SCALE), spread=spread, held_out=held_out, strip_rows=6)
    assert calls == [(0, 12), (12, 24), (24, 36), (36, 40)]
    assert layers["spread"][10, 5] == pytest.approx(0.2 * DIVISOR)
    assert np.argwhere(has_flag(layers, SPREAD)).tolist() == [[10, 5]]
    assert (summary.measures["spread"].correlation or 0) > 0.9
    assert "much" in summary.measures["spread"].says
    with pytest.raises(ValueError, match="spread"):
        run(tmp_path, lr, resize(lr, SCALE), spread=spread)


def test_the_yardstick_is_the_quantile_of_the_held_out_images(tmp_path: Path) -> None:
    lr, held_out = make_cube(), make_held_out(3)
    summary, _ = run(tmp_path, lr, resize(lr, SCALE), held_out=held_out)
    pixels = sum(image.hr[0].size for image in held_out)
    assert (summary.held_out_images, summary.held_out_pixels) == (3, pixels)
    error = np.concatenate([abs(image.sr - image.hr).mean(0).ravel() for image in held_out]) * DIVISOR
    assert summary.error == pytest.approx(error.mean())
    own = [degrade(image.sr, SCALE) - degrade(image.hr, SCALE) for image in held_out]
    consistency = (
        np.concatenate([np.sqrt((each**2).mean(0)).repeat(2, 0).repeat(2, 1).ravel() for each in own]) * DIVISOR
    )
    measure = summary.measures["consistency"]
    assert np.mean(consistency > measure.threshold) <= 0.01
    assert np.mean(consistency >= measure.threshold * (1 - 1e-6)) >= 0.01
    assert measure.correlation == pytest.approx(spearmanr(consistency, error).statistic, abs=1e-3)
    above = consistency > measure.threshold
    assert measure.error_below == pytest.approx(error[~above].mean(), rel=1e-3)


def test_ranks_are_correlated_as_scipy_does() -> None:
    x, y = np.random.default_rng(0).integers(0, 9, (2, 200))
    assert correlate_ranks(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert correlate_ranks(np.ones(3), y[:3]) is None


@pytest.mark.parametrize(
    "correlation, word", [(0.02, "nothing"), (-0.02, "nothing"), (-0.4, "smaller"), (0.2, "little"), (0.4, "something")]
)
def test_words_follow_the_correlation(correlation: float, word: str) -> None:
    assert word in describe_correlation(correlation, 1.0, 2.0)


def test_training_pixels_are_those_of_the_rows(tmp_path: Path) -> None:
    lr = make_cube()
    lr[:, 12] = 7
    lr[:, 2, 3] = np.nan
    np.save(tmp_path / "lr.npy", lr)
    with CubeFile(tmp_path / "lr.npy") as cube:
        training = learn_training_spectra(cube, [(0, 5), (14, 20)])
        pixels = np.concatenate([lr[:, :5], lr[:, 14:]], 1)
        assert training.high == pytest.approx(np.nanmax(pixels, (1, 2)), rel=1e-5)
        assert training.low == pytest.approx(np.nanmin(pixels, (1, 2)), rel=1e-5)
        with pytest.raises(ValueError, match="training pixel"):
            learn_training_spectra(cube, [(4, 4)])


def test_a_result_of_another_size_is_refused(tmp_path: Path) -> None:
    lr = make_cube()
    with pytest.raises(DataError, match=r"sharp\.tif has 39 x 30 x 6"):
        run(tmp_path, lr, resize(lr, SCALE)[:, 1:])
    assert not find_map_path(tmp_path / "sharp.tif").exists()


def test_no_held_out_image_is_refused(tmp_path: Path) -> None:
    lr = make_cube()
    with pytest.raises(ValueError, match="held-out"):
        run(tmp_path, lr, resize(lr, SCALE), held_out=[])


def test_the_summary_comes_back_from_json(tmp_path: Path) -> None:
    lr = make_cube()
    summary, _ = run(tmp_path, lr, resize(lr, SCALE))
    assert TrustSummary.model_validate_json(summary.model_dump_json()) == summary


def test_strips_are_small_for_a_large_cube() -> None:
    rows = trust._strip_rows(128, 2304, 4, 1)
    assert rows >= 16  # a file whose tiles have 256 rows is not decoded more than five times
    assert rows * 4 * 9216 * (8 * 4 + 13 * 8) < 2**29  # a group of bands in float32, and the sums in float64
