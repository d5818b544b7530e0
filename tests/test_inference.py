"""Networks on images of any size equal the networks on whole images, and cubes of one's own are prepared for them."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from networks import build_small, perturb
from scipy import ndimage
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lkca.data.degrade import degrade
from lkca.data.patches import gather
from lkca.data.resize import resize
from lkca.data.windows import Area, InvalidPixels, divide
from lkca.errors import ConfigError, DataError, ResourceError
from lkca.inference import enlarge as enlarge_module
from lkca.inference import lkca_stream, tiles
from lkca.inference.cube_file import CubeFile
from lkca.inference.enlarge import check_memory, enlarge
from lkca.inference.memory import measure_peak
from lkca.inference.orientations import (
    OrientedImage,
    can_compute_spread,
    measure_spread,
    orient,
    orient_window,
    restore,
    restore_window,
    spread_of_block,
    write_spread,
)
from lkca.inference.own_cube import FILL_REACH, choose_split, fill_invalid
from lkca.inference.tiles import cut_tiles
from lkca.models.registry import MODELS


class ArrayImage:
    """An image in memory, read as those in files are."""

    def __init__(self, values):
        self.values, self.shape = values, tuple(values.shape)

    def read(self, rows, columns=None):
        return self.values[:, slice(*rows), slice(*columns) if columns else slice(None)].clone()


class OneDevice(TorchDispatchMode):
    """Fails if an operation gets tensors of two devices, as those of a GPU do; numbers (0-d) may be on the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor) and each.dim()]
        assert len({tensor.device for tensor in tensors}) < 2, func
        return func(*args, **kwargs or {})


def make_network(arch, scale=2, bands=10):
    torch.manual_seed(0)
    return perturb(build_small(arch, bands, scale)).eval()


def run(network, image, scale, mode, folder):
    """Return the result of `enlarge`, and whether each pixel was written once."""
    result = torch.full((image.shape[0], scale * image.shape[1], scale * image.shape[2]), torch.nan)
    count = torch.zeros(result.shape[1:])

    def write(block, row, column):
        result[:, row : row + block.shape[1], column : column + block.shape[2]] = block
        count[row : row + block.shape[1], column : column + block.shape[2]] += 1

    deviation = enlarge(network, scale, ArrayImage(image), mode, folder, write)
    return result, bool((count == 1).all()), deviation


@torch.no_grad()
def whole(network, image):
    return network(image[None])[0]


@pytest.mark.parametrize(
    ("arch", "scale"), [*((arch, 2) for arch in MODELS), ("lkca", 4), ("sspsr", 4), ("msdformer", 4)]
)
def test_stats_equals_whole_image_for_every_network(arch, scale, tmp_path, monkeypatch):
    monkeypatch.setattr(enlarge_module, "TILE_SIDE", 20)
    monkeypatch.setattr(lkca_stream, "STRIP_PIXELS", 40 * 50)
    network, image = make_network(arch, scale), torch.rand(10, 60, 50)
    expected = whole(network, image)
    result, once, _ = run(network, image, scale, "stats", tmp_path)
    assert once and (result - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 90), (3, 40), (64, 5), (33, 47)])
@pytest.mark.parametrize("kept_bytes", [0, 2**30])
@pytest.mark.parametrize("store_bytes", [0, 2**30])
def test_streamed_lkca_equals_network_for_every_size(rows, columns, kept_bytes, store_bytes, tmp_path, monkeypatch):
    for name, value in (
        ("STRIP_PIXELS", 1),
        ("MIN_STRIP_ROWS", 7),
        ("OUTPUT_PIXELS", 100),
        ("MAX_KEPT_BYTES", kept_bytes),
    ):
        monkeypatch.setattr(lkca_stream, name, value)
    monkeypatch.setattr(enlarge_module, "MAX_STORE_BYTES", store_bytes)  # 0: features are in a file
    network, image = make_network("lkca", 3), torch.rand(10, rows, columns)
    expected = whole(network, image)
    result, once, _ = run(network, image, 3, "stats", tmp_path)
    assert once and (result - expected).abs().max() < 1e-5 * expected.abs().max()
    assert not list(tmp_path.iterdir())


def test_streamed_lkca_is_as_exact_as_the_network(tmp_path):
    network, image = make_network("lkca"), torch.rand(10, 40, 50)
    exact = whole(network.double(), image.double())
    network.float()
    errors = [
        (part - exact).abs().max() for part in (whole(network, image), run(network, image, 2, "stats", tmp_path)[0])
    ]
    assert errors[1] < 2 * errors[0] + 1e-7


@pytest.mark.parametrize("arch", ["vdsr", "fcnn3d", "bicubic"])
def test_halo_is_exact_where_nothing_is_pooled(arch, tmp_path, monkeypatch):
    monkeypatch.setattr(enlarge_module, "TILE_SIDE", 16)
    network, image = make_network(arch), torch.rand(10, 50, 60)
    result, once, deviation = run(network, image, 2, "halo", tmp_path)
    assert once
    if arch != "vdsr":  # it subtracts the mean spectrum, which is that of some tiles here
        assert torch.allclose(result, whole(network, image), atol=1e-6) and deviation.max < 1e-6


def test_deviation_of_halo_is_that_from_the_whole_image(tmp_path, monkeypatch):
    monkeypatch.setattr(enlarge_module, "TILE_SIDE", 32)
    monkeypatch.setattr(tiles, "LKCA_MARGIN", 4)
    monkeypatch.setattr(enlarge_module, "MAX_SAMPLES", 1)
    network, image = make_network("lkca"), torch.rand(10, 40, 40)
    result, once, deviation = run(network, image, 2, "halo", tmp_path)
    difference = result - whole(network, image)
    assert once and difference.abs().max() > 1e-4
    assert deviation.max == pytest.approx(difference.abs().max().item(), rel=0.02)
    assert deviation.rms == pytest.approx(difference.square().mean().sqrt().item(), rel=0.02)


def test_halo_has_no_seams(tmp_path, monkeypatch):
    """Differences from the whole image are not larger at the borders of tiles than elsewhere."""
    monkeypatch.setattr(enlarge_module, "TILE_SIDE", 32)
    network, image = make_network("lkca"), torch.rand(10, 64, 64)
    error = (run(network, image, 2, "halo", tmp_path)[0] - whole(network, image)).square().mean(0).sqrt()
    seam = torch.cat([error[62:66].flatten(), error[:, 62:66].flatten()])
    assert seam.mean() < 1.5 * error.mean()


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("mode", ["whole", "stats", "halo"])
def test_all_tensors_are_on_the_device_of_the_network(arch, mode, tmp_path, monkeypatch):
    """The meta device, which computes no values, stands for a GPU."""
    monkeypatch.setattr(enlarge_module, "TILE_SIDE", 20)
    monkeypatch.setattr(enlarge_module, "measure_deviation", lambda *_: None)  # it compares values
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # not available on this device
    sizes = []

    def write(block, row, column):
        assert block.device.type == "meta"
        sizes.append(block[0].numel())

    network, image = make_network(arch).to("meta"), ArrayImage(torch.empty(10, 60, 50, device="meta"))
    with OneDevice():
        enlarge(network, 2, image, mode, tmp_path, write)
    assert sum(sizes) == 4 * 60 * 50


@pytest.mark.parametrize(
    ("rows", "columns", "side", "margin"), [(10, 7, 4, 2), (5, 5, 8, 3), (1, 33, 4, 9), (64, 64, 16, 0)]
)
def test_tiles_cover_each_pixel_once_with_their_margin(rows, columns, side, margin):
    count = np.zeros((rows, columns), int)
    for tile in cut_tiles(rows, columns, side, margin):
        count[slice(*tile.inner_rows), slice(*tile.inner_columns)] += 1
        for (first, last), (start, stop), length in zip(
            tile.window, (tile.inner_rows, tile.inner_columns), count.shape, strict=True
        ):
            assert (
                first <= max(0, start - margin) and last >= min(length, stop + margin) and 0 <= first < last <= length
            )
    assert (count == 1).all()


def test_memory_is_refused_before_the_start(monkeypatch):
    monkeypatch.setattr(enlarge_module.psutil, "virtual_memory", lambda: type("", (), {"available": 10**6}))
    with pytest.raises(ResourceError, match=r"^--mode whole needs about .* for 1000 x 1000 pixels, .*--mode stats"):
        check_memory(make_network("lkca"), (10, 1000, 1000))


def test_peak_of_memory_is_that_of_the_largest_tensors():
    class Doubled(nn.Module):
        def forward(self, x):
            y = torch.cat([x, x])  # 2 units
            z = y + 1  # 2 more
            del y
            return z.sum() + torch.cat([z, z[:1]]).sum()  # 2 + 3 units, and a few numbers

    image = torch.zeros(1, 100, 100, 25)
    assert measure_peak(Doubled(), image) == pytest.approx(5 * image.nbytes, rel=0.001)


def test_cube_file_reads_windows_and_refuses_other_files(tmp_path, rng):
    cube = rng.random((5, 13, 11)).astype(np.float32)
    np.save(tmp_path / "cube.npy", cube)
    with CubeFile(tmp_path / "cube.npy") as file:
        assert file.shape == (5, 13, 11)
        assert np.array_equal(file.read((2, 9)), cube[:, 2:9])
        assert np.array_equal(file.read((0, 13), (3, 4)), cube[:, :, 3:4])
    np.save(tmp_path / "other.npy", cube.astype(float))
    (tmp_path / "short.npy").write_bytes((tmp_path / "cube.npy").read_bytes()[:-1])
    for name in ("other.npy", "short.npy"):
        with pytest.raises(DataError, match=name):
            CubeFile(tmp_path / name)


# Orientations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(8))
def test_windows_of_oriented_images(orientation):
    """A window that is read from the oriented image is the same part of it; the way back leads to where it began."""
    image = torch.arange(2 * 7 * 5.0).view(2, 7, 5)
    oriented = OrientedImage(ArrayImage(image), orientation)
    whole = orient(image, orientation)
    assert oriented.shape == whole.shape and torch.equal(restore(whole, orientation), image)
    assert torch.equal(oriented.read((1, 4), (0, 3)), whole[:, 1:4, 0:3])
    window = (2, 5), (1, 4)
    turned = orient_window(window, orientation, (7, 5))
    assert torch.equal(restore(whole[:, slice(*turned[0]), slice(*turned[1])], orientation), image[:, 2:5, 1:4])
    assert restore_window(turned, orientation, (7, 5)) == window


def test_orientations_are_those_of_the_training():
    """`gather` turns patches in the same eight ways."""
    scene = torch.rand(3, 6, 6)
    samples = np.array([[0, 0, k] for k in range(8)])
    patches = gather(scene, {"size": 6}, samples, "cpu")
    assert all(torch.equal(orient(scene, k), patches[k]) for k in range(8))


@pytest.mark.parametrize("arch", ["lkca", "sspsr"])
def test_spread_in_tiles_is_that_of_the_whole_image(arch, tmp_path, monkeypatch):
    monkeypatch.setattr(enlarge_module, "TILE_SIDE", 16)
    network, image = make_network(arch), torch.rand(10, 26, 40)
    write_spread(network, 2, ArrayImage(image), tmp_path / "spread.npy")
    expected = spread_of_block(network, image)
    assert expected.min() > 1e-4
    assert np.load(tmp_path / "spread.npy") == pytest.approx(expected, abs=0.02 * float(expected.max()))


def test_spread_is_the_standard_deviation(rng):
    values = torch.from_numpy(rng.random((8, 4, 5, 6)))
    assert measure_spread(values.clone()) == pytest.approx(np.sqrt(np.var(values.numpy(), 0).mean(0)))


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [((200, 145, 145), 4, True), ((200, 145, 145), 8, False), ((50, 362, 362), 4, True), ((50, 363, 362), 4, False)],
)
def test_spread_of_large_results_is_not_computed(shape, scale, expected):
    assert can_compute_spread(make_network("lkca"), scale, shape) == expected


def test_network_that_treats_orientations_alike_has_no_spread(tmp_path):
    network, image = make_network("bicubic"), torch.rand(10, 26, 30)
    write_spread(network, 2, ArrayImage(image), tmp_path / "spread.npy")
    assert np.load(tmp_path / "spread.npy").max() < 1e-5


# Degradation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("mtf", [0.1, 0.3, 0.6])
def test_blur_has_its_mtf_at_nyquist(scale, mtf):
    """A cosine of the Nyquist frequency of the LR image, with its maxima at every other LR pixel, becomes +-MTF."""
    x = np.arange(64 * scale)
    wave = np.cos(np.pi * (x - (scale - 1) / 2) / scale)[None] * np.ones((scale, 1))
    assert degrade(wave, scale, f"mtf:{mtf}")[0, 20:40] == pytest.approx(mtf * (-1.0) ** np.arange(20), abs=1e-4)


def test_blur_is_scipys_gaussian_at_the_centres_of_pixels(rng):
    image = rng.random((96, 99))
    deviation = 3 * np.sqrt(-2 * np.log(0.25)) / np.pi
    expected = ndimage.gaussian_filter(image, deviation, mode="reflect", truncate=4.5)[1::3, 1::3]
    assert degrade(image, 3, "mtf:0.25") == pytest.approx(expected, abs=1e-4)


def test_blur_of_tensors_equals_that_of_arrays_and_keeps_constants(rng):
    image = rng.random((2, 16, 24)).astype(np.float32)
    assert degrade(torch.from_numpy(image), 4, "mtf:0.3").numpy() == pytest.approx(
        degrade(image, 4, "mtf:0.3"), abs=1e-6
    )
    assert degrade(np.ones((8, 8)), 2, "mtf:0.3") == pytest.approx(np.ones((4, 4)))
    assert np.array_equal(degrade(image, 4), resize(image, 1 / 4))


# Preparation ----------------------------------------------------------------------------------------------------------


def test_invalid_pixels_are_filled_from_the_nearest_valid_one(tmp_path, rng):
    scene = rng.random((3, 100, 9)).astype(np.float32)
    scene[:, 10:] = np.nan
    np.save(tmp_path / "scene.npy", scene)
    fill_invalid(tmp_path / "scene.npy", tmp_path / "filled.npy")
    filled = np.load(tmp_path / "filled.npy")
    assert np.array_equal(filled[:, :10], scene[:, :10])
    assert np.array_equal(filled[:, 10 : 10 + FILL_REACH], np.broadcast_to(scene[:, 9:10], (3, FILL_REACH, 9)))
    assert filled[:, -1] == pytest.approx(np.broadcast_to(scene[:, :10].mean((1, 2))[:, None], (3, 9)), rel=1e-6)


@pytest.mark.parametrize(("rows", "columns", "scale"), [(145, 145, 4), (80, 80, 2), (512, 614, 4), (1000, 1000, 8)])
@pytest.mark.parametrize("corner", [0, 0.3])
def test_chosen_split_has_parts_without_common_or_invalid_pixels(rows, columns, scale, corner):
    mask = np.add.outer(np.arange(rows), np.arange(columns)) < corner * min(rows, columns)
    invalid = InvalidPixels(mask) if mask.any() else None
    settings = choose_split(rows, columns, scale, invalid, "cube.tif")
    split = divide(settings, [Area(use="both", row=0, rows=rows, columns=columns)], invalid)
    use = mask.astype(int)
    for i, windows in enumerate((split.test, split.train, split.validation), 1):
        sizes = [window[2:] or (settings.size, settings.size) for window in windows]
        part = np.zeros_like(use)
        for (row, column, *_), (height, width) in zip(windows, sizes, strict=True):
            part[row : row + height, column : column + width] = 1
        use += i * 10 * part
    assert set(np.unique(use)) <= {0, 1, 10, 20, 30}
    assert len(split.test) >= 4 and len(split.train) >= 32
    assert all(side % scale == 0 for window in split.test for side in window[2:])


def test_small_cube_is_refused_with_the_size_that_suffices():
    with pytest.raises(
        ConfigError,
        match="too few valid pixels, in 40 rows and 40 columns, .*: 64 rows and 80 columns of valid pixels suffice",
    ):
        choose_split(40, 40, 2, None, "cube.tif")
    assert choose_split(64, 80, 2, None, "cube.tif")
    assert choose_split(128, 160, 4, None, "cube.tif") and choose_split(256, 320, 8, None, "cube.tif")
