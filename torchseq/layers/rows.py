"""1D convolutions and pooling, run as 2D ones over images of one row.

A sequence with its channels last is, seen so, an image in torch's channels-last memory, for which
torch has kernels. For sequences themselves it has none: it rearranges them before and after. On a
CPU that costs up to half of the time (benchmarks/convolution.py).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class RowConv1d(nn.Conv1d):
    """`nn.Conv1d`: the same parameters, options and outputs; no padding modes but zeros."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = F.conv2d(
            input.unsqueeze(2),
            weight.unsqueeze(2),
            bias,
            (1, *self.stride),
            (0, *map(int, self.padding)),
            (1, *self.dilation),
            self.groups,
        )
        return rows.squeeze(2)


class RowConvTranspose1d(nn.ConvTranspose1d):
    """`nn.ConvTranspose1d`: the same parameters, options and outputs."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of a batch."""
        if output_size is not None:
            return super().forward(input, output_size)
        rows = F.conv_transpose2d(
            input.unsqueeze(2),
            self.weight.unsqueeze(2),
            self.bias,
            (1, *self.stride),
            (0, *map(int, self.padding)),
            (0, *self.output_padding),
            self.groups,
            (1, *self.dilation),
        )
        return rows.squeeze(2)


def max_pool1d(
    input: Tensor,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[int, ...] = (0,),
    **options: Any,
) -> Tensor:
    """Return `F.max_pool1d` of the same arguments; of integers as well."""
    rows: Tensor = F.max_pool2d(
        input.unsqueeze(2), (1, *window), (1, *strides), (0, *padding), **options
    )
    return rows.squeeze(2)
