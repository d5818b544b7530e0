"""Write small files of the layouts of EnMAP L2A, PRISMA L2D, EMIT L2A and DESIS L2A.

No official file was available. Names, elements, attributes, types and axes are those that public readers of real
products rely on; docs/howto/products.md says which reader each fact comes from. Only the sizes are small.
"""

from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import h5py
import netCDF4
import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

ROWS, COLUMNS = 48, 40
EMPTY = -32768  # EnMAP and DESIS
ENMAP = "ENMAP01-____{}-DT0000001049_20220612T105735Z_028_V010303_20230922T131826Z"
PRISMA = "PRS_{}_STD_20201214060713_20201214060717_0001.he5"
EMIT = "EMIT_{}_001_20220815T042838_2222703_003.nc"
DESIS = "DESIS-HSI-{}-DT0485529167_001-20220712T223540-V0220"
UTM32 = CRS.from_epsg(32632)
CORNER = 628785.0, 5294265.0  # easting and northing of the outer corner of the upper left pixel


class Product(NamedTuple):
    """A written product.

    Args:
        path: The file with the pixels.
        values: The physical values, float64 (bands, rows, columns); NaN where the file has no data.
        nanometres, fwhm: Of each band; None for a band without a wavelength.
        bad_bands: Numbers, from 1, of the bands that users leave out.
    """

    path: Path
    values: np.ndarray
    nanometres: list[float | None]
    fwhm: list[float | None]
    bad_bands: list[int]


def reflectance(nanometres: list[float], rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Return a smooth reflectance of 0.05 to 0.6, float64 (bands, rows, columns)."""
    row, column = np.mgrid[:rows, :columns] / 8
    wave = np.array(nanometres)[:, None, None] / 400
    return 0.3 + 0.1 * np.sin(row + wave) + 0.1 * np.cos(column - 2 * wave) + 0.05 * np.sin(row * column / 9 + wave)


def outside_swath(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Return where a rotated swath leaves a map-oriented image empty: three of its corners."""
    row, column = np.mgrid[:rows, :columns]
    return (row + column < 6) | (row - column > rows - 5) | (column - row > columns - 4)


def element(parent: ElementTree.Element, path: str, text: Any = None, **attributes: str) -> ElementTree.Element:
    """Add the elements of a path to an element, the last one with a text; existing elements are used."""
    *folders, name = path.split("/")
    for folder in folders:
        found = parent.find(folder)
        parent = ElementTree.SubElement(parent, folder) if found is None else found
    child = ElementTree.SubElement(parent, name, attributes)
    child.text = None if text is None else str(text)
    return child


def write_xml(path: Path, root: ElementTree.Element) -> None:
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="UTF-8", xml_declaration=True)


def write_tiff(path: Path, pixels: np.ndarray, interleave: str = "band", nodata: float | None = None) -> None:
    bands, rows, columns = pixels.shape
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": bands, "height": rows, "width": columns}
    grid = {"crs": UTM32, "transform": Affine(30, 0, CORNER[0], 0, -30, CORNER[1])}
    with rasterio.open(path, "w", **profile, **grid, interleave=interleave, nodata=nodata) as file:
        file.write(pixels)


# EnMAP: the band number of the file, its centre, its width, its detector. Detectors alternate from 902 nm to 961 nm.
ENMAP_BANDS = [
    (418.24, 6.99, "vnir"),
    (550.60, 6.40, "vnir"),
    (660.30, 7.10, "vnir"),
    (801.02, 8.42, "vnir"),
    (902.25, 11.09, "vnir"),
    (911.57, 11.58, "swir"),
    (928.10, 11.14, "vnir"),
    (944.00, 11.90, "swir"),
    (960.61, 11.21, "vnir"),
    (1005.03, 12.41, "swir"),
    (1358.78, 12.16, "swir"),
    (1390.48, 12.05, "swir"),
    (1650.12, 10.78, "swir"),
    (2445.53, 7.05, "swir"),
]
ENMAP_EMPTY = [11, 12]  # bands in water vapour: no pixel has data


def write_enmap(
    folder: Path,
    level: str = "L2A",
    *,
    image: str = "-SPECTRAL_IMAGE.TIF",
    metadata: str | None = "-METADATA.XML",
    bands_in_xml: int = len(ENMAP_BANDS),
    doctype: str = "",
    statistics: bool = True,
    declare_nodata: bool = True,
) -> Product:
    """Write an EnMAP product: a GeoTIFF, int16, and its metadata.

    Args:
        folder: Where to write it.
        level: L2A, or L1B or L1C, which hold radiance.
        image, metadata: The ends of the names of the files; None for no metadata.
        bands_in_xml: Number of bands that the metadata describe.
        doctype: Text between the XML declaration and the document.
        statistics: Whether the metadata contain the statistics that mark empty bands.
        declare_nodata: Whether the GeoTIFF declares the value of empty pixels.
    """
    stem = ENMAP.format(level)
    nanometres, fwhm, detectors = ([*values] for values in zip(*ENMAP_BANDS, strict=True))
    pixels = np.round(reflectance(nanometres) * 10_000).astype(np.int16)
    pixels[:, outside_swath()] = EMPTY
    pixels[[number - 1 for number in ENMAP_EMPTY]] = EMPTY
    write_tiff(folder / f"{stem}{image}", pixels, nodata=EMPTY if declare_nodata else None)

    root = ElementTree.Element("level_X")
    root.set("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance")
    element(root, "metadata/schema/processingLevel", level)
    element(root, "metadata/name", f"{stem}-METADATA.XML")
    element(root, "processing/productFormat", "GeoTIFF+Metadata")
    element(root, "base/format", f"ENMAP_{level}")
    element(root, "base/level", level)
    element(root, "specific/backgroundValue", 0)  # wrong in real metadata of level L2A
    for detector in ("vnir", "swir"):
        numbers = [number for number, name in enumerate(detectors, 1) if name == detector]
        element(root, f"specific/{detector}ProductQuality/expectedChannelsList", ",".join(map(str, numbers)))
    element(root, "specific/bandCharacterisation")
    element(root, "product/image/merge/channels", bands_in_xml)
    for i in range(bands_in_xml):
        band = element(root, "specific/bandCharacterisation/bandID", number=str(i + 1))
        element(band, "wavelengthCenterOfBand", nanometres[i])
        element(band, "FWHMOfBand", fwhm[i])
        element(band, "GainOfBand", "0.0001" if level == "L2A" else 2.7886981781e-06 * (1 + i / 10))
        element(band, "OffsetOfBand", "0" if level == "L2A" else 0.0459078565781)
        element(element(root, "product/navigation/RPC/bandID", number=str(i + 1)), "ROW_OFF", 512)
        if statistics:
            band = element(root, "product/bandStatistics/bandID", number=str(i + 1))
            empty = i + 1 in ENMAP_EMPTY
            element(band, "waveLength", nanometres[i])
            element(band, "mean", "-1000000" if empty else 0.3)
            element(band, "stdDeviation", "0" if empty else 0.1)
    if metadata:
        write_xml(folder / f"{stem}{metadata}", root)
        if doctype:
            text = (folder / f"{stem}{metadata}").read_text()
            (folder / f"{stem}{metadata}").write_text(text.replace("<level_X", f"{doctype}\n<level_X", 1))
    values = np.where(pixels == EMPTY, np.nan, pixels * 1e-4)
    return Product(folder / f"{stem}{image}", values, nanometres, fwhm, ENMAP_EMPTY)


# PRISMA: descending wavelengths; 0 marks a band that was not acquired. The detectors overlap from 943 nm to 977 nm.
PRISMA_BANDS = {
    "Vnir": ([0, 977.37, 960.28, 943.25, 801.01, 660.02, 550.5, 406.99], [0, 13.1, 13.0, 12.9, 12.1, 11.2, 11.0, 11.4]),
    "Swir": ([2497.12, 1650.01, 1250.5, 969.4, 951.0, 943.36, 0], [8.7, 10.9, 11.5, 12.2, 12.4, 12.5, 0]),
}
PRISMA_SCALES = {"Vnir": (0.0, 0.99), "Swir": (0.02, 0.87)}


def write_prisma(folder: Path, level: str = "2D", *, wavelengths: bool = True, scales: bool = True) -> Product:
    """Write a PRISMA product, HDF-EOS5: two cubes, uint16 (rows, bands, columns), and what describes them.

    Args:
        folder: Where to write it.
        level: 2D, or 1, which holds radiance, or 2C, which is not on a map.
        wavelengths: Whether it contains the wavelengths.
        scales: Whether it contains the scales.
    """
    name = PRISMA.format(f"L{level}")
    swath = f"HDFEOS/SWATHS/PRS_L{level}_HCO"
    outside = outside_swath()
    numbered = []  # (nanometres, fwhm, values) of each band
    with h5py.File(folder / name, "w") as file:
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_("GROUP=SwathStructure\nEND_GROUP=SwathStructure\nEND\n")
        file.attrs["Processing_Level"] = np.bytes_(level)
        file.attrs["Product_Name"] = np.bytes_(name)
        file.attrs["Epsg_Code"] = np.int64(32632)
        file.attrs["Projection_Id"] = np.bytes_("32")
        file.attrs["Projection_Name"] = np.bytes_("UTM")
        east, north = CORNER[0] + 15, CORNER[1] - 15  # centres of pixels
        for corner, x, y in (("UL", 0, 0), ("UR", 1, 0), ("LL", 0, 1), ("LR", 1, 1)):
            file.attrs[f"Product_{corner}corner_easting"] = np.float64(east + 30 * (COLUMNS - 1) * x)
            file.attrs[f"Product_{corner}corner_northing"] = np.float64(north - 30 * (ROWS - 1) * y)
        for i, (detector, (nanometres, fwhm)) in enumerate(PRISMA_BANDS.items()):
            low, high = PRISMA_SCALES[detector]
            pixels = np.round((reflectance(nanometres) - low) / (high - low) * 65535).astype(np.uint16)
            acquired = np.array(nanometres) > 0
            pixels[~acquired] = 0
            pixels[:, outside] = 0
            pixels[2, 20, 20] = 0  # black in one band, but not without data
            pixels[:, 25, 25 + i] = 0  # black in all bands of one detector, as clear water is in those of the SWIR
            if wavelengths:
                file.attrs[f"List_Cw_{detector}"] = np.array(nanometres, np.float32)
                file.attrs[f"List_Cw_{detector}_Flags"] = acquired.astype(np.int32)
                file.attrs[f"List_Fwhm_{detector}"] = np.array(fwhm, np.float32)
            if level == "1":
                file.attrs[f"ScaleFactor_{detector}"], file.attrs[f"Offset_{detector}"] = 100.0, 0.0
            elif scales:
                file.attrs[f"L2Scale{detector}Min"] = np.float32(low)
                file.attrs[f"L2Scale{detector}Max"] = np.float32(high)
            errors = "PIXEL_SAT_ERR_MATRIX" if level == "1" else "PIXEL_L2_ERR_MATRIX"
            file[f"{swath}/Data Fields/{detector.upper()}_Cube"] = pixels.transpose(1, 0, 2)
            file[f"{swath}/Data Fields/{detector.upper()}_{errors}"] = np.zeros((ROWS, len(fwhm), COLUMNS), np.uint8)
            low, high = (float(np.float32(scale)) for scale in (low, high))
            values = np.where(outside, np.nan, low + pixels / 65535 * (high - low))
            numbered += zip(nanometres, fwhm, values, strict=True)
        for field in ("Geolocation Fields/Latitude", "Geolocation Fields/Longitude"):
            file[f"{swath}/{field}"] = np.full((ROWS, COLUMNS), 45, np.float32)
        file[f"{swath.replace('HCO', 'PCO')}/Data Fields/Cube"] = np.full((6 * ROWS, 6 * COLUMNS), 9, np.uint16)
    acquired_bands = sorted((band for band in numbered if band[0]), key=lambda band: band[0])
    missing = [(None, None, np.full((ROWS, COLUMNS), np.nan)) for band in numbered if not band[0]]
    nanometres, fwhm, values = zip(*acquired_bands, *missing, strict=True)
    bad = [len(acquired_bands) + 1 + i for i in range(len(missing))]
    return Product(folder / name, np.stack(values), [*nanometres], [*fwhm], bad)


EMIT_BANDS = [381.0, 455.5, 552.4, 664.2, 801.0, 1245.3, 1380.5, 1402.8, 1655.1, 1850.2, 2200.7, 2492.9]
EMIT_BAD = [7, 8, 10]  # water vapour; the product has -0.01 there


def write_emit(folder: Path, product: str = "L2A_RFL", *, wavelengths: bool = True) -> Product:
    """Write an EMIT product, NetCDF 4, on the grid of the sensor, with the table that maps it to the ground.

    Args:
        folder: Where to write it.
        product: L2A_RFL (reflectance), L2A_RFLUNCERT, L2A_MASK or L1B_RAD (radiance).
        wavelengths: Whether it contains the wavelengths.
    """
    name, title = {
        "L2A_RFL": ("reflectance", "EMIT L2A Estimated Surface Reflectance 60 m V001"),
        "L2A_RFLUNCERT": ("reflectance_uncertainty", "EMIT L2A Estimated Surface Reflectance Uncertainty 60 m V001"),
        "L2A_MASK": ("mask", "EMIT L2A Masks 60 m V001"),
        "L1B_RAD": ("radiance", "EMIT L1B At-Sensor Calibrated Radiance Data 60 m V001"),
    }[product]
    path = folder / EMIT.format(product)
    good = np.ones(len(EMIT_BANDS), np.uint8)
    good[[number - 1 for number in EMIT_BAD]] = 0
    values = reflectance(EMIT_BANDS).astype(np.float32)
    values[good == 0] = -0.01
    values[:, :3, :5] = -9999
    fwhm = [round(8.4 + 0.05 * i, 2) for i in range(len(EMIT_BANDS))]
    spatial = ("downtrack", "crosstrack")
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        file.title, file.summary = title, f"This file contains {title}."
        file.instrument, file.platform, file.Conventions = "EMIT", "ISS", "CF-1.63"
        file.history = "PGE Run Command: {python emit_main.py}, PGE Input Files: {}"
        file.crosstrack_orientation = "as seen on ground"
        file.spatial_ref = CRS.from_epsg(4326).to_wkt()
        file.geotransform = np.array([10.5, 0.000542232520256367, -0.0, 47.9, -0.0, -0.000542232520256367])
        sizes = {"downtrack": ROWS, "crosstrack": COLUMNS, "bands": len(EMIT_BANDS), "ortho_y": 60, "ortho_x": 70}
        for dimension, size in sizes.items():
            file.createDimension(dimension, size)

        def write(name: str, kind: Any, data: Any, dimensions: tuple[str, ...], unit: str, fill: Any = -9999.0) -> None:
            variable = file.createVariable(name, kind, dimensions, fill_value=fill)
            variable.long_name, variable.units = name, unit
            variable.set_auto_mask(False)
            variable[...] = data

        if product == "L2A_MASK":
            names = file.createVariable("sensor_band_parameters/mask_bands", str, ("bands",))
            for i in range(len(EMIT_BANDS)):
                names[i] = f"Flag {i}"
        elif wavelengths:
            write("sensor_band_parameters/wavelengths", "f4", EMIT_BANDS, ("bands",), "nm")
            write("sensor_band_parameters/fwhm", "f4", fwhm, ("bands",), "nm")
        if product.startswith("L2A_RFL"):
            write("sensor_band_parameters/good_wavelengths", "u1", good, ("bands",), "unitless", np.uint8(241))
        for field in ("lon", "lat", "elev"):
            write(f"location/{field}", "f8", np.full((ROWS, COLUMNS), 10.5), spatial, "degrees east")
        for field in ("glt_x", "glt_y"):
            write(f"location/{field}", "i4", np.ones((60, 70), np.int32), ("ortho_y", "ortho_x"), "pixel location", 0)
        unit = "uW/cm^2/SR/nm" if product == "L1B_RAD" else "unitless"
        write(name, "f4", values.transpose(1, 2, 0), (*spatial, "bands"), unit)
    return Product(path, np.where(values == -9999, np.nan, values), [*EMIT_BANDS], fwhm, EMIT_BAD)


DESIS_BANDS = [401.43, 450.24, 501.65, 550.12, 600.9, 650.31, 700.2, 751.67, 800.43, 850.2, 900.75, 999.5]


def write_desis(
    folder: Path,
    level: str = "L2A",
    *,
    image: str = "-SPECTRAL_IMAGE.tif",
    header: bool = True,
    metadata: bool = True,
    bands_in_header: int = len(DESIS_BANDS),
    gains: bool = True,
) -> Product:
    """Write a DESIS product: a GeoTIFF, int16, interleaved by pixel, an ENVI header that describes it, and metadata.

    Args:
        folder: Where to write it.
        level: L2A, or L1B or L1C, which hold radiance.
        image: The end of the name of the GeoTIFF.
        header: Whether there is a header.
        metadata: Whether there are metadata.
        bands_in_header: Number of bands that the header describes.
        gains: Whether the header contains gains and offsets.
    """
    stem = DESIS.format(level)
    pixels = np.round(reflectance(DESIS_BANDS) * 10_000).astype(np.int16)
    pixels[:, outside_swath()] = EMPTY
    write_tiff(folder / f"{stem}{image}", pixels, "pixel")
    fwhm = [round(2.8 + 0.06 * i, 2) for i in range(len(DESIS_BANDS))]
    gain = [0.0001] * len(fwhm) if level == "L2A" else [0.001 * (1 + i / 9) for i in range(len(fwhm))]
    offset = [0.0] * len(fwhm) if level == "L2A" else [0.1 * i for i in range(len(fwhm))]
    if header:
        facts = {
            "samples": COLUMNS,
            "lines": ROWS,
            "bands": bands_in_header,
            "header offset": 0,
            "file type": "TIFF",
            "data type": 2,
            "interleave": "bip",
            "byte order": 0,
            "data ignore value": EMPTY,
            "wavelength units": "Nanometers",
        }
        names = [f"Band {i + 1}" for i in range(bands_in_header)]
        lists = {"band names": names, "wavelength": DESIS_BANDS, "fwhm": fwhm}
        lists |= {"data gain values": gain, "data offset values": offset} if gains else {}
        lines = [f"{key} = {value}" for key, value in facts.items()]
        for key, values in lists.items():  # one value a line
            lines += [f"{key} = {{", ",\n".join(str(value) for value in values[:bands_in_header]) + "}"]
        (folder / f"{stem}-SPECTRAL_IMAGE.hdr").write_text("\n".join(["ENVI", *lines, ""]))
    if metadata:
        root = ElementTree.Element("hsi_doc")
        element(root, "metadata/schema", "DESIS")
        element(root, "processing/ozoneValue", 330)
        element(root, "base/mission", "DESIS")
        element(root, "base/productType", level)
        element(root, "specific/backgroundValue", EMPTY)
        element(root, "specific/numberOfBands", len(DESIS_BANDS))
        element(root, "specific/bandCharacterisation")
        for i, nanometres in enumerate(DESIS_BANDS):
            element(element(root, "specific/interiorOrientation/band"), "bandNumber", i + 1)
            band = element(root, "specific/bandCharacterisation/band")
            facts = {"bandNumber": i + 1, "wavelengthCenterOfBand": nanometres, "wavelengthWidthOfBand": fwhm[i]}
            for name, value in (facts | {"gainOfBand": gain[i], "offsetOfBand": offset[i]}).items():
                element(band, name, value)
        write_xml(folder / f"{stem}-METADATA.xml", root)
    values = np.where(pixels == EMPTY, np.nan, pixels * 1e-4)
    return Product(folder / f"{stem}{image}", values, [*DESIS_BANDS], fwhm, [])
