"""Apply a network to an image of any size, in one of three modes that say how exact the result is.

- `whole`: the network sees the image at once. It is the reference, and needs the most memory.
- `stats`: the same result up to rounding, in little memory: what the network pools is computed over the whole image.
- `halo`: the image is cut into tiles with a margin, and what the network pools is computed on some of them. It needs no
  temporary files and one pass; how far the result is from that of `stats` is measured on the middle of the image.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal, Protocol

import psutil
import torch
from rich.filesize import decimal
from torch import Tensor, nn

from lkca.core.environment import disable_malloc_trim
from lkca.core.files import write_error
from lkca.errors import ResourceError
from lkca.inference.cube_file import ArrayImage, WriteArray
from lkca.inference.lkca_stream import FeatureStore, FileStore, MemoryStore, ReadRows, StreamedLKCA, make_strips
from lkca.inference.memory import measure_bytes_per_pixel
from lkca.inference.result import MEMORY_SHARE, Deviation, Mode
from lkca.inference.tiles import Tile, TiledNetwork, cut_tiles, find_margin
from lkca.models.lkca import LKCANet

TILE_SIDE = 256  # LR pixels of a tile without its margin. Smaller: more margin to compute; larger: more memory
MAX_SAMPLES = 16  # tiles on which `halo` computes what the network pools
MAX_STORE_BYTES = 2**30  # features of `stats` that are held in memory; larger ones are in a temporary file


class Image(Protocol):
    """An LR image of which windows are read."""

    shape: tuple[int, int, int]

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Tensor:
        """Return a window of all bands, (bands, rows, columns); None stands for all columns."""
        ...


class TensorImage:
    """An image that is read as arrays, as torch tensors.

    Args:
        image: The image.
        device: Where the tensors are.
    """

    def __init__(self, image: ArrayImage, device: torch.device) -> None:
        self._image, self._device = image, device
        self.shape = image.shape

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Tensor:
        """Return a window of all bands, (bands, rows, columns)."""
        return torch.from_numpy(self._image.read(rows, columns)).to(self._device)


Window = tuple[tuple[int, int], tuple[int, int]]  # rows and columns, first and last + 1
# Gets a block (bands, rows, columns) of the result, and the row and the column of its top left pixel.
Write = Callable[[Tensor, int, int], None]


def enlarge(network: nn.Module, scale: int, image: Image, mode: Mode, scratch: Path, write: Write) -> Deviation | None:
    """Apply a network to an image and write the result block by block, each pixel once.

    Args:
        network: The network, in evaluation mode.
        scale: Its factor r.
        image: The LR image, without NaN, on the device of the network.
        mode: See the description of this module.
        scratch: Folder for temporary files.
        write: Function that gets each block.

    Returns:
        For `halo`, how far its result is from that of `stats`; None for the other modes.

    Raises:
        ResourceError: If the memory is too small for `whole`.
    """
    disable_malloc_trim()
    with exact_convolutions():
        if mode == "whole":
            check_memory(network, image.shape)
            with torch.no_grad():
                write(network(image.read((0, image.shape[1]))[None])[0], 0, 0)
            return None
        _apply(network, scale, image, mode, scratch, write, MAX_SAMPLES)
        return measure_deviation(network, scale, image, scratch) if mode == "halo" else None


def enlarge_arrays(
    network: nn.Module, scale: int, image: ArrayImage, mode: Mode, scratch: Path, write: WriteArray
) -> Deviation | None:
    """Apply a network to an image in arrays, on the device of the network; see `enlarge`.

    Raises:
        ResourceError: If the memory is too small.
    """

    def write_tensor(block: Tensor, row: int, column: int) -> None:
        write(block.cpu().numpy(), row, column)

    try:
        return enlarge(network, scale, TensorImage(image, find_device(network)), mode, scratch, write_tensor)
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            "The memory of the GPU does not suffice: free it, or set CUDA_VISIBLE_DEVICES to an empty text to use the "
            "CPU."
        ) from error


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Have a GPU compute convolutions in float32 in the block.

    By default it rounds their inputs to TF32, which has three digits: the modes would not be equal.
    """
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed


def find_device(network: nn.Module) -> torch.device:
    """Return where a network is; the CPU for one without weights, such as bicubic."""
    return next((tensor.device for tensor in network.parameters()), torch.device("cpu"))


def _apply(
    network: nn.Module,
    scale: int,
    image: Image,
    mode: Literal["stats", "halo"],
    scratch: Path,
    write: Write,
    max_samples: int,
) -> None:
    """Apply a network in the mode `stats` or `halo`; see `enlarge`.

    Args:
        max_samples: Number of tiles on which `halo` computes what the network pools.
    """
    if isinstance(network, LKCANet) and mode == "stats":
        for top, block in _stream(StreamedLKCA(network), image, scratch):
            write(block, scale * top, 0)
        return
    tiles = cut_image(network, image.shape[1:])
    method = make_method(network, image, tiles if mode == "stats" else pick_tiles(tiles, max_samples))
    for tile in tiles:
        write(method.reconstruct(tile), scale * tile.inner_rows[0], scale * tile.inner_columns[0])


def cut_image(network: nn.Module, size: tuple[int, int]) -> list[Tile]:
    """Return the tiles of an image, with the margin that a network needs.

    Args:
        network: The network.
        size: Rows and columns of the image.
    """
    return cut_tiles(*size, TILE_SIDE, find_margin(network))


class TileMethod(Protocol):
    """A network that is applied to tiles of an image."""

    def reconstruct(self, tile: Tile) -> Tensor:
        """Return the reconstruction of what belongs to a tile, (bands, r * rows, r * columns)."""
        ...


def make_method(network: nn.Module, image: Image, samples: Sequence[Tile]) -> TileMethod:
    """Return a network that is applied to tiles of an image.

    Args:
        network: The network, in evaluation mode.
        image: The LR image.
        samples: The tiles on which it computes what the network pools.
    """
    if isinstance(network, LKCANet):
        return _LKCATiles(StreamedLKCA(network), image, samples)
    return TiledNetwork(network, image.read, samples)


def check_memory(network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Check that the memory suffices to apply a network to a whole image.

    Args:
        network: The network.
        shape: Bands, rows and columns of the image.

    Raises:
        ResourceError: If it does not.
    """
    bands, rows, columns = shape
    device = find_device(network)
    needed = int(measure_bytes_per_pixel(network, bands, min(rows, columns), device) * rows * columns)
    available = available_memory(device)
    if needed > MEMORY_SHARE * available:
        raise ResourceError(
            f"--mode whole needs about {decimal(needed)} of memory for {rows} x {columns} pixels, and "
            f"{decimal(available)} are available: use --mode stats, which gives the same result."
        )


def available_memory(device: torch.device) -> int:
    """Return how many bytes of memory are not used, of this machine or of a GPU."""
    if device.type != "cuda":
        return psutil.virtual_memory().available
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for later use
    return torch.cuda.mem_get_info(device)[0] + kept


def pick_tiles(tiles: Sequence[Tile], count: int) -> list[Tile]:
    """Return at most `count` of the tiles, evenly spread."""
    count = min(count, len(tiles))
    return [tiles[(2 * i + 1) * len(tiles) // (2 * count)] for i in range(count)]


@contextmanager
def _open_store(shape: tuple[int, int, int], device: torch.device, scratch: Path) -> Iterator[FeatureStore]:
    """Yield a store of features, in memory or in a temporary file."""
    limit = available_memory(device) // 4 if device.type == "cuda" else MAX_STORE_BYTES
    if 4 * prod(shape) <= limit:
        yield MemoryStore(shape, device)
        return
    try:
        with TemporaryFile(dir=scratch, buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, 4 * prod(shape))  # a full disk fails now rather than after hours
            yield FileStore(file, shape, device)
    except OSError as error:
        raise write_error(scratch / "features", error) from error


def _stream(streamed: StreamedLKCA, image: Image, scratch: Path) -> Iterator[tuple[int, Tensor]]:
    """Yield the result of an LKCA network for a whole image: the LR row at the top of a block, and the block."""
    _, rows, columns = image.shape
    with _open_store((rows, columns, streamed.width), streamed.device, scratch) as store:
        spectrum = mean_spectrum(map(image.read, make_strips(rows, columns)))
        streamed.encode(image.read, spectrum, store)
        streamed.transform([store])
        for (top, _), block in streamed.decode(image.read, store):
            yield top, block


def mean_spectrum(windows: Iterable[Tensor]) -> Tensor:
    """Return the mean spectrum of windows of an image, (bands,).

    Args:
        windows: Each (bands, rows, columns).
    """
    sums, pixels = [], 0
    for window in windows:
        sums.append(window.sum((1, 2), dtype=torch.float64))
        pixels += window[0].numel()
    return (torch.stack(sums).sum(0) / pixels).float()


class _LKCATiles:
    """An LKCA network on tiles of an image.

    Args:
        network: The network.
        image: The LR image.
        samples: The tiles on which the network pools; those without their margin, which would count pixels twice.
    """

    def __init__(self, network: StreamedLKCA, image: Image, samples: Sequence[Tile]) -> None:
        self._network, self._image = network, image
        windows = [(tile.inner_rows, tile.inner_columns) for tile in samples]
        self._spectrum = mean_spectrum(image.read(*window) for window in windows)
        stores = [self._encode(*window)[1] for window in windows]
        self._means = network.transform(stores)

    def _encode(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[ReadRows, MemoryStore]:
        """Return a function that reads the rows of a window, and the features of the head."""
        lr = self._image.read(rows, columns)
        store = MemoryStore((rows[1] - rows[0], columns[1] - columns[0], self._network.width), lr.device)

        def read(strip: tuple[int, int]) -> Tensor:
            return lr[:, slice(*strip)]

        self._network.encode(read, self._spectrum, store)
        return read, store

    def reconstruct(self, tile: Tile) -> Tensor:
        """Return the reconstruction of what belongs to a tile, (bands, r * rows, r * columns)."""
        read, store = self._encode(*tile.window)
        self._network.transform([store], self._means)
        r, (left, right) = self._network.scale, tile.columns
        strips = self._network.decode(read, store, tile.rows)
        return torch.cat([strip[:, :, r * left : r * right] for _, strip in strips], 1)


class _Part:
    """A part of an image.

    Args:
        image: The image.
        rows, columns: The part, first and last + 1.
    """

    def __init__(self, image: Image, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        self._image, self._top, self._left = image, rows[0], columns[0]
        self.shape = (image.shape[0], rows[1] - rows[0], columns[1] - columns[0])

    def read(self, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Tensor:
        """Return a window of all bands, (bands, rows, columns)."""
        left, right = columns or (0, self.shape[2])
        return self._image.read((self._top + rows[0], self._top + rows[1]), (self._left + left, self._left + right))


def measure_deviation(network: nn.Module, scale: int, image: Image, scratch: Path) -> Deviation:
    """Return how far the result of `halo` is from that of `stats` in the middle of an image.

    The middle is a little larger than a tile, so that it is cut into four. In it, `halo` computes what the network
    pools on one of them.
    """
    bands, *lengths = image.shape
    sides = [min(length, TILE_SIDE * 5 // 4) for length in lengths]
    starts = [(length - side) // 2 for length, side in zip(lengths, sides, strict=True)]
    part = _Part(image, *((start, start + side) for start, side in zip(starts, sides, strict=True)))
    exact = torch.empty(bands, *(scale * side for side in sides))
    squares, largest = 0.0, 0.0

    def keep(block: Tensor, row: int, column: int) -> None:
        exact[:, row : row + block.shape[1], column : column + block.shape[2]] = block  # copied to the CPU

    def compare(block: Tensor, row: int, column: int) -> None:
        nonlocal squares, largest
        difference = block.cpu() - exact[:, row : row + block.shape[1], column : column + block.shape[2]]
        squares += difference.square().sum(dtype=torch.float64).item()
        largest = max(largest, difference.abs().max().item())

    _apply(network, scale, part, "stats", scratch, keep, max_samples=1)
    _apply(network, scale, part, "halo", scratch, compare, max_samples=1)
    return Deviation((squares / exact.numel()) ** 0.5, largest, *sides)
