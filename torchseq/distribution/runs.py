"""What the training engine asks of several processes: parts of data, engines, whole results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from torchseq.base import process
from torchseq.data.source import Source
from torchseq.distribution import engines, strategies
from torchseq.distribution.devices import initialize
from torchseq.distribution.engines import Averages, Replicas, Shards
from torchseq.distribution.parts import PartSource, share_random_state, split


def current() -> Run | None:
    """Return what joins this process with the others of its job; None if it works alone.

    Under torchrun, the first call connects the processes.
    """
    if not process.are_joined():
        if process.num_launched() < 2 or not distributed.is_available():
            return None
        initialize()
    return _run if process.are_several() else None


def whole_weights(model: Any) -> AbstractContextManager[None]:
    """Return a context in which a model's weights can be read, and the model be called."""
    shards = getattr(model, "_shards", None)
    return nullcontext() if shards is None else shards.engine.whole()


def whole_state(model: Any) -> AbstractContextManager[None]:
    """Return a context in which a model's weights and its optimizer's state can be read."""
    shards = getattr(model, "_shards", None)
    return nullcontext() if shards is None else shards.engine.whole_state(model.optimizer)


class Held:
    """Holds an engine on a model; no part of the model, nor of its copies.

    Args:
        engine: of this model.
    """

    def __init__(self, engine: Any):
        self.engine = engine

    def __reduce__(self) -> Any:
        return (_nothing, ())


def _nothing() -> None:
    return None


class Run:
    """Joins the processes' work on models, as `set_distribution` says."""

    def begin(self) -> None:
        """Let all processes draw the first one's random numbers, as data may come from them."""
        share_random_state()

    def split(self, source: Source) -> PartSource:
        """Return the source of this process's parts of the batches."""
        chosen = strategies.distribution()
        return split(source, chosen is None or chosen.auto_shard_dataset)

    def prepare(self, model: Any, owner: str) -> None:
        """Give all processes the same weights: in each `fit`, else once; cut them if wanted."""
        chosen = strategies.distribution()
        if getattr(model, "_shards", None) is not None:
            return
        if isinstance(chosen, strategies.ModelParallel):
            model._shards = Held(_cut(model, chosen))
        elif owner == "fit" or not getattr(model, "_is_equal", False):
            engines.make_equal(model)
        if not getattr(model, "_is_equal", False):
            _vary_noise()
            model._is_equal = True

    def engine(self, model: Any) -> Replicas | Shards:
        """Return what averages the gradients of a model's own loss."""
        if getattr(model, "_shards", None) is not None:
            return model._shards.engine  # type: ignore[no-any-return]
        return _held(model, "_replicas", Replicas)  # type: ignore[no-any-return]

    def averages(self, model: Any) -> Averages:
        """Return what averages the gradients of a training step that a model writes itself."""
        if getattr(model, "_shards", None) is not None:
            raise ValueError(
                f"{type(model).__name__}: a model with a training step of its own cannot be cut; "
                "got ModelParallel. Use `set_distribution(DataParallel())`."
            )
        return _held(model, "_averages", Averages)  # type: ignore[no-any-return]

    def end_epoch(self, model: nn.Module) -> None:
        """Give all processes the first one's buffers, such as moving averages."""
        engines.make_equal(model, parameters=False)

    def outputs(self, model: Any, source: Any) -> Callable[..., Any]:
        """Return a function of our parts of inputs that returns the outputs of all processes."""
        self.prepare(model, source.owner)

        def outputs_of_all(*inputs: Tensor) -> Any:
            with whole_weights(model):
                parts = [(model._outputs_of(own), source.parts.popleft()) for own in inputs]
            return _joined([self._gathered(outputs, part) for outputs, part in parts])

        return outputs_of_all

    def _gathered(self, outputs: Any, part: Any) -> Any:
        if isinstance(outputs, Tensor):
            return process.all_rows(outputs[: part.size], part.sizes)
        if isinstance(outputs, dict):
            return {key: self._gathered(outputs[key], part) for key in outputs}
        return type(outputs)(self._gathered(output, part) for output in outputs)


_run = Run()


def _held(model: Any, name: str, make: Callable[[Any], Any]) -> Any:
    held = getattr(model, name, None)
    if held is None or not held.engine.is_of(model):
        setattr(model, name, None)  # the hooks of the old one go first
        held = Held(make(model))
        setattr(model, name, held)
    return held.engine


def _joined(outputs: list[Any]) -> Any:
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, dict):
        return {key: _joined([output[key] for output in outputs]) for key in first}
    return type(first)(_joined(list(parts)) for parts in zip(*outputs, strict=True))


def _cut(model: Any, chosen: strategies.ModelParallel) -> Shards:
    """Cut a model's weights, and let its optimizer's state follow."""
    optimizer: Any = getattr(model, "optimizer", None)
    is_built = optimizer is not None and optimizer.built
    # Copies, since these tensors may be the ones that are cut.
    values = [v.value.detach().clone() for v in optimizer.variables] if is_built else []
    axes = {id(v.tensor): _axis(chosen, v) for v in model.weights}
    by_name = {name: axes.get(id(param), 0) for name, param in model.named_parameters()}
    shards = Shards(model, chosen.device_mesh.backend_mesh, lambda name: by_name[name])
    if is_built:
        model.optimizer = optimizer.twin()
        model.optimizer.build(model.trainable_weights)
        for variable, value in zip(model.optimizer.variables, values, strict=True):
            variable.assign(value)
    return shards


def _axis(chosen: strategies.ModelParallel, variable: Any) -> int:
    """Return the axis of the torch parameter that the layout of a weight cuts."""
    cut = [index for index, axis in enumerate(chosen.get_variable_layout(variable).axes) if axis]
    if not cut or variable._to_keras is not None:
        return 0
    return cut[0] if variable._axes is None else int(variable._axes[cut[0]])


def _vary_noise() -> None:
    """Let GPUs draw different noise; what is drawn on the host may be the order of data."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.manual_seed(torch.initial_seed() + process.index())
