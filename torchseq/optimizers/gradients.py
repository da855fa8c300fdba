"""Arithmetic on lists of gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchseq.base.variable import Variable


def like(weight: Variable, grad: Tensor) -> Tensor:
    """Return a gradient in Keras's layout in the layout and strides of the weight's parameter.

    Raises:
        ValueError: if its shape is not the weight's.
    """
    if tuple(grad.shape) != weight.shape:
        raise ValueError(
            f"Optimizer: the gradient of {weight.path!r} must have its shape, {weight.shape}; got "
            f"{tuple(grad.shape)}."
        )
    return in_memory_like(weight.tensor, weight.in_torch_layout(grad))


def in_memory_like(param: Tensor, grad: Tensor) -> Tensor:
    """Return a gradient that lies in memory as its weight: fused kernels walk both in order."""
    if grad.stride() == param.stride() and grad.dtype == param.dtype:
        return grad
    return torch.empty_like(param).copy_(grad)


def clipped(
    grads: list[Tensor],
    clipnorm: float | None,
    global_clipnorm: float | None,
    clipvalue: float | None,
) -> list[Tensor]:
    """Return the gradients, clipped in the one way that is given."""
    if clipnorm:
        norms = torch._foreach_norm(grads)
        scales = [clipnorm / torch.clamp(norm, min=clipnorm) for norm in norms]
        return list(torch._foreach_mul(grads, scales))
    if global_clipnorm:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        scale = global_clipnorm * torch.clamp(1.0 / norm, max=1.0 / global_clipnorm)
        return list(torch._foreach_mul(grads, scale + (norm - norm)))  # NaN if the norm is inf
    if clipvalue:
        return list(
            torch._foreach_clamp_max(torch._foreach_clamp_min(grads, -clipvalue), clipvalue)
        )
    return grads


def all_finite(grads: list[Tensor]) -> Tensor:
    """Return whether no entry is infinite or NaN, as a boolean tensor on the device."""
    largest = torch._foreach_norm(grads, math.inf)  # NaN if an entry is
    return torch.stack([norm.float() for norm in largest]).isfinite().all()


def multiply_and_check(grads: list[Tensor], factor: Tensor) -> Tensor:
    """Multiply gradients in place, and return 1.0 if an entry was infinite or NaN, else 0.0.

    Args:
        grads: on one device.
        factor: a float32 tensor without axes on it, as the result is.
    """
    found_inf = torch.zeros_like(factor)
    for dtype in {grad.dtype for grad in grads}:
        of_dtype = [grad for grad in grads if grad.dtype is dtype]
        torch._amp_foreach_non_finite_check_and_unscale_(of_dtype, found_inf, factor)
    return found_inf
