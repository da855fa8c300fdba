"""Training in several processes: which devices there are, and how models and data are spread."""

from torchseq.distribution.devices import get_device_count, initialize, list_devices
from torchseq.distribution.meshes import DeviceMesh, LayoutMap, TensorLayout, distribute_tensor
from torchseq.distribution.strategies import (
    DataParallel,
    ModelParallel,
    distribution,
    set_distribution,
)

__all__ = [
    "DataParallel",
    "DeviceMesh",
    "LayoutMap",
    "ModelParallel",
    "TensorLayout",
    "distribute_tensor",
    "distribution",
    "get_device_count",
    "initialize",
    "list_devices",
    "set_distribution",
]
