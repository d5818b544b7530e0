"""Parameters and multiply-accumulates of a network, as the paper's tables count them."""

import logging

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from lkca.models.bicubic import Bicubic
from lkca.models.layers import counting_macs

LR_SIDE = 16  # height and width of the LR image that the tables' costs are for, at every scale


def count_parameters(network: nn.Module) -> int:
    """Return how many trainable numbers a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, bands: int) -> int:
    """Return the multiply-accumulates of a forward pass on a 16 x 16 LR image, which the paper prints as Flops.

    fvcore counts 1 for each multiply-add of convolutions and matrix products, 5 for each element of layer norms, and 0
    for biases, activations and element-wise products. Interpolation is not counted, as in the printed numbers: bicubic
    resizing and the sampling of deformable convolutions.

    Args:
        network: The network; set to evaluation mode.
        bands: Spectral bands.
    """
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)  # it warns of every operation that counts 0
    weight = next(network.parameters(), torch.empty(0))
    analysis = FlopCountAnalysis(network.eval(), weight.new_zeros(1, bands, LR_SIDE, LR_SIDE))
    analysis.set_op_handle("aten::grid_sampler", lambda inputs, outputs: 0)
    token = counting_macs.set(True)
    try:
        counts = analysis.by_module()
    finally:
        counting_macs.reset(token)
    shortcuts = [name for name, module in network.named_modules() if isinstance(module, Bicubic)]
    return counts[""] - sum(counts[name] for name in shortcuts)
