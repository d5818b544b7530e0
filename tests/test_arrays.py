"""`lkca score` and `lkca resize`: what they print, write and refuse."""

import json
import pickle

import numpy as np
import pytest

from lkca.commands.arrays import resize, score
from lkca.errors import LkcaError
from lkca.scoring.metrics import SCORES

PLAIN = np.linspace(0.1, 1, 2 * 8 * 12).reshape(2, 8, 12)


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
        (np.ones((2, 8, 12), np.uint16), "uint16"),
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
    with pytest.raises(LkcaError, match="several.npz is not a complete .npy file"):
        command(tmp_path / "several.npz")


def test_missing_file_and_folder_are_refused(command, tmp_path):
    with pytest.raises(LkcaError, match="none.npy does not exist"):
        command(tmp_path / "none.npy")
    with pytest.raises(LkcaError, match="cannot be read"):
        command(tmp_path)


@pytest.mark.parametrize(
    ("reference", "estimate", "scale", "message"),
    [
        (PLAIN, PLAIN[:, :, 1:], 4, "one shape"),
        (PLAIN, PLAIN.transpose(1, 2, 0), 4, "one shape"),
        (PLAIN, PLAIN[:1], 4, "one shape"),
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
