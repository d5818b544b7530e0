"""Descriptions of the published cubes: their files, where to get them, and how to recognise them.

A cube is a published data set in one file or several. A scene is the part of a cube that experiments use; config.yaml
says how it is cut (scenes.py). config.yaml may also describe a cube that is not in this catalog, with the same keys.
"""

import os
import re
import site
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from lkca.core.files import is_file
from lkca.data.sidecars import (
    find_aux_xml,
    find_mask_file,
    find_metadata,
    find_world_file,
    is_sidecar,
    list_folder,
)
from lkca.data.urls import is_url, replace_secrets, restore_secrets
from lkca.errors import DataError

ALL_BANDS = "all"
TIFF_SUFFIXES = (".tif", ".tiff")
MIN_NANOMETRES = 100
# Upper bounds are far above any real cube. Without them a call could list bands or count pixels for hours.
MAX_BANDS = 10**4
MAX_SIDE = 10**6  # pixels
MAX_FILES = 1000
MAX_TEXT = 2000  # characters of a text for readers
MAX_PATH, MAX_NAME = 4000, 255  # bytes; Linux allows 4095 in a path
OWN_FILES = ("SHA256SUMS", "TERMS")  # next to downloads: hashes, and terms that the user has confirmed
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]  # float32 holds the products of two such numbers
Offset = Annotated[float, Field(ge=-1e20, le=1e20)]  # of integers of 64 bits
Positive = Annotated[float, Field(ge=1e-12, le=1e12)]
Numbers = Annotated[tuple[Number, ...], Field(max_length=MAX_BANDS)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Row = Annotated[int, Field(ge=0, le=MAX_SIDE)]  # or column
Wavelength = Annotated[float, Field(gt=0, le=1e6)]  # nm, or the width of a band
Wavelengths = Annotated[tuple[Wavelength, ...], Field(min_length=2, max_length=MAX_BANDS)]
PACKAGE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):(?![\\/])(.+)")  # C:\ is a drive of Windows
GDAL_NAME = re.compile(r"/+vsi\w*(/|$)|(NETCDF|HDF[45]\w*|GTIFF_\w+|NITF_\w+|ZARR|VRT|SENTINEL2_\w+):", re.IGNORECASE)


def _normalise_path(path: str) -> str:
    """Return the one form of a path that settings, records and messages contain: without `.` and repeated slashes.

    Parts `..` remain, because the folder before them may be a link.
    """
    if re.search(r"[\x00-\x1f\x7f-\x9f]", path):
        raise ValueError("a path must not have line breaks or other control characters: rename the file")
    if is_url(path):
        raise ValueError("it is a URL: list it in sources, and write the path at which the file is on this machine")
    if path.endswith("/"):
        raise ValueError("it names a folder: write the path of a file")
    normal = str(PurePosixPath(path))
    if GDAL_NAME.match(normal):
        raise ValueError("it is a name that only GDAL knows: write the path of the file, and set variable to its array")
    if (package := PACKAGE.fullmatch(normal)) and ".." in package[2].split("/"):
        raise ValueError("a path in a Python package has no ..: write the path of a file in the folder of the package")
    return f"/{normal.lstrip('/')}" if normal.startswith("//") else normal


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_normalise_path)]


def _check_axes(axes: str) -> str:
    """Refuse what does not name each of rows, columns and bands once; two of them may be joined by `*`."""
    names = [part for axis in axes.split() for part in axis.split("*")]
    if sorted(names) != ["bands", "columns", "rows"]:
        raise ValueError("name the three axes in their order, as in: rows columns bands")
    if any("*" in axis and "bands" in axis for axis in axes.split()):
        raise ValueError("only rows and columns can be one axis: rows*columns or columns*rows")
    return axes


def _join_bands(bands: Any) -> Any:
    """Return a list of numbers and ranges as one text."""
    return ", ".join(map(str, bands)) if isinstance(bands, list | tuple) else bands


def _check_bands(bands: str) -> str:
    if bands == ALL_BANDS:
        return bands
    well_formed = re.fullmatch(r"[1-9]\d{0,4}(-\d{1,5})?(, *\d{1,5}(-\d{1,5})?)*", bands, re.ASCII)
    ranges = _parse_ranges(bands) if well_formed else []
    number = sum(last - first + 1 for first, last in ranges)
    ascending = all(first <= last for first, last in ranges) and all(a[1] < b[0] for a, b in pairwise(ranges))
    if number < 2 or not ascending or ranges[-1][1] > MAX_BANDS:
        raise ValueError(
            f"list at least two bands in ascending order, as numbers and ranges from 1 to {MAX_BANDS}: 1-103, 109-149; "
            "or write all"
        )
    return bands


def _make_list(value: Any) -> Any:
    """Return a single number as a list."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def _parse_ranges(text: str) -> list[tuple[int, int]]:
    """Return the first and last number of each part of a list of numbers and ranges, such as `1-103, 109-149`."""
    parts = [part.partition("-") for part in text.split(",")]
    return [(int(first), int(last or first)) for first, _, last in parts]


def format_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text, such as `1-103, 109`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


def _check_nanometres(nanometres: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse wavelengths in another unit; the shortest that optical sensors see is 100 nm or more."""
    if min(nanometres) < MIN_NANOMETRES:
        raise ValueError(f"{min(nanometres):g} nm is no wavelength of light: give nm, which are 1000 times \u00b5m")
    return nanometres


def _check_crop(crop: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    if not (0 <= crop[0] < crop[1] and 0 <= crop[2] < crop[3]):
        raise ValueError("give first row, last row + 1, first column, last column + 1; rows and columns count from 0")
    return crop


class MissingPackageError(DataError):
    """The Python package that contains a file is not installed."""


class _Description(BaseModel):
    """A model that refuses unknown keys. It is not strict, because YAML and JSON have lists instead of tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class File(_Description):
    """A file that contains a cube or a part of one.

    Args:
        path: A path relative to the checkout; `archive.zip/path/inside` for a file in an archive, which is read without
            unpacking; `package:path` for a file in the folder of an installed Python package, which is not imported.
        use: What its pixels are used for. With `both`, training patches are above and below the test images.
        variable: Name of the array in a MATLAB, HDF5 or NetCDF file; `group/name` in a group, `struct.field` in a
            struct of MATLAB. None if it is the only one with three axes.
        axes: Names of the axes in order. For an array, the order in which MATLAB or numpy shows them; for a raster,
            `bands rows columns`, or `bands columns rows` to transpose it. None for the usual order of the format:
            `bands rows columns` for rasters, `rows columns bands` for MATLAB files; NetCDF files name their axes, other
            formats need it. `columns*rows` is one axis that runs through all pixels column by column, as in MATLAB, and
            `rows*columns` one that runs row by row.
        pixels: Rows and columns of an array in which they are one axis.
        gain, offset: One number, or one for each band of the file: physical value = gain x stored value + offset. They
            replace what the file declares; None for what it declares. `gain: 1` with `offset: 0` takes the values as
            they are stored.
        invalid: Stored value that marks invalid pixels, or a list of them. They replace those that the file declares;
            None for what it declares. An empty list is for none, and a mask in the file then does not count, either.
            NaN is always invalid.
        mask: Path of a file of the same rows and columns; pixels at which it is not 0 are invalid. `file.h5/name` for
            an array of a MATLAB, HDF5 or NetCDF file that holds several.
        sources: URLs of the file, or of its archive, in the order in which they are tried. User, password, query and
            fragment are not printed or stored.
        bytes, sha256: Size and hash of the file that `sources` provide.
    """

    path: FilePath
    use: Literal["both", "train", "test"] = "both"
    variable: Text | None = None
    axes: Annotated[str, AfterValidator(_check_axes)] | None = None
    pixels: tuple[Side, Side] | None = None
    gain: Number | Numbers | None = None
    offset: Offset | Annotated[tuple[Offset, ...], Field(max_length=MAX_BANDS)] | None = None
    invalid: Annotated[tuple[Finite, ...], Field(max_length=100), BeforeValidator(_make_list)] | None = None
    mask: FilePath | None = None
    sources: Annotated[tuple[Annotated[str, StringConstraints(max_length=4000)], ...], Field(max_length=100)] = ()
    bytes: Annotated[int, Field(ge=1, le=10**15)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @field_validator("sources", mode="before")
    @classmethod
    def _restore_sources(cls, sources: Any, info: ValidationInfo) -> Any:
        return restore_secrets(sources, info.context) if info.context and isinstance(sources, list) else sources

    @field_serializer("sources", when_used="json")
    def _hide_sources(self, sources: tuple[str, ...], info: SerializationInfo) -> list[str]:
        """Return the sources without what may be secret; the context, if any, gets it: see `replace_secrets`."""
        return replace_secrets(sources, info.context)

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        for name, path in (("path", self.path), ("mask", self.mask or "")):
            longest = max(path.split("/"), key=len)
            if len(os.fsencode(path)) > MAX_PATH or len(os.fsencode(longest)) > MAX_NAME:
                limits = f"{MAX_PATH} bytes, and {MAX_NAME} in each name of a folder or file"
                raise ValueError(f"{name} is longer than file systems allow, {limits}: correct it")
        return self

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        folder, *parts = self.path.split("/")
        if self.sources and (folder != "data" or not parts or ".." in parts):
            raise ValueError("a file with sources is downloaded into data/: write path as data/raw/..., without ..")
        if self.sources and parts[-1].upper() in OWN_FILES:
            raise ValueError(f"{self.path} is a file that lkca writes itself: a download has another name")
        return self

    @model_validator(mode="after")
    def _check_pixels(self) -> Self:
        if self.pixels and "*" not in (self.axes or ""):
            raise ValueError("pixels needs axes with rows and columns in one, as in axes: bands columns*rows")
        return self

    def local_path(self) -> Path:
        """Return the path of the file on this machine, or of the archive that contains it.

        Raises:
            DataError: If the Python package that contains it is not installed.
        """
        package = self.package()
        return _find_in_package(package, self.path.partition(":")[2]) if package else self._split_archive()[0]

    def archive_member(self) -> str | None:
        """Return the path inside the archive, None if the file is not in an archive."""
        return self._split_archive()[1]

    def mask_file(self) -> "File | None":
        """Return the mask as a file, None if there is none."""
        if self.mask is None:
            return None
        split = re.fullmatch(r"(.*\.(?:mat|h5|hdf5|he5|nc4?|cdf))/(.+)", self.mask, re.IGNORECASE)
        return File(path=split[1], variable=split[2]) if split and not Path(split[1]).is_dir() else File(path=self.mask)

    def package(self) -> str | None:
        """Return the Python package that contains the file, None for any other file."""
        package = PACKAGE.fullmatch(self.path)
        return package[1] if package and not os.path.exists(self.path) else None

    def pixel_files(self) -> dict[str, str]:
        """Return the existing files on which the pixels depend: label -> path.

        They are the file or its archive, the files next to it that describe it, and the same for the mask.
        The label is the path, or `package:path` for a file of a Python package.

        Raises:
            DataError: If the Python package that contains the file is not installed.
        """
        file = self.local_path()
        paths = {self.path if self.package() else str(file): str(file)} if is_file(file) else {}
        others = _find_sidecars(file)
        if mask := self.mask_file():
            others += map(Path, mask.pixel_files().values())
        return paths | {str(path): str(path) for path in others if is_file(path)}

    def _split_archive(self) -> tuple[Path, str | None]:
        """Return the path of the file or archive, and the path inside the archive."""
        path = os.path.expanduser(self.path)
        for suffix in re.finditer(r"\.zip/", path, re.IGNORECASE):
            archive = Path(path[: suffix.end() - 1])
            if not os.path.isdir(archive):
                return archive, path[suffix.end() :]
        return Path(path), None


def describe_path(path: str | Path, **facts: Any) -> File:
    """Return the description of a file that a user names on the command line.

    Raises:
        DataError: If it cannot be the path of a file.
    """
    try:
        str(path).encode()  # no path in config.yaml has other bytes
        return File(path=str(path), **facts)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
    except UnicodeEncodeError:
        problem = "it has bytes in its name that are not UTF-8: rename it"
    raise DataError(f"{str(path)!r} cannot be read: {problem}.")


def _find_in_package(package: str, path: str) -> Path:
    """Return the path of a file in the folder of an installed Python package.

    Nothing is imported, and only the folders into which this Python installs packages count: the current folder and
    those of PYTHONPATH may contain a package of somebody else.

    Raises:
        MissingPackageError: If the package is not installed.
    """
    sites = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    for folder in sites:
        if (found := Path(folder, *package.split("."))).is_dir():
            return found / path
    raise MissingPackageError(
        f"{path} is missing: it belongs to the Python package {package}, which is not installed; if you trust that "
        f"package, install it (pip install {package})."
    )


def _find_sidecars(file: Path) -> list[Path]:
    """Return the files next to a file that describe it."""
    headers = find_envi_headers(file)
    header = find_raw_header(file, headers)
    others = (find_metadata(file), find_aux_xml(file, header), find_mask_file(file), find_world_file(file))
    return [*headers, *(path for path in others if path), *find_namesakes(file, headers)]


def find_raw_header(file: Path, headers: Sequence[Path]) -> Path | None:
    """Return the ENVI header of a raw file, None for a TIFF or PCIDSK raster, which may have one next to it."""
    return headers[0] if headers and file.suffix.lower() not in (*TIFF_SUFFIXES, ".pix") else None


def find_namesakes(file: Path, headers: Sequence[Path]) -> list[Path]:
    """Return the files next to a TIFF to which the ENVI headers may belong instead: a.bsq for a.hdr next to a.tif."""
    own = f"{file.name}.hdr".lower()
    if not headers or file.suffix.lower() not in TIFF_SUFFIXES or any(header.name.lower() == own for header in headers):
        return []
    others = [path for path in list_folder(file) if path.stem == file.stem and path not in (file, *headers)]
    return [path for path in others if is_sidecar(path)]


def find_envi_headers(file: Path) -> list[Path]:
    """Return the ENVI headers next to a file: a.hdr or a.bsq.hdr for a.bsq, in upper or lower case."""
    names = {f"{file.stem}.hdr".lower(), f"{file.name}.hdr".lower()}
    return [path for path in list_folder(file) if path.name.lower() in names and path != file and is_sidecar(path)]


def _check_distinct(files: tuple[File, ...]) -> tuple[File, ...]:
    paths = [(file.path, file.variable) for file in files]
    if len(set(paths)) < len(paths):
        raise ValueError("duplicate file: list it once, with use: both for training and testing")
    return files


class Cube(_Description):
    """A published cube: its files, its properties, and where to get it.

    Args:
        files: The files that the cube consists of; all have the same bands.
        forms: Other files with the same content; if one of `files` is missing, the first that exists is used.
        bands: The file's bands that are spectral, numbered from 1, as in `1-48` or `1-103, 109-149`; or `all` for those
            that no file declares as bad.
        crop: The valid part: first row, last row + 1, first column, last column + 1, from 0; None for the whole file.
        divide_by: The number by which the values are divided, None for the maximum of the valid part.
        shape: Rows, columns and bands of the file, if known.
        least_maximum: A lower bound of the published file's maximum. A file with a smaller maximum was already divided.
        not_this: Shapes (rows, columns, bands) of files that are often mistaken for it, each with a description.
        sensor: Name of the sensor, if known.
        gsd_m: Ground sampling distance, metres, if known.
        nanometres: Wavelengths of `bands`, or of the first and the last of them; None for those that the files declare.
        fwhm: Full width at half maximum of each of `bands`, nm; None for what the files declare.
        source: Where to get the files.
        citation: The publication to cite.
        terms: Terms of use.
        confirm: Whether the user has to confirm the terms before a download.
    """

    files: Annotated[tuple[File, ...], Field(min_length=1, max_length=MAX_FILES), AfterValidator(_check_distinct)]
    forms: Annotated[tuple[File, ...], Field(max_length=MAX_FILES)] = ()
    bands: Annotated[str, BeforeValidator(_join_bands), AfterValidator(_check_bands)] = ALL_BANDS
    crop: Annotated[tuple[Row, Row, Row, Row], AfterValidator(_check_crop)] | None = None
    divide_by: Annotated[Positive, Field(strict=True)] | None = None
    shape: tuple[Side, Side, Side] | None = None
    least_maximum: Positive | None = None
    not_this: Annotated[tuple[tuple[tuple[Side, Side, Side], Text], ...], Field(max_length=100)] = ()
    sensor: Text | None = None
    gsd_m: Annotated[float, Field(ge=1e-6, le=1e6)] | None = None
    nanometres: Annotated[Wavelengths, AfterValidator(_check_nanometres)] | None = None
    fwhm: Wavelengths | None = None
    source: Text | None = None
    citation: Text | None = None
    terms: Text | None = None
    confirm: bool = False

    @model_validator(mode="after")
    def _check_wavelengths(self) -> Self:
        if self.bands != ALL_BANDS:
            number = len(self.band_numbers())
            for name, values, lengths in (
                ("nanometres", self.nanometres, (2, number)),
                ("fwhm", self.fwhm, (number,)),
            ):
                if values and len(values) not in lengths:
                    raise ValueError(f"{name} has {len(values)} values for {number} bands: give one for each band")
        return self

    def band_numbers(self) -> list[int]:
        """Return the numbers of the spectral bands, from 1.

        Raises:
            DataError: If they are those that the file does not declare as bad; `lkca.data.bands` finds them.
        """
        if self.bands == ALL_BANDS:
            raise DataError("bands: all is not resolved: list the bands.")
        return [number for first, last in _parse_ranges(self.bands) for number in range(first, last + 1)]

    def pixel_files(self) -> dict[str, str]:
        """Return the existing files on which the pixels depend: label -> path, as `File.pixel_files`.

        Raises:
            DataError: If one of them is not a file but, for example, a pipe or a broken link.
        """
        try:
            files = self.resolve_files()
        except DataError:
            files = self.files
        paths: dict[str, str] = {}
        for file in files:
            with suppress(MissingPackageError):
                paths |= file.pixel_files()
        return paths

    def resolve_files(self) -> tuple[File, ...]:
        """Return the files to read: all of `files`, or one of `forms` if one of `files` is missing.

        Raises:
            DataError: If neither exists; the message says where to get the missing file.
        """
        for files in (self.files, *((form,) for form in self.forms)):
            if all(is_file(file.local_path()) for file in files):
                return files
        missing = next(file.local_path() for file in self.files if not is_file(file.local_path()))
        alternatives = "".join(f" or {form.local_path().name}" for form in self.forms)
        if re.match(r"[A-Za-z]:[\\/]", str(missing)):
            raise DataError(
                f"{missing} is missing: it is a path of Windows, write it as this system does (/mnt/c/...)."
            )
        terms = f" Terms: {self.terms}." if self.terms else ""
        remedy = self.how_to_get() if self.source else "correct its path, or get it"
        raise DataError(f"{missing}{alternatives} is missing: {remedy} and put it there.{terms}")

    def how_to_get(self) -> str:
        """Return what a user does to get the files, as the end of a message."""
        return f"get it from {self.source}" if self.source else "get it"


# The published scripts take the values as they are stored, whatever the files declare.
AS_STORED: dict[str, Any] = {"gain": 1, "offset": 0, "invalid": ()}
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
                **AS_STORED,
                sources=(
                    "https://www.sal.t.u-tokyo.ac.jp/hyperdata/Hyperspec_Chikusei_ENVI.zip",
                    "http://park.itc.u-tokyo.ac.jp/sal/hyperdata/Hyperspec_Chikusei_ENVI.zip",
                ),
                bytes=1_066_530_806,
                sha256="192825c63e764a16e9324470e005992f343c24317178e8a5546147aadde838dc",
            ),
        ),
        forms=(
            File(path=f"{CHIKUSEI}/HyperspecVNIR_Chikusei_20140729.bsq", axes="bands rows columns", **AS_STORED),
            File(
                path=f"{CHIKUSEI}/HyperspecVNIR_Chikusei_20140729.mat",
                variable="chikusei",
                axes="rows columns bands",
                **AS_STORED,
            ),
        ),
        bands="1-128",
        crop=(106, 2410, 143, 2191),  # chikusei(107:2410, 144:2191, :) of SSPSR's published script
        shape=(2517, 2335, 128),
        least_maximum=2000,  # the values are reflectance times 10 000; published code mentions a maximum of 15 133
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
                **AS_STORED,
                sources=(
                    "http://machinelearning.ee.uh.edu/QZ23es1aMPH/2018IEEE/phase2.zip",
                    "http://hyperspectral.ee.uh.edu/QZ23es1aMPH/2018IEEE/phase2.zip",
                ),
                sha256="aa6ae39bf9df16b6a72eddaec7e05d853ef525a2f43555f1b9394ec0fe801f19",
            ),
        ),
        forms=(File(path=f"{HOUSTON}/{HOUSTON_FILE}", axes="bands columns rows", **AS_STORED, sha256=HOUSTON_SHA256),),
        bands="1-48",  # 49 and 50 are not spectral
        shape=(4172, 1202, 50),
        least_maximum=256,  # the published values have 16 bits
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
                **AS_STORED,
                sources=("https://www.ehu.eus/ccwintco/uploads/e/e3/Pavia.mat",),
            ),
        ),
        bands="1-102",
        shape=(1096, 715, 102),
        least_maximum=1000,  # published code mentions a maximum of 8000
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
                **AS_STORED,
                sha256="8f038e4d81569e38ebfc72a15c9984c150de42580ab260be10a13442e912e451",
            ),
        ),
        bands="1-200",
        shape=(145, 145, 200),
        least_maximum=2000,
        sensor="AVIRIS",
        gsd_m=20,
        # Evenly spaced over all 220 bands of AVIRIS; this file leaves out 104-108, 150-163 and 220.
        nanometres=tuple(
            round(400 + 2100 * (band - 1) / 219, 1) for band in (*range(1, 104), *range(109, 150), *range(164, 220))
        ),
        source="the Python package tensorly (pip install tensorly)",
        citation="M. F. Baumgardner, L. L. Biehl and D. A. Landgrebe, 220 band AVIRIS hyperspectral image data set: "
        "June 12, 1992 Indian Pine test site 3, Purdue University Research Repository, 2015, doi:10.4231/R7RX991C",
        terms="Distributed inside tensorly (BSD-3-Clause)",
    ),
}
