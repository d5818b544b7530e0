"""The losses of the paper: L_H against the ground truth (Eq. 17) and L_KD against the teacher (Eqs. 18 to 20).

The module also has the total variations that SSPSR adds to L1. All losses take images (n, bands, h, w) and return a
scalar. L_sam and L_grad are those of MSDformer (Chen, Zhang & Zhang 2023), which Eq. 17 cites, with the constants of
its published code.
"""

from math import pi
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vector_norm

from lkca.config.schema import Distill, Train


def l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Return the mean absolute difference. Its value on the validation patches selects the best epoch."""
    return (sr - hr).abs().mean()


def grid(sr: Tensor, bicubic: Tensor, scale: int) -> Tensor:
    """Return how strong a grid of r x r pixels a reconstruction adds to its bicubic image.

    It is the mean square, over all images, bands and places in an LR pixel, of the mean over all LR pixels of what the
    reconstruction adds at this place, without the mean of all places. The ground truth does not know where the LR
    pixels lie, so it adds no such grid, apart from chance.

    Args:
        sr: Reconstructions, (n, bands, r * h, r * w).
        bicubic: The bicubic images, of the same shape.
        scale: The factor r.
    """
    added = (sr - bicubic).unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).mean((2, 4))  # (n, bands, r, r)
    return (added - added.mean((2, 3), keepdim=True)).square().mean()


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the angle between the spectra of each pixel, (n, h, w); 0 where a spectrum is all zero."""
    return _Cosines.apply(a, b)


class _Cosines(torch.autograd.Function):
    """Cosines with a gradient in two passes over the image; autograd needs six.

    The derivative with respect to a is b / (|a| |b|) - cos a / |a|^2.
    """

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
        a, b, cos, inverse_a, inverse_b = ctx.saved_tensors
        shared = (grad * inverse_a * inverse_b)[:, None]
        pairs = ((a, b, inverse_a), (b, a, inverse_b))
        return tuple(
            torch.addcmul(shared * other, (grad * cos * inverse.square())[:, None], one, value=-1) if needed else None
            for (one, other, inverse), needed in zip(pairs, ctx.needs_input_grad, strict=True)
        )


def spectral_angle(a: Tensor, b: Tensor) -> Tensor:
    """Return L_sam, the mean angle between the spectra of each pixel, divided by pi: 0 to 1.

    The cosine is clamped to stay 1e-6 away from -1 and 1, where the angle has no gradient. Equal images therefore give
    4.5e-4.
    """
    return cosines(a, b).clamp(-1 + 1e-6, 1 - 1e-6).acos().mean() / pi


def gradient(a: Tensor, b: Tensor) -> Tensor:
    """Return L_grad, the mean absolute difference of the gradient magnitudes.

    The gradient consists of the backward differences along bands, rows and columns, where all three exist.
    """
    return (_Magnitude.apply(a) - _Magnitude.apply(b)).abs().mean()


INNER = (slice(None), *[slice(1, None)] * 3)  # where all three differences exist
PREVIOUS = [  # INNER, shifted back by one along bands, rows or columns
    tuple(slice(None, -1) if i == axis else index for i, index in enumerate(INNER)) for axis in (1, 2, 3)
]


class _Magnitude(torch.autograd.Function):
    """The magnitude sqrt(d_bands^2 + d_rows^2 + d_columns^2 + 1e-6) of the three differences d.

    The derivative with respect to d is d / magnitude. Forward and backward work in place, on one difference at a time,
    and take half the time and a quarter of the memory that autograd needs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        magnitude = torch.full_like(x[INNER], 1e-6)
        for previous in PREVIOUS:
            difference = x[INNER] - x[previous]
            magnitude.addcmul_(difference, difference)
        magnitude.sqrt_()
        ctx.save_for_backward(x, magnitude)
        return magnitude

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, magnitude = ctx.saved_tensors
        grad, grad_x = grad / magnitude, torch.zeros_like(x)
        for previous in PREVIOUS:
            grad_difference = (x[INNER] - x[previous]).mul_(grad)
            grad_x[INNER].add_(grad_difference)
            grad_x[previous].sub_(grad_difference)
        return grad_x


def spatial_variation(sr: Tensor) -> Tensor:
    """Return SSPSR's spatial variation: the mean squared difference of vertical plus that of horizontal neighbours."""
    return sr.diff(dim=-2).square().mean() + sr.diff(dim=-1).square().mean()


def spectral_variation(sr: Tensor) -> Tensor:
    """Return SSPSR's spectral variation: twice the mean squared difference of neighbouring bands."""
    return 2 * sr.diff(dim=1).square().mean()


def supervised(sr: Tensor, hr: Tensor, settings: Train) -> Tensor:
    """Return the loss against the ground truth: with sam and grad L_H of Eq. 17, with the variations SSPSR's loss.

    Args:
        sr: Reconstruction.
        hr: Ground truth.
        settings: Weights of the terms that are added to L1: sam and grad (lambda_1, lambda_2), spatial_tv, spectral_tv.
            A term of weight 0 is not computed.
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
    """Return L_KD = lambda_3 L_cos + lambda_4 L_sam + lambda_5 L_grad (Eqs. 18, 19).

    L_cos is one minus the mean cosine over pixels, as the paper's text says. The printed Eq. 18 takes the cosine twice.

    Args:
        student: The student's output.
        teacher: The teacher's output for the same input.
        cos, sam, grad: lambda_3, lambda_4, lambda_5.
    """
    l_cos = 1 - cosines(student, teacher).mean()
    return cos * l_cos + sam * spectral_angle(student, teacher) + grad * gradient(student, teacher)


def distillation_weight(settings: Distill, epoch: int) -> float:
    """Return D * alpha, the weight of L_KD in the total loss (Eqs. 20, 21).

    Args:
        settings: alpha, the decay d, and the interval `every` in epochs (f in the paper).
        epoch: Counted from 0.
    """
    return settings.alpha * settings.decay ** (epoch // settings.every)
