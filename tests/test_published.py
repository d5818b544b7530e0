"""Networks and losses, and their gradients, equal those of the plain implementations in benchmarks/published.py."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from benchmarks import published
from lkca.models.registry import MODELS, build
from lkca.training import losses
from tests.networks import TRAINABLE, small_arguments

PLAIN = [arch for arch in TRAINABLE if hasattr(published, MODELS[arch].class_name)]
SIZES = [(9, 2, 1, 7, 5), (14, 4, 2, 5, 7), (15, 4, 1, 6, 6)]  # bands, scale, groups, rows, columns


def pair(arch: str, bands: int, scale: int, groups: int) -> tuple[nn.Module, nn.Module]:
    """Return our network and the plain one, built with the same seed, in float64."""
    torch.manual_seed(0)
    args, upsampler = small_arguments(arch, groups)
    ours = build(arch, bands, scale, args, upsampler)
    torch.manual_seed(0)
    plain = getattr(published, MODELS[arch].class_name)(bands, scale, **args, groups=groups)
    return ours.double().eval(), plain.double().eval()


@torch.no_grad()
def move_weights(ours: nn.Module, plain: nn.Module, offsets: float) -> None:
    """Add the same noise to the weights of both networks; `offsets` is its std in the layers that predict offsets."""
    for (name, mine), theirs in zip(ours.named_parameters(), plain.parameters(), strict=True):
        std = offsets if name.endswith("offsets.weight") else 0.05
        mine += std * torch.randn_like(mine)
        theirs.copy_(mine.view_as(theirs))


def gradients(net: nn.Module, lr: Tensor, weights: Tensor) -> list[Tensor]:
    """Return the gradients of the weighted sum of the output with respect to all parameters; unused ones have zeros."""
    grads = torch.autograd.grad((net(lr) * weights).sum(), list(net.parameters()), materialize_grads=True)
    return [grad.flatten() for grad in grads]


@pytest.mark.parametrize("arch", PLAIN)
def test_same_seed_same_weights(arch):
    ours, plain = pair(arch, 14, 4, 2)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine.view_as(theirs), theirs)


@pytest.mark.parametrize(("bands", "scale", "groups", "rows", "columns"), SIZES)
@pytest.mark.parametrize(
    ("arch", "offsets"),
    [*((arch, 0) for arch in PLAIN), ("msdformer", 0.2)],
    ids=[*PLAIN, "msdformer-far-offsets"],
)
def test_output_and_gradients_equal_plain(arch, offsets, bands, scale, groups, rows, columns):
    ours, plain = pair(arch, bands, scale, groups)
    move_weights(ours, plain, offsets)
    largest_offsets = []
    for module in plain.modules():
        if isinstance(module, published.DeformableConv):
            module.offsets.register_forward_hook(lambda *call: largest_offsets.append(call[2].detach().abs().max()))
    lr = torch.rand(2, bands, rows, columns, dtype=torch.float64)

    with torch.no_grad():
        sr, expected = ours(lr), plain(lr)
    assert sr.shape == expected.shape == (2, bands, scale * rows, scale * columns)
    assert (sr - expected).abs().max() <= 1e-10 * expected.abs().max()
    if offsets:
        assert min(largest_offsets) > max(rows, columns)  # so some samples lie outside the image

    weights = torch.randn_like(expected)
    mine, theirs = gradients(ours, lr, weights), gradients(plain, lr, weights)
    for (name, _), one, other in zip(ours.named_parameters(), mine, theirs, strict=True):
        assert (one - other).abs().max() <= 1e-8 * other.abs().max(), name


def test_losses_and_gradients_equal_plain():
    torch.manual_seed(0)
    sr, hr = torch.rand(2, 2, 9, 7, 5, dtype=torch.float64)
    train = SimpleNamespace(sam=0.5, grad=0.1, spatial_tv=0.3, spectral_tv=0.2)
    distill = SimpleNamespace(cos=0.5, sam=0.4, grad=0.1)
    pairs = [
        (lambda x: losses.supervised(x, hr, train), lambda x: published.supervised(x, hr, train)),
        (lambda x: losses.distillation(x, hr, **vars(distill)), lambda x: published.distillation(x, hr, distill)),
    ]
    for functions in pairs:
        ours, plain = (torch.autograd.functional.vjp(function, sr) for function in functions)  # loss, gradient
        for one, other in zip(ours, plain, strict=True):
            assert (one - other).abs().max() <= 1e-12 * other.abs().max()
