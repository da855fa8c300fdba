"""How a model and its data are spread over the processes of a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torchseq.base import process
from torchseq.distribution.devices import list_devices
from torchseq.distribution.meshes import DeviceMesh, LayoutMap, TensorLayout

_BATCH = "batch"

_chosen: list[Any] = [None]


class Distribution:
    """Base of the ways to spread a model.

    Args:
        device_mesh: the devices.
        batch_dim_name: the axis of the mesh along which batches are split.
        auto_shard_dataset: split the data; False if each process is given data of its own.

    Source: keras.src.distribution.distribution_lib.Distribution.
    """

    def __init__(
        self,
        device_mesh: DeviceMesh,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
    ):
        self.device_mesh = device_mesh
        self.batch_dim_name = batch_dim_name or device_mesh.axis_names[0]
        self.auto_shard_dataset = auto_shard_dataset

    @property
    def num_processes(self) -> int:
        """How many processes the job has."""
        return max(process.num_launched(), process.count())

    @property
    def num_model_replicas(self) -> int:
        """How many copies of the model there are along the batch's axis."""
        return self.device_mesh.shape[self.device_mesh.axis_names.index(self.batch_dim_name)]

    @property
    def data_shard_id(self) -> int:
        """Which part of each batch is this process's."""
        return process.index()

    def get_data_layout(self, data_shape: Sequence[int]) -> TensorLayout:
        """Return the layout of inputs: split along the first axis."""
        axes = [self.batch_dim_name, *[None] * (len(data_shape) - 1)]
        return TensorLayout(axes, self.device_mesh)

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """Return a weight's layout."""
        return TensorLayout([None] * len(variable.shape), self.device_mesh)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """Return the layout of a tensor between layers; None: as it comes."""
        return None

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Let this be the chosen distribution inside the `with` block."""
        before = distribution()
        set_distribution(self)
        try:
            yield
        finally:
            set_distribution(before)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} device_mesh={self.device_mesh}>"


class DataParallel(Distribution):
    """Each process has the whole model and a part of each batch; the default under torchrun.

    `batch_size` is that of all processes together. Gradients are averaged by torch's
    DistributedDataParallel, so that all weights stay the same.

    Args:
        device_mesh: the devices, along one axis.
        devices: their names, in place of a mesh; those of `list_devices` by default.
        auto_shard_dataset: split the data over the processes; False if each process is given data
            of its own: its batches are then parts of larger ones.

    Raises:
        ValueError: if the mesh is no DeviceMesh of one axis.

    Source: keras.distribution.DataParallel. A process has one device: start one for each.
    """

    def __init__(
        self,
        device_mesh: DeviceMesh | None = None,
        devices: Sequence[str] | None = None,
        auto_shard_dataset: bool = True,
    ):
        if device_mesh is None:
            names = list_devices() if devices is None else list(devices)
            device_mesh = DeviceMesh((len(names),), [_BATCH], names)
        if not isinstance(device_mesh, DeviceMesh) or len(device_mesh.shape) != 1:
            raise ValueError(
                "DataParallel: `device_mesh` must be a DeviceMesh with one axis; got "
                f"{device_mesh!r}."
            )
        super().__init__(device_mesh, None, auto_shard_dataset)


class ModelParallel(Distribution):
    """Each process keeps a part of each weight, its gradient and its optimizer state.

    torch's FSDP2 (`fully_shard`) puts the weights together for the time of a step. Batches are
    split over all processes, so the numbers are those of `DataParallel`.

    Args:
        layout_map: which axis of a weight is cut, by its path; by default, and for weights that no
            key matches, the first one of the torch parameter.
        batch_dim_name: the axis of the mesh along which batches are split; the first by default.
        auto_shard_dataset: as of `DataParallel`.
        **kwargs: `device_mesh`, which the layout map's takes the place of.

    Raises:
        ValueError: if `layout_map` is no LayoutMap with a mesh.

    Source: keras.distribution.ModelParallel, where `layout_map` must be given, weights that it does
    not name are not cut, and batches are split along one axis of the mesh alone.
    """

    def __init__(
        self,
        *,
        layout_map: LayoutMap | None = None,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
        **kwargs: Any,
    ):
        given = kwargs.pop("device_mesh", None)
        if kwargs:
            raise TypeError(f"ModelParallel: no such options: {sorted(kwargs)}.")
        if layout_map is None:
            names = list_devices()
            layout_map = LayoutMap(given or DeviceMesh((len(names),), [_BATCH], names))
        if not isinstance(layout_map, LayoutMap) or layout_map.device_mesh is None:
            raise ValueError(
                f"ModelParallel: `layout_map` must be a LayoutMap with a mesh; got {layout_map!r}."
            )
        super().__init__(layout_map.device_mesh, batch_dim_name, auto_shard_dataset)
        self.layout_map = layout_map

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """Return what the layout map says, or that the weight is not cut."""
        return self.layout_map[variable.path] or super().get_variable_layout(variable)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """Return what the layout map says of a path."""
        return self.layout_map[path]


def distribution() -> Distribution | None:
    """Return what `set_distribution` chose; None: the default, `DataParallel` under torchrun.

    Source: keras.distribution.distribution.
    """
    return _chosen[0]  # type: ignore[no-any-return]


def set_distribution(value: Distribution | None) -> None:
    """Choose how models are spread over the processes; before `fit`.

    Args:
        value: a `DataParallel` or `ModelParallel`; None for the default.

    Raises:
        ValueError: if it is neither.

    Source: keras.distribution.set_distribution.
    """
    if value is not None and not isinstance(value, Distribution):
        raise ValueError(
            "set_distribution: the distribution must be a DataParallel, a ModelParallel or None; "
            f"got {value!r}."
        )
    _chosen[0] = value
