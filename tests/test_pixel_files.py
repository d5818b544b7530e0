"""`pixel_files` names all files that can change the pixels; what it cannot name is refused."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from lkca.core.files import sha256
from lkca.data.catalog import Cube, File
from lkca.data.readers import open_cube
from lkca.data.readers.base import SettingsError
from lkca.data.readers.gdal_names import name_file
from lkca.errors import DataError
from tests.hostile_files import BANDS, COLUMNS, FORMATS, ROWS, envi_header, hdf5, mat5, pixels, valid

# Files that programs write next to an image: {s} is its name without the suffix, {n} the whole name.
NAMES = """
{s}.hdr {s}.HDR {n}.hdr {n}.aux.xml {s}.aux.xml {s}.aux {n}.msk {n}.msk.msk {n}.msk.ovr {n}.msk.aux.xml {n}.msk.hdr
{s}.msk {n}.MSK {n}.ovr {s}.ovr {s}.rrd {s}.rpb {s}.RPB {s}_rpc.txt {s}_RPC.TXT {s}.imd {s}.IMD {s}.XML {s}.xml {n}.xml
{s}.pvl {s}.sta {n}.sta {s}.prj {s}.clr {s}.wld {s}.tfw {s}.tifw {s}.pxw {s}.bqw {s}.tab {s}.dim METADATA.DIM {s}.att
{s}.eph {s}.geo {s}_metadata.txt {s}-metadata.xml {s}.met {s}.vrt {n}.vrt {n}.properties {s}.til {s}.points {s}.img
"""
GAINS = ", ".join("2" * BANDS).join("{}")
AUX = b"<PAMDataset><PAMRasterBand band='1'><Offset>7</Offset><Scale>3</Scale></PAMRasterBand></PAMDataset>"


def write_image(folder: Path, name: str, neighbours: bool = False) -> File:
    """Write the valid file of a format, and neighbours that declare something."""
    form = FORMATS[name]
    path = folder / form.name
    path.write_bytes(valid(name))
    if name == "envi":
        path.with_suffix(".hdr").write_bytes(envi_header(data_gain_values=GAINS if neighbours else None))
    for pattern in NAMES.split() if neighbours else ():
        other = folder / pattern.format(s=path.stem, n=path.name)
        kind = other.suffix.lower()
        content = {".hdr": envi_header(data_gain_values=GAINS), ".xml": AUX}.get(kind, b"1\n" * 6)
        if not other.exists():
            other.write_bytes(valid("tiff") if kind in (".msk", ".ovr") else content)
    variable = "cube" if form.name in ("a.mat", "a.h5", "a.nc") else None
    return File(path=f"{path}/{form.member}" if form.member else str(path), variable=variable, axes=form.axes)


def read(file: File) -> tuple[object, bytes] | str:
    """Return all that a file declares, and its pixels; or the message with which it is refused."""
    try:
        with open_cube(file) as reader:
            values = reader.read(0, BANDS, slice(0, ROWS), slice(0, COLUMNS), np.dtype("float32"))
            return reader.description.to_json(), values.tobytes()
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("name", FORMATS)
def test_other_files_change_nothing(tmp_path, name):
    file = write_image(tmp_path, name, neighbours=True)
    before, named = read(file), {Path(path) for path in file.pixel_files().values()}
    assert not isinstance(before, str)
    for path in set(tmp_path.iterdir()) - named:
        path.unlink()
    assert {*tmp_path.iterdir()} == named
    assert read(file) == before


@pytest.mark.parametrize("name", ["tiff", "envi", "pcidsk"])
def test_neighbours_count(tmp_path, name):
    """The former test shows something: some neighbours change what is read."""
    assert read(write_image(tmp_path, name)) != read(write_image(tmp_path, name, neighbours=True))


SIDECARS = ["a.hdr", "a.tif.HDR", "a.tif.aux.xml", "a.tif.msk", "a.tfw", "a.wld"]


@pytest.mark.parametrize("sidecar", SIDECARS)
@pytest.mark.parametrize("kind", ["link to nowhere", "loop", "pipe"])
def test_sidecar_that_is_no_file_is_refused(tmp_path, sidecar, kind):
    file, path = write_image(tmp_path, "tiff"), tmp_path / sidecar
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "gone" if kind == "link to nowhere" else path)
    for find in (file.pixel_files, Cube(files=(file,), bands=f"1-{BANDS}").pixel_files):
        with pytest.raises(DataError, match=r"(does not exist|its links lead to each other|a pipe).*\.$") as error:
            find()
        assert str(path) in str(error.value)
    assert str(path) in read(file)


@pytest.mark.parametrize("sidecar", SIDECARS)
def test_folder_is_no_sidecar(tmp_path, sidecar):
    file = write_image(tmp_path, "tiff")
    before = read(file)
    (tmp_path / sidecar).mkdir()
    assert read(file) == before
    assert Cube(files=(file,), bands=f"1-{BANDS}").pixel_files() == {file.path: file.path}


@pytest.mark.parametrize("sidecar", ["a.hdr", "a.tif.aux.xml", "a.tif.msk"])
def test_target_of_a_linked_sidecar_counts(tmp_path, sidecar):
    file = write_image(tmp_path, "tiff")
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere/b"
    target.write_bytes(AUX if sidecar.endswith("xml") else envi_header() if sidecar.endswith("hdr") else valid("tiff"))
    (tmp_path / sidecar).symlink_to(target)
    assert file.pixel_files().keys() == {file.path, str(tmp_path / sidecar)}
    assert sha256(tmp_path / sidecar) == sha256(target)


def test_file_that_decides_whose_header_it_is_counts(tmp_path):
    file = write_image(tmp_path, "tiff")
    (tmp_path / "a.hdr").write_bytes(envi_header(data_gain_values=GAINS))
    scaled, raw = read(file), tmp_path / "a.bsq"
    raw.write_bytes(valid("envi"))  # now the header is that of this file
    assert read(file) != scaled
    assert str(raw) in file.pixel_files()
    (tmp_path / "a.tif.hdr").write_bytes(envi_header())  # this one is that of the TIFF
    assert str(raw) not in file.pixel_files()


def test_package_that_is_missing_hides_no_other_file(tmp_path):
    file = write_image(tmp_path, "tiff")
    cube = Cube(files=(File(path="no_such_package:a.npy"), file), bands=f"1-{BANDS}")
    assert cube.pixel_files() == {file.path: file.path}


@pytest.mark.parametrize("name", ["GTIFF_DIR:2:a.tif", "GTIFF_RAW:a.tif", "zip:a.zip!b.tif", "VRT:x", "vsimem/a.tif"])
def test_gdal_takes_a_file_for_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vsimem").mkdir()
    assert name_file(Path(name)) == f"{tmp_path}/{name}"


@pytest.mark.parametrize("name", ["/vsimem/a.tif", "/vsizip/a.zip/b.tif", "/vsicurl/http:/x"])
def test_path_of_gdal_is_refused(name):
    with pytest.raises(SettingsError, match="begins with /vsi"):
        name_file(Path(name))


def write_growing_array(file: h5py.File, name: str, source: bytes) -> None:
    """Write a virtual array whose length is that of an array in another file."""
    spaces = []
    for _ in range(2):
        space = h5py.h5s.create_simple((BANDS, ROWS, COLUMNS), (h5py.h5s.UNLIMITED, ROWS, COLUMNS))
        space.select_hyperslab((0, 0, 0), (1, 1, 1), block=(h5py.h5s.UNLIMITED, ROWS, COLUMNS))
        spaces.append(space)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(spaces[0], source, b"cube", spaces[1])
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_UINT16, spaces[0], properties)


@pytest.mark.parametrize("kind", ["virtual", "growing", "external"])
def test_hdf5_file_does_not_open_other_files(tmp_path, kind):
    bands, source = np.moveaxis(pixels(), 2, 0), tmp_path / "b.h5"

    def fill(file: h5py.File) -> None:
        file["cube"] = bands
        if kind == "growing":
            write_growing_array(file, "other", bytes(source))
        elif kind == "virtual":
            layout = h5py.VirtualLayout(bands.shape, "u2")
            layout[:] = h5py.VirtualSource(str(source), "cube", bands.shape)
            file.create_virtual_dataset("other", layout)
        else:
            file.create_dataset("other", bands.shape, "u2", external=[(str(source), 0, bands.nbytes)])

    source.write_bytes(hdf5(lambda file: file.create_dataset("cube", data=bands, maxshape=(None, ROWS, COLUMNS))))
    path = tmp_path / "a.h5"
    path.write_bytes(hdf5(fill))
    file = File(path=str(path), axes="bands rows columns")
    before = read(file)  # the other array does not count, also without variable
    assert not isinstance(before, str)
    assert "other only refers to other files" in read(file.model_copy(update={"variable": "/other"}))
    source.unlink()
    os.mkfifo(source)  # whoever opens it waits without end
    assert read(file) == before


@pytest.mark.parametrize("kind", ["link", "link to a folder", "chain"])
def test_linked_image_is_read(tmp_path, kind):
    (tmp_path / "real").mkdir()
    before = read(write_image(tmp_path / "real", "envi"))
    if kind == "link to a folder":
        (tmp_path / "linked").symlink_to("real")
    else:
        shutil.copytree(tmp_path / "real", tmp_path / "linked")
        (tmp_path / "linked/a.bsq").unlink()
        (tmp_path / "linked/a.bsq").symlink_to("b" if kind == "chain" else "../real/a.bsq")
        (tmp_path / "linked/b").symlink_to("../real/a.bsq")
    file = File(path=str(tmp_path / "linked/a.bsq"), axes="bands rows columns")
    assert read(file) == before and len(file.pixel_files()) == 2


def test_two_arrays_of_one_name_are_refused(tmp_path):
    first, second = (mat5(cube=np.full((ROWS, COLUMNS, BANDS), value, float)) for value in (1, 2))
    (tmp_path / "a.mat").write_bytes(first + second[128:])  # a header of 128 bytes, then the arrays
    file = File(path=str(tmp_path / "a.mat"), variable="cube")
    assert "it holds two arrays that have the name cube" in read(file)
    data = valid("netcdf3")
    (tmp_path / "a.nc").write_bytes(data.replace(b"\0\0\0\1n\0\0\0", b"\0\0\0\4cube"))
    assert "it holds two arrays that have the name cube" in read(File(path=str(tmp_path / "a.nc"), variable="cube"))


@pytest.mark.parametrize("second", ["P-METADATA.xml", "p-metadata.XML", "P-METADATA.XML.xml"])
def test_two_files_of_metadata_are_equal(tmp_path, second):
    file = File(path=str(tmp_path / "P-SPECTRAL_IMAGE.tif"))
    (tmp_path / "P-SPECTRAL_IMAGE.tif").write_bytes(valid("tiff"))
    (tmp_path / "P-METADATA.XML").write_text("<a/>")
    (tmp_path / second).write_text("<a/>")
    assert len(file.pixel_files()) == 2
    (tmp_path / second).write_text("<b/>")
    with pytest.raises(DataError, match=r"P-METADATA.XML.* differ: delete or rename the wrong one\.$"):
        file.pixel_files()
    assert "differ" in read(file)


@pytest.mark.parametrize("names", ["P.hdr P.HDR", "P.hdr P.tif.hdr", "P.tif.hdr"])
def test_two_headers_of_desis_are_equal(tmp_path, names):
    image = "DESIS-HSI-L2A-X-SPECTRAL_IMAGE"
    (tmp_path / f"{image}.tif").write_bytes(valid("tiff"))
    for i, name in enumerate(names.split()):
        (tmp_path / name.replace("P", image)).write_bytes(envi_header(data_gain_values=GAINS.replace("2", str(i + 2))))
    message = read(File(path=str(tmp_path / f"{image}.tif")))
    assert ("differ: delete or rename the wrong one" in message) == (" " in names)
