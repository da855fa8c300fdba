"""A tensor that has a shape and a dtype and no values: what `Input` returns."""

from __future__ import annotations

from typing import Any

from torchseq.base import naming
from torchseq.base.types import Shape


class KerasTensor:
    """Stands for a tensor that is not there yet.

    Args:
        shape: the batch size first; None where a size is not known.
        dtype: dtype name.
        name: unique by default.
        origin: the layer whose output it is, if any.

    Source: keras.KerasTensor. Layers cannot be called on it: there is no Functional API.
    """

    def __init__(
        self,
        shape: Shape,
        dtype: str = "float32",
        name: str | None = None,
        origin: Any = None,
    ):
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name or naming.auto_name(type(self).__name__)
        self.origin = origin

    @property
    def ndim(self) -> int:
        """Number of axes, the batch axis included."""
        return len(self.shape)

    def __repr__(self) -> str:
        return (
            f"<KerasTensor shape={self.shape}, dtype={self.dtype}, sparse=False, "
            f"ragged=False, name={self.name}>"
        )
