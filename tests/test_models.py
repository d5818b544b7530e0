"""Every network of the registry: printed costs, shapes, initial weights, gradients; layers against slow versions."""

import csv
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from lkca.data.resize import resize
from lkca.errors import ConfigError
from lkca.models import layers
from lkca.models.cost import count_macs, count_parameters
from lkca.models.essaformer import Block, SpectralCorrelationAttention
from lkca.models.fcnn3d import FlatConv3d
from lkca.models.layers import BandGroups, Conv3x3, find_upsamplers
from lkca.models.lkca import ChannelNorm, DilatedDepthwise
from lkca.models.msdformer import DeformableAttention, DeformableConv
from lkca.models.registry import MODELS, build
from tests.conftest import REPOSITORY
from tests.networks import TRAINABLE, build_small, perturb, small_arguments

STARTS_AS_BICUBIC = ["bicubic", "vdsr", "lkca"]
UNUSED = {"msdformer": ["convs.0.weight", "convs.0.bias"]}  # parameters without gradient; the printed counts have them
PRINTED = [row for row in csv.DictReader((REPOSITORY / "lkca/paper/paper_tables.csv").open()) if row["Param_M"]]


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[pytest.mark.slow] if row["scale"] == "8" else []) for row in PRINTED],
    ids=["{table}-{scene}-x{scale}-{row}".format(**row) for row in PRINTED],
)
def test_cost_equals_printed(paper, row):
    """Parameters (millions) and MACs (billions) equal the printed ones in all three decimals."""
    # In this table the paper has exchanged the cost cells of VDSR and 3DFCNN: docs/explanation/errata.md.
    swapped = {("VI", "4", "VDSR"): ("1.134", "0.290"), ("VI", "4", "3DFCNN"): ("1.268", "0.324")}
    printed = swapped.get((row["table"], row["scale"], row["row"]), (row["Param_M"], row["MACs_G"]))
    model, bands = paper.models[paper.tables[row["table"]].rows[row["row"]]], paper.scenes[row["scene"]].bands
    net = build(model.arch, bands, int(row["scale"]), model.args, model.upsampler.model_dump())
    costs = count_parameters(net) / 1e6, count_macs(net, bands) / 1e9
    assert costs == pytest.approx([float(number) for number in printed], abs=5.001e-4)


def test_all_printed_costs_are_compared():
    assert len(PRINTED) == 54


def test_swapped_cells_hold_the_other_network():
    """The printed cost of VDSR in Table VI at x4 is the closed form of 3DFCNN's, and the reverse."""
    rows = {row["row"]: row for row in PRINTED if (row["table"], row["scale"]) == ("VI", "4")}
    bands, r2 = 48, 16
    fcnn3d = (15552 * bands + 64 + 64 * 32 + 32 + 32 * 9 + 9 + 675 * bands * r2 + bands * r2) / 1e6
    vdsr = (9 * 64 * bands + 18 * 9 * 64**2 + 9 * 64 * bands * r2) / 1e6
    assert float(rows["VDSR"]["Param_M"]) == round(fcnn3d, 3)
    assert float(rows["3DFCNN"]["Param_M"]) == round(vdsr, 3)


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize(("bands", "scale"), [(9, 2), (9, 3), (9, 4), (31, 2), (8, 8), (12, 16)])
def test_output_shape(arch, bands, scale):
    if scale == 3 and MODELS[arch].power_of_two_only:
        with pytest.raises(ConfigError, match=f"{arch} upsamples in steps of two and cannot reach x3"):
            build_small(arch, bands, scale)
        return
    args, upsampler = small_arguments(arch, groups=1)
    sr = build(arch, bands, scale, args, upsampler)(torch.rand(2, bands, 3, 5))
    assert sr.shape == (2, bands, 3 * scale, 5 * scale)
    assert torch.isfinite(sr).all()


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_trace_and_export_equal_eager(arch, rng):
    """A traced and an exported network contain the fast paths, not the whole kernels that `count_macs` counts."""
    net, lr = perturb(build_small(arch)).eval(), torch.rand(1, 9, 8, 8)
    with torch.no_grad():
        sr = net(lr)
        assert torch.equal(torch.jit.trace(net, lr, check_trace=False)(lr), sr)
        assert torch.equal(torch.export.export(net, (lr,)).module()(lr), sr)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_trace_takes_fast_path(rng):
    """The two large kernels of each of the two LKCA blocks are products of matrices."""
    graph = str(torch.jit.trace(build_small("lkca"), torch.rand(1, 9, 8, 8), check_trace=False).inlined_graph)
    assert graph.count("aten::baddbmm") == 2 * 2


@pytest.mark.parametrize("arch", STARTS_AS_BICUBIC)
def test_untrained_equals_bicubic(arch):
    lr = torch.rand(1, 9, 8, 8)
    assert torch.equal(build_small(arch)(lr), resize(lr, 4))


@pytest.mark.parametrize("arch", MODELS)
def test_same_seed_same_weights(arch):
    first, second = (torch.manual_seed(5) and build_small(arch).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("arch", TRAINABLE)
def test_every_used_parameter_gets_gradient(arch, rng):
    net = build_small(arch)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    have_gradient = set()
    for _ in range(2):
        optimiser.zero_grad()
        (net(torch.rand(2, 9, 8, 8)) - torch.rand(2, 9, 32, 32)).square().mean().backward()
        have_gradient |= {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        optimiser.step()
    assert {name for name, _ in net.named_parameters()} - have_gradient == set(UNUSED.get(arch, []))


def test_unused_parts_of_weights_get_no_gradient(rng):
    """The third of a projection that MSDformer does not use, and the outer slices of 3DFCNN's kernels."""
    for arch, layer, unused in (
        ("msdformer", "transformers.1.attention.1.project", lambda grad: [grad[:48]]),
        ("fcnn3d", "backbone.0", lambda grad: [grad[:, :, 0], grad[:, :, 2]]),
        ("fcnn3d", "upsampler.conv", lambda grad: [grad[:, :, 0], grad[:, :, 2]]),
    ):
        net = build_small(arch)
        net(torch.rand(1, 9, 8, 8)).square().mean().backward()
        grad = net.get_submodule(layer).weight.grad
        assert all((part == 0).all() for part in unused(grad)) and grad.any()


@pytest.mark.parametrize("arch", MODELS)
def test_images_of_batch_are_independent(arch, rng):
    net = perturb(build_small(arch)).eval()
    pair = torch.rand(2, 9, 8, 8)
    separate = torch.cat([net(pair[:1]), net(pair[1:])])
    assert torch.allclose(net(pair), separate, atol=1e-5 * separate.abs().max().item())


@pytest.mark.parametrize("arch", MODELS)
def test_only_dropout_differs_in_training(arch, rng):
    """Dropout is off in evaluation; LKCA-Net's drop path is off here, at rate 0."""
    net, lr = perturb(build_small(arch)), torch.rand(1, 9, 8, 8)
    has_dropout = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in net.modules())
    trained, again, evaluated = net.train()(lr), net(lr), net.eval()(lr)
    assert torch.equal(evaluated, net(lr))
    assert torch.allclose(trained, evaluated, atol=1e-5 * evaluated.abs().max().item()) == (not has_dropout)
    assert torch.equal(trained, again) == (not has_dropout)


@pytest.mark.parametrize("arch", [arch for arch, spec in MODELS.items() if spec.has_upsampler])
def test_groups_only_shrink_upsamplers(arch):
    args, upsampler = small_arguments(arch)
    dense, grouped = (build(arch, 9, 4, args, {"groups": g}) for g in (1, upsampler["groups"]))
    for name, layer in find_upsamplers(grouped).items():
        assert layer.conv.weight.numel() * upsampler["groups"] == find_upsamplers(dense)[name].conv.weight.numel()
    other_parameters = [
        count_parameters(net) - sum(layer.conv.weight.numel() for layer in find_upsamplers(net).values())
        for net in (dense, grouped)
    ]
    assert other_parameters[0] == other_parameters[1]
    assert len(find_upsamplers(grouped)) == (2 if MODELS[arch].power_of_two_only else 1)
    assert count_macs(grouped, 9) < count_macs(dense, 9)


def test_dilated_depthwise_equals_full_kernel(rng):
    """Outputs and gradients; the two largest images use the convolution that skips taps, the others matrix products."""
    sizes = [(8, 8, 7, 7), (16, 16, 7, 7), (5, 20, 5, 5), (64, 3, 7, 7), (1, 1, 5, 5), (9, 6, 3, 2)]
    for height, width, kernel, dilation in [*sizes, (50, 45, 5, 5), (130, 40, 7, 7)]:
        layer = DilatedDepthwise(4, kernel, dilation).double()
        x = torch.rand(2, 4, height, width, dtype=torch.float64, requires_grad=True)
        whole = nn.Conv2d(4, 4, kernel, padding=dilation * (kernel // 2), dilation=dilation, groups=4).double()
        whole.load_state_dict(layer.state_dict())
        ours, expected = layer(x), whole(x)
        assert torch.allclose(ours, expected, atol=1e-12)
        weights = torch.rand_like(expected)
        our_gradients, their_gradients = (
            torch.autograd.grad(y, [x, *net.parameters()], weights) for y, net in ((ours, layer), (expected, whole))
        )
        assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(our_gradients, their_gradients, strict=True))


def test_channel_norm_equals_layer_norm(rng):
    x = torch.rand(2, 12, 3, 4) * 3 + 1
    norm = perturb(ChannelNorm(12))
    expected = nn.functional.layer_norm(x.movedim(1, -1), (12,), norm.weight.flatten(), norm.bias.flatten(), 1e-6)
    assert torch.allclose(norm(x), expected.movedim(-1, 1), atol=1e-5)


def test_drop_path_keeps_mean_and_is_off_in_evaluation(rng):
    net = perturb(build("lkca", 6, 2, {"width": 16, "blocks": 2, "drop_path": 0.5}, {"groups": 1}))
    block = net.blocks[1].residual1
    x, branch = torch.zeros(20000, 16, 1, 1), torch.ones(20000, 16, 1, 1)
    dropped = block.train()(x, branch)[:, :, 0, 0] / block.gamma.flatten()
    assert set(np.unique(dropped.detach().numpy().round(3))) == {0.0, 2.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.allclose(block.eval()(x, branch)[:, :, 0, 0] / block.gamma.flatten(), torch.ones(16))


def test_upsampler_group_makes_neighbouring_bands(rng):
    """With g groups, the first 1/g of the features affect the first 1/g of the bands and no others."""
    upsampler = perturb(build("lkca", 8, 2, {"width": 16, "blocks": 1, "drop_path": 0.0}, {"groups": 4})).upsampler
    features = torch.rand(1, 16, 4, 4)
    changed = features.clone()
    changed[:, :4] += 1
    moved = (upsampler(changed) - upsampler(features)).abs().amax((0, 2, 3)) > 1e-6
    assert moved.tolist() == [True] * 2 + [False] * 6


def test_upsampler_matrix_includes_gain(rng):
    """A convolution with the gain folded into its weights gives the layer's output, once the scaled bias is added."""
    upsampler = perturb(build("lkca", 9, 4, {"width": 16, "blocks": 1, "drop_path": 0.0}, {"groups": 2})).upsampler
    features = torch.rand(1, 16, 5, 5)
    conv = nn.Conv2d(16, 9 * 16, 3, padding=1, groups=2, bias=False)
    conv.weight.data = upsampler.weight_matrix().reshape(conv.weight.shape)
    bias = (upsampler.gain * upsampler.conv.bias[:, None, None])[None]
    assert torch.allclose(upsampler.shuffle(conv(features) + bias), upsampler(features), atol=1e-5)


# Parts of the baselines against slow, obvious versions -------------------------------------------------------------


@pytest.mark.parametrize("bands", [8, 9, 15, 31, 48, 102, 128])
def test_band_groups_split_and_average(bands, rng):
    groups, image = BandGroups(bands), torch.rand(2, bands, 2, 3)
    starts = sorted({min(6 * g, bands - 8) for g in range(bands)} & {*range(0, bands, 6), bands - 8})
    while len(starts) > 1 and starts[-2] + 8 >= bands:  # only the last group ends at the last band
        del starts[-2]
    parts = groups.split(image)
    assert torch.equal(parts, torch.stack([image[:, start : start + 8] for start in starts], 1))
    changed = parts + torch.rand_like(parts)
    for band in range(bands):
        holders = [changed[:, i, band - start] for i, start in enumerate(starts) if start <= band < start + 8]
        assert torch.allclose(groups.average(changed)[:, band], sum(holders) / len(holders))


def test_number_of_band_groups_is_published():
    assert [BandGroups(bands).num_groups for bands in (128, 48, 102)] == [21, 8, 17]


@pytest.fixture(params=[False, True], ids=["fast", "deterministic"])
def sampling(request):
    """Use each of the two implementations with which a deformable convolution samples between pixels."""
    torch.use_deterministic_algorithms(request.param)
    yield
    torch.use_deterministic_algorithms(False)


def test_deformable_conv_equals_pixel_loop(rng, sampling):
    """Offsets of several pixels; positions outside the image are clamped to a border of zeros."""
    layer, x = DeformableConv(4).double(), torch.rand(1, 4, 5, 6, dtype=torch.float64)
    nn.init.normal_(layer.offsets.weight, std=0.5)
    offsets, padded = layer.offsets(x)[0], np.pad(x[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    assert offsets.abs().max() > 3
    expected = np.zeros((4, 5, 6))
    for r in range(5):
        for c in range(6):
            for tap in range(9):
                row = min(max(r + tap // 3 + offsets[tap, r, c].item(), 0), 6)
                column = min(max(c + tap % 3 + offsets[9 + tap, r, c].item(), 0), 7)
                top, left = min(int(row), 5), min(int(column), 6)
                down, right = row - top, column - left
                corners = padded[:, top : top + 2, left : left + 2]
                sample = (corners * np.outer([1 - down, down], [1 - right, right])).sum((1, 2))
                expected[:, r, c] += layer.conv.weight[:, :, tap // 3, tap % 3].detach().numpy() @ sample
    assert layer(x)[0].detach().numpy() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("spread", "shift"), [(0.5, 0.5), (0, 1e-9)])
def test_deterministic_sampling_has_same_gradients(rng, spread, shift):
    """Also at positions almost on the pixels (1e-9 beside them), where one neighbour has all of the weight."""
    layer, x = DeformableConv(4).double(), torch.rand(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    nn.init.normal_(layer.offsets.weight, std=spread)
    nn.init.constant_(layer.offsets.bias, shift)
    gradients = []
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        try:
            gradients.append(torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()]))
        finally:
            torch.use_deterministic_algorithms(False)
    assert all(torch.allclose(a, b, rtol=1e-7) for a, b in zip(*gradients, strict=True))


def test_deformable_conv_samples_in_float32_under_autocast(rng, sampling):
    """The eight significant bits of bfloat16 are too few for positions between 24 x 24 pixels."""
    layer, x = DeformableConv(4), torch.rand(2, 4, 24, 24)
    nn.init.constant_(layer.offsets.bias, 0.3)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(layer(x).float(), expected, atol=0.02 * expected.abs().max().item())


def test_deformable_conv_without_offsets_is_conv(rng, sampling):
    layer, x = DeformableConv(6), torch.rand(2, 6, 7, 4)
    nn.init.zeros_(layer.offsets.bias)
    assert torch.allclose(layer(x), nn.functional.conv2d(x, layer.conv.weight, padding=1), atol=1e-5)


def test_msdformer_attention_equals_loops(rng):
    layer, x = DeformableAttention(12).double(), torch.rand(1, 12, 3, 5, dtype=torch.float64)
    nn.init.uniform_(layer.temperature, 1, 20)
    query = layer.query(x)[0].reshape(12, -1)
    _, key, value = layer.project(x)[0].reshape(3, 12, -1)
    mixed = torch.zeros(12, 15, dtype=torch.float64)
    for head in range(6):
        for a in range(2):
            i = 2 * head + a
            cosines = [query[i] @ key[2 * head + b] / (query[i].norm() * key[2 * head + b].norm()) for b in range(2)]
            weights = (torch.stack(cosines) * layer.temperature[head].item()).exp()
            mixed[i] = sum(weight / weights.sum() * value[2 * head + b] for b, weight in enumerate(weights))
    assert torch.allclose(layer(x)[0].reshape(12, -1), layer.out.weight[:, :, 0, 0] @ mixed, atol=1e-12)


def essaformer_attention(layer, x):
    """Return ESSA of one image, computed as it is described, on tokens (pixels, channels)."""
    tokens = layer.norm(x[0].flatten(1).T)
    q, k, v = (tokens @ layer.project.weight.T + layer.project.bias).chunk(3, 1)
    q, k = (q - q.mean(1, keepdim=True)) ** 2, (k - k.mean(1, keepdim=True)) ** 2
    q, k = q / (q.sum(1, keepdim=True) + 1e-7), k / (k.sum(1, keepdim=True) + 1e-7)
    q, k = q / q.norm(dim=1, keepdim=True), k / k.norm(dim=0, keepdim=True)
    out = (v + q @ (k.T @ v) / len(tokens) ** 0.5) @ layer.out.weight.T + layer.out.bias
    return out.T.reshape(x[0].shape)


def test_essaformer_attention_equals_description(rng):
    layer, x = SpectralCorrelationAttention(16).double(), torch.rand(1, 16, 4, 6, dtype=torch.float64)
    assert torch.allclose(layer(x)[0], essaformer_attention(layer, x), atol=1e-9)


def test_large_image_in_parts_equals_whole(rng, monkeypatch):
    """ESSAformer's block in strips; SSPSR and MSDformer by single band groups, with their last layers in strips."""
    block, x = Block(16).double().eval(), torch.rand(2, 16, 11, 6, dtype=torch.float64)
    nets = [perturb(build_small(arch)).double() for arch in ("sspsr", "msdformer")]
    lr = torch.rand(2, 9, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        whole = [block(x), *[net(lr) for net in nets]]
        monkeypatch.setattr(layers, "MAX_PIXELS", 20)
        in_parts = [block(x), *[net(lr) for net in nets]]
    for parts, expected in zip(in_parts, whole, strict=True):
        assert torch.allclose(parts, expected, atol=1e-12 * expected.abs().max().item())


def test_flat_conv_equals_conv3d(rng):
    layer, x = FlatConv3d(6, 9, (3, 5, 5), groups=3).double(), torch.rand(2, 6, 7, 4, dtype=torch.float64)
    whole = nn.functional.conv3d(x[:, :, None], layer.weight, layer.bias, padding=(1, 2, 2), groups=3)
    assert torch.allclose(layer(x), whole[:, :, 0], atol=1e-12)


# Several batches of uneven strips; several images in a strip; several strips in an image; small images.
@pytest.mark.parametrize("shape", [(1, 128, 70, 61), (17, 130, 16, 16), (3, 140, 40, 40), (40, 128, 5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_winograd_equals_conv(shape, bias, rng):
    conv, x = Conv3x3(shape[1], 128, bias=bias), torch.randn(shape, requires_grad=True)
    weights = torch.randn(shape[0], 128, *shape[2:])
    assert "Winograd" in conv(x).grad_fn.name()
    (conv(x) * weights).sum().backward()
    exact = nn.Conv2d(shape[1], 128, 3, padding=1, bias=bias).double()
    exact.load_state_dict(conv.state_dict())
    y = x.detach().double().requires_grad_()
    (exact(y) * weights).sum().backward()
    pairs = [
        (conv(x), exact(y)),
        (x.grad, y.grad),
        *((a.grad, b.grad) for a, b in zip(conv.parameters(), exact.parameters(), strict=True)),
    ]
    for ours, theirs in pairs:
        assert (ours - theirs).abs().max() < 3e-5 * theirs.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "width"), [("sspsr", 128), ("msdformer", 144), ("essaformer", 128), ("lkca", 128)])
def test_network_with_winograd_equals_usual(arch, width, rng):
    """The float64 copy of the network does not use Winograd's algorithm."""
    args, upsampler = small_arguments(arch)
    net = perturb(build(arch, 130, 2, {**args, "width": width}, upsampler)).eval()
    lr = torch.rand(2, 130, 24, 22)
    exact = deepcopy(net).double()
    sr, whole = net(lr), exact(lr.double())
    assert any("Winograd" in name for name in function_names(sr.grad_fn))
    assert not any("Winograd" in name for name in function_names(whole.grad_fn))
    assert (sr - whole).abs().max() < 3e-5 * whole.abs().max()
    sr.square().mean().backward()
    whole.square().mean().backward()
    for (name, ours), theirs in zip(net.named_parameters(), exact.parameters(), strict=True):
        if theirs.grad is not None:
            assert (ours.grad - theirs.grad).abs().max() <= 1e-3 * theirs.grad.abs().max() + 1e-8, name


def function_names(node):
    """Return the names of all functions that autograd has recorded up to a node."""
    seen, todo = set(), [node]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [previous for previous, _ in node.next_functions]
    return {node.name() for node in seen}
