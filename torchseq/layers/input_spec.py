"""What a layer demands of its input's shape.

Source: keras.InputSpec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torchseq.base import arguments, dtypes
from torchseq.base.types import Shape


class InputSpec:
    """Rank, sizes and dtype that an input must have.

    Args:
        dtype: dtype name.
        shape: sizes, batch first; None leaves one free.
        ndim: exact number of axes.
        max_ndim: largest number of axes.
        min_ndim: smallest number of axes.
        axes: axis -> size, for single axes.
        allow_last_axis_squeeze: let `(..., 1)` stand for `(...)` and the other way round.
        name: name of the input.
        optional: whether None may be given.

    Raises:
        ValueError: if `shape` or `axes` has another form, or `axes` names one beyond the rank.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Shape | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ):
        if shape is not None and not isinstance(shape, Sequence):
            raise ValueError(f"InputSpec: `shape` must be a tuple of sizes; got shape={shape!r}.")
        if axes is not None and not isinstance(axes, Mapping):
            raise ValueError(f"InputSpec: `axes` must map axes to sizes; got axes={axes!r}.")
        if dtype is not None:
            arguments.looked_up(self, "dtype", dtypes.name_of, dtype)
        self.dtype = dtype
        self.shape = None if shape is None else tuple(shape)
        self.ndim = ndim if shape is None else len(shape)
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        rank = self.ndim if self.ndim is not None else self.max_ndim
        if rank is not None and max(self.axes, default=-1) >= rank:
            raise ValueError(
                f"InputSpec: `axes` must name axes that the input has; got axes={axes!r} for "
                f"{rank} axes."
            )
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments that describe the shape."""
        names = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {name: getattr(self, name) for name in names}

    def violation(self, shape: Shape) -> str | None:
        """Return what `shape` breaks, to end the sentence "its input must ..."; else None."""
        rank = len(shape)
        if self.allow_last_axis_squeeze and self.ndim is not None and rank != self.ndim:
            shape, rank = self._squeezed(shape)
        if self.ndim is not None and rank != self.ndim:
            return f"have {self.ndim} axes, the batch axis included"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"have at most {self.max_ndim} axes, the batch axis included"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"have at least {self.min_ndim} axes, the batch axis included"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                return f"have {size} entries on axis {axis}"
        for axis, size in enumerate(self.shape or ()):
            if size is not None and shape[axis] not in (size, None):
                return f"have shape {self.shape}"
        return None

    def _squeezed(self, shape: Shape) -> tuple[Shape, int]:
        if self.ndim == len(shape) + 1:
            shape = (*shape, 1)
        elif self.ndim == len(shape) - 1 and shape[-1] == 1:
            shape = shape[:-1]
        return shape, len(shape)


def over_time(spec: InputSpec | None) -> InputSpec | None:
    """Return what one step's demands are for a sequence, whose second axis is time."""
    if spec is None:
        return None
    ranks = (spec.ndim, spec.max_ndim, spec.min_ndim)
    ndim, max_ndim, min_ndim = (None if rank is None else rank + 1 for rank in ranks)
    sizes = dict(enumerate(spec.shape or ())) | spec.axes
    axes = {axis + 1 if axis > 0 else axis: size for axis, size in sizes.items()}
    return InputSpec(ndim=ndim, max_ndim=max_ndim, min_ndim=min_ndim, axes=axes)


def check_axes(layer: Any, axes: Sequence[int], shape: Shape) -> None:
    """Raise ValueError unless the axes are different ones of the shape."""
    rank = len(shape)
    positions = {axis % rank for axis in axes} if rank else set()
    if len(positions) != len(axes) or not all(-rank <= axis < rank for axis in axes):
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}): `axis` must name different axes of "
            f"the input; got axis={list(axes)} for an input of shape {tuple(shape)}."
        )
