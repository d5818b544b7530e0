"""The generated files (generated_cubes.py) are what they claim to be, as read by other programs."""

import struct
from zipfile import ZIP_DEFLATED, ZipFile

import h5py
import numpy as np
import pytest
import rasterio
import spectral.io.envi as envi
from scipy.io import loadmat, whosmat

from tests import generated_cubes
from tests.generated_cubes import Scene


@pytest.fixture
def cube(rng):
    """A small array (rows, columns, bands) with the smallest and the largest non-negative int16."""
    cube = rng.integers(0, 2**15, (23, 17, 9), np.int16)
    cube[0, 0, 0], cube[-1, -1, -1] = 0, 2**15 - 1
    return cube


def read_with_spy(header, raster):
    """Return the array (rows, columns, bands) and the metadata as Spectral Python reads them."""
    image = envi.open(str(header), str(raster))
    return np.array(image.open_memmap()), image.metadata


def read_with_gdal(path):
    """Return the array (rows, columns, bands), the driver and the profile as GDAL reads them."""
    with rasterio.open(path) as raster:
        return raster.read().transpose(1, 2, 0), raster.driver, raster.profile


def test_chikusei_zip_contains_two_envi_images(tmp_path, cube):
    path = tmp_path / generated_cubes.CHIKUSEI_ZIP
    cube[3, 4, 5] = -50  # uncorrected pixels may be negative
    generated_cubes.write_chikusei_zip(path, cube)
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
        archive.extractall(tmp_path)
    name = f"Chikusei_ENVI/{generated_cubes.CHIKUSEI}"
    assert list(members) == [
        f"{name}.bsq",
        f"{name}.hdr",
        f"{name}_Ground_Truth.bsq",
        f"{name}_Ground_Truth.hdr",
        "Chikusei_ENVI/Readme.txt",
    ]
    assert {member.compress_type for member in members.values()} == {ZIP_DEFLATED}
    assert members[f"{name}.bsq"].file_size == 2 * cube.size
    array, metadata = read_with_spy(tmp_path / f"{name}.hdr", tmp_path / f"{name}.bsq")
    assert array.dtype == np.dtype("<i2") and np.array_equal(array, cube)
    assert (metadata["data type"], metadata["interleave"], metadata["byte order"]) == ("2", "bsq", "0")
    assert metadata["wavelength units"] == "Micrometers"
    assert [float(metadata["wavelength"][i]) for i in (0, -1)] == [0.36259, 1.01802]
    array, driver, profile = read_with_gdal(f"/vsizip/{path}/{name}.bsq")
    assert driver == "ENVI" and profile["dtype"] == "int16" and np.array_equal(array, cube)
    assert profile["crs"].to_epsg() == 32654  # UTM zone 54N
    assert profile["transform"][:6] == (2.5, 0, 408041.5, 0, -2.5, 4020265.5)
    truth, _ = read_with_spy(tmp_path / f"{name}_Ground_Truth.hdr", tmp_path / f"{name}_Ground_Truth.bsq")
    assert truth.shape == (23, 17, 1) and truth.dtype == np.uint8 and truth.max() > 0


@pytest.mark.parametrize("pcidsk", [True, False], ids=["pcidsk", "raw"])
def test_houston_zip_contains_a_raster_and_its_envi_header(tmp_path, cube, pcidsk):
    path = tmp_path / generated_cubes.HOUSTON_ZIP
    cube = cube.astype(np.uint16) * 2  # beyond int16
    generated_cubes.write_houston_zip(path, cube, pcidsk)
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        archive.extractall(tmp_path)
    folder = "2018IEEE_Contest/Phase2/FullHSIDataset"
    name = f"{folder}/20170218_UH_CASI_S4_NAD83"
    truth = "2018IEEE_Contest/Phase2/TrainingGT/2018_IEEE_GRSS_DFC_GT_TR.tif"
    assert {f"{name}.pix", f"{name}.hdr", truth} < set(names)
    assert ((tmp_path / f"{name}.pix").read_bytes()[:8] == b"PCIDSK  ") == pcidsk
    array, metadata = read_with_spy(tmp_path / f"{name}.hdr", tmp_path / f"{name}.pix")
    assert array.dtype.newbyteorder("=") == np.uint16 and np.array_equal(array, cube)
    assert metadata["wavelength"][0] == "374.4" and metadata["wavelength"][-3:] == ["1047.1", "49.0", "50.0"]
    for raster in (tmp_path / f"{name}.pix", f"/vsizip/{path}/{name}.pix"):
        array, driver, profile = read_with_gdal(raster)
        assert driver == ("PCIDSK" if pcidsk else "ENVI")
        assert profile["dtype"] == "uint16" and np.array_equal(array, cube)
        assert profile["transform"][:6] == (1, 0, 271460, 0, -1, 3290891)
    assert not list(tmp_path.glob("tmp*"))  # the uncompressed raster is gone
    labels, driver, _ = read_with_gdal(f"/vsizip/{path}/{truth}")
    assert driver == "GTiff" and labels.max() > 0


@pytest.mark.parametrize("dtype, class_name", [("int16", b"int16"), ("float64", b"double")])
@pytest.mark.parametrize("chunks", [generated_cubes.CHUNKS, (4, 5, 6), None], ids=str)
def test_matlab73_is_hdf5_with_reversed_axes(tmp_path, cube, dtype, class_name, chunks):
    path = tmp_path / "HyperspecVNIR_Chikusei_20140729.mat"
    generated_cubes.write_matlab73(path, "chikusei", cube, dtype, chunks)
    head = path.read_bytes()[:520]
    assert head.startswith(b"MATLAB 7.3 MAT-file, Platform: ") and b" HDF5 schema 1.00 ." in head[:116]
    assert struct.unpack("<H2s", head[124:128]) == (0x0200, b"IM")  # as MathWorks describes the header
    assert head[512:] == b"\x89HDF\r\n\x1a\n"
    with pytest.raises(NotImplementedError, match="v7.3"):
        loadmat(path)
    with h5py.File(path) as file:
        array = file["chikusei"]
        assert array.attrs["MATLAB_class"] == class_name and array.dtype == dtype
        assert array.compression == ("gzip" if chunks else None)
        assert np.array_equal(array[:].transpose(2, 1, 0), cube)


@pytest.mark.parametrize(
    "write,name", [(generated_cubes.write_pavia_centre, "pavia"), (generated_cubes.write_pavia_university, "paviaU")]
)
def test_pavia_is_a_compressed_matlab5_file(tmp_path, cube, write, name):
    path = tmp_path / "Pavia.mat"
    write(path, cube)
    assert path.read_bytes()[:10] == b"MATLAB 5.0"
    assert path.read_bytes()[128] == 15  # miCOMPRESSED
    assert whosmat(path) == [(name, cube.shape, "uint16")]
    assert np.array_equal(loadmat(path)[name], cube)


@pytest.mark.parametrize("shape", [(24, 20, 6), (120, 96, 16)], ids=str)
@pytest.mark.parametrize("largest", [8000, 40000])
def test_scene_is_smooth_and_reproducible(shape, largest):
    bands = list(Scene(*shape, largest))
    assert [band.shape for band in bands] == [shape[:2]] * shape[2]
    assert {band.dtype for band in bands} == {np.dtype(np.uint16)}
    assert max(band.max() for band in bands) == largest
    pairs = [(one, two) for band in bands for one, two in ((band[1:], band[:-1]), (band[:, 1:], band[:, :-1]))]
    pairs += [(one, two) for one, two in zip(bands, bands[1:], strict=False)]
    assert min(np.corrcoef(one.ravel(), two.ravel())[0, 1] for one, two in pairs) > 0.9
    assert all(np.array_equal(*pair) for pair in zip(bands, Scene(*shape, largest), strict=True))
    assert not np.array_equal(bands[0], next(iter(Scene(*shape, largest, seed=1))))


def test_scene_and_its_array_give_the_same_file(tmp_path):
    scene = Scene(40, 30, 20, 15133)
    array = np.stack(list(scene), 2)
    for name, write in (
        ("a.zip", generated_cubes.write_chikusei_zip),
        ("b.zip", generated_cubes.write_houston_zip),
        ("c.mat", lambda path, cube: generated_cubes.write_matlab73(path, "chikusei", cube)),
    ):
        arrays = []
        for cube in (scene, array):
            write(tmp_path / name, cube)
            if name == "c.mat":
                with h5py.File(tmp_path / name) as file:
                    arrays.append(file["chikusei"][:].transpose(2, 1, 0))
            else:
                with ZipFile(tmp_path / name) as archive:
                    name_inside = next(member for member in archive.namelist() if member.endswith((".bsq", ".pix")))
                arrays.append(read_with_gdal(f"/vsizip/{tmp_path / name}/{name_inside}")[0])
        assert all(np.array_equal(one, array) for one in arrays)


def test_values_beyond_the_format_are_refused(tmp_path, cube):
    with pytest.raises(ValueError, match="cannot hold"):
        generated_cubes.write_houston(tmp_path, cube * -1)
