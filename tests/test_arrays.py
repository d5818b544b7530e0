"""`lkca score` and `lkca resize`: what they print, write and refuse."""

import json
import pickle
import zipfile

import h5py
import netCDF4
import numpy as np
import pytest
import rasterio
import spectral
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning
from scipy.io import savemat
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional import image as tm

from lkca.cli import main
from lkca.commands.arrays import MAX_REFLECTANCE, MIN_REFLECTANCE, resize, score
from lkca.data.resize import resize as resize_array
from lkca.errors import ConfigError, DataError, LkcaError, ResourceError
from lkca.scoring.metrics import SCORES
from tests.conftest import REPOSITORY
from tests.cubes import call_directly

PLAIN = np.linspace(0.1, 1, 2 * 8 * 12).reshape(2, 8, 12)


def make_pair(bands=5, rows=24, columns=20):
    """Return a ground truth and a reconstruction, float64 (bands, rows, columns), between 0.05 and 0.65."""
    i, y, x = np.indices((bands, rows, columns))
    truth = 0.35 + 0.15 * np.sin(x / 5 + i) + 0.1 * np.cos(y / 4 + x / 9)
    return truth, truth + np.random.default_rng(0).normal(0, 0.015, truth.shape)


def read_scores(capsys):
    """Return the JSON that `score` has printed."""
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def save(tmp_path):
    """Return a function that saves an array in the folder of the test and returns its path."""

    def save(name, array):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


def test_score_prints_one_json_object(save, capsys):
    score(reference=save("hr.npy", PLAIN), estimate=save("sr.npy", PLAIN + 0.1), scale=4)
    result = json.loads(capsys.readouterr().out)
    assert list(result) == list(SCORES)
    assert result["MPSNR"] == pytest.approx(20)
    assert result["CC"] == pytest.approx(1)
    assert result["RMSE"] == pytest.approx(0.1)


def test_score_does_not_swap_its_arrays(save, capsys):
    score(reference=save("hr.npy", np.full((2, 8, 8), 0.5)), estimate=save("sr.npy", np.full((2, 8, 8), 0.6)), scale=2)
    assert json.loads(capsys.readouterr().out)["ERGAS"] == pytest.approx(100 / 2 * 0.1 / 0.5)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_resize_keeps_the_dtype(save, tmp_path, dtype, order):
    output = tmp_path / "new" / "small.npy"
    resize(input=save("image.npy", np.full((2, 8, 12), 0.5, dtype, order=order)), factor=0.25, output=output)
    result = np.load(output)
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_allclose(result, np.full((2, 2, 3), 0.5), rtol=1e-3)
    assert list(output.parent.iterdir()) == [output]


def test_resize_may_replace_its_input(save):
    path = save("image.npy", PLAIN)
    resize(path, 4, path)
    resize(path, 0.25, path)
    np.testing.assert_allclose(np.load(path), PLAIN, atol=0.02)  # a ramp within each band changes only at its borders


@pytest.fixture(params=[score, resize])
def command(request, save, tmp_path):
    """Return a function that calls one of the two commands with the path of an array."""
    if request.param is score:
        return lambda path: score(save("good.npy", PLAIN), path, 4)
    return lambda path: resize(path, 2, tmp_path / "out.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((8, 12)), r"shape \(8, 12\)"),
        (np.ones((1, 2, 8, 12)), r"shape \(1, 2, 8, 12\)"),
        (np.float64(1), r"shape \(\)"),
        (np.ones((0, 8, 12)), r"shape \(0, 8, 12\)"),
        (np.ones((2, 8, 0)), r"shape \(2, 8, 0\)"),
        (np.ones((2, 8, 12), complex), "complex128"),
        (np.ones((2, 8, 12), bool), "bool"),
        (np.ones((2, 8, 12), [("band", "f4")]), "band"),
        (np.where(PLAIN > 0.9, np.nan, PLAIN), "NaN"),
        (np.where(PLAIN > 0.9, -np.inf, PLAIN), "infinite"),
        (np.full((2, 8, 12), None), "Python objects"),
    ],
)
def test_array_that_is_not_an_image_is_refused(save, command, array, message):
    path = save("bad.npy", array)
    with pytest.raises(LkcaError, match=message) as error:
        command(path)
    assert str(path) in str(error.value)


class Trap:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return self.path.touch, ()


def test_pickle_is_not_executed(command, tmp_path):
    mark, pickled, objects = tmp_path / "mark", tmp_path / "pickled.npy", tmp_path / "objects.npy"
    pickled.write_bytes(pickle.dumps(Trap(mark)))
    np.save(objects, np.array([Trap(mark)], object))
    for path in (pickled, objects):
        with pytest.raises(LkcaError, match=path.name):
            command(path)
    assert not mark.exists()
    pickle.loads(pickled.read_bytes())  # the trap works
    assert mark.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"bands rows columns\n1 2 3\n",
        lambda data: data[:50],
        lambda data: data[:-1],
        lambda data: data.replace(b"(2, 8, 12)", b"(2, 8, 12 "),
        lambda data: data.replace(b"(2, 8, 12), }         ", b"(2, 8, 999999999999),}"),
        lambda data: data.replace(b"(2, 8, 12), }                  ", b"(2, 8, 999999999999999999999),}"),
        lambda data: data.replace(b"'<f8'", b"'<q9'"),
    ],
    ids=["empty", "text", "cut in the header", "cut in the values", "bracket", "size", "overflow", "type"],
)
def test_damaged_file_is_refused(save, command, damage):
    path = save("bad.npy", PLAIN)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(LkcaError, match=f"{path} is not a complete .npy file"):
        command(path)


def test_npz_archive_is_refused(command, tmp_path):
    np.savez(tmp_path / "several.npz", PLAIN)
    with pytest.raises(LkcaError, match="several.npz is a .npz archive, .*: save one of them as .npy"):
        command(tmp_path / "several.npz")


@pytest.mark.parametrize("name", ["none.npy", "none.mat", "none.zip/a.img"])
def test_missing_file_is_named(command, tmp_path, name):
    with pytest.raises(DataError, match=rf"{tmp_path}/none\.\w+ does not exist: correct the path\.$"):
        command(tmp_path / name)


def test_folder_and_device_are_refused(command, tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path} is a folder, but a file is needed there"):
        command(tmp_path)
    with pytest.raises(DataError, match="/dev/zero is a device"):
        command("/dev/zero")


def test_full_disk_for_temporary_files(command, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    savemat(tmp_path / "a.mat", {"a": PLAIN.transpose(1, 2, 0)})
    monkeypatch.setattr("lkca.data.arrays.run_sandboxed", fail)
    with pytest.raises(ResourceError, match="No space left on device.*set TMPDIR"):
        command(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("reference", "estimate", "scale", "message"),
    [
        (PLAIN, PLAIN[:, :, 1:], 4, "2 bands, 8 rows and 11 columns, but .* 12 columns: crop them"),
        (PLAIN, PLAIN.transpose(1, 2, 0), 4, "8 bands, 12 rows and 2 columns, but .*: give the order .* --axes"),
        (PLAIN, PLAIN[:1], 4, "1 bands, 8 rows and 12 columns, but"),
        (PLAIN[:1], PLAIN[:1], 4, "2 bands"),
        (PLAIN[:, :6], PLAIN[:, :6], 4, "7 pixels"),
        (PLAIN, PLAIN, 0, "upsampling factor"),
        (PLAIN, 0 * PLAIN, 4, "SAM is undefined"),
    ],
)
def test_score_error_names_both_files(save, capsys, reference, estimate, scale, message):
    hr, sr = save("hr.npy", reference), save("sr.npy", estimate)
    with pytest.raises(LkcaError, match=message) as error:
        score(hr, sr, scale)
    assert str(hr) in str(error.value)
    assert str(sr) in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("factor", [0, -2, float("nan"), float("inf"), 16.1, 0.06])
def test_resize_refuses_factor_out_of_range(save, tmp_path, factor):
    with pytest.raises(LkcaError, match="from 1/16 to 16"):
        resize(save("image.npy", PLAIN), factor, tmp_path / "out.npy")


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((1, 1, 1025), 16), ((1, 16385, 1), 1 / 16), ((600, 256, 256), 16)],
    ids=["side of the result", "side of the input", "bytes"],
)
def test_resize_refuses_too_large_results(tmp_path, shape, factor):
    np.lib.format.open_memmap(tmp_path / "big.npy", mode="w+", dtype=np.float16, shape=shape)
    with pytest.raises(LkcaError, match="too large"):
        resize(tmp_path / "big.npy", factor, tmp_path / "out.npy")


@pytest.mark.filterwarnings("ignore:overflow")
def test_resize_refuses_overflow(save):
    """Bicubic resizing overshoots at an edge, here beyond the range of float16; the input file is not replaced."""
    image = np.zeros((1, 8, 8), np.float16)
    image[:, :, 4:] = np.finfo(np.float16).max
    path = save("image.npy", image)
    with pytest.raises(LkcaError, match="image.npy holds values so large"):
        resize(path, 2, path)
    assert np.array_equal(np.load(path), image)


def test_resize_refuses_unwritable_output(save, tmp_path):
    image = save("image.npy", PLAIN)
    with pytest.raises(LkcaError, match="does not end in .npy"):
        resize(image, 2, tmp_path / "out.tif")
    with pytest.raises(LkcaError, match="cannot be written"):
        resize(image, 2, image / "out.npy")  # a file is no folder
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(LkcaError, match="cannot be written"):
        resize(image, 2, tmp_path / "folder.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.npy", "image.npy"]


# The peak.


@pytest.mark.parametrize(("dtype", "peak"), [(np.float64, 10000), (np.float32, 255), (np.int16, 10000), (">u2", 60000)])
def test_scores_with_a_peak_are_those_of_other_libraries(save, capsys, dtype, peak):
    """scikit-image with `data_range`, and torchmetrics for the scores on which the peak has no influence."""
    hr, sr = (np.float64(image * peak).round(0 if np.dtype(dtype).kind in "iu" else 9) for image in make_pair())
    hr, sr = hr.astype(dtype), sr.astype(dtype)
    score(save("hr.npy", hr), save("sr.npy", sr), 4, [peak])
    result = read_scores(capsys)
    hr, sr = hr.astype(float), sr.astype(float)
    bands = [*zip(hr, sr, strict=True)]
    psnr = np.mean([peak_signal_noise_ratio(x, y, data_range=peak) for x, y in bands])
    ssim = np.mean([structural_similarity(x, y, data_range=peak) for x, y in bands])
    hr_batch, sr_batch = (torch.from_numpy(image)[None] for image in (hr, sr))
    assert result["MPSNR"] == pytest.approx(psnr, abs=1e-5)
    assert result["MSSIM"] == pytest.approx(ssim, abs=1e-6)
    assert result["RMSE"] == pytest.approx(np.sqrt(np.mean((hr - sr) ** 2)) / peak, rel=1e-6)
    assert result["SAM"] == pytest.approx(np.degrees(float(tm.spectral_angle_mapper(sr_batch, hr_batch))), rel=1e-6)
    ergas = float(tm.error_relative_global_dimensionless_synthesis(sr_batch, hr_batch, 4))
    assert result["ERGAS"] == pytest.approx(ergas, rel=1e-6)


def test_each_file_may_have_its_own_peak(save, capsys):
    hr, sr = make_pair()
    score(save("hr.npy", hr), save("sr.npy", sr), 4)
    expected = read_scores(capsys)
    score(save("hr.npy", 10000 * hr), save("sr.npy", 255 * sr), 4, [10000, 255])
    assert read_scores(capsys) == pytest.approx(expected, rel=1e-9)


def test_scores_without_a_peak_are_those_of_the_array_itself(save, capsys):
    hr, sr = make_pair()
    expected = {name: function(sr, hr, 4) for name, function in SCORES.items()}
    for peak in (None, [1.0]):
        score(save("hr.npy", hr), save("sr.npy", sr), 4, peak)
        assert read_scores(capsys) == expected  # to the last bit


HR, SR = make_pair()
WHOLE = np.round(10000 * HR).astype(np.int16)
HOLE = HR.copy()
HOLE[:, 3, 4] = -0.9999  # -9999, divided by 10 000


@pytest.mark.parametrize(
    ("hr", "sr", "peak", "message"),
    [
        (WHOLE, WHOLE, None, r"hr.npy holds values from \d+ to 5\d{3}, which are integers: give .* --peak 10000"),
        (HR, WHOLE, None, r"sr.npy holds values from \d+ to 5\d{3}, which are integers"),
        (
            HR,
            10000 * SR,
            None,
            r"sr.npy holds values from [\d.]+ to 6[\d.]+, too large .* with a peak of 1: .* --peak 10000",
        ),
        (255 * HR, 255 * SR, None, "hr.npy holds .* too large for reflectance with a peak of 1"),
        (100 * HR, 100 * SR, None, "hr.npy holds .* too large for reflectance with a peak of 1"),
        (10000 * HR, 10000 * SR, [255], "hr.npy holds .* too large for reflectance with a peak of 255"),
        (
            HOLE,
            SR,
            None,
            "hr.npy holds values from -0.9999 .* too far below 0 .* with a peak of 1: crop away or replace",
        ),
        (HR, np.where(SR > 0.6, -9999, SR), None, "sr.npy holds values from -9999 .* too far below 0"),
        (10000 * HOLE, 10000 * SR, [10000], "hr.npy holds values from -9999 .* too far below 0 .* a peak of 10000"),
        (HR, SR, [10000], "hr.npy holds .* a peak of 1 already: leave out --peak 10000, give 1 for this file"),
        (WHOLE, SR, [10000], "sr.npy holds .* a peak of 1 already: leave out --peak 10000, give 1 for this file"),
        (WHOLE, 255 * SR, [10000], "sr.npy and .*hr.npy have different units, .* give two numbers to --peak"),
        (HR, SR / 100, None, "sr.npy and .*hr.npy have different units"),
    ],
)
def test_values_that_cannot_be_reflectance_are_refused(save, capsys, hr, sr, peak, message):
    with pytest.raises(DataError, match=message) as error:
        score(save("hr.npy", hr), save("sr.npy", sr), 4, peak)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_bicubic_overshoot_is_accepted(save, capsys):
    """An image of zeros and ones with the largest overshoot of two dimensions, and the brightest target of Chikusei."""
    for peak in (1, 15133 / 10000):
        low = peak * np.random.default_rng(0).integers(0, 2, (2, 64, 64)).astype(float)
        high = resize_array(low, 4)
        assert high.min() < -0.2 * peak and high.max() > 1.2 * peak
        score(save("hr.npy", np.repeat(np.repeat(low, 4, 1), 4, 2)), save("sr.npy", high), 4)
        assert read_scores(capsys)["RMSE"] > 0.1


def test_dark_image_is_accepted(save, capsys):
    """A part of a scene may be much darker than the peak of the scene."""
    score(save("hr.npy", HR / 1000), save("sr.npy", SR / 1000), 4)
    score(save("hr.npy", WHOLE // 200), save("sr.npy", WHOLE // 200), 4, [10000])


@pytest.mark.parametrize(("limit", "step"), [(MAX_REFLECTANCE, 1e-9), (MIN_REFLECTANCE, -1e-9)])
def test_limits_are_those_of_the_documentation(save, limit, step):
    page = (REPOSITORY / "docs/howto/arrays.md").read_text()
    assert f" {limit:g} times the peak" in page
    hr = HR.copy()
    hr[0, 0, 0] = limit
    score(save("hr.npy", hr), save("sr.npy", SR), 4)
    hr[0, 0, 0] += step
    with pytest.raises(DataError, match="hr.npy holds"):
        score(save("hr.npy", hr), save("sr.npy", SR), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peak": [0.0]}, "--peak 0 is out of range"),
        ({"peak": [1, -1]}, "--peak -1 is out of range"),
        ({"peak": [float("nan")]}, "--peak nan is out of range"),
        ({"peak": [float("inf")]}, "--peak inf is out of range"),
        ({"peak": [1, 1, 1]}, "--peak has 3 values: give one for both files"),
        ({"variable": ["a", "b", "c"]}, "--variable has 3 values"),
        ({"axes": ["rows", "columns"]}, "--axes rows columns is wrong: name the three axes in order"),
        ({"axes": ["rows", "columns", "rows"]}, "--axes rows columns rows is wrong"),
        ({"axes": ["rows", "columns", "bands"] * 3}, "--axes has 3 values"),
    ],
)
def test_wrong_options_are_refused(save, options, message):
    with pytest.raises(ConfigError, match=message):
        score(save("hr.npy", HR), save("sr.npy", SR), 4, **options)


# Invalid pixels.


def test_invalid_pixels_are_counted_and_located(command, save):
    image = np.stack([np.ones((8, 12)), np.ones((8, 12)), np.ones((8, 12))])
    image[1, 5, 3], image[1, 7, 0], image[2, 5, 3] = np.nan, np.inf, -np.inf
    message = r"bad.npy holds 3 values in 2 pixels that are NaN or infinite, the first in band 2 \(from 1\), row 5 and "
    with pytest.raises(DataError, match=message + r"column 3 \(from 0\): crop these pixels away or replace them\.$"):
        command(save("bad.npy", image))


# Formats.


@pytest.fixture
def unsandboxed(monkeypatch):
    """Read files in this process, which is faster; other tests use the sandbox."""
    monkeypatch.setattr("lkca.data.arrays.run_sandboxed", call_directly)


def write_matlab5(path, image):
    savemat(path, {"cube": image.transpose(1, 2, 0), "name": "a text"})


def write_matlab73(path, image):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cube"] = image.transpose(0, 2, 1)  # MATLAB shows (rows, columns, bands)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def write_hdf5(path, image):
    with h5py.File(path, "w") as file:
        file.create_dataset("group/cube", data=image, chunks=True, compression="gzip")


def write_geotiff(path, image, **options):
    bands, rows, columns = image.shape
    shape = {"count": bands, "height": rows, "width": columns, "dtype": image.dtype}
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
        file.write(image)


def write_envi(path, image, **options):
    spectral.envi.save_image(path.with_suffix(".hdr"), image.transpose(1, 2, 0), ext="img", force=True, **options)


def write_netcdf(path, image, format="NETCDF4"):
    with netCDF4.Dataset(path, "w", format=format) as file:
        for name, length in zip(("band", "y", "x"), image.shape, strict=True):
            file.createDimension(name, length)
        file.createVariable("reflectance", image.dtype, ("band", "y", "x"))[:] = image


FORMATS = {  # name of the file -> function that writes it, and the options that reading it needs
    "a.mat": (write_matlab5, {}),
    "b.mat": (write_matlab73, {}),
    "a.h5": (write_hdf5, {"axes": ["bands", "rows", "columns"]}),
    "a.nc": (write_netcdf, {}),
    "a.tif": (write_geotiff, {}),
    "a.img": (write_envi, {}),
}
EVERY_FORMAT = pytest.mark.parametrize(
    ("name", "writer", "options"), [(k, *v) for k, v in FORMATS.items()], ids=FORMATS
)


# A function-scoped fixture is not reset between the examples, which write their files again.
PROPERTY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.tuples(st.integers(2, 6), st.integers(7, 16), st.integers(7, 16))


@st.composite
def pairs(draw):
    """Return a ground truth and a reconstruction, of any shape, contrast and type of float."""
    shape, seed = draw(SHAPES), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    low, spread, noise = draw(st.floats(0.1, 0.5)), draw(st.floats(0.01, 0.9)), draw(st.floats(0.001, 0.1))
    truth = low + spread * rng.random(shape)
    images = truth, truth + noise * rng.standard_normal(shape).clip(-2, 2)
    return tuple(image.astype(draw(st.sampled_from([np.float32, np.float64]))) for image in images)


@PROPERTY
@given(pairs(), st.floats(-4, 6))
def test_peak_is_a_unit(save, capsys, images, exponent):
    """An image and its copy times k have the same scores if the peak is k."""
    peak = 10**exponent
    paths = save("hr.npy", images[0]), save("sr.npy", images[1])
    score(*paths, 4)
    expected = read_scores(capsys)
    scaled = (save(f"{i}.npy", np.float64(image) * peak) for i, image in enumerate(images))
    score(*scaled, 4, [peak])
    assert read_scores(capsys) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@PROPERTY
@given(pairs(), st.sampled_from(sorted(FORMATS)), st.sampled_from(sorted(FORMATS)))
def test_any_two_formats_have_the_scores_of_npy_files(save, tmp_path, capsys, unsandboxed, images, first, second):
    score(save("hr.npy", images[0]), save("sr.npy", images[1]), 4)
    expected = read_scores(capsys)
    axes = []
    for folder, name, image in zip(("hr", "sr"), (first, second), images, strict=True):
        (tmp_path / folder).mkdir(exist_ok=True)
        writer, options = FORMATS[name]
        writer(tmp_path / folder / name, image)
        axes += options.get("axes") or (
            ["rows", "columns", "bands"] if name.endswith(".mat") else ["bands rows columns"]
        )
    score(tmp_path / "hr" / first, tmp_path / "sr" / second, 4, axes=axes)
    assert read_scores(capsys) == expected  # to the last bit


@EVERY_FORMAT
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint16", "int32", "uint8"])
def test_file_is_scored_as_the_npy_file(save, tmp_path, capsys, unsandboxed, name, writer, options, dtype):
    kind = np.dtype(dtype).kind
    peak = {"uint8": 255, "int32": 100_000}.get(dtype, 10000) if kind in "iu" else 1
    hr, sr = (image * peak if kind == "f" else np.round(image * peak).astype(dtype) for image in make_pair())
    hr, sr = hr.astype(dtype), sr.astype(dtype)
    score(save("hr.npy", hr), save("sr.npy", sr), 4, [peak])
    expected = read_scores(capsys)
    writer(tmp_path / name, hr)
    score(tmp_path / name, save("sr.npy", sr), 4, [peak], **options)
    assert read_scores(capsys) == expected  # to the last bit: float64 is not rounded to float32


@EVERY_FORMAT
def test_file_is_resized_as_the_npy_file(save, tmp_path, unsandboxed, name, writer, options):
    resize(save("x.npy", HR), 0.5, tmp_path / "expected.npy")
    writer(tmp_path / name, HR)
    resize(tmp_path / name, 0.5, tmp_path / "result.npy", **options)
    result = np.load(tmp_path / "result.npy")
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, np.load(tmp_path / "expected.npy"))


@pytest.mark.parametrize(("dtype", "result"), [("uint8", "f4"), (">i2", "f4"), ("int32", "f8"), ("uint64", "f8")])
def test_integers_are_resized_to_the_float_that_holds_them(save, tmp_path, dtype, result):
    whole = np.round(200 * HR).astype(dtype)
    resize(save("x.npy", whole), 2, tmp_path / "out.npy")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), resize_array(whole.astype(float), 2), rtol=1e-6)
    assert np.load(tmp_path / "out.npy").dtype == result


def test_declared_scaling_is_applied(save, tmp_path, capsys, unsandboxed):
    """Both files hold integers; the header of one declares the peak, so that only the other needs it."""
    write_envi(tmp_path / "a.img", WHOLE, metadata={"reflectance scale factor": 10000})
    for peak in ([1, 10000], None):
        estimate = save("sr.npy", WHOLE if peak else np.float32(WHOLE) / 10000)
        score(tmp_path / "a.img", estimate, 4, peak)
        assert read_scores(capsys)["MPSNR"] == pytest.approx(100)
    with pytest.raises(DataError, match="a.img holds .* after its declared gain and offset.* a peak of 1 already"):
        score(tmp_path / "a.img", save("sr.npy", WHOLE), 4, [10000])


def test_scaling_that_cannot_be_read_is_refused(save, tmp_path, unsandboxed):
    write_envi(tmp_path / "a.img", WHOLE, metadata={"data gain values": [1.0, 2.0]})
    with pytest.raises(DataError, match="a.img: data gain values in its header cannot be used .*2 numbers for 5 bands"):
        score(tmp_path / "a.img", save("sr.npy", SR), 4)


def test_declared_invalid_pixels_are_refused(save, tmp_path, unsandboxed):
    image = np.float32(HR)
    image[:, 6:8, 5] = -9999.9
    write_envi(tmp_path / "a.img", image, metadata={"data ignore value": -9999.9})
    message = r"a.img holds 10 values in 2 pixels that are NaN, infinite or invalid as the file declares, the first in "
    with pytest.raises(DataError, match=message + r"band 1 \(from 1\), row 6 and column 5"):
        score(tmp_path / "a.img", save("sr.npy", SR), 4)


def test_declared_bad_bands_are_named(save, tmp_path, capsys, unsandboxed):
    write_envi(tmp_path / "a.img", HR, metadata={"bbl": [1, 0, 0, 1, 0]})
    score(tmp_path / "a.img", save("sr.npy", SR), 4)
    captured = capsys.readouterr()
    assert captured.err == f"lkca: {tmp_path}/a.img declares bad bands, which are scored like the others: 2-3, 5.\n"
    assert json.loads(captured.out)["MPSNR"] > 30


def test_axes_and_variable_may_differ(tmp_path, capsys, unsandboxed):
    savemat(tmp_path / "hr.mat", {"gt": HR, "sr": HR[:, :9, :9]})
    savemat(tmp_path / "sr.mat", {"gt": HR[:, :9, :9], "sr": SR.transpose(2, 0, 1)})
    words = ["score", "--reference", tmp_path / "hr.mat", "--estimate", tmp_path / "sr.mat", "--scale", 4]
    words += ["--variable", "gt", "sr", "--axes", "bands", "rows", "columns", "columns,bands,rows"]
    assert main([*map(str, words)]) == 0
    assert read_scores(capsys) == pytest.approx({name: f(SR, HR, 4) for name, f in SCORES.items()}, rel=1e-12)


def test_arrays_to_choose_from_are_listed(command, tmp_path, unsandboxed):
    savemat(tmp_path / "two.mat", {"gt": HR, "sr": SR})
    with pytest.raises(DataError, match=r"it holds 2 arrays of 3 axes, .*: set variable, as in: (gt|sr)"):
        command(tmp_path / "two.mat")


def test_axes_of_a_npy_file(save, tmp_path, capsys):
    for order in ("rows columns bands", "columns rows bands", "bands columns rows"):
        places = [("bands", "rows", "columns").index(name) for name in order.split()]
        score(save("hr.npy", HR.transpose(places)), save("sr.npy", SR.transpose(places)), 4, axes=[order])
        captured = capsys.readouterr()
        assert captured.err == ""
        assert json.loads(captured.out) == pytest.approx({name: f(SR, HR, 4) for name, f in SCORES.items()}, rel=1e-12)
    resize(save("x.npy", HR.transpose(1, 2, 0)), 2, tmp_path / "out.npy", ["rows", "columns", "bands"])
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), resize_array(HR, 2))


def test_doubtful_axes_are_named(save, tmp_path, capsys, unsandboxed):
    """The bands may be last in a .npy file, as in an image, and first in a MATLAB file that Python has written."""
    image = np.ones((32, 24, 8))
    resize(save("x.npy", image), 2, tmp_path / "out.npy")
    note = f"lkca: {tmp_path}/x.npy has the shape 32 x 24 x 8, read as bands rows columns: correct it with --axes if "
    assert capsys.readouterr().err == note + "that is wrong.\n"
    savemat(tmp_path / "x.mat", {"x": image.T})
    resize(tmp_path / "x.mat", 2, tmp_path / "out.npy")
    assert "x.mat has the shape 8 x 24 x 32, read as rows columns bands" in capsys.readouterr().err
    resize(save("x.npy", image.T), 2, tmp_path / "out.npy")
    savemat(tmp_path / "x.mat", {"x": image})
    resize(tmp_path / "x.mat", 2, tmp_path / "out.npy")
    assert capsys.readouterr().err == ""


def test_order_of_axes_that_a_file_does_not_have_is_asked_for(command, tmp_path, unsandboxed):
    write_hdf5(tmp_path / "a.h5", HR)
    with pytest.raises(DataError, match="a.h5 cannot be read.*set axes, as in: rows columns bands"):
        command(tmp_path / "a.h5")


def test_raster_in_an_archive_and_damaged_file_in_the_sandbox(save, tmp_path, capsys):
    write_envi(tmp_path / "a.img", HR)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.img", "a.hdr"):
            archive.write(tmp_path / name, f"folder/{name}")
    score(tmp_path / "a.zip/folder/a.img", save("sr.npy", SR), 4)
    assert read_scores(capsys) == {name: f(SR, HR, 4) for name, f in SCORES.items()}
    write_matlab5(tmp_path / "bad.mat", HR)
    data = (tmp_path / "bad.mat").read_bytes()
    (tmp_path / "bad.mat").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=f"{tmp_path}/bad.mat cannot be read"):
        resize(tmp_path / "bad.mat", 2, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()
