"""Products of imaging spectrometers in space, recognised by their content: EnMAP L2A, DESIS L2A, PRISMA L2D, EMIT L2A.

The readers of the formats read the pixels; these modules add what stands elsewhere, in the metadata next to an image or
in other arrays of the file. docs/howto/products.md says what is read from where, and how that is known.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from lkca.data.catalog import File
from lkca.data.readers.base import StoredCube, WrongProductError
from lkca.data.readers.hdf5 import list_arrays
from lkca.data.readers.products.desis import describe_desis
from lkca.data.readers.products.emit import open_emit
from lkca.data.readers.products.enmap import describe_enmap
from lkca.data.readers.products.metadata import parse_metadata
from lkca.data.readers.products.prisma import open_prisma
from lkca.data.sidecars import find_metadata, split_name


def describe_image(path: Path, stored: StoredCube) -> StoredCube:
    """Return a raster with the facts that the metadata next to it declare if it is the image of a product.

    Raises:
        WrongProductError: If it is another product, or another file of the product, or does not fit its metadata.
    """
    name, part = split_name(path)
    if not part or "bands" not in stored.description.axes:  # any layer of a product can be a mask
        return stored
    metadata = find_metadata(path)
    root = parse_metadata(metadata) if metadata else None
    if root.tag == "level_X" if root is not None else name.upper().startswith("ENMAP"):
        describe = describe_enmap
    elif root.tag == "hsi_doc" if root is not None else name.upper().startswith("DESIS"):
        describe = describe_desis
    else:
        return stored
    if not part.upper().startswith("SPECTRAL_IMAGE"):
        image = f"{name}-SPECTRAL_IMAGE{path.suffix}".removeprefix("-")
        raise WrongProductError(f"it is the layer {part} of a product: use its image, {image}")
    return replace(stored, description=describe(path, root, stored.description))


def open_hdf5_product(stack: ExitStack, path: Path, file: File) -> StoredCube | None:
    """Open an HDF5 file until the stack closes if it is a product, from which no other array is wanted.

    Args:
        stack: The stack that closes the file.
        path: The path of the file.
        file: Which array is read, and how.

    Raises:
        WrongProductError: If it is a product of another level.
    """
    import h5py

    opened = stack.enter_context(h5py.File(path, "r"))
    arrays = list_arrays(opened)
    stored = open_prisma(path, file, opened, arrays) or open_emit(stack, path, file, opened, arrays)
    if not stored:
        opened.close()
    return stored
