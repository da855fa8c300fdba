"""Tensors of which each process keeps a piece (torch's DTensor), and plain ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchseq.base.optional import late


def is_piece(tensor: Any) -> bool:
    """Tell whether a process keeps only a piece of the tensor."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Return the plain tensor; for one in pieces, all processes must ask."""
    piece: Any = tensor
    result: Tensor = piece.full_tensor() if is_piece(piece) else tensor
    return result


def cut_as(value: Tensor, like: Any) -> Tensor:
    """Return a plain tensor, which all processes have, cut as another one is."""
    if not is_piece(like) or is_piece(value):
        return value
    distribute = late("torch.distributed.tensor").distribute_tensor
    value = value.to(like.device)
    return distribute(value, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[no-any-return]
