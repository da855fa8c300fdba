"""Finds output shapes by running modules on torch's `meta` device, which computes no values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import devices, naming
from torchseq.base.modes import mode
from torchseq.base.types import Shape
from torchseq.layers import scopes, tree


def as_tuples(shape: Any) -> Any:
    """Return a shape, or a structure of shapes, with tuples for lists of sizes."""
    if isinstance(shape, dict):
        return {key: as_tuples(value) for key, value in shape.items()}
    if not isinstance(shape, list | tuple):
        return shape
    if any(isinstance(entry, list | tuple | dict) for entry in shape):
        return [as_tuples(entry) for entry in shape]
    return tuple(shape)


def flat(shape: Any) -> list[Shape]:
    """Return the shapes in a structure of shapes, in order."""
    entries = list(shape.values()) if isinstance(shape, dict) else shape
    if not any(isinstance(entry, list | tuple | dict) for entry in entries):
        return [shape]
    return [single for entry in entries for single in flat(entry)]


_STAND_INS = (3, 5)  # for unknown sizes; what differs between two runs is unknown in the output


def output_shape(
    module: nn.Module,
    call: Callable[[Any], Any],
    input_shape: Any,
    dtype: torch.dtype,
) -> Any:
    """Return the shape of `call(input)`, None where it depends on a None of `input_shape`.

    Args:
        module: the owner of the parameters that `call` uses.
        call: what to run; a method of `module`, or `module` itself.
        input_shape: the batch size first, None where a size is not known; or a structure of such.
        dtype: of the input.

    Returns:
        A shape, or the nested structure of shapes that matches the output's.
    """
    runner = _Runner(module, call)
    tensors = _meta_tensors(module)
    outputs = []
    with torch.no_grad(), torch.device("meta"):
        for size in _STAND_INS:
            inputs = stand_in(input_shape, dtype, size)
            with scopes.precision(getattr(module, "_region", None), torch.empty(0)):
                outputs.append(torch.func.functional_call(runner, tensors, (inputs,)))
    return _merged(*outputs)


def _meta_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return stand-ins for weights and buffers, cast as the layers they belong to cast them."""
    found: dict[int, tuple[str, Tensor]] = {}  # one name for each, also where weights are tied
    for owner, prefix, region in _with_regions(module):
        for key, tensor in [*owner._parameters.items(), *owner._buffers.items()]:
            if tensor is not None and id(tensor) not in found:
                found[id(tensor)] = f"module.{prefix}{key}", _as_meta(tensor, region)
    return dict(found.values())


def _with_regions(
    module: nn.Module, prefix: str = "", region: scopes.Region | None = None
) -> Iterator[tuple[nn.Module, str, scopes.Region | None]]:
    """Yield each module with its path and with the region of the layer it belongs to."""
    region = getattr(module, "_region", region)
    yield module, prefix, region
    for name, child in module.named_children():
        yield from _with_regions(child, f"{prefix}{name}.", region)


def _as_meta(tensor: Tensor, region: scopes.Region | None) -> Tensor:
    if region is None or not tensor.is_floating_point():
        return tensor.to("meta")
    return tensor.to("meta", region.value[0])


def stand_in(shape: Any, dtype: torch.dtype, size: int) -> Any:
    """Return zeros of a shape, or of a structure of shapes, with `size` for None."""
    if isinstance(shape, dict):
        return {key: stand_in(entry, dtype, size) for key, entry in shape.items()}
    if any(isinstance(entry, list | tuple | dict) for entry in shape):
        return [stand_in(entry, dtype, size) for entry in shape]
    return torch.zeros([size if entry is None else entry for entry in shape], dtype=dtype)


def build_sublayers(layer: Any, shape: Any, dtype: torch.dtype) -> None:
    """Build layers that a composite layer holds, of which only a call shows the shapes.

    Where sizes but the batch's are not known, a size is tried; if the layer does not take it, its
    sublayers wait for the first data.
    """
    inner = [module for module in layer.modules() if module is not layer]
    if not any(tree.lacks_weights(module) for module in inner):
        return
    device = devices.device_of(layer)
    sizes = (2, 32) if _has_unknown(shape) else (2,)
    for size in sizes:
        with torch.device(device):
            inputs = stand_in(shape, dtype, size)
        try:
            region = scopes.precision(getattr(layer, "_region", None), inputs)
            with torch.no_grad(), mode(layer, False), naming.scope(layer.name), region:
                layer.forward(inputs)
            return
        except Exception:
            if sizes == (2,):
                raise


def _has_unknown(shape: Any) -> bool:
    if isinstance(shape, dict):
        return any(_has_unknown(entry) for entry in shape.values())
    if any(isinstance(entry, list | tuple | dict) for entry in shape):
        return any(_has_unknown(entry) for entry in shape)
    return None in shape[1:]


class _Runner(nn.Module):
    """Gives `functional_call`, which wants a module's forward, any method to run."""

    run: Callable[[Any], Any]

    def __init__(self, module: nn.Module, call: Callable[[Any], Any]):
        super().__init__()
        self.module = module
        self.__dict__["run"] = call  # not a submodule, where it is `module` itself

    def forward(self, inputs: Any) -> Any:
        return self.run(inputs)


def _merged(first: Any, second: Any) -> Any:
    if isinstance(first, Tensor):
        pairs = zip(first.shape, second.shape, strict=True)
        return tuple(a if a == b else None for a, b in pairs)
    if isinstance(first, dict):
        return {key: _merged(first[key], second[key]) for key in first}
    return type(first)(_merged(a, b) for a, b in zip(first, second, strict=True))
