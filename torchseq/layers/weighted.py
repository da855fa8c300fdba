"""A module that has weights as Keras shows them, and losses of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchseq import activations, constraints, initializers, regularizers
from torchseq.base import arguments, dtypes, naming, settings
from torchseq.base.types import Identifier, Shape
from torchseq.base.variable import Conversion, Variable, check_values
from torchseq.layers import scopes, tree

# What an argument's last word says about it.
_LOOKUPS = {
    "activation": activations.get,
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}


class Weighted(nn.Module):
    """The part of `Layer` that declares, lists and assigns weights, and keeps losses."""

    name: str
    built: bool
    _is_complete: bool
    _is_building: bool
    variable_dtype: Any  # a property of Layer
    activity_regularizer: Any = None

    def __init__(self, trainable: bool):
        super().__init__()
        self._trainable = trainable
        self._variables: list[Variable] = []
        self._losses: list[Tensor] = []

    def resolve(self, **identifiers: Any) -> None:
        """Keep arguments as attributes, with the object for each name or config.

        Args:
            **identifiers: argument -> name, config or callable; the argument's name ends in what
                it is, as `kernel_initializer` does.

        Raises:
            ValueError: if a name is not known; the error names layer and argument.
            TypeError: if a value can be no such object.
        """
        for name, identifier in identifiers.items():
            lookup = _LOOKUPS[name.rpartition("_")[2]]
            setattr(
                self, name, arguments.looked_up(self._name_in_errors(), name, lookup, identifier)
            )

    def _name_in_errors(self) -> str:
        """Return the name that errors give the layer."""
        return type(self).__name__

    # --- Making weights ------------------------------------------------------------------------

    def add_weight(
        self,
        shape: Shape | None = None,
        initializer: Identifier = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Identifier = None,
        constraint: Identifier = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Make a weight of this layer: a parameter if `trainable`, else a buffer.

        Args:
            shape: tuple of sizes; () by default.
            initializer: glorot_uniform for floats, zeros for integers, by default.
            dtype: the layer's variable dtype by default.
            trainable: whether it is updated in training.
            autocast: read it in the compute dtype, where a mixed policy has another one.
            regularizer: penalty on it.
            constraint: projection applied after each update.
            aggregation: accepted for Keras's sake.
            overwrite_with_gradient: accepted for Keras's sake.
            name: its key in `state_dict`, and the last part of its path.

        Raises:
            ValueError: once the layer is built.
        """
        if self._is_complete:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): weights must be made in __init__ or "
                f"in build; add_weight(name={name!r}) came later, when the layer was built."
            )
        shape = _as_shape(shape)
        torch_dtype = dtypes.torch_dtype(dtype or self.variable_dtype)
        if initializer is None:
            initializer = "glorot_uniform" if torch_dtype.is_floating_point else "zeros"
        key = tree.free_key(self, name or "variable")
        empty = torch.empty(shape, dtype=torch_dtype, device=settings.device())
        if trainable and torch_dtype.is_floating_point:
            self.register_parameter(key, nn.Parameter(empty))
        else:
            self.register_buffer(key, empty)
        with self._weight_scope():
            variable = Variable.over(self, key, name or key)
        variable.autocast = autocast
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        return self._declare(variable, initializers.get(initializer))

    def expose(
        self,
        name: str,
        owner: nn.Module,
        attribute: str,
        *,
        axes: tuple[int, ...] | None = None,
        to_keras: Conversion | None = None,
        to_torch: Conversion | None = None,
        options: str | None = None,
    ) -> Variable:
        """Declare the parameter `owner.attribute` to be the weight that Keras calls `name`.

        It gets the value of the layer's `<name>_initializer`, and its `_regularizer` and
        `_constraint`. From here on `layer.<name>` is a `Variable` over it.

        Args:
            name: Keras's name, such as `"kernel"`.
            owner: the torch module that has the parameter or buffer.
            attribute: its name there.
            axes: the torch tensor's axes in Keras's order, where these differ.
            to_keras: conversion from torch's layout, where moving axes does not do it.
            to_torch: the inverse of `to_keras`.
            options: what the layer's options for the weight begin with, if not with `name`.
        """
        options = options or name
        with self._weight_scope():
            variable = Variable.over(owner, attribute, name, axes, to_keras, to_torch)
        variable.regularizer = getattr(self, f"{options}_regularizer", None)
        variable.constraint = getattr(self, f"{options}_constraint", None)
        object.__setattr__(self, name, variable)
        initializer = getattr(self, f"{options}_initializer", None)
        if initializer is None and hasattr(self, f"{options}_initializer"):
            initializer = initializers.get("glorot_uniform")  # as in add_weight, for a bias too
        return self._declare(variable, initializer)

    def _weight_scope(self) -> AbstractContextManager[None]:
        """Return the name scope for weights; `build` has opened it already."""
        return nullcontext() if self._is_building else naming.scope(self.name)

    def _declare(self, variable: Variable, initializer: Any) -> Variable:
        if initializer is not None and variable.tensor.device.type != "meta":
            variable.assign(initializer(variable.shape, dtype=variable.dtype))
        if not self._trainable:
            variable.trainable = False
        if variable.regularizer is not None:
            scopes.losses_in_use[0] = True
        self._variables.append(variable)
        return variable

    def torch_module(self, factory: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> Any:
        """Make a torch module in the layer's dtype and leave its weights to the initializers.

        torch's own initialization would cost time and draw from torch's random stream.
        """
        dtype = dtypes.torch_dtype(self.variable_dtype)
        module = factory(*args, **kwargs, device="meta", dtype=dtype)
        return (
            module
            if settings.device().type == "meta"
            else module.to_empty(device=settings.device())
        )

    # --- Weights -------------------------------------------------------------------------------

    @property
    def weights(self) -> list[Variable]:
        """All weights in Keras's order: own trainable ones, own others, then the sublayers'."""
        return tree.collect(self, Weighted)

    variables = weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training updates."""
        return [weight for weight in self.weights if weight.trainable] if self._trainable else []

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone."""
        if not self._trainable:
            return self.weights
        return [weight for weight in self.weights if not weight.trainable]

    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether the weights are updated in training; setting it sets the sublayers' too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable in self._variables:
            variable.trainable = bool(value)
        tree.set_trainable_below(self, Weighted, bool(value))

    def count_params(self) -> int:
        """Return the number of entries in all weights.

        Raises:
            ValueError: if the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} ({self._name_in_errors()}): it must be built before its "
                "parameters can be counted. Call it on data, or `build(input_shape)`."
            )
        return sum(int(np.prod(weight.shape)) for weight in self.weights)

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Return the weights as arrays, in Keras's order and layout."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign arrays in the order and layout of `get_weights`.

        Raises:
            ValueError: if their number or a shape differs; nothing is changed then.
        """
        own = self.weights
        owner = f"Layer {self.name!r} ({self._name_in_errors()})"
        check_values(owner, f"one array per weight, {len(own)}", own, weights)
        for weight, value in zip(own, weights, strict=True):
            weight.assign(value)

    # --- Losses --------------------------------------------------------------------------------

    def add_loss(self, loss: Any) -> None:
        """Add a scalar tensor (or several) to what training minimizes, for the current call."""
        scopes.losses_in_use[0] = True
        self._losses.extend(loss if isinstance(loss, list | tuple) else [loss])

    @property
    def collects_losses(self) -> bool:
        """Whether any layer of the process ever had a loss; if not, `losses` is empty."""
        return scopes.losses_in_use[0]

    @property
    def losses(self) -> list[Tensor]:
        """Losses added in the last call, then the penalties on trainable weights."""
        added = [loss for layer in self._layers_within() for loss in layer._losses]
        return added + [
            weight.regularizer(weight.value)
            for weight in self.trainable_weights
            if weight.regularizer is not None
        ]

    def _add_activity_loss(self, outputs: Any) -> None:
        for output in outputs if isinstance(outputs, list | tuple) else [outputs]:
            self.add_loss(self.activity_regularizer(output) / output.shape[0])

    def _clear_losses(self) -> None:
        for layer in self._layers_within():
            layer._losses.clear()

    def _layers_within(self) -> Iterator[Weighted]:
        return (module for module in self.modules() if isinstance(module, Weighted))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_losses": []}  # tensors of a graph can be neither copied nor kept


def adopt(module: nn.Module, name: str, variable: Variable) -> None:
    """Make the tensor of a variable that no module owns a parameter or buffer of `module`."""
    if isinstance(variable._owner, nn.Module):
        return
    tensor = variable.tensor
    if isinstance(tensor, nn.Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)
    variable._owner, variable._attribute = module, name


def _as_shape(shape: Any) -> tuple[int, ...]:
    if shape is None:
        return ()
    return (int(shape),) if arguments.is_integer(shape) else tuple(shape)
