"""Count the parameters and multiply-accumulates (MACs) of a network as the paper's tables do."""

import logging

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from lkca.models.bicubic import Bicubic
from lkca.models.layers import counting_macs

LR_SIDE = 16  # pixels: height and width of the LR image for which the tables print MACs, at every scale


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, bands: int) -> int:
    """Return the MACs of a forward pass on one LR image of 16 x 16 pixels. The paper prints them as Flops.

    fvcore counts 1 for each multiply-add of convolutions and matrix products, 5 for each element of layer norms, and 0
    for biases, activations and element-wise products. Interpolation (bicubic resizing and the sampling of deformable
    convolutions) is not counted, because the printed numbers do not include it.

    Args:
        network: The network. This function sets it to evaluation mode.
        bands: Number of spectral bands.
    """
    # fvcore warns of every operation that it counts as 0.
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
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
