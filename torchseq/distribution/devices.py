"""The devices of a job, and the connection of its processes."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from torchseq.base import arguments, process

_TYPES = (None, "cpu", "gpu", "cuda")


def list_devices(device_type: str | None = None) -> list[str]:
    """Return the names of the job's devices: one for each process, or all of a single process.

    Args:
        device_type: `"gpu"` or `"cpu"`; by default GPUs if there are any.

    Raises:
        ValueError: for another type.

    Source: keras.distribution.list_devices.

    Examples:
        >>> list_devices("cpu")
        ['cpu:0']
    """
    kind = arguments.one_of("list_devices", "device_type", _lower(device_type), _TYPES)
    is_gpu = torch.cuda.is_available() if kind is None else kind != "cpu"
    if process.num_launched() > 1:
        number = process.num_launched()
    else:
        number = torch.cuda.device_count() if is_gpu else 1
    return [f"{'gpu' if is_gpu else 'cpu'}:{index}" for index in range(number)]


def get_device_count(device_type: str | None = None) -> int:
    """Return how many devices `list_devices` names.

    Source: keras.distribution.get_device_count.
    """
    return len(list_devices(device_type))


def _lower(device_type: Any) -> Any:
    return device_type.lower() if isinstance(device_type, str) else device_type


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout_seconds: float | None = None,
) -> None:
    """Connect this process with the others of its job, by gloo on CPUs and nccl on GPUs.

    Under torchrun, `fit` does it by itself; call this for another timeout, or where no launcher
    sets torchrun's environment variables. It must run in every process.

    Args:
        job_addresses: `"host:port"` of the first process, or a list of all with commas.
        num_processes: how many there are.
        process_id: which one this is, from 0.
        timeout_seconds: after which a process that hears nothing from another one ends with an
            error; torch's own by default, 30 minutes for gloo and 10 for nccl.

    Raises:
        ValueError: if a number is missing, or contradicts the others.

    Source: keras.distribution.initialize, whose environment variables (`KERAS_DISTRIBUTION_...`)
    count as well.
    """
    if not distributed.is_available() or distributed.is_initialized():
        return
    settings = _settings(job_addresses, num_processes, process_id)
    if settings is None:
        return
    os.environ.update(settings)
    _connect(timeout_seconds)


def _settings(
    addresses: str | None, num_processes: int | None, process_id: int | None
) -> Mapping[str, str] | None:
    """Return torchrun's environment variables; None where there is one process."""
    named = "KERAS_DISTRIBUTION_"
    addresses = addresses or os.environ.get(f"{named}JOB_ADDRESSES")
    number = _number(num_processes, f"{named}NUM_PROCESSES")
    index = _number(process_id, f"{named}PROCESS_ID")
    if addresses is None and number is None and index is None:
        return {} if process.num_launched() > 1 else None
    listed = [address.strip() for address in (addresses or "").split(",") if address.strip()]
    if number is None and len(listed) > 1:
        number = len(listed)
    host, _, port = (listed[0] if listed else "").rpartition(":")
    if number is None or index is None or not 0 <= index < number or not host or not port.isdigit():
        raise ValueError(
            "initialize: `job_addresses` must be 'host:port' of the first process, and "
            "`process_id` in [0, num_processes); got "
            f"job_addresses={addresses!r}, num_processes={number!r}, process_id={index!r}. Give "
            "all three, or start the script by torchrun and leave them out."
        )
    return {
        "MASTER_ADDR": host,
        "MASTER_PORT": port,
        "WORLD_SIZE": str(number),
        "RANK": str(index),
    }


def _number(given: int | None, variable: str) -> int | None:
    if given is not None:
        return int(given)
    return int(os.environ[variable]) if variable in os.environ else None


def _connect(timeout_seconds: float | None) -> None:
    options: dict[str, Any] = {}
    if timeout_seconds is not None:
        options["timeout"] = timedelta(seconds=timeout_seconds)
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(process.local_index() or 0)
        backend = "cpu:gloo,cuda:nccl"  # numbers of the host do not wait for a GPU
    store, rank, size = next(rendezvous("env://", **options))
    store = PrefixStore("torchseq", store)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, **options)
    process.set_store(PrefixStore("files", store))
    atexit.register(_disconnect)


def _disconnect() -> None:
    """End the connection before Python ends, whose threads else may abort the process."""
    process.set_store(None)
    if distributed.is_initialized():
        distributed.destroy_process_group()
