"""Matrix products in float32 on the CPU, by whichever library is faster on the machine.

torch multiplies float32 matrices by MKL, which on AMD's processors leaves half of each AVX-512 unit
unused. oneDNN, which torch carries too, does not: large products take half the time there. To set
it up takes longer, so small products stay with MKL. The choice depends on the machine and the sizes
alone, so that the same program gets the same bits again.
"""

from __future__ import annotations

import functools
import platform
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchseq.base import islands
from torchseq.base.modes import setting

LEAST = 1_200_000  # multiplications of a product for which oneDNN is the faster one
_LEAST_IN_TRAINING = 6_000_000  # it needs an autograd function in Python


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `inputs @ weight.T + bias`, as `torch.nn.functional.linear` does."""
    is_traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if is_traced or islands.is_tracing():  # graphs choose for themselves
        return functional.linear(inputs, weight, bias)
    size = inputs.numel() * weight.shape[0] // _run.num_joined
    if size < LEAST or not _serves(inputs, weight):
        return functional.linear(inputs, weight, bias)
    if not torch.is_grad_enabled() or not _has_gradient(inputs, weight, bias):
        return product(inputs, _packed(weight, inputs.numel() // weight.shape[1]), bias)
    if size < _LEAST_IN_TRAINING:
        return functional.linear(inputs, weight, bias)
    return _Linear.apply(inputs, weight, bias)  # type: ignore[no-any-return, no-untyped-call]


def constant_weights(are_constant: bool = True) -> AbstractContextManager[None]:
    """Return a context that keeps weights as oneDNN lays them out, else anew for each product.

    Args:
        are_constant: whether nothing writes to weights meanwhile; without it nothing is kept.
    """
    return setting(_run, "packs", {} if are_constant else None)


def joined(num_batches: int) -> AbstractContextManager[None]:
    """Return a context for products of several batches, which get the bits that those of one have.

    They are computed where those of one would be.
    """
    return setting(_run, "num_joined", num_batches)


def forget_packs() -> None:
    """Take weights for changed: a compiled step's writes are in no tensor's count of writes."""
    if _run.packs:
        _run.packs.clear()


class _Run(threading.local):
    """What a thread is at: each may run a model of its own."""

    packs: dict[int, tuple[tuple[Any, ...], Tensor]] | None = None
    num_joined = 1


_run = _Run()


def _packed(weight: Tensor, num_rows: int) -> Tensor:
    """Return the weight as the product takes it."""
    packs = _run.packs
    if packs is None or weight.is_inference():
        return weight
    state = (weight, weight._version, weight.data_ptr())
    kept = packs.get(id(weight))
    if kept is None or kept[0][0] is not weight or kept[0][1:] != state[1:]:
        packed = torch.ops.mkldnn._reorder_linear_weight.default(weight.detach(), num_rows)
        kept = packs[id(weight)] = state, packed
    return kept[1]


def _has_gradient(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Tell whether anything wants a gradient; the bias may, of a kernel that is frozen."""
    if inputs.requires_grad or weight.requires_grad:
        return True
    return bias is not None and bias.requires_grad


def is_faster_by_onednn() -> bool:
    """Tell whether oneDNN's large products are faster than MKL's on this machine."""
    return _is_amd_with_avx512() and torch._C._get_mkldnn_enabled()


def _serves(inputs: Tensor, weight: Tensor) -> bool:
    return (
        is_faster_by_onednn()
        and type(inputs) is Tensor
        and type(weight) in (Tensor, nn.Parameter)
        and inputs.dtype is torch.float32
        and weight.dtype is torch.float32
        and inputs.device.type == "cpu"
        and weight.device.type == "cpu"
        and inputs.is_contiguous()
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


def product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `left @ right.T + bias`, of matrices that are dense in either order of their axes."""
    return torch.ops.mkldnn._linear_pointwise.default(  # type: ignore[no-any-return]
        left, right, bias, "none", [], ""
    )


class _Linear(torch.autograd.Function):
    """The product with its three gradients, all by oneDNN."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        rows = inputs.flatten(0, -2)
        of_rows = grad.reshape(-1, weight.shape[0])
        # Somebody may want to differentiate the gradients again, which autograd cannot do here.
        times = torch.inner if torch.is_grad_enabled() else product
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            times(of_rows, weight.t()).view(inputs.shape) if wants_inputs else None,
            times(of_rows.t(), rows.t()) if wants_weight else None,
            of_rows.sum(0) if wants_bias else None,
        )


@functools.cache
def _is_amd_with_avx512() -> bool:
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkl.is_available():
        return False
    try:
        maker = Path("/proc/cpuinfo").read_text("ascii", "replace")[:4096]
    except OSError:
        maker = platform.processor()
    return "AuthenticAMD" in maker and hasattr(torch.ops.mkldnn, "_linear_pointwise")
