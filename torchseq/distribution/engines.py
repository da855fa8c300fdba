"""What averages gradients over the processes: torch's DistributedDataParallel, or its FSDP2."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from torchseq.base import pieces
from torchseq.base.optional import late

Compute = Callable[[], Any]

# torch 2.13 warns of the older name.
_OPTIONS = inspect.signature(DistributedDataParallel.__init__).parameters
_SYNC_BUFFERS = (
    "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers"
)


class Forward(nn.Module):
    """A model whose forward pass is a function that is handed in.

    So the loss is the output: what layers leave on the model's output stays there, and penalties
    on weights are computed while the weights are whole.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, compute: Compute) -> Any:
        """Return what the function returns."""
        return compute()


class Replicas:
    """Averages the gradients of a model that each process has whole.

    Args:
        model: built, with weights to train, which are the same in all processes.
    """

    def __init__(self, model: nn.Module):
        self._forward = Forward(model)
        self._trained = trained_of(model)
        self._engine: Any = None

    def _wrapped(self, loss: Tensor) -> DistributedDataParallel:
        device = self._trained[0].device
        used = _leaves_of(loss)
        options: dict[str, Any] = {_SYNC_BUFFERS: False}  # they are made equal once an epoch
        return DistributedDataParallel(
            self._forward,
            device_ids=[device.index] if device.type == "cuda" else None,
            # To look for weights that the loss does not depend on takes time in each step.
            find_unused_parameters=any(id(param) not in used for param in self._trained),
            gradient_as_bucket_view=True,
            init_sync=False,
            **options,
        )

    def is_of(self, model: nn.Module) -> bool:
        """Tell whether the model still trains the same weights."""
        trained = trained_of(model)
        return len(trained) == len(self._trained) and all(
            one is other for one, other in zip(trained, self._trained, strict=True)
        )

    def loss(self, compute: Compute) -> Tensor:
        """Return what a function of the model computes, to be differentiated."""
        if self._engine is None:
            first = compute()
            self._engine = self._wrapped(first)
            return self._engine(lambda: first)  # type: ignore[no-any-return]
        return self._engine(compute)  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients and average them."""
        loss.backward()

    def step(self, optimizer: Any) -> None:
        """Update the weights."""
        optimizer.step()


def _leaves_of(loss: Tensor) -> set[int]:
    """Return the ids of the parameters that a loss depends on."""
    found: set[int] = set()
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [inner for inner, _ in node.next_functions]
    return found


class Shards:
    """Averages the gradients of a model of whose weights each process keeps a part.

    Args:
        model: built; cut from now on.
        mesh: torch's mesh of the processes.
        axis_of: parameter's name -> the axis of it to cut.
    """

    def __init__(self, model: nn.Module, mesh: Any, axis_of: Callable[[str], int]):
        make_equal(model)
        names = {id(param): name for name, param in model.named_parameters()}
        shard = late("torch.distributed.tensor").Shard

        def placement(param: nn.Parameter) -> Any:
            axis = axis_of(names[id(param)])
            # FSDP2 cuts no other axis than the first into uneven parts.
            is_even = axis < param.ndim and param.shape[axis] % mesh.size() == 0
            return shard(axis if is_even else 0)

        forward = Forward(model)
        self._engine: Any = late("torch.distributed.fsdp").fully_shard(
            forward, mesh=mesh, reshard_after_forward=True, shard_placement_fn=placement
        )
        with _plain_attributes(model), torch.no_grad():
            self._engine(lambda: None)  # torch looks its parameters up by name in the first pass

    def is_of(self, model: nn.Module) -> bool:
        """Tell whether it can train the model."""
        return True

    def loss(self, compute: Compute) -> Any:
        """Return what a function of the model computes, with whole weights."""
        return self._engine(compute)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients; each process gets its part of their average."""
        loss.backward()

    @torch.no_grad()
    def step(self, optimizer: Any) -> None:
        """Update this process's part of the weights."""
        if not hasattr(optimizer, "step_from"):  # torch's own, which know of parts
            optimizer.step()
            return
        _check_optimizer(optimizer)
        slots = {name: _parts(tensors) for name, tensors in optimizer._slots.items()}
        own = optimizer.over(_parts(optimizer._params), slots)
        grads = _parts([param.grad for param in optimizer._params])
        own.step_from(grads, optimizer.step_numbers())
        optimizer.count_step()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let the model be called inside the `with` block."""
        self._engine.unshard()
        try:
            yield
        finally:
            self._engine.reshard()

    @contextmanager
    def whole_state(self, optimizer: Any) -> Iterator[None]:
        """Let model and optimizer have copies of their whole state inside the `with` block."""
        variables = [] if optimizer is None else optimizer.variables
        holders = [
            *(part._parameters for part in self._engine.modules()),
            *(vars(variable._owner) for variable in variables if "tensor" in vars(variable._owner)),
        ]
        cut = [
            (holder, name, value)
            for holder in holders
            for name, value in holder.items()
            if pieces.is_piece(value)
        ]
        for holder, name, value in cut:
            copy = pieces.whole(value.detach())
            is_trained = isinstance(value, nn.Parameter)
            holder[name] = nn.Parameter(copy, value.requires_grad) if is_trained else copy
        try:
            yield
        finally:
            for holder, name, value in cut:
                holder[name] = value


def _parts(tensors: list[Any]) -> list[Any]:
    return [None if tensor is None else tensor.to_local() for tensor in tensors]


def _check_optimizer(optimizer: Any) -> None:
    """Raise unless a part of a weight can be updated without the others."""
    reasons = {
        "its formula looks at whole weights": not optimizer.is_elementwise,
        "of `clipnorm`, a norm of whole weights": optimizer.clipnorm,
        "of `global_clipnorm`, a norm of whole weights": optimizer.global_clipnorm,
        "of `use_ema`": optimizer.use_ema,
        "of constraints on whole weights": optimizer._constrained,
    }
    found = [reason for reason, is_so in reasons.items() if is_so]
    if found:
        raise ValueError(
            f"{type(optimizer).__name__}: with ModelParallel, an optimizer must update each entry "
            f"of a weight by itself; this one cannot, because {found[0]}. Use "
            "`set_distribution(DataParallel())`, or an optimizer of torch.optim."
        )


@contextmanager
def _plain_attributes(model: nn.Module) -> Iterator[None]:
    """Let `layer.kernel` be the parameter of that name, not the variable that shows it."""
    hidden = [
        (part, name, part.__dict__.pop(name))
        for part in model.modules()
        for name in part._parameters
        if name in part.__dict__
    ]
    try:
        yield
    finally:
        for part, name, variable in hidden:
            part.__dict__[name] = variable


class Averages:
    """Averages gradients one by one, for models that write their own training step.

    Args:
        model: built; its weights are the same in all processes.
    """

    def __init__(self, model: nn.Module):
        self._trained = list(model.parameters())
        self._share: float | None = None
        for param in self._trained:
            if param.requires_grad:
                param.register_hook(self._averaged)

    def is_of(self, model: nn.Module) -> bool:
        """Tell whether the model still has the same weights."""
        own = list(model.parameters())
        return len(own) == len(self._trained) and all(
            one is other for one, other in zip(own, self._trained, strict=True)
        )

    @contextmanager
    def weighted(self, share: float) -> Iterator[None]:
        """Average, with this factor of ours, what is computed inside the `with` block."""
        self._share = share
        try:
            yield
        finally:
            self._share = None

    def _averaged(self, grad: Tensor) -> Tensor | None:
        if self._share is None:
            return None
        own = grad.detach() * (self._share / distributed.get_world_size())
        own = own.contiguous()
        distributed.all_reduce(own)
        return own


def trained_of(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that get a gradient."""
    return [param for param in model.parameters() if param.requires_grad]


@torch.no_grad()
def make_equal(model: nn.Module, parameters: bool = True) -> None:
    """Give all processes the first one's buffers, and its parameters."""
    tensors: Iterable[Tensor] = model.buffers()
    if parameters:
        tensors = [*tensors, *model.parameters()]
    for tensor in tensors:
        whole = tensor.detach().contiguous()
        distributed.broadcast(whole, src=0)
        if whole.data_ptr() != tensor.data_ptr():
            tensor.detach().copy_(whole)
