"""Keras's words for which device has which part of a tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh as TorchMesh
from torch.distributed.device_mesh import init_device_mesh

from torchseq.base import process
from torchseq.base.optional import late
from torchseq.distribution.devices import list_devices


class DeviceMesh:
    """Devices in a grid with named axes.

    Args:
        shape: sizes of the grid.
        axis_names: a name for each axis.
        devices: their names; those of `list_devices` by default.

    Raises:
        ValueError: if there is not a name for each axis, or not a device for each place.

    Source: keras.distribution.DeviceMesh.

    Examples:
        >>> DeviceMesh((2, 1), ["batch", "model"], ["cpu:0", "cpu:1"])
        <DeviceMesh shape=(2, 1), axis_names=['batch', 'model']>
    """

    def __init__(
        self, shape: Sequence[int], axis_names: Sequence[str], devices: Sequence[str] | None = None
    ):
        if not shape or not axis_names or len(shape) != len(axis_names):
            raise ValueError(
                "DeviceMesh: `shape` and `axis_names` must have as many entries, at least one; "
                f"got shape={shape}, axis_names={axis_names}."
            )
        found = np.array(list_devices() if devices is None else devices)
        if math.prod(shape) != found.size:
            raise ValueError(
                f"DeviceMesh: `shape` must have a place for each device; got shape={shape} for "
                f"{found.size} devices. Start one process for each device."
            )
        self.shape = tuple(shape)
        self.axis_names = list(axis_names)
        self.devices = found.reshape(self.shape)

    @property
    def backend_mesh(self) -> TorchMesh:
        """The processes as torch's mesh.

        Raises:
            ValueError: if the job has not one process for each device.
        """
        if process.count() != self.devices.size:
            raise ValueError(
                f"DeviceMesh: there must be a process for each of its {self.devices.size} devices; "
                f"there are {process.count()}. Start the script with torchrun."
            )
        kind = "cuda" if str(self.devices.flat[0]).startswith("gpu") else "cpu"
        return init_device_mesh(kind, self.shape, mesh_dim_names=tuple(self.axis_names))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shape={self.shape}, axis_names={self.axis_names}>"


class TensorLayout:
    """Which axis of a tensor lies along which axis of a mesh.

    Args:
        axes: a mesh axis's name for each axis of the tensor; None leaves it whole.
        device_mesh: the mesh.

    Raises:
        ValueError: if the mesh has no axis of a name.

    Source: keras.distribution.TensorLayout.
    """

    def __init__(self, axes: Sequence[str | None], device_mesh: DeviceMesh | None = None):
        self.axes = tuple(axes)
        self._device_mesh = device_mesh
        self._check()

    def _check(self) -> None:
        if self._device_mesh is None:
            return
        unknown = {axis for axis in self.axes if axis} - set(self._device_mesh.axis_names)
        if unknown:
            raise ValueError(
                "TensorLayout: each entry of `axes` must be None or an axis of the mesh, which has "
                f"{self._device_mesh.axis_names}; got axes={self.axes}."
            )

    @property
    def device_mesh(self) -> DeviceMesh | None:
        """The mesh; it can be set once."""
        return self._device_mesh

    @device_mesh.setter
    def device_mesh(self, value: DeviceMesh) -> None:
        if self._device_mesh is not None:
            raise ValueError(
                f"TensorLayout: the mesh can be set once; it is {self._device_mesh} already."
            )
        self._device_mesh = value
        self._check()

    @property
    def backend_layout(self) -> tuple[TorchMesh, list[Any]]:
        """The mesh of torch, and how a tensor is placed on each of its axes.

        Raises:
            ValueError: if there is no mesh.
        """
        if self._device_mesh is None:
            raise ValueError("TensorLayout: it needs a `device_mesh`; got None. Set it.")
        tensors = late("torch.distributed.tensor")
        placements = [
            tensors.Shard(self.axes.index(name)) if name in self.axes else tensors.Replicate()
            for name in self._device_mesh.axis_names
        ]
        return self._device_mesh.backend_mesh, placements

    def __repr__(self) -> str:
        return f"<{type(self).__name__} axes={self.axes}, device_mesh={self.device_mesh}>"


class LayoutMap(MutableMapping[str, Any]):
    """Layouts by regular expressions of weights' paths.

    Args:
        device_mesh: of layouts that have none.

    Raises:
        ValueError: for a key that is there already, a value that is no layout, and a path that
            several keys match.

    Source: keras.distribution.LayoutMap.

    Examples:
        >>> layouts = LayoutMap(DeviceMesh((1,), ["model"], ["cpu:0"]))
        >>> layouts[".*kernel"] = (None, "model")
        >>> layouts["dense/kernel"].axes, layouts["dense/bias"]
        ((None, 'model'), None)
    """

    def __init__(self, device_mesh: DeviceMesh | None = None):
        self.device_mesh = device_mesh
        self._layouts: dict[str, TensorLayout] = {}

    def __getitem__(self, key: str) -> TensorLayout | None:
        if key in self._layouts:
            return self._layouts[key]
        matching = [pattern for pattern in self._layouts if re.fullmatch(pattern, key)]
        if len(matching) > 1:
            raise ValueError(
                f"LayoutMap: a path must match one key at most; {key!r} matches {matching}. Make "
                "the keys exclude each other."
            )
        return self._layouts[matching[0]] if matching else None

    def __setitem__(self, key: str, layout: Any) -> None:
        if key in self._layouts:
            raise ValueError(f"LayoutMap: a key can be set once; {key!r} has a layout already.")
        if isinstance(layout, tuple):
            layout = TensorLayout(layout)
        if not isinstance(layout, TensorLayout):
            raise ValueError(
                f"LayoutMap: a value must be a TensorLayout or a tuple of axes; got {layout!r}."
            )
        if layout.device_mesh is None and self.device_mesh is not None:
            layout.device_mesh = self.device_mesh
        self._layouts[key] = layout

    def __delitem__(self, key: str) -> None:
        del self._layouts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layouts)

    def __len__(self) -> int:
        return len(self._layouts)


def distribute_tensor(tensor: Tensor, layout: TensorLayout) -> Tensor:
    """Return a tensor, which every process has whole, as torch's DTensor of a layout.

    Source: keras.distribution.distribute_tensor.
    """
    mesh, placements = layout.backend_layout
    distribute = late("torch.distributed.tensor").distribute_tensor
    return distribute(tensor, mesh, placements, src_data_rank=None)  # type: ignore[no-any-return]
