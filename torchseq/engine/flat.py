"""Many tensors in one piece of memory, so that a step treats them as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from torchseq.base import islands


class Flat:
    """Moves tensors into one buffer, of which they become views; they stay the same objects.

    Args:
        tensors: of one dtype and device, each dense in memory in some order of its axes.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self.tensors = list(tensors)
        self._orders = [_order(tensor) for tensor in tensors]
        self._sizes = [tensor.numel() for tensor in tensors]
        self.buffer = self.joined([tensor.detach() for tensor in tensors])
        for tensor, view in zip(self.tensors, self.views(self.buffer), strict=True):
            tensor.data = view
        self._places = [tensor.data_ptr() for tensor in tensors]

    @staticmethod
    def fits(tensors: Sequence[Tensor]) -> bool:
        """Tell whether tensors can lie in one buffer."""
        kinds = {(tensor.dtype, tensor.device) for tensor in tensors}
        places = {tensor.data_ptr() for tensor in tensors}
        return (
            len(kinds) == 1
            and len(places) == len(tensors)
            and all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
            and all(tensor.numel() and _is_dense(tensor) for tensor in tensors)
        )

    def is_valid(self) -> bool:
        """Tell whether the tensors still lie in the buffer; `.to(...)` takes them out, say."""
        return all(
            tensor.data_ptr() == place
            for tensor, place in zip(self.tensors, self._places, strict=True)
        )

    def joined(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return tensors of the same sizes as a buffer of this layout."""
        pairs = zip(tensors, self._orders, strict=True)
        ordered = [tensor.permute(order) for tensor, order in pairs]
        if islands.is_tracing():
            # Copies, which the compiler fuses: without them a graph would hold only while
            # gradients lie in memory as now, and of some torch thinks otherwise when it compiles.
            ordered = [tensor.clone(memory_format=torch.contiguous_format) for tensor in ordered]
        return torch.cat([tensor.reshape(-1) for tensor in ordered])

    def views(self, buffer: Tensor) -> list[Tensor]:
        """Return the tensors of a buffer of this layout."""
        found = []
        parts = buffer.split(self._sizes)
        for part, tensor, order in zip(parts, self.tensors, self._orders, strict=True):
            sizes = [tensor.shape[axis] for axis in order]
            inverse = sorted(range(len(order)), key=order.__getitem__)
            found.append(part.view(sizes).permute(inverse))
        return found


def _order(tensor: Tensor) -> list[int]:
    """Return the axes from the one with the widest steps in memory to that with the narrowest."""
    strides = tensor.stride()
    return sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis))


def _is_dense(tensor: Tensor) -> bool:
    order = _order(tensor)
    sizes = [tensor.shape[axis] for axis in order]
    expected = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    strides = [tensor.stride(axis) for axis in order]
    return all(
        size == 1 or stride == wanted
        for size, stride, wanted in zip(sizes, strides, expected, strict=True)
    )
