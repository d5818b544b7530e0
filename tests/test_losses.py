"""The losses equal closed forms, and values measured with the published code that Eq. 17 cites."""

import numpy as np
import pytest
import torch

from lkca.config.schema import Distill
from lkca.training import losses

CUBE = torch.rand(2, 5, 6, 7, generator=torch.manual_seed(0), dtype=torch.float32) + 0.1


def test_loss_of_equal_images_is_published_minimum(paper):
    assert losses.spectral_angle(CUBE, CUBE).item() == pytest.approx(4.531e-4, rel=1e-3)
    assert losses.supervised(CUBE, CUBE, paper.train).item() == pytest.approx(2.266e-4, rel=1e-3)


def test_zero_and_opposite_spectra():
    assert losses.spectral_angle(torch.zeros_like(CUBE), CUBE).item() == pytest.approx(0.5)
    assert losses.spectral_angle(-CUBE, CUBE).item() == pytest.approx(0.9995, abs=1e-4)


def test_angle_of_known_spectra():
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    b = torch.tensor([1.0, 1.0]).view(1, 2, 1, 1)
    assert losses.spectral_angle(a, b).item() == pytest.approx(0.25)  # 45 degrees of 180


def test_gradients_are_finite_where_angles_are_undefined(paper):
    for start in (CUBE, torch.zeros_like(CUBE)):
        sr = start.clone().requires_grad_()
        losses.supervised(sr, CUBE, paper.train).backward()
        assert torch.isfinite(sr.grad).all()


def test_custom_gradients_equal_finite_differences(rng):
    """In float64, at all pixels. A spectrum of zeros gets a gradient of zero."""
    a, b = (torch.rand(2, 4, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(losses.cosines, (a, b))
    assert torch.autograd.gradcheck(losses.gradient, (a, b))
    with torch.no_grad():
        a[0, :, 1, 2] = 0
    losses.cosines(a, b).sum().backward()
    assert a.grad[0, :, 1, 2].abs().max() == 0
    assert b.grad.isfinite().all()


def test_gradient_of_ramp_and_plane():
    """Slopes of 3, 4 and 12 have magnitude 13; a constant image has 1e-3, the root of the constant in the formula."""
    b, r, c = torch.meshgrid(*(torch.arange(float(n)) for n in (4, 5, 6)), indexing="ij")
    ramp = (3 * b + 4 * r + 12 * c)[None]
    assert losses.gradient(ramp, torch.zeros_like(ramp)).item() == pytest.approx(13 - 1e-3, rel=1e-5)


def test_gradient_ignores_direction():
    """L_grad compares magnitudes, not components, as the published loss does."""
    ramp = torch.arange(6.0).expand(1, 4, 5, 6)
    assert losses.gradient(ramp, ramp.flip(-1)).item() == pytest.approx(0, abs=1e-6)


def test_supervised_is_weighted_sum_of_eq_17(paper):
    sr, hr = CUBE[:1], CUBE[1:]
    parts = losses.l1(sr, hr), losses.spectral_angle(sr, hr), losses.gradient(sr, hr)
    assert losses.supervised(sr, hr, paper.train.model_copy(update={"sam": 0.0, "grad": 0.0})) == parts[0]
    whole = losses.supervised(sr, hr, paper.train)
    assert whole.item() == pytest.approx(sum(w * p.item() for w, p in zip((1, 0.5, 0.1), parts, strict=True)))


def test_grid_is_the_mean_square_of_its_pattern(rng):
    """What is the same in all places of an LR pixel is no grid: a constant, and detail of whole LR pixels."""
    pattern = rng.standard_normal((2, 3, 4, 4))
    pattern -= pattern.mean((2, 3), keepdims=True)
    blocks = rng.random((2, 3, 5, 7)).repeat(4, 2).repeat(4, 3)
    bicubic = torch.from_numpy(rng.random(blocks.shape))
    sr = bicubic + torch.from_numpy(np.tile(pattern, (5, 7)) + blocks + 0.3)
    assert losses.grid(sr, bicubic, 4).item() == pytest.approx((pattern**2).mean())
    assert losses.grid(bicubic, bicubic, 4) == 0


def test_total_variations_of_ramp():
    """Slopes of 3, 4 and 12 along bands, rows and columns: 2 * 9 between bands, 16 + 144 in the image."""
    b, r, c = torch.meshgrid(*(torch.arange(float(n)) for n in (4, 5, 6)), indexing="ij")
    ramp = (3 * b + 4 * r + 12 * c)[None]
    assert losses.spectral_variation(ramp).item() == 18
    assert losses.spatial_variation(ramp).item() == 160


def test_sspsr_loss_is_l1_plus_variations(paper):
    sr, hr = CUBE[:1], CUBE[1:]
    variations = losses.spatial_variation(sr) + losses.spectral_variation(sr)
    expected = (sr - hr).abs().mean() + 1e-3 * variations
    assert losses.supervised(sr, hr, paper.models["sspsr"].train).item() == pytest.approx(expected.item())


def test_distillation_of_right_angle():
    """Orthogonal spectra everywhere, no gradients: L_cos = 1, L_sam = 1/2."""
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    b = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert losses.distillation(a, b, 0.5, 0, 0).item() == pytest.approx(0.5)
    assert losses.distillation(a, b, 0.5, 0.5, 0).item() == pytest.approx(0.75)


def test_distillation_of_equal_images_is_zero():
    assert losses.distillation(CUBE, CUBE, 0.5, 0, 0).item() == pytest.approx(0, abs=1e-6)


def test_distillation_weight_decays_in_steps():
    """alpha d^floor(epoch / f): the paper's 0.01 and 0.66 every 10 epochs."""
    kd = Distill(teacher="t", features="reconstruction", alpha=0.01, decay=0.66, every=10, cos=0.5, sam=0.5, grad=0.1)
    assert [losses.distillation_weight(kd, epoch) for epoch in (0, 9)] == [0.01, 0.01]
    assert losses.distillation_weight(kd, 10) == pytest.approx(0.0066)
    assert losses.distillation_weight(kd, 25) == pytest.approx(0.004356)
