"""What is true of the data: the cubes, their files, and where they come from.

A cube is what somebody published, in one file or several. A scene is what config.yaml makes of it (scenes.py). An entry
of config.yaml may describe a cube of one's own in the same words.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from lkca.errors import LkcaError


def _axes(text: str) -> str:
    if sorted(text.split()) != ["bands", "columns", "rows"]:
        raise ValueError("name the three axes in their order, as in: rows columns bands")
    return text


def _ranges(text: str) -> str:
    numbers = list(_numbers(text)) if re.fullmatch(r"[1-9]\d{0,4}(-\d{1,5})?(, *\d{1,5}(-\d{1,5})?)*", text) else []
    if len(numbers) < 2 or numbers != sorted(set(numbers)):
        raise ValueError("write two bands or more, rising, as numbers and ranges from 1, as in: 1-103, 109-149")
    return text


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _window(crop: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    if not (0 <= crop[0] < crop[1] and 0 <= crop[2] < crop[3]):
        raise ValueError("give the first row, the row behind the last, the first column, the column behind the last")
    return crop


class Facts(BaseModel):
    """Unknown keys and wrong types are errors. Not strict, since YAML and JSON have lists for tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class File(Facts):
    """A file that holds a cube or a part of one.

    Args:
        path: Where it lies: a path from the checkout; `archive.zip/path/inside` for one in an archive, which is read
            where it is; `package:path` for one that an installed Python package carries.
        use: What its pixels are for; `both`: testing at the top, training below.
        variable: Name of the array in a MATLAB or HDF5 file.
        axes: Their order: of an array as MATLAB or numpy shows it; of a raster `bands rows columns`, or
            `bands columns rows` to make rows of its columns.
        sources: URLs of the file, or of its archive, in the order in which they are tried.
        bytes, sha256: Of what the sources give.
    """

    path: Annotated[str, Field(min_length=1)]
    use: Literal["both", "train", "test"] = "both"
    variable: str | None = None
    axes: Annotated[str, AfterValidator(_axes)]
    sources: tuple[str, ...] = ()
    bytes: PositiveInt | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    def local_path(self) -> Path:
        """The file to be had: the archive, where it is in one.

        Raises:
            LkcaError: If a Python package that carries it is not installed.
        """
        package = self.package()
        if not package:
            return self._parts()[0]
        path = self.path.partition(":")[2]
        try:
            spec = find_spec(package)
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.origin is None:
            raise LkcaError(f"the Python package {package} is missing, which carries {path}: pip install {package}.")
        return Path(spec.origin).parent / path

    def pixel_files(self) -> dict[str, str]:
        """The files that decide its pixels, as far as they are there: label -> path.

        These are the file or its archive, and the ENVI headers beside it, in upper or lower case: GDAL accepts each of
        them.

        Raises:
            LkcaError: If a Python package that carries it is not installed.
        """
        place = self.local_path()
        found = {self.path if self.package() else str(place): str(place)} if place.is_file() else {}
        headers = {f"{place.stem}.hdr".lower(), f"{place.name}.hdr".lower()}
        with suppress(OSError):
            beside = sorted(path for path in place.parent.iterdir() if path.name.lower() in headers)
            found |= {str(path): str(path) for path in beside if path.is_file() and path != place}
        return found

    def archive_member(self) -> str | None:
        """Its path inside the archive, None where it is in none."""
        return self._parts()[1]

    def package(self) -> str | None:
        """The Python package that carries it, None for any other file."""
        name = re.match(r"([A-Za-z_]\w*(\.\w+)*):", self.path)
        return name[1] if name and not Path(self.path).exists() else None

    def _parts(self) -> tuple[Path, str | None]:
        """The file or archive, and the path inside it."""
        path = str(Path(self.path).expanduser())
        for archive in re.finditer(r"\.zip/", path, re.IGNORECASE):
            outside = Path(path[: archive.end() - 1])
            if not outside.is_dir():
                return outside, path[archive.end() :]
        return Path(path), None


def _different(files: tuple[File, ...]) -> tuple[File, ...]:
    paths = [(file.path, file.variable) for file in files]
    if len(set(paths)) < len(paths):
        raise ValueError("a file stands there twice: write it once, with use: both for training and testing")
    return files


class Cube(Facts):
    """A cube and what is known of it.

    Args:
        files: Of which it consists; all have the same bands.
        forms: Other files of the same content: the first one that is there serves where the one of `files` is missing.
        bands: Which of the file's bands are spectral, numbered from 1, as `1-48` or `1-103, 109-149`.
        crop: The valid part: first row, row behind the last, first column, column behind the last; None for all of it.
        divide_by: What the values are divided by, None for the largest of the valid part.
        shape: Rows, columns and bands of the file, where they are known.
        least_maximum: What the largest value reaches as published; below somebody has divided already.
        not_this: Files that are taken for it: (rows, columns, bands) and what that one is.
        gsd_m: Ground sampling distance, metres.
        nanometres: Wavelengths of the first and the last of `bands`.
        confirm: Whether the terms have to be confirmed before a download.
    """

    files: Annotated[tuple[File, ...], Field(min_length=1), AfterValidator(_different)]
    forms: tuple[File, ...] = ()
    bands: Annotated[str, AfterValidator(_ranges)]
    crop: Annotated[tuple[int, int, int, int], AfterValidator(_window)] | None = None
    divide_by: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    least_maximum: PositiveFloat | None = None
    not_this: tuple[tuple[tuple[int, int, int], str], ...] = ()
    sensor: str
    gsd_m: PositiveFloat
    nanometres: tuple[PositiveFloat, PositiveFloat]
    source: str
    citation: str
    terms: str
    confirm: bool = False

    def band_numbers(self) -> list[int]:
        """The numbers of its spectral bands, from 1."""
        return list(_numbers(self.bands))

    def pixel_files(self) -> dict[str, str]:
        """The files that decide its pixels, as far as they are there: label -> path."""
        found: dict[str, str] = {}
        with suppress(LkcaError):
            found |= {label: path for file in self.files for label, path in file.pixel_files().items()}
            found = {label: path for file in self.resolve_files() for label, path in file.pixel_files().items()}
        return found

    def resolve_files(self) -> tuple[File, ...]:
        """The files to read.

        Raises:
            LkcaError: If one is missing; the sentence says where to get it.
        """
        for files in (self.files, *((form,) for form in self.forms)):
            if all(file.local_path().is_file() for file in files):
                return files
        missing = next(file.local_path() for file in self.files if not file.local_path().is_file())
        others = "".join(f" or {form.local_path().name}" for form in self.forms)
        raise LkcaError(
            f"{missing}{others} is missing: get it from {self.source} and put it there. Terms: {self.terms}."
        )


CHIKUSEI = "data/raw/chikusei"
HOUSTON = "data/raw/houston2018"
HOUSTON_FILE = "20170218_UH_CASI_S4_NAD83.pix"
HOUSTON_SHA256 = "6f29fd1863ceb0cf4ae3b162ffc48e11ce02bad46780531a99ac2b29164b38e2"

CUBES = {
    "chikusei": Cube(
        files=(
            File(
                path=f"{CHIKUSEI}/Hyperspec_Chikusei_ENVI.zip/Chikusei_ENVI/HyperspecVNIR_Chikusei_20140729.bsq",
                axes="bands rows columns",
                sources=(
                    "https://www.sal.t.u-tokyo.ac.jp/hyperdata/Hyperspec_Chikusei_ENVI.zip",
                    "http://park.itc.u-tokyo.ac.jp/sal/hyperdata/Hyperspec_Chikusei_ENVI.zip",
                ),
                bytes=1_066_530_806,
                sha256="192825c63e764a16e9324470e005992f343c24317178e8a5546147aadde838dc",
            ),
        ),
        forms=(
            File(path=f"{CHIKUSEI}/HyperspecVNIR_Chikusei_20140729.bsq", axes="bands rows columns"),
            File(
                path=f"{CHIKUSEI}/HyperspecVNIR_Chikusei_20140729.mat", variable="chikusei", axes="rows columns bands"
            ),
        ),
        bands="1-128",
        crop=(106, 2410, 143, 2191),  # chikusei(107:2410, 144:2191, :) of SSPSR's published script
        shape=(2517, 2335, 128),
        least_maximum=2000,  # reflectance times 10 000; 15 133 by a published program
        not_this=(((2304, 2048, 128), "the crop already cut out"),),
        sensor="Headwall Hyperspec-VNIR-C",
        gsd_m=2.5,
        nanometres=(363, 1018),
        source="https://www.sal.t.u-tokyo.ac.jp/hyperdata/ (Hyperspec_Chikusei_ENVI.zip, or the .mat of "
        "Hyperspec_Chikusei_MATLAB.zip)",
        citation="N. Yokoya and A. Iwasaki, Airborne hyperspectral data over Chikusei, SAL-2016-05-27, "
        "Space Application Laboratory, University of Tokyo, 2016",
        terms="CC BY 3.0",
    ),
    "houston2018": Cube(
        files=(
            File(
                path=f"{HOUSTON}/phase2.zip/2018IEEE_Contest/Phase2/FullHSIDataset/{HOUSTON_FILE}",
                axes="bands columns rows",  # the paper's rows are the raster's columns
                sources=(
                    "http://machinelearning.ee.uh.edu/QZ23es1aMPH/2018IEEE/phase2.zip",
                    "http://hyperspectral.ee.uh.edu/QZ23es1aMPH/2018IEEE/phase2.zip",
                ),
                sha256="aa6ae39bf9df16b6a72eddaec7e05d853ef525a2f43555f1b9394ec0fe801f19",
            ),
        ),
        forms=(File(path=f"{HOUSTON}/{HOUSTON_FILE}", axes="bands columns rows", sha256=HOUSTON_SHA256),),
        bands="1-48",  # 49 and 50 are not spectral
        shape=(4172, 1202, 50),
        least_maximum=256,  # 16 bits
        not_this=(
            ((2384, 601, 50), "the labelled part that phase 1 of the contest published (2018_IEEE_GRSS_DFC_HSI_TR)"),
            ((2384, 601, 48), "the labelled part (HoustonU)"),
            ((4768, 1202, 50), "the labelled part, resampled to 0.5 m (houston2018-ouc)"),
            ((954, 210, 48), "a small crop for studies of domain adaptation (Houston18.mat)"),
            ((1905, 349, 144), "the scene of the contest of 2013"),
        ),
        sensor="ITRES CASI 1500",
        gsd_m=1,
        nanometres=(380, 1050),
        source="https://machinelearning.ee.uh.edu/2018-ieee-grss-data-fusion-challenge-fusion-of-multispectral-lidar-and-"
        "hyperspectral-data/ (phase2.zip)",
        citation="Y. Xu et al., Advanced multi-sensor optical remote sensing for urban land use and land cover "
        "classification: outcome of the 2018 IEEE GRSS Data Fusion Contest, IEEE JSTARS 12(6), 2019",
        terms="E-mail your name, contact and affiliation to the Hyperspectral Image Analysis Laboratory, University of "
        "Houston, and promise to cite and acknowledge them",
        confirm=True,
    ),
    "pavia_centre": Cube(
        files=(
            File(
                path="data/raw/pavia_centre/Pavia.mat",
                variable="pavia",
                axes="rows columns bands",
                sources=("https://www.ehu.eus/ccwintco/uploads/e/e3/Pavia.mat",),
            ),
        ),
        bands="1-102",
        shape=(1096, 715, 102),
        least_maximum=1000,  # 8000 by published programs
        not_this=(
            ((610, 340, 103), "Pavia University, another scene"),
            ((1096, 1096, 102), "the scene with its blank strip"),
        ),
        sensor="ROSIS-3",
        gsd_m=1.3,
        nanometres=(430, 860),
        source="https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes (Pavia.mat)",
        citation="P. Gamba, University of Pavia; distributed by the Computational Intelligence Group, UPV/EHU",
        terms="No licence stated",
    ),
    "indian_pines": Cube(
        files=(
            File(
                path="tensorly:datasets/data/Indian_pines_corrected.npy",
                axes="rows columns bands",
                sha256="8f038e4d81569e38ebfc72a15c9984c150de42580ab260be10a13442e912e451",
            ),
        ),
        bands="1-200",
        shape=(145, 145, 200),
        least_maximum=2000,
        sensor="AVIRIS",
        gsd_m=20,
        nanometres=(400, 2500),
        source="the Python package tensorly (pip install tensorly)",
        citation="M. F. Baumgardner, L. L. Biehl and D. A. Landgrebe, 220 band AVIRIS hyperspectral image data set: "
        "June 12, 1992 Indian Pine test site 3, Purdue University Research Repository, 2015, doi:10.4231/R7RX991C",
        terms="Distributed inside tensorly (BSD-3-Clause)",
    ),
}
