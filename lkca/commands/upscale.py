"""`lkca upscale`: enlarge a cube with a network that exists."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lkca.commands.enlarging import (
    check_paths,
    describe_network,
    format_command,
    list_left_out,
    plain_words,
    print_result,
)
from lkca.core.locks import exclusive_lock
from lkca.core.result_files import ManifestFile, read_result
from lkca.errors import DataError
from lkca.inference.engines import Engine, load_network
from lkca.inference.own_cube import (
    FILLED_FILE,
    MANIFEST_FILE,
    SCENE_FILE,
    check_reading,
    cut_cube,
    describe_input,
    fill_invalid,
)
from lkca.inference.result import Mode, describe_result, write_result
from lkca.inference.shared_model import SharedModel

# In the temporary folder: the scene, its manifest, the filled scene, and their parts and locks, which a kill leaves.
FILES = re.compile(r"(scene|filled)\.(npy|json)|\.(scene|filled)\.(part\.(npy|json)|lock)")
MAX_WAVELENGTH_ERROR = 0.5  # nm; GDAL rounds the wavelengths of a GeoTIFF to 1 nm
MAX_RATIO, MIN_RATIO = 4.0, 0.05  # of the maximum of the cube, compared with that of the training cube


def upscale(
    source: Path,
    output: Path,
    model: Path,
    engine: Engine | None,
    mode: Mode,
    bands: str,
    set: Sequence[str],
    dtype: str | None,
    cog: bool,
) -> None:
    """Enlarge a cube with a trained network.

    Args:
        source: The cube, a file in any format of `lkca.data.readers`.
        output: The file to write.
        model: Folder of a run, or a .safetensors or .onnx file of `lkca export`.
        engine: Program that computes the network; see `lkca.inference.engines.load_network`.
        mode: How exact the result is; see `lkca.inference.enlarge`.
        bands: The bands to use, as in `1-103, 109-149`; `all` for those of the network's wavelengths, or all good ones.
        set: What replaces or adds to what the file says of itself; see `lkca.inference.own_cube.describe_input`.
        dtype: Type of the result; None for that of the input.
        cog: Whether to write a Cloud Optimized GeoTIFF.

    Raises:
        LkcaError: If the cube does not fit the network, or a file cannot be read or written.
    """
    check_paths(source, output)
    loaded = load_network(model, engine)
    with plain_words():
        cube = describe_input(source, bands, set)
    words = ["upscale", source, output, "--model", model, *(["--engine", engine] if engine else [])]
    command = format_command(words, mode, bands, set, dtype, cog)
    folder = output.with_name(f".{output.name}.upscale")
    with plain_words(), exclusive_lock(folder), _temporary(folder):
        cut_cube(cube, folder)
        fill_invalid(folder / SCENE_FILE, folder / FILLED_FILE)
        manifest = read_result(folder / MANIFEST_FILE, ManifestFile)
        check_reading(cube, manifest)
        for sentence in list_left_out(manifest):
            print(sentence)
        indices = match_bands(source, manifest, loaded.facts, bands)
        check_range(source, manifest, loaded.facts)
        description = describe_result(
            manifest,
            indices,
            loaded.facts.scale,
            dtype,
            f"{command}; {describe_network(loaded.facts.model, loaded.sha256)}",
        )
        result = write_result(
            loaded.enlarge,
            loaded.facts.scale,
            folder,
            manifest,
            loaded.facts.divisor,
            indices,
            mode,
            description,
            output,
            cog,
        )
    print_result(output, result, loaded.facts.model)


@contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Create a folder and delete it afterwards; one that a killed call has left is emptied.

    Raises:
        DataError: If there is a folder of somebody else.
    """
    if folder.is_symlink():
        raise DataError(f"{folder} is a link, and is not of lkca upscale: move it away.")
    if folder.exists():
        if others := sorted(path.name for path in folder.iterdir() if not FILES.fullmatch(path.name)):
            raise DataError(f"{folder} has {others[0]}, which is not of lkca upscale: move this folder away.")
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder)


def match_bands(source: Path, manifest: dict[str, Any], model: SharedModel, chosen: str) -> list[int]:
    """Return the bands of a cube that a network gets, as indices from 0.

    Bands are matched by wavelength where both have wavelengths: each band of the network gets the nearest band of the
    cube, which must be within 0.5 nm and be the nearest one of this band only. Without wavelengths, the number of bands
    must be that of the network; a line says so.

    Raises:
        DataError: If the bands do not fit.
    """
    found, wanted = manifest.get("nanometres"), model.nanometres
    count = len(manifest["bands"])
    if found and wanted:
        indices: list[int] = []
        for i, nanometres in enumerate(wanted, 1):
            j = min(range(count), key=lambda j: abs(found[j] - nanometres))
            if abs(found[j] - nanometres) > MAX_WAVELENGTH_ERROR or j in indices:
                raise DataError(
                    f"{source} has no band of its own within {MAX_WAVELENGTH_ERROR} nm of band {i} of the network, "
                    f"{nanometres:g} nm: use a network that was trained on this sensor, or lkca sharpen."
                )
            indices.append(j)
        if len(indices) < count:
            print(
                f"The network has {len(indices)} of the {count} bands, matched by wavelength; the others are left out."
            )
        return indices
    if count != model.bands:
        raise DataError(
            f"{source} has {count} bands and the network {model.bands}, and wavelengths to match them are not known in "
            "both: choose the bands with --bands, or use another network."
        )
    where = "the network" if found else f"{source}"
    print(f"The bands are taken in their order, because {where} declares no wavelengths.")
    return list(range(count))


def check_range(source: Path, manifest: dict[str, Any], model: SharedModel) -> None:
    """Check that the values of a cube have the range that the network was trained on.

    Raises:
        DataError: If they do not.
    """
    ratio = manifest["maximum"] / model.maximum
    if not MIN_RATIO <= ratio <= MAX_RATIO:
        raise DataError(
            f"{source} has values up to {manifest['maximum']:g}, and the network was trained on values up to "
            f"{model.maximum:g}: bring both to the same units, or use lkca sharpen."
        )
