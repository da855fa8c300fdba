"""The processes of one job: who this one is, and values that one of them hands to the others.

All of it is torch.distributed's; where there is one process, nothing is asked of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

_Value = TypeVar("_Value")

_state: dict[str, Any] = {"alone": 0, "store": None}


def num_launched() -> int:
    """Return how many processes torchrun (or another launcher) has started for the job."""
    return int(os.environ.get("WORLD_SIZE", "1") or 1)


def local_index() -> int | None:
    """Return this process's number on its machine; None if no launcher says it."""
    value = os.environ.get("LOCAL_RANK")
    return int(value) if value and num_launched() > 1 else None


def are_joined() -> bool:
    """Tell whether torch.distributed connects this process with others."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def are_several() -> bool:
    """Tell whether this process works with others now, so that all of them must do the same."""
    return not _state["alone"] and are_joined()


def count() -> int:
    """Return how many processes work together now."""
    return distributed.get_world_size() if are_several() else 1


def index() -> int:
    """Return this process's number among them; the first one, 0, writes files."""
    return distributed.get_rank() if are_several() else 0


def is_first() -> bool:
    """Tell whether this process is the one that writes files and prints."""
    return index() == 0


class alone:
    """Lets this process work without the others inside the `with` block."""

    def __enter__(self) -> None:
        _state["alone"] += 1

    def __exit__(self, *error: Any) -> None:
        _state["alone"] -= 1


def from_first(make: Callable[[], _Value]) -> _Value:
    """Return what `make` returns in the first process; the others get a copy."""
    if not are_several():
        return make()
    box = [make() if is_first() else None]
    distributed.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]  # what the first one made


def values_of_all(value: _Value) -> list[_Value]:
    """Return the values of all processes, in their order."""
    if not are_several():
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def numbers_of_all(number: int) -> tuple[int, ...]:
    """Return the integers of all processes, in their order; waits for them, not for a device."""
    if not are_several():
        return (number,)
    device = "cpu" if has_host_backend() else torch.device("cuda", torch.cuda.current_device())
    numbers = torch.zeros(count(), dtype=torch.int64, device=device)
    numbers[index()] = number
    distributed.all_reduce(numbers)
    return tuple(numbers.tolist())


def has_host_backend() -> bool:
    """Tell whether tensors on the host can be sent."""
    return distributed.get_backend() != "nccl"


def all_rows(own: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return the rows of all processes, one after another, in each of them.

    Args:
        own: this process's rows.
        sizes: how many each process has; all know them.
    """
    if not are_several():
        return own
    padded = own.new_zeros((max(sizes), *own.shape[1:]))
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def set_store(store: Any) -> None:
    """Keep torch's key-value store, over which `wait_for_first` waits."""
    _state["store"] = store


def wait_for_first(event: str) -> None:
    """Let the others wait until the first process has come here as often with the same name.

    The first one does not wait for them: it may come alone, as scripts do which save a model in
    one process.
    """
    store = _state["store"]
    if store is None or not are_several():
        return
    seen: dict[str, int] = _state.setdefault("seen", {})
    seen[event] = seen.get(event, 0) + 1
    key = f"torchseq/{event}/{seen[event]}"
    if is_first():
        store.set(key, "done")
    else:
        store.wait([key])
