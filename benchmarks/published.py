"""SSPSR, MSDformer, ESSAformer and LKCA-Net in plain PyTorch: the reference that networks.py and training.py time.

The networks are written from a description of how the published code is built, not from that code: groups of bands one
after another, transformers on tokens (n, h * w, c), a deformable convolution with four gathers, all tensors contiguous,
and no operation in place except the ReLU inside a Sequential. LKCA-Net's code is not published. It is built as the code
of its ancestors is: with whole dilated kernels, layer norm after a permutation to channels last, and modules for layer
scale and drop path. Nothing is deliberately slower or faster than that.

The arguments are those of lkca/models, and so are the weights: the same seed gives the same numbers in the same order
of parameters, with linear layers in place of some 1x1 convolutions. tests/test_published.py checks that outputs and
gradients are the same. The losses at the end are Eqs. 17 to 19 and SSPSR's, with gradients by autograd.
"""

from math import ceil, log2, pi, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lkca.config.schema import Distill, Train
from lkca.models.bicubic import Bicubic


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def upsampler(width: int, scale: int, groups: int) -> nn.Sequential:
    """Return log2(r) pairs of a 3x3 convolution to 4 * width channels and PixelShuffle(2)."""
    layers = []
    for _ in range(int(log2(scale))):
        layers += [nn.Conv2d(width, 4 * width, 3, padding=1, groups=groups), nn.PixelShuffle(2)]
    return nn.Sequential(*layers)


def band_groups(bands: int, size: int = 8, overlap: int = 2) -> list[tuple[int, int]]:
    """Return start and stop of each group of bands; the last group is shifted back to end at the last band."""
    step = size - overlap
    starts = [min(g * step, bands - size) for g in range(ceil((bands - overlap) / step))]
    return [(start, start + size) for start in starts]


class SpatialResidual(nn.Module):
    """Two 3x3 convolutions with ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(width, width), nn.ReLU(inplace=True), conv3(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * self.body(x)


class SpectralResidual(nn.Module):
    """Two 1x1 convolutions and channel attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 1))
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 16, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 16, width, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y = y * self.attention(y)
        return x + 0.1 * y


class SSPN(nn.Module):
    """A chain of spatial and spectral residuals."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        layers = []
        for _ in range(blocks):
            layers += [SpatialResidual(width), SpectralResidual(width)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SSPSR(nn.Module):
    """The plain version of lkca.models.sspsr.SSPSR, with the same arguments."""

    def __init__(self, bands: int, scale: int, width: int, blocks: int, groups: int) -> None:
        super().__init__()
        self.scale = scale
        self.groups = band_groups(bands)
        self.branch = nn.Sequential(  # shared by all groups
            conv3(8, width), SSPN(width, blocks), upsampler(width, scale // 2, groups), conv3(width, 8)
        )
        self.trunk = nn.Sequential(conv3(bands, width), SSPN(width, blocks), upsampler(width, 2, groups))
        self.bicubic = Bicubic(bands, scale)
        self.shortcut = conv3(bands, width)
        self.tail = conv3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        n, bands, h, w = lr.shape
        lms = self.bicubic(lr)
        total = lr.new_zeros(n, bands, self.scale // 2 * h, self.scale // 2 * w)
        counter = lr.new_zeros(bands)
        for start, end in self.groups:
            total[:, start:end] += self.branch(lr[:, start:end])
            counter[start:end] += 1
        x = self.trunk(total / counter.view(-1, 1, 1))
        x = x + self.shortcut(lms)
        return self.tail(x)


class DilatedAggregation(nn.Module):
    """Convolutions with dilation 1, 3 and 5, summed after a shared PReLU, and a spatial residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, width, 3, padding=1, dilation=1)
        self.conv3 = nn.Conv2d(8, width, 3, padding=3, dilation=3)
        self.conv5 = nn.Conv2d(8, width, 3, padding=5, dilation=5)
        self.activation = nn.PReLU()
        self.residual = SpatialResidual(width)

    def forward(self, x: Tensor) -> Tensor:
        y1 = self.activation(self.conv1(x))
        y3 = self.activation(self.conv3(x))
        y5 = self.activation(self.conv5(x))
        return self.residual(y1 + y3 + y5)


class MultiscaleAggregation(nn.Module):
    """Shared layers for all groups of bands, layers of each group, and the average of the groups."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.groups = band_groups(bands)
        self.shared = DilatedAggregation(width)
        self.own = nn.ModuleList(
            [nn.Sequential(SpectralResidual(width), nn.Conv2d(width, 8, 1)) for _ in self.groups]  # one for each group
        )
        self.widen = nn.Conv2d(bands, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        total, counter = torch.zeros_like(x), x.new_zeros(x.shape[1])
        for (start, end), own in zip(self.groups, self.own, strict=True):
            total[:, start:end] += own(self.shared(x[:, start:end]))
            counter[start:end] += 1
        return self.widen(total / counter.view(-1, 1, 1))


class DeformableConv(nn.Module):
    """Sample the padded image at nine moved positions per pixel, and convolve these 3h x 3w samples with stride 3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.offsets = conv3(width, 18)
        nn.init.zeros_(self.offsets.weight)
        self.conv = nn.Conv2d(width, width, 3, stride=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        offsets = self.offsets(x).permute(0, 2, 3, 1)  # (n, h, w, 18): nine vertical offsets, then nine horizontal ones
        x = F.pad(x, (1, 1, 1, 1))
        rows = torch.arange(h, device=x.device).view(h, 1, 1) + torch.arange(3, device=x.device).repeat_interleave(3)
        columns = torch.arange(w, device=x.device).view(w, 1) + torch.arange(3, device=x.device).repeat(3)
        rows = (rows + offsets[..., :9]).clamp(0, h + 1)  # (n, h, w, 9)
        columns = (columns + offsets[..., 9:]).clamp(0, w + 1)
        top, left = rows.detach().floor(), columns.detach().floor()
        down, right = rows - top, columns - left  # weights of the bottom and the right neighbours
        top, left = top.long(), left.long()
        bottom, right_column = (top + 1).clamp(max=h + 1), (left + 1).clamp(max=w + 1)
        samples = (
            ((1 - down) * (1 - right)).unsqueeze(1) * self.gather(x, top, left)
            + ((1 - down) * right).unsqueeze(1) * self.gather(x, top, right_column)
            + (down * (1 - right)).unsqueeze(1) * self.gather(x, bottom, left)
            + (down * right).unsqueeze(1) * self.gather(x, bottom, right_column)
        )  # (n, c, h, w, 9)
        samples = samples.reshape(n, c, h, w, 3, 3).permute(0, 1, 2, 4, 3, 5).reshape(n, c, 3 * h, 3 * w)
        return self.conv(samples)

    def gather(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the pixels of an image at rows and columns, each (n, h, w, 9): (n, c, h, w, 9)."""
        n, c, _, width = x.shape
        index = (rows * width + columns).reshape(n, 1, -1).expand(-1, c, -1)
        return x.flatten(2).gather(2, index).reshape(n, c, *rows.shape[1:])


class DeformableAttention(nn.Module):
    """Attention between channels, tokens (n, h * w, c) in and out."""

    def __init__(self, width: int, heads: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.query = DeformableConv(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.out = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        n, _, c = x.shape
        x = x.transpose(1, 2).reshape(n, c, h, w)
        _, k, v = self.qkv(x).chunk(3, dim=1)  # the queries of this projection are not used
        q = self.query(x).reshape(n, self.heads, c // self.heads, h * w)
        k = k.reshape(n, self.heads, c // self.heads, h * w)
        v = v.reshape(n, self.heads, c // self.heads, h * w)
        q = F.normalize(q, dim=-1)
        k = F.normalize(k, dim=-1)
        attention = (q @ k.transpose(-2, -1)) * self.temperature
        attention = attention.softmax(dim=-1)
        y = (attention @ v).reshape(n, c, h, w)
        return self.out(y).flatten(2).transpose(1, 2)


class Transformer(nn.Module):
    """Attention and multilayer perceptron on tokens, each after layer norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = DeformableAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)  # (n, h * w, c)
        x = x + self.attention(self.norm1(x), h, w)
        x = x + self.mlp(self.norm2(x))
        return x.transpose(1, 2).reshape(n, c, h, w)


class MSDformer(nn.Module):
    """The plain version of lkca.models.msdformer.MSDformer, with the same arguments."""

    def __init__(self, bands: int, scale: int, width: int, transformers: int, groups: int) -> None:
        super().__init__()
        self.head = MultiscaleAggregation(bands, width)
        self.transformers = nn.ModuleList([Transformer(width) for _ in range(transformers)])
        self.convs = nn.ModuleList([conv3(width, width) for _ in range(transformers)])  # the first is never called
        self.upsampler = upsampler(width, scale, groups)
        self.bicubic = Bicubic(bands, scale)
        self.shortcut = conv3(bands, width)
        self.tail = conv3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        lms = self.bicubic(lr)
        x = self.head(lr)
        y = self.transformers[0](x)
        for i in range(1, len(self.transformers)):
            y = self.convs[i](self.transformers[i](y))
        y = self.upsampler(x + y)
        y = y + self.shortcut(lms)
        return self.tail(y)


class ESSA(nn.Module):
    """Attention that is linear in tokens, (n, h * w, c) in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q = q - q.mean(dim=-1, keepdim=True)
        k = k - k.mean(dim=-1, keepdim=True)
        q = q.pow(2)
        k = k.pow(2)
        q = q / (q.sum(dim=-1, keepdim=True) + 1e-7)
        k = k / (k.sum(dim=-1, keepdim=True) + 1e-7)
        q = F.normalize(q, dim=-1)
        k = F.normalize(k, dim=-2)
        attention = q @ (k.transpose(-2, -1) @ v) / sqrt(x.shape[1])
        return self.out(v + attention)


class Block(nn.Module):
    """ESSA on tokens, then convolutions of its output joined with its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = ESSA(width)
        self.drop = nn.Dropout2d(0.2)
        self.merge = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 1),
            nn.LeakyReLU(0.2),
            nn.Dropout2d(0.2),
            conv3(2 * width, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Dropout2d(0.2),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = x.flatten(2).transpose(1, 2)  # (n, h * w, c)
        y = self.attention(self.norm(y))
        y = self.drop(y.transpose(1, 2).reshape(n, c, h, w))
        return self.merge(torch.cat([y, x], dim=1)) + x


class ESSAformer(nn.Module):
    """The plain version of lkca.models.essaformer.ESSAformer, with the same arguments."""

    def __init__(self, bands: int, scale: int, width: int, groups: int) -> None:
        super().__init__()
        self.head = conv3(bands, width)
        self.up = upsampler(width, scale, groups)
        layers = []
        for _ in range(int(log2(scale))):
            layers += [conv3(width, width // 4), nn.PixelUnshuffle(2)]
        self.down = nn.Sequential(*layers)
        self.high = Block(width)  # on the HR grid
        self.low = Block(width)  # on the LR grid
        self.tail = conv3(width, bands)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.head(lr)
        up1 = self.high(self.up(x))
        down1 = self.low(self.down(up1) + x)
        up2 = self.high(self.up(down1) + up1)
        down2 = self.low(self.down(up2) + down1)
        up3 = self.high(self.up(down2) + up2)
        return self.tail(up3)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    """One learnable factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


class DropPath(nn.Module):
    """Drop path: in training, whole images become zero at a given rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep)
        return x * mask.div_(keep)


class LargeKernelAttention(nn.Module):
    """Two dilated depthwise convolutions, channel attention on them and their input, and a grouped 1x1 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 5, padding=10, dilation=5, groups=width)
        self.far = nn.Conv2d(width, width, 7, padding=21, dilation=7, groups=width)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(3 * width, 3 * width // 16, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(3 * width // 16, 3 * width, 1),
            nn.Sigmoid(),
        )
        self.mix = nn.Conv2d(3 * width, width, 1, groups=4)

    def forward(self, u: Tensor) -> Tensor:
        a1 = self.near(u)
        a2 = self.far(a1)
        y = torch.cat([u, a1, a2], dim=1)
        y = y * self.attention(y)
        return self.mix(y)


class LargeKernelBlock(nn.Module):
    """LKB: large-kernel channel attention, and two residuals with layer scale and drop path."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(width)
        self.conv1 = nn.Conv2d(width, width, 1)
        self.activation = nn.GELU()
        self.attention = LargeKernelAttention(width)
        self.conv2 = nn.Conv2d(width, width, 1)
        self.scale1 = LayerScale(width)
        self.norm2 = ChannelNorm(width)
        self.scale2 = LayerScale(width)
        self.drop_path = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        u = self.activation(self.conv1(self.norm1(x)))
        y = self.conv2(self.attention(u) * u)
        x = x + self.drop_path(self.scale1(y))
        return x + self.drop_path(self.scale2(self.norm2(x)))


class ScaledUpsampler(nn.Module):
    """3x3 convolution that starts at zero, one factor per output channel, PixelShuffle."""

    def __init__(self, width: int, bands: int, scale: int, groups: int) -> None:
        super().__init__()
        outputs = bands * scale**2
        self.gain = nn.Parameter(torch.full((outputs,), 1e-2))
        self.conv = nn.Conv2d(width, outputs, 3, padding=1, groups=groups)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.shuffle(self.conv(x) * self.gain.view(1, -1, 1, 1))


class LKCANet(nn.Module):
    """The plain version of lkca.models.lkca.LKCANet, with the same arguments."""

    def __init__(self, bands: int, scale: int, width: int, blocks: int, drop_path: float, groups: int) -> None:
        super().__init__()
        self.head = conv3(bands, width)
        rates = torch.linspace(0, drop_path, blocks).tolist()
        self.blocks = nn.Sequential(*[LargeKernelBlock(width, rate) for rate in rates])
        self.upsampler = ScaledUpsampler(width, bands, scale, groups)
        self.bicubic = Bicubic(bands, scale)

    def forward(self, lr: Tensor) -> Tensor:
        x = lr - lr.mean(dim=(2, 3), keepdim=True)  # the shortcut adds the mean spectrum back
        x = self.blocks(self.head(x))
        return self.upsampler(x) + self.bicubic(lr)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the angle between the spectra of each pixel, (n, h, w)."""
    norms = a.norm(dim=1) * b.norm(dim=1)
    return (a * b).sum(dim=1) / (norms + 1e-6 * (norms == 0))


def angle_loss(a: Tensor, b: Tensor) -> Tensor:
    """Return L_sam."""
    return torch.acos(cosines(a, b).clamp(-1 + 1e-6, 1 - 1e-6)).mean() / pi


def magnitudes(x: Tensor) -> Tensor:
    """Return the magnitude of the gradient along bands, rows and columns."""
    inner = x[:, 1:, 1:, 1:]
    bands = inner - x[:, :-1, 1:, 1:]
    rows = inner - x[:, 1:, :-1, 1:]
    columns = inner - x[:, 1:, 1:, :-1]
    return torch.sqrt(bands.pow(2) + rows.pow(2) + columns.pow(2) + 1e-6)


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """Return L_grad."""
    return F.l1_loss(magnitudes(a), magnitudes(b))


def supervised(sr: Tensor, hr: Tensor, settings: Train) -> Tensor:
    """The plain version of lkca.training.losses.supervised, with the same arguments."""
    loss = F.l1_loss(sr, hr)
    if settings.sam:
        loss = loss + settings.sam * angle_loss(sr, hr)
    if settings.grad:
        loss = loss + settings.grad * gradient_loss(sr, hr)
    if settings.spatial_tv:
        rows, columns = sr[:, :, 1:] - sr[:, :, :-1], sr[:, :, :, 1:] - sr[:, :, :, :-1]
        loss = loss + settings.spatial_tv * (rows.pow(2).mean() + columns.pow(2).mean())
    if settings.spectral_tv:
        loss = loss + settings.spectral_tv * 2 * (sr[:, 1:] - sr[:, :-1]).pow(2).mean()
    return loss


def distillation(student: Tensor, teacher: Tensor, settings: Distill) -> Tensor:
    """The plain version of lkca.training.losses.distillation; `settings` has the three weights."""
    cos = 1 - cosines(student, teacher).mean()
    sam, grad = angle_loss(student, teacher), gradient_loss(student, teacher)
    return settings.cos * cos + settings.sam * sam + settings.grad * grad
