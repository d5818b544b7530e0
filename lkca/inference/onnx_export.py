"""Export networks as ONNX graphs for images of any height and width, and compare them with torch.

The networks choose between ways to compute by the size of the image: products of matrices, Winograd's algorithm, strips
of rows and chunks of bands. Tracing would keep the way of the traced size. So the export traces a copy of the network
in which each of these layers is replaced by one that computes the same in one way for all sizes.
"""

import copy
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.core.files import atomic_write
from lkca.data.resize import resize_matrix
from lkca.errors import FileProblem
from lkca.inference.memory import measure_bytes_per_pixel
from lkca.inference.onnx_model import MEMORY, OPSET
from lkca.models.bicubic import Bicubic
from lkca.models.essaformer import SpectralCorrelationAttention
from lkca.models.fcnn3d import FlatConv3d
from lkca.models.layers import BandGroups, Conv3x3
from lkca.models.lkca import DilatedDepthwise

PACKAGES = ("onnx", "onnxruntime")
TRACED_SIZE = 6, 5  # LR pixels; other rows than columns, so that the graph cannot confuse them
CHECKED_SIZES = ((1, 9), (13, 6), (24, 31))  # LR pixels
TOLERANCE = 2e-5  # of the largest absolute value; float32 alone gives 1e-7 to 2e-6


class Deviation(NamedTuple):
    """How far an exported network is from torch in float64.

    Args:
        rows, columns: Size of the LR image.
        onnx: Largest difference of the graph, in float32, divided by the largest absolute value.
        torch: The same of the network in torch in float32.
    """

    rows: int
    columns: int
    onnx: float
    torch: float


class SymmetricBicubic(nn.Module):
    """MATLAB's bicubic upsampling by a convolution: equals `lkca.data.resize.resize` for images of any size.

    With an integer factor r, the new pixels r * i + p of all i have the same five taps around old pixel i for each
    phase p. Row 2 of the matrix for five pixels has them without any mirroring.

    Args:
        scale: Upsampling factor r.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        taps = torch.from_numpy(resize_matrix(5, scale)[2 * scale : 3 * scale].copy())  # (r, 5)
        kernels = torch.einsum("pi,qj->pqij", taps, taps).reshape(scale**2, 1, 5, 5)
        self.kernels: Tensor
        self.register_buffer("kernels", kernels.float(), persistent=False)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        images = _mirror(lr).transpose(0, 1)  # a batch of the bands of one image
        return self.shuffle(F.conv2d(images, self.kernels)).transpose(0, 1)


def _mirror(x: Tensor) -> Tensor:
    """Return images with two more pixels on each side: b a | a b c d | d c, or a a | a | a a for one pixel."""
    x = F.pad(x, (1, 1, 1, 1), mode="replicate")
    x = torch.cat([x[:, :, 2:3], x, x[:, :, -3:-2]], 2)
    return torch.cat([x[..., 2:3], x, x[..., -3:-2]], 3)


class GatheredBandGroups(nn.Module):
    """A `BandGroups` that is not divided into chunks and adds the groups of a band by indices.

    Args:
        groups: The layer that it replaces.
    """

    SIZE = BandGroups.SIZE

    def __init__(self, groups: BandGroups) -> None:
        super().__init__()
        self.num_groups = groups.num_groups
        bands, most = len(groups.num_groups_of_band), int(groups.num_groups_of_band.max())
        places = [torch.nonzero(groups.index == band).flatten() for band in range(bands)]  # of each band in the groups
        self.index: Tensor
        self.places: Tensor
        self.shares: Tensor
        self.register_buffer("index", groups.index, persistent=False)
        self.register_buffer("places", torch.stack([F.pad(p, (0, most - len(p))) for p in places]), persistent=False)
        shares = torch.stack([F.pad(torch.full((len(p),), 1 / len(p)), (0, most - len(p))) for p in places])
        self.register_buffer("shares", shares[..., None, None], persistent=False)  # 0 for a place that only fills up

    def num_chunks(self, x: Tensor) -> int:
        return 1

    def split(self, x: Tensor) -> Tensor:
        return x[:, self.index].unflatten(1, (self.num_groups, self.SIZE))

    def average(self, groups: Tensor) -> Tensor:
        bands = groups.flatten(1, 2)
        total: Any = 0
        for place, share in zip(self.places.unbind(1), self.shares.unbind(1), strict=True):
            total = total + bands[:, place] * share
        return total


class WholeImageAttention(nn.Module):
    """A `SpectralCorrelationAttention` that processes the image as a whole and not in strips.

    Args:
        attention: The layer that it replaces.
    """

    def __init__(self, attention: SpectralCorrelationAttention) -> None:
        super().__init__()
        self.norm, self.out = attention.norm, attention.out
        weights, biases = attention.project.weight.chunk(3), attention.project.bias.chunk(3)
        self.to_query, self.to_key = (  # whose outputs have the mean 0
            _linear(weight - weight.mean(0), bias - bias.mean())
            for weight, bias in zip(weights[:2], biases[:2], strict=True)
        )
        self.to_value = _linear(weights[2], biases[2])

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.movedim(1, -1).flatten(1, 2))  # (n, pixels, c)
        k, v = self.to_key(tokens).square(), self.to_value(tokens)
        k = k / (k.sum(-1, keepdim=True) + 1e-7)
        q = F.normalize(self.to_query(tokens).square(), dim=-1)
        # A sum of ones, because the root of a traced size would be stored as a constant.
        pixels = torch.ones_like(k[..., :1]).sum(1, keepdim=True)
        lengths = k.square().sum(1).clamp_min(1e-24).sqrt()
        context = (k.mT @ v) / (lengths[..., None] * pixels.sqrt())
        return self.out(q @ context + v).unflatten(1, x.shape[-2:]).movedim(-1, 1)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer with this weight and bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _plain_convolution(conv: nn.Conv2d | FlatConv3d) -> nn.Conv2d:
    """Return the usual convolution that equals a `Conv3x3`, a `DilatedDepthwise` or a `FlatConv3d`."""
    weight = conv.middle() if isinstance(conv, FlatConv3d) else conv.weight
    (*_, height, width), (*_, down, right) = weight.shape, conv.dilation
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (height, width),
        padding=(down * (height // 2), right * (width // 2)),
        dilation=(down, right),
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    plain.load_state_dict({"weight": weight} if conv.bias is None else {"weight": weight, "bias": conv.bias})
    return plain


REPLACEMENTS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    Bicubic: lambda bicubic: SymmetricBicubic(bicubic.scale),
    BandGroups: GatheredBandGroups,
    SpectralCorrelationAttention: WholeImageAttention,
    Conv3x3: _plain_convolution,
    DilatedDepthwise: _plain_convolution,
    FlatConv3d: _plain_convolution,
}


def make_traceable(network: nn.Module) -> nn.Module:
    """Return a copy of a network that computes one image of any size in the same way, on the CPU in float32."""
    return _replace(copy.deepcopy(network).float().cpu()).eval().requires_grad_(False)


def _replace(module: nn.Module) -> nn.Module:
    """Replace the layers inside a module, which is changed; return its own replacement, or the module itself."""
    for name, child in module.named_children():
        setattr(module, name, _replace(child))
    replacement = REPLACEMENTS.get(type(module))
    return replacement(module) if replacement else module


def missing_packages() -> list[str]:
    """Return which of the packages of the extra `onnx` are not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def export_onnx(network: nn.Module, bands: int, path: Path, metadata: dict[str, str]) -> list[Deviation]:
    """Write a network as an ONNX graph, after comparing it with the network at sizes that were not traced.

    The input `lr` is (1, bands, rows, columns), float32, values divided by the divisor of the model; the output `sr` is
    (1, bands, scale * rows, scale * columns). Rows and columns are free, from one pixel.

    Args:
        network: The network.
        bands: Spectral bands, in and out.
        path: The .onnx to write.
        metadata: Entries of the graph's metadata; the memory that it needs is added.

    Returns:
        How far the graph is from torch at each of CHECKED_SIZES.

    Raises:
        FileProblem: If the network cannot be exported, or the graph is another function.
        DataError, ResourceError: If the file cannot be written.
    """
    onnx = import_module("onnx")
    try:
        traceable = make_traceable(network)
        model = onnx.load_from_string(_trace(traceable, bands))
        memory = measure_bytes_per_pixel(traceable, bands)
        onnx.helper.set_model_props(model, metadata | {MEMORY: str(int(memory))})
        onnx.checker.check_model(model)
        content = model.SerializeToString()
        deviations = compare_with_torch(network, bands, content)
    except Exception as error:  # of torch, onnx and onnxruntime, which have no class in common
        raise FileProblem(f"the network cannot be exported ({str(error).partition(chr(10))[0]})") from error
    for each in deviations:
        if not each.onnx <= TOLERANCE:  # also if it is NaN
            size = f"{each.rows} x {each.columns} pixels"
            raise FileProblem(f"its graph differs from torch by {each.onnx:.1e} of the largest value at {size}")
    with atomic_write(path) as part:
        part.write_bytes(content)
    return deviations


def _trace(network: nn.Module, bands: int) -> bytes:
    """Return the graph of a network as the bytes of an ONNX file."""
    exporter = import_module("torch.onnx")
    example = torch.rand(1, bands, *TRACED_SIZE, generator=torch.Generator().manual_seed(0))
    for name, function in SYMBOLICS.items():
        exporter.register_custom_op_symbolic(name, function, OPSET)
    try:
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exporter.export(
                network,
                (example,),
                path := Path(folder, "model.onnx"),
                input_names=["lr"],
                output_names=["sr"],
                dynamic_axes={"lr": {2: "rows", 3: "columns"}, "sr": {2: "sr_rows", 3: "sr_columns"}},
                opset_version=OPSET,
                dynamo=False,  # the graphs of the other exporter are less exact, and slower for small images
            )
            return path.read_bytes()
    finally:
        for name in SYMBOLICS:
            exporter.unregister_custom_op_symbolic(name, OPSET)


def _keep_layout(graph: Any, x: Any, memory_format: Any) -> Any:
    return x


def _swap_last_axes(graph: Any, x: Any) -> Any:
    axes = list(range(x.type().dim()))
    return graph.op("Transpose", x, perm_i=[*axes[:-2], axes[-1], axes[-2]])


def _move_axis(graph: Any, x: Any, source: Any, destination: Any) -> Any:
    axes = list(range(x.type().dim()))
    axis = axes.pop(int(source.node().t("value")))
    axes.insert(int(destination.node().t("value")) % (len(axes) + 1), axis)
    return graph.op("Transpose", x, perm_i=axes)


def _divide_axis(graph: Any, x: Any, axis: Any, sizes: Any) -> Any:
    rank = x.type().dim()
    at, shape = int(axis.node().t("value")) % rank, graph.op("Shape", x)
    ranges = {"before": (0, at), "after": (at + 1, rank)}
    kept = {
        name: graph.op("Slice", shape, *(graph.op("Constant", value_t=torch.tensor([end])) for end in ends))
        for name, ends in ranges.items()
        if ends[0] < ends[1]
    }
    parts = [part for part in (kept.get("before"), sizes, kept.get("after")) if part is not None]
    return graph.op("Reshape", x, graph.op("Concat", *parts, axis_i=0))


# Operators that torch's exporter does not know, that it writes wrongly for negative axes, or after which it takes the
# traced size of the image for fixed. A graph has no memory layouts.
SYMBOLICS = {
    "aten::contiguous": _keep_layout,
    "aten::mT": _swap_last_axes,
    "aten::movedim": _move_axis,
    "aten::unflatten": _divide_axis,
}


def compare_with_torch(network: nn.Module, bands: int, content: bytes) -> list[Deviation]:
    """Compare a graph in float32 with its network in float64, on random images of CHECKED_SIZES.

    Args:
        network: The network.
        bands: Spectral bands.
        content: The bytes of the ONNX file.
    """
    runtime, deviations = import_module("onnxruntime"), []
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    single = copy.deepcopy(network).float().cpu().eval().requires_grad_(False)
    double, random = copy.deepcopy(single).double(), torch.Generator().manual_seed(1)
    for rows, columns in CHECKED_SIZES:
        lr = torch.rand(1, bands, rows, columns, generator=random)
        expected = double(lr.double())
        values = torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0]), single(lr)
        errors = [float((value - expected).abs().max() / expected.abs().max()) for value in values]
        deviations.append(Deviation(rows, columns, *errors))
    return deviations
