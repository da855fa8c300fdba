"""The names in `tensorflow` that Keras scripts print, set or ask for, answered from torch."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch

from torchseq.base import seeds

TENSORFLOW_VERSION = "2.19.0"  # scripts compare it; the release of Keras 3.15's time


class PhysicalDevice(NamedTuple):
    """A device as TensorFlow lists it."""

    name: str
    device_type: str


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """Return the CPU and the GPUs that torch sees, or only those of `device_type`.

    Examples:
        >>> list_physical_devices("CPU")
        [PhysicalDevice(name='/physical_device:CPU:0', device_type='CPU')]
    """
    return _devices("/physical_device", device_type)


def list_logical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """Return the same devices under the names that TensorFlow uses while it runs."""
    return _devices("/device", device_type)


def _devices(prefix: str, device_type: str | None) -> list[PhysicalDevice]:
    counts = {"CPU": 1, "GPU": torch.cuda.device_count()}
    return [
        PhysicalDevice(f"{prefix}:{kind}:{index}", kind)
        for kind, count in counts.items()
        if device_type in (None, kind)
        for index in range(count)
    ]


def is_gpu_available(*args: Any, **kwargs: Any) -> bool:
    """Tell whether torch can use a GPU."""
    return torch.cuda.is_available()


def gpu_device_name() -> str:
    """Return TensorFlow's name of the first GPU, `""` if there is none."""
    return "/device:GPU:0" if torch.cuda.is_available() else ""


def is_built_with_cuda() -> bool:
    """Tell whether torch was built for CUDA."""
    return torch.version.cuda is not None


def executing_eagerly() -> bool:
    """Return True: torch always runs eagerly."""
    return True


def get_logger() -> logging.Logger:
    """Return the logger named `tensorflow`, on which scripts set a level; nothing writes to it."""
    return logging.getLogger("tensorflow")


def set_verbosity(level: int | str) -> None:
    """Set the level of the logger named `tensorflow`."""
    get_logger().setLevel(level)


def do_nothing(*args: Any, **kwargs: Any) -> None:
    """Stand for a switch of TensorFlow that torch does not need."""


_DTYPE_NAMES = """
    bfloat16 bool complex64 complex128 double float16 float32 float64 half int8 int16 int32 int64
    uint8 uint16 uint32 uint64
"""
_DTYPES = {name: getattr(torch, name) for name in _DTYPE_NAMES.split()}
_LOGGING = {
    "DEBUG": logging.DEBUG,
    "ERROR": logging.ERROR,
    "FATAL": logging.FATAL,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "set_verbosity": set_verbosity,
}

# Module, without `tensorflow.` in front -> its names.
NAMESPACES: dict[str, dict[str, Any]] = {
    "": {
        **_DTYPES,
        "__version__": TENSORFLOW_VERSION,
        "executing_eagerly": executing_eagerly,
        "get_logger": get_logger,
        "set_random_seed": seeds.set_random_seed,  # TensorFlow 1
    },
    "autograph": {"set_verbosity": do_nothing},
    "compat": {},
    "compat.v1": {
        **_DTYPES,
        "__version__": TENSORFLOW_VERSION,
        "enable_eager_execution": do_nothing,
        "enable_v2_behavior": do_nothing,
        "executing_eagerly": executing_eagerly,
        "get_logger": get_logger,
        "set_random_seed": seeds.set_random_seed,
    },
    "compat.v1.logging": _LOGGING,
    "compat.v2": {},
    "config": {
        "functions_run_eagerly": executing_eagerly,
        "list_logical_devices": list_logical_devices,
        "list_physical_devices": list_physical_devices,
        "run_functions_eagerly": do_nothing,
    },
    "config.experimental": {
        "list_logical_devices": list_logical_devices,
        "list_physical_devices": list_physical_devices,
        "set_memory_growth": do_nothing,  # torch's memory grows by itself
    },
    "config.optimizer": {"set_jit": do_nothing},
    "config.threading": {
        "get_intra_op_parallelism_threads": torch.get_num_threads,
        "set_intra_op_parallelism_threads": torch.set_num_threads,
    },
    "dtypes": _DTYPES,
    "logging": _LOGGING,  # TensorFlow 1
    "python": {},
    "random": {"set_seed": seeds.set_random_seed},
    "test": {
        "gpu_device_name": gpu_device_name,
        "is_built_with_cuda": is_built_with_cuda,
        "is_gpu_available": is_gpu_available,
    },
    "version": {"VERSION": TENSORFLOW_VERSION},
}

_NO_SESSION = "torch has no sessions and takes GPU memory as it needs it. Leave the lines out."
_NO_GRAPHS = "torch has no graphs to switch to. Leave the line out."
_NO_CHOICE = (
    "torch chooses devices by the environment. Set CUDA_VISIBLE_DEVICES before Python starts; "
    'an empty one, `CUDA_VISIBLE_DEVICES=""`, means the CPU.'
)

# Name or module -> why it is not offered, and what to do. It counts for all below it.
NOT_OFFERED = {
    "ConfigProto": _NO_SESSION,
    "GPUOptions": _NO_SESSION,
    "GradientTape": "torch records by itself. Use loss.backward() or torch.autograd.grad.",
    "InteractiveSession": _NO_SESSION,
    "Session": _NO_SESSION,
    "Variable": "weights are torch's. Use torch.nn.Parameter, or add_weight in a layer.",
    "cast": "tensors are torch's. Use tensor.to(dtype).",
    "compat.v1.ConfigProto": _NO_SESSION,
    "compat.v1.GPUOptions": _NO_SESSION,
    "compat.v1.InteractiveSession": _NO_SESSION,
    "compat.v1.Session": _NO_SESSION,
    "compat.v1.disable_eager_execution": _NO_GRAPHS,
    "compat.v1.disable_v2_behavior": _NO_GRAPHS,
    "compat.v1.get_default_graph": _NO_GRAPHS,
    "compat.v1.reset_default_graph": _NO_GRAPHS,
    "config.set_visible_devices": _NO_CHOICE,
    "config.experimental.set_visible_devices": _NO_CHOICE,
    "constant": "tensors are torch's. Use torch.as_tensor.",
    "convert_to_tensor": "tensors are torch's. Use torch.as_tensor.",
    "data": "data are arrays and torch tensors. Pass them to `fit` with `batch_size`.",
    "device": "weights are made on torch's default device. Use `with torch.device(...)`.",
    "distribute": "several devices are torch's matter. Use torchrun or torch.distributed.",
    "estimator": "it is part of TensorFlow. Use model.fit.",
    "function": "torch runs eagerly. Leave the decorator out, or use torch.compile.",
    "get_default_graph": _NO_GRAPHS,
    "lite": "a model is an `nn.Module`. Use torch.onnx.export or torch.export.",
    "reset_default_graph": _NO_GRAPHS,
    "saved_model": "a model is an `nn.Module`. Use model.save, torch.onnx.export or torch.export.",
    "summary": "TensorBoard reads torch's files too. Use torch.utils.tensorboard.SummaryWriter.",
}
