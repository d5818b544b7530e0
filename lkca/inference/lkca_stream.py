"""LKCA networks on images of any size: the network in strips of rows, with the channel attention of the whole image.

The channel attention of a block pools over the whole image, so a network that is applied to tiles gives another result,
with seams. Here each block passes over the image twice: the first pass adds up what the attention pools, the second one
computes the output. Rows that a convolution needs from above are kept, so that nothing else is computed twice.

This form equals the network in evaluation mode up to rounding. It is faster, because constant factors are folded into
the weights, images are (rows, columns, channels) in memory, and zeros are added before a dilated convolution instead of
by it, which torch computes ten times as fast on a CPU.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from math import prod
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.core.environment import release_freed_memory
from lkca.data.resize import matrix_tensor
from lkca.inference.tiles import BICUBIC_REACH
from lkca.models.lkca import MIXING_GROUPS, Block, ChannelNorm, DilatedDepthwise, LKCANet

STRIP_PIXELS = 2**14  # of a strip in a block; measured: smaller ones cost more calls, larger ones leave the cache
MIN_STRIP_ROWS = 32  # strips of fewer rows copy more rows from the strip above than they add
MAX_KEPT_BYTES = 2**29  # of features that the second pass of a block need not compute again
OUTPUT_PIXELS = 2**12  # LR pixels of a strip of the upsampler, whose output has many channels
NORM_EPSILON = 1e-6  # of `lkca.models.lkca.ChannelNorm`
BICUBIC_COLUMNS = 64  # LR columns that are interpolated at a time

Strip = tuple[int, int]  # first row and last row + 1
ReadRows = Callable[[Strip], Tensor]


class Features(NamedTuple):
    """Features of a strip in a block.

    Args:
        rows: The strip.
        x: Input of the block, (rows, columns, channels).
        parts: u, A1 and A2 of Eqs. 8-10, joined to (rows, columns, 3 * channels).
    """

    rows: Strip
    x: Tensor
    parts: Tensor


def as_image(rows: Tensor) -> Tensor:
    """Return pixels (rows, columns, channels) as an image (1, channels, rows, columns) in torch's channels-last format.

    The order of the two operations matters: the other one gives an image that torch copies before a convolution.
    """
    return rows[None].permute(0, 3, 1, 2)


class FoldedConv(NamedTuple):
    """A dilated depthwise convolution.

    Args:
        weight: (channels, 1, k, k).
        bias: (channels,).
        dilation: The dilation d.
    """

    weight: Tensor
    bias: Tensor
    dilation: int

    @classmethod
    def of(cls, layer: DilatedDepthwise) -> "FoldedConv":
        """Return the convolution of a layer."""
        assert layer.bias is not None
        return cls(layer.weight, layer.bias, layer.dilation[0])

    @property
    def reach(self) -> int:
        """Rows above and below a row that its result depends on."""
        return self.dilation * (self.weight.shape[-1] // 2)

    def apply(self, padded: Tensor) -> Tensor:
        """Return the convolution, (rows - 2 * reach, columns - 2 * reach, channels) from (rows, columns, channels)."""
        image = as_image(padded)
        result = F.conv2d(image, self.weight, self.bias, dilation=self.dilation, groups=len(self.weight))
        return result[0].permute(1, 2, 0)


class FoldedBlock:
    """A block whose norms, layer scales and gate are folded into the weights of its convolutions.

    Args:
        block: The block.
    """

    def __init__(self, block: Block) -> None:
        norm, project, _ = block.project
        assert isinstance(norm, ChannelNorm) and isinstance(project, nn.Conv2d)
        assert project.bias is not None and block.merge.bias is not None
        weight, gamma1, gamma2 = project.weight.flatten(1), block.residual1.gamma, block.residual2.gamma
        self.project_weight = weight * norm.weight.flatten()
        self.project_bias = project.bias + weight @ norm.bias.flatten()
        self.near, self.far = FoldedConv.of(block.attention.near), FoldedConv.of(block.attention.far)
        self.calibrate = block.attention.calibrate[1:]  # without the pooling
        self.mix_weight, self.mix_bias = block.attention.mix.weight, block.attention.mix.bias
        self.merge_weight = gamma1.flatten(1) * block.merge.weight.flatten(1)
        self.merge_bias = gamma1.flatten() * block.merge.bias
        self.norm2_weight = (gamma2 * block.norm2.weight).flatten()
        self.norm2_bias = (gamma2 * block.norm2.bias).flatten()
        self.width = len(weight)

    def project(self, x: Tensor) -> Tensor:
        """Return u of Eq. 8 for pixels (..., channels)."""
        return F.gelu(
            F.linear(F.layer_norm(x, (self.width,), eps=NORM_EPSILON), self.project_weight, self.project_bias)
        )

    def gate(self, mean: Tensor) -> Tensor:
        """Return the weights of `mix`, multiplied with the channel attention (Eq. 12) of the means (3 * channels,)."""
        gate = self.calibrate(mean[None, :, None, None]).view(MIXING_GROUPS, 1, -1)
        return (self.mix_weight.view(MIXING_GROUPS, -1, gate.shape[-1]) * gate).view_as(self.mix_weight)

    def finish(self, features: Features, gated_weight: Tensor) -> Tensor:
        """Return the output of the block for a strip (Eqs. 13, 14), (rows, columns, channels)."""
        mixed = F.conv2d(as_image(features.parts), gated_weight, self.mix_bias, groups=MIXING_GROUPS)[0].permute(
            1, 2, 0
        )
        y = F.linear(mixed * features.parts[..., : self.width], self.merge_weight, self.merge_bias).add_(features.x)
        return y.add_(F.layer_norm(y, (self.width,), self.norm2_weight, self.norm2_bias, NORM_EPSILON))


class StreamedConv:
    """A dilated convolution of an image that arrives in strips; it keeps the rows that it still needs.

    Args:
        conv: The convolution.
        columns: Columns of the image.
    """

    def __init__(self, conv: FoldedConv, columns: int) -> None:
        self.conv = conv
        self.rows = conv.weight.new_zeros(conv.reach, columns + 2 * conv.reach, len(conv.weight))

    def push(self, new: Tensor | None) -> Tensor:
        """Add rows below the others and return the rows of the result that they make possible, perhaps none.

        Args:
            new: (rows, columns, channels); None for the zeros below the image.

        Returns:
            (rows, columns, channels).
        """
        reach, kept = self.conv.reach, len(self.rows)
        rows = self.rows.new_empty(kept + (reach if new is None else len(new)), *self.rows.shape[1:])
        rows[:kept] = self.rows
        if new is None:
            rows[kept:] = 0
        else:
            rows[kept:, :reach] = 0
            rows[kept:, -reach:] = 0
            rows[kept:, reach:-reach] = new
        self.rows = rows[max(0, len(rows) - 2 * reach) :]
        if len(rows) <= 2 * reach:
            return rows.new_empty(0, rows.shape[1] - 2 * reach, rows.shape[2])
        return self.conv.apply(rows)


class RowQueue:
    """Rows of an image that wait for others, from top to bottom."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """Add rows below the others."""
        self._parts.append(rows)

    def take(self, out: Tensor) -> None:
        """Remove the topmost rows and write them to `out`, which has as many rows."""
        while len(out):
            first = self._parts.pop(0)
            if len(first) > len(out):
                self._parts.insert(0, first[len(out) :])
                first = first[: len(out)]
            out[: len(first)] = first
            out = out[len(first) :]


class FeatureStore(Protocol):
    """An image of features, (rows, columns, channels), that is read and written in strips."""

    shape: tuple[int, int, int]

    def read(self, strip: Strip) -> Tensor:
        """Return the rows of a strip."""
        ...

    def write(self, strip: Strip, rows: Tensor) -> None:
        """Replace the rows of a strip."""
        ...


class MemoryStore:
    """Features in memory.

    Args:
        shape: Rows, columns and channels.
        device: Where they are.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self.shape, self._features = shape, torch.empty(shape, device=device)

    def read(self, strip: Strip) -> Tensor:
        """Return the rows of a strip, which `write` may change."""
        return self._features[slice(*strip)]

    def write(self, strip: Strip, rows: Tensor) -> None:
        """Replace the rows of a strip."""
        self._features[slice(*strip)] = rows


class FileStore:
    """Features in a file, which is not mapped into memory: a mapped file would count as memory of this process.

    Args:
        file: An open file for reading and writing, without buffer; its content is replaced.
        shape: Rows, columns and channels.
        device: Where `read` returns them.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, int, int], device: torch.device) -> None:
        self.shape, self._file, self._device = shape, file, device
        self._row_bytes = 4 * shape[1] * shape[2]

    def read(self, strip: Strip) -> Tensor:
        """Return the rows of a strip."""
        rows = np.empty((strip[1] - strip[0], *self.shape[1:]), np.float32)
        self._file.seek(strip[0] * self._row_bytes)
        view, done = rows.data.cast("B"), 0
        while done < len(view):
            count = self._file.readinto(view[done:])  # type: ignore[attr-defined]  # a raw file has it
            if not count:
                raise OSError("the temporary file of features is shorter than it was written")
            done += count
        return torch.from_numpy(rows).to(self._device)

    def write(self, strip: Strip, rows: Tensor) -> None:
        """Replace the rows of a strip."""
        self._file.seek(strip[0] * self._row_bytes)
        view, done = rows.contiguous().cpu().numpy().data.cast("B"), 0
        while done < len(view):
            done += self._file.write(view[done:])


class Pooled(NamedTuple):
    """What a network pools over an image.

    Args:
        spectrum: Mean spectrum, (bands,).
        features: For each block, the means of u, A1 and A2, (3 * channels,).
    """

    spectrum: Tensor
    features: list[Tensor]


class StreamedLKCA:
    """An LKCA network that is applied to images in strips.

    Args:
        network: The network, on any device.
    """

    def __init__(self, network: LKCANet) -> None:
        with torch.no_grad():
            self.blocks = [FoldedBlock(block) for block in network.blocks if isinstance(block, Block)]
            conv, gain = network.upsampler.conv, network.upsampler.gain
            assert conv.bias is not None and network.head.bias is not None
            self.head = network.head.weight.contiguous(memory_format=torch.channels_last), network.head.bias
            self.upsampler = conv.weight * gain[..., None], conv.bias * gain.flatten()
        self.groups, self.scale = int(conv.groups), network.bicubic.scale
        self.width, self.device = len(network.head.weight), network.head.weight.device

    @torch.no_grad()
    def encode(self, read: ReadRows, spectrum: Tensor, store: FeatureStore) -> None:
        """Write the features of the head (Eq. 2) of an image to a store.

        Args:
            read: Function that returns the LR image of a strip, (bands, rows, columns).
            spectrum: The mean spectrum, (bands,).
            store: Where to write.
        """
        rows, columns, _ = store.shape
        for top, bottom in make_strips(rows, columns):
            first, last = max(0, top - 1), min(rows, bottom + 1)
            lr = F.pad(read((first, last)) - spectrum[:, None, None], (1, 1, first - top + 1, bottom + 1 - last))
            lr = lr[None].contiguous(memory_format=torch.channels_last)
            store.write((top, bottom), F.conv2d(lr, *self.head)[0].permute(1, 2, 0))

    @torch.no_grad()
    def transform(self, stores: Sequence[FeatureStore], pooled: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Apply the blocks (Eq. 3) to features and write the results to the same stores.

        Args:
            stores: The features of one image, or of several parts of it that stand for all of it.
            pooled: For each block, the means of u, A1 and A2; None for those of the stores.

        Returns:
            `pooled`, or the means of the stores.
        """
        results = []
        kept_bytes = sum(3 * 4 * prod(store.shape) for store in stores)
        for i, block in enumerate(self.blocks):
            streams: list[Iterable[Features]] = [stream_features(block, store) for store in stores]
            if pooled is not None:
                means = pooled[i]
            elif kept_bytes <= MAX_KEPT_BYTES:
                streams = [list(stream) for stream in streams]
                means = _mean(streams)
            else:
                means = _mean(stream_features(block, store) for store in stores)
            weight = block.gate(means)
            for store, stream in zip(stores, streams, strict=True):
                for features in stream:
                    store.write(features.rows, block.finish(features, weight))
            results.append(means)
            if kept_bytes > MAX_KEPT_BYTES:  # tensors of many sizes leave holes in the heap, which would grow
                release_freed_memory()
        return results

    @torch.no_grad()
    def decode(self, read: ReadRows, store: FeatureStore, part: Strip | None = None) -> Iterator[tuple[Strip, Tensor]]:
        """Yield the reconstruction in strips (Eqs. 4-6).

        Args:
            read: Function that returns the LR image of a strip, (bands, rows, columns).
            store: The features of the last block.
            part: The rows to reconstruct; None for all.

        Yields:
            A strip of the LR image, and its reconstruction, (bands, r * rows, r * columns).
        """
        (rows, columns, _), r, (weight, bias) = store.shape, self.scale, self.upsampler
        start, stop = part or (0, rows)
        height = max(1, OUTPUT_PIXELS // columns)
        for top in range(start, stop, height):
            bottom = min(top + height, stop)
            first, last = max(0, top - 1), min(rows, bottom + 1)
            features = F.pad(store.read((first, last)), (0, 0, 1, 1, first - top + 1, bottom + 1 - last))
            y = F.conv2d(as_image(features), weight, bias, groups=self.groups)
            sr = y.new_empty(len(bias) // r**2, r * (bottom - top), r * columns)
            # This is PixelShuffle, with one copy instead of two for channels that are last in memory.
            sr.unflatten(2, (columns, r)).unflatten(1, (-1, r)).copy_(
                y[0].unflatten(0, (-1, r, r)).permute(0, 3, 1, 4, 2)
            )
            first, last = max(0, top - BICUBIC_REACH), min(rows, bottom + BICUBIC_REACH)
            _add_bicubic(sr, read((first, last)), top - first, r)
            yield (top, bottom), sr


def _add_bicubic(sr: Tensor, lr: Tensor, top: int, r: int) -> None:
    """Add the bicubic image (Eq. 5) to a strip of the reconstruction, in place.

    The columns are divided into blocks, because the time for the product with a whole matrix grows with their square.

    Args:
        sr: The strip, (bands, r * rows, r * columns).
        lr: The LR image of the strip with BICUBIC_REACH rows above and below it, fewer at the border of the image.
        top: Row of `lr` at which the strip begins.
        r: The scale.
    """
    bands, height, width = sr.shape
    to_rows = matrix_tensor(lr.shape[1], r, sr.dtype, sr.device)[r * top : r * top + height].expand(bands, -1, -1)
    for left in range(0, width // r, BICUBIC_COLUMNS):
        right = min(left + BICUBIC_COLUMNS, width // r)
        first, last = max(0, left - BICUBIC_REACH), min(width // r, right + BICUBIC_REACH)
        to_columns = matrix_tensor(last - first, r, sr.dtype, sr.device)[r * (left - first) : r * (right - first)]
        sr[:, :, r * left : r * right].baddbmm_(to_rows, lr[:, :, first:last] @ to_columns.T)


def make_strips(rows: int, columns: int) -> list[Strip]:
    """Return the strips into which an image is divided for a block."""
    height = max(MIN_STRIP_ROWS, STRIP_PIXELS // columns)
    return [(top, min(top + height, rows)) for top in range(0, rows, height)]


def stream_features(block: FoldedBlock, store: FeatureStore) -> Iterator[Features]:
    """Yield the features of a block from the top of an image to its bottom.

    The rows of the store down to the end of a yielded strip are not read again, so they may be overwritten.

    Args:
        block: The block.
        store: Its input.
    """
    rows, columns, _ = store.shape
    near, far = StreamedConv(block.near, columns), StreamedConv(block.far, columns)
    waiting_x, waiting_u, waiting_a1 = RowQueue(), RowQueue(), RowQueue()
    done = 0
    for strip in [*make_strips(rows, columns), None]:
        u = None
        if strip:
            x = store.read(strip)
            u = block.project(x)
            waiting_x.add(x)
            waiting_u.add(u)
        a1 = near.push(u)
        waiting_a1.add(a1)
        a2 = far.push(a1)
        if strip is None:
            a2 = torch.cat([a2, far.push(None)])
        if count := len(a2):
            parts = a2.new_empty(count, columns, 3 * block.width)
            u_out, a1_out, a2_out = parts.chunk(3, -1)
            waiting_u.take(u_out)
            waiting_a1.take(a1_out)
            a2_out.copy_(a2)
            x_rows = a2.new_empty(a2.shape)
            waiting_x.take(x_rows)
            yield Features((done, done + count), x_rows, parts)
            done += count


def _mean(streams: Iterable[Iterable[Features]]) -> Tensor:
    """Return the means of u, A1 and A2 over all pixels, (3 * channels,)."""
    total: Any = 0
    pixels = 0
    for features in chain.from_iterable(streams):
        parts = features.parts.flatten(0, 1)
        total, pixels = total + parts.sum(0).double(), pixels + len(parts)
    return (total / pixels).float()
