"""Finds a module's output shape by running it on torch's `meta` device, which computes no values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base.types import Shape

_STAND_INS = (3, 5)  # for unknown sizes; what differs between two runs is unknown in the output


def output_shape(
    module: nn.Module,
    call: Callable[[Tensor], Any],
    input_shape: Shape,
    dtype: torch.dtype,
) -> Any:
    """Return the shape of `call(input)`, None where it depends on a None of `input_shape`.

    Args:
        module: the owner of the parameters that `call` uses.
        call: what to run; a method of `module`, or `module` itself.
        input_shape: the batch size first, None where a size is not known.
        dtype: of the input.

    Returns:
        A shape, or the nested structure of shapes that matches the output's.
    """
    first, second = (_run(module, call, input_shape, dtype, size) for size in _STAND_INS)
    return _merged(first, second)


def _run(
    module: nn.Module, call: Callable[[Tensor], Any], shape: Shape, dtype: torch.dtype, size: int
) -> Any:
    concrete = tuple(size if entry is None else entry for entry in shape)
    inputs = torch.empty(concrete, dtype=dtype, device="meta")
    tensors = {
        name: tensor.to("meta")
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
    }
    runner = _Runner(module, call)
    renamed = {f"module.{name}": tensor for name, tensor in tensors.items()}
    with torch.no_grad(), torch.device("meta"):
        return torch.func.functional_call(runner, renamed, (inputs,))


class _Runner(nn.Module):
    """Gives `functional_call`, which wants a module's forward, any method to run."""

    def __init__(self, module: nn.Module, call: Callable[[Tensor], Any]):
        super().__init__()
        self.module = module
        self.run = call

    def forward(self, inputs: Tensor) -> Any:
        return self.run(inputs)


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, Tensor):
        pairs = zip(first.shape, second.shape, strict=True)
        return tuple(a if a == b else None for a, b in pairs)
    if isinstance(first, dict):
        return {key: _merged(first[key], second[key]) for key in first}
    return type(first)(_merged(a, b) for a, b in zip(first, second, strict=True))
