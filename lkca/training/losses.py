"""The losses of the paper: L_H with the truth (Eq. 17), L_KD with the teacher (Eqs. 18, 19) and its decay (Eq. 20).

Beside them what SSPSR adds to L1. All take (n, bands, h, w) and return a scalar. L_sam and L_grad are those of
MSDformer (Chen, Zhang & Zhang 2023), which Eq. 17 cites, in its published constants.
"""

from math import pi
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vector_norm

from lkca.config.schema import Distill, Train


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute difference; also what chooses the best epoch."""
    return (sr - hr).abs().mean()


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between the two spectra of each pixel, (n, h, w); 0 where a spectrum is all zero."""
    return _Cosines.apply(a, b)


class _Cosines(torch.autograd.Function):
    """Its derivative in a is b / (|a| |b|) - cos a / |a|^2: two passes over the image; autograd takes six."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        norms = vector_norm(a, dim=1), vector_norm(b, dim=1)
        inverse = [torch.where(norm > 0, 1 / norm, 0) for norm in norms]
        cos = (a * b).sum(1) * inverse[0] * inverse[1]
        ctx.save_for_backward(a, b, cos, *inverse)
        return cos

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, cos, of_a, of_b = ctx.saved_tensors
        shared = (grad * of_a * of_b)[:, None]
        pairs = ((a, b, of_a), (b, a, of_b))
        return tuple(
            torch.addcmul(shared * other, (grad * cos * inverse.square())[:, None], one, value=-1) if needed else None
            for (one, other, inverse), needed in zip(pairs, ctx.needs_input_grad, strict=True)
        )


def spectral_angle(a: Tensor, b: Tensor) -> Tensor:
    """L_sam: mean angle between the spectra of each pixel, divided by pi: 0 to 1.

    The cosine is kept 1e-6 away from -1 and 1, where the angle has no gradient, so equal images give 4.5e-4.
    """
    return cosines(a, b).clamp(-1 + 1e-6, 1 - 1e-6).acos().mean() / pi


def gradient(a: Tensor, b: Tensor) -> Tensor:
    """L_grad: mean absolute difference of the gradient magnitudes over bands, rows and columns.

    The gradient is the backward difference along each of the three axes, where all three exist.
    """
    return (_Magnitude.apply(a) - _Magnitude.apply(b)).abs().mean()


HERE = (slice(None), *[slice(1, None)] * 3)  # where all three differences exist, and its neighbours before
BEFORE = [tuple(slice(None, -1) if i == axis else place for i, place in enumerate(HERE)) for axis in (1, 2, 3)]


class _Magnitude(torch.autograd.Function):
    """sqrt(bands^2 + rows^2 + columns^2 + 1e-6) of the three differences d, whose derivative is d / magnitude each.

    In place, with one difference at a time: half the time of autograd's, and a quarter of its memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        magnitude = torch.full_like(x[HERE], 1e-6)
        for before in BEFORE:
            difference = x[HERE] - x[before]
            magnitude.addcmul_(difference, difference)
        magnitude.sqrt_()
        ctx.save_for_backward(x, magnitude)
        return magnitude

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, magnitude = ctx.saved_tensors
        grad, of_x = grad / magnitude, torch.zeros_like(x)
        for before in BEFORE:
            of_difference = (x[HERE] - x[before]).mul_(grad)
            of_x[HERE].add_(of_difference)
            of_x[before].sub_(of_difference)
        return of_x


def spatial_variation(sr: Tensor) -> Tensor:
    """Spatial total variation of SSPSR's loss: mean squared difference of neighbours along rows plus along columns."""
    return sr.diff(dim=-2).square().mean() + sr.diff(dim=-1).square().mean()


def spectral_variation(sr: Tensor) -> Tensor:
    """Spectral total variation of SSPSR's loss: twice the mean squared difference of neighbouring bands."""
    return 2 * sr.diff(dim=1).square().mean()


def supervised(sr: Tensor, hr: Tensor, settings: Train) -> Tensor:
    """L1 and what the settings add to it: L_H of Eq. 17 with sam and grad, SSPSR's loss with the total variations.

    Args:
        sr, hr: Reconstruction and truth.
        settings: sam, grad (lambda_1, lambda_2), spatial_tv, spectral_tv; a term of weight 0 is not computed.
    """
    loss = l1(sr, hr)
    if settings.sam:
        loss = loss + settings.sam * spectral_angle(sr, hr)
    if settings.grad:
        loss = loss + settings.grad * gradient(sr, hr)
    if settings.spatial_tv:
        loss = loss + settings.spatial_tv * spatial_variation(sr)
    if settings.spectral_tv:
        loss = loss + settings.spectral_tv * spectral_variation(sr)
    return loss


def distillation(student: Tensor, teacher: Tensor, cos: float, sam: float, grad: float) -> Tensor:
    """L_KD = lambda_3 L_cos + lambda_4 L_sam + lambda_5 L_grad (Eqs. 18, 19).

    L_cos is one minus the mean cosine over pixels, as the text says; printed Eq. 18 takes the cosine twice.

    Args:
        student, teacher: What the two networks made of the same input.
        cos, sam, grad: lambda_3, lambda_4, lambda_5.
    """
    l_cos = 1 - cosines(student, teacher).mean()
    return cos * l_cos + sam * spectral_angle(student, teacher) + grad * gradient(student, teacher)


def share(settings: Distill, epoch: int) -> float:
    """D * alpha, the share of L_KD in the total loss (Eqs. 20, 21).

    Args:
        settings: alpha, the decay d and its frequency f in epochs.
        epoch: From 0.
    """
    return settings.alpha * settings.decay ** (epoch // settings.every)
