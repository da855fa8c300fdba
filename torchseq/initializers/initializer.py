"""What all initializers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config, Shape

if TYPE_CHECKING:
    from typing_extensions import Self


class Initializer:
    """Makes the first values of a weight: `initializer(shape, dtype)`.

    A subclass writes `__call__`, and `get_config` if its constructor has arguments.

    Source: keras.Initializer.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Return a tensor of this shape on the device of new weights.

        Args:
            shape: sizes in Keras's order.
            dtype: dtype name; None means floatx.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: an initializer must write `__call__(shape, dtype=None)`."
        )

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Make an initializer from what `get_config` returned."""
        return cls(**config)

    def clone(self) -> Self:
        """Return a new initializer of the same configuration; unseeded ones draw another seed."""
        return self.from_config(self.get_config())


def known_shape(owner: Any, shape: Shape) -> tuple[int, ...]:
    """Return `shape` as a tuple of integers.

    Raises:
        ValueError: if a size is not known or negative.
    """
    sizes: tuple[Any, ...] = tuple(shape)
    if not all(arguments.is_integer(size) and size >= 0 for size in sizes):
        raise ValueError(
            f"{arguments.owner_name(owner)}: all sizes of a shape must be integers of at least 0; "
            f"got shape={sizes}."
        )
    return tuple(int(size) for size in sizes)
