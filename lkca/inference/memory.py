"""Measure how much memory a network needs."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PROBE_SIDE = 64  # LR pixels of the image on which it is measured


class _StorageMeter(TorchDispatchMode):
    """Counts the bytes of the tensors that operations allocate, and finds the largest sum at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._known or not size:
            return
        self._known.add(address)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, address, size)

    def _remove(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.live -= size


def measure_peak(network: nn.Module, image: Tensor) -> int:
    """Return the most bytes that a network allocates at a time for an image, besides the image.

    Args:
        network: The network, in evaluation mode.
        image: (n, bands, h, w).
    """
    meter = _StorageMeter()
    with torch.no_grad(), meter:
        network(image)
    return meter.peak


def measure_bytes_per_pixel(
    network: nn.Module, bands: int, side: int = PROBE_SIDE, device: torch.device | str = "cpu"
) -> float:
    """Return the memory that a network needs for a pixel of the LR image, besides that of the image, in bytes.

    Args:
        network: The network, in evaluation mode.
        bands: Its bands.
        side: Largest side of the image on which it is measured, LR pixels; at most PROBE_SIDE are used.
        device: Where the network is.
    """
    side = min(side, PROBE_SIDE)
    return measure_peak(network, torch.zeros(1, bands, side, side, device=device)) / side**2
