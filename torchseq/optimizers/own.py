"""What optimizers that users wrote for Keras 3 call and define: variables and steps by weight."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import naming, registry, settings
from torchseq.base.variable import Variable, as_tensor
from torchseq.optimizers import gradients, state
from torchseq.optimizers.slots import Stateful


class UserWritten(Stateful):
    """The part of `Optimizer` for subclasses that have `build` and `update_step`, as in Keras.

    Source: keras.optimizers.Optimizer. Values and gradients are in Keras's layout.
    """

    _is_by_weight = False  # the nearest class with `update` or `update_step` has the second
    _heeds_found_inf = False  # `update` leaves weights and state alone where `_found_inf` is 1
    _is_inner = False  # of a LossScaleOptimizer
    _found_inf: Tensor | None = None  # set by LossScaleOptimizer while it steps

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for base in cls.__mro__:
            if "update" in vars(base) or "update_step" in vars(base):
                cls._is_by_weight = "update" not in vars(base)
                break
        if "update" in vars(cls) and "_heeds_found_inf" not in vars(cls):
            cls._heeds_found_inf = False
        if "build" in vars(cls):
            cls.build = _once(cls.build)  # type: ignore[method-assign]

    # --- Variables -----------------------------------------------------------------------------

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a variable that belongs to the state.

        Args:
            shape: sizes.
            initializer: name, config, class, object or callable `(shape, dtype) -> tensor`.
            dtype: dtype name; floatx by default.
            aggregation: accepted for Keras's sake.
            layout: accepted for Keras's sake.
            name: unique by default.
        """
        values = _initial_values(initializer, tuple(shape), dtype or settings.floatx())
        return self._add_own(as_tensor(values, dtype), name or naming.auto_name("Variable"), None)

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """Make a variable of a weight's shape, dtype and device that belongs to the state.

        Args:
            reference_variable: the weight, or its torch parameter.
            name: end of the variable's name, after the weight's path; `"var"` by default.
            initializer: as in `add_variable`.
        """
        weight = state.as_variable(reference_variable)
        values = as_tensor(_initial_values(initializer, weight.shape, weight.dtype))
        tensor = values.to(weight.tensor, copy=True)
        return self._add_own(tensor, f"{weight.path.replace('/', '_')}_{name or 'var'}", weight)

    def add_optimizer_variables(
        self, trainable_variables: Iterable[Any], name: Any, initializer: Any = "zeros"
    ) -> Any:
        """Make a variable for each weight, or several.

        Args:
            trainable_variables: the weights.
            name: as in `add_variable_from_reference`, or a list of such.
            initializer: one for all names, or a list of as many.

        Returns:
            A list with one variable per weight; for a list of names a tuple of such lists.

        Raises:
            ValueError: if there are not as many initializers as names.
        """
        names = [name] if isinstance(name, str) else list(name)
        several = isinstance(initializer, list | tuple)
        initializers = list(initializer) if several else [initializer] * len(names)
        if len(names) != len(initializers):
            raise ValueError(
                f"{type(self).__name__}: there must be one initializer, or one per name; got "
                f"name={name!r}, initializer={initializer!r}."
            )
        made: tuple[list[Variable], ...] = tuple([] for _ in names)
        for weight in trainable_variables:
            for variables, one, values in zip(made, names, initializers, strict=True):
                variables.append(self.add_variable_from_reference(weight, one, values))
        return made[0] if isinstance(name, str) else made

    def _add_own(self, tensor: Tensor, name: str, weight: Variable | None) -> Variable:
        variable = Variable.over(state.Slot(tensor.detach()), "tensor", name)
        variable.path = f"{self.name}/{name}"
        self._own.append((variable, weight))
        self._variables.append(variable)
        return variable

    def assign(self, variable: Any, value: Any) -> None:
        """Replace a variable's values."""
        state.as_variable(variable).assign(value)

    def assign_add(self, variable: Any, value: Any) -> None:
        """Add to a variable's values."""
        state.as_variable(variable).assign_add(value)

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtract from a variable's values."""
        state.as_variable(variable).assign_sub(value)

    def _get_variable_index(self, variable: Any) -> int:
        """Return the place of a weight in the order of `build`."""
        tensor = state.as_variable(variable).tensor
        for index, param in enumerate(self._params):
            if param is tensor:
                return index
        raise self._only_these(1)

    # --- Steps ---------------------------------------------------------------------------------

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update parameters and state in place: `update(params, grads, slots, *numbers)`.

        Args:
            *args: parameters that have a gradient, as a list; their gradients, clipped, in the
                parameters' layout; the state of these parameters, name -> list; then what
                `numbers` returns, which is the learning rate unless a class overrides it.
            **kwargs: none.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: an optimizer must have `update`, or `update_step` as in Keras."
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one weight, and its state, in place.

        Args:
            gradient: in Keras's layout, clipped.
            variable: the weight.
            learning_rate: of this step; a number or a tensor.
        """
        index = self._get_variable_index(variable)
        grad = gradients.like(self._weights[index], as_tensor(gradient))
        slots = {name: [tensors[index]] for name, tensors in self._slots.items()}
        with torch.no_grad():
            param = self._params[index]
            numbers = self.numbers(float(learning_rate), param.dtype)
            self.update([param], [grad], slots, *numbers)

    def numbers(self, learning_rate: float, dtype: torch.dtype) -> tuple[float, ...]:
        """Return what `update` gets beside the tensors, computed on the host.

        Args:
            learning_rate: of this step; by default it is all that `update` gets.
            dtype: of the weights.
        """
        return (learning_rate,)

    def _update_by_weight(
        self, params: list[Tensor], grads: list[Tensor], learning_rate: float
    ) -> None:
        rate = torch.tensor(learning_rate, dtype=torch.float32)  # on the host: nothing waits for it
        for weight, grad in zip(self._weights_of(params), grads, strict=True):
            self.update_step(weight.in_keras_layout(grad), weight, rate)

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Update the weights from gradients."""
        raise NotImplementedError

    @torch.no_grad()
    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Iterable[Any],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return what `apply` would make of these values, and leave weights and state as they are.

        Args:
            optimizer_variables: values for `variables`.
            grads: one per weight.
            trainable_variables: values for the weights that it was built with.

        Returns:
            The new values of the weights, and of `variables`.

        Raises:
            ValueError: if it is not built, or a number differs.
        """
        given = [*trainable_variables, *optimizer_variables]
        held = [*self._weights, *self.variables]
        if not self.built:
            raise ValueError(
                f"{type(self).__name__}: stateless_apply needs a built optimizer; call "
                "`build(model.trainable_weights)` first."
            )
        if len(trainable_variables) != len(self._weights) or len(given) != len(held):
            raise ValueError(
                f"{type(self).__name__}: stateless_apply needs {len(self.variables)} values of the "
                f"optimizer and {len(self._weights)} of weights; got {len(optimizer_variables)} "
                f"and {len(trainable_variables)}."
            )
        before = [variable.value.clone() for variable in held]
        try:
            for variable, value in zip(held, given, strict=True):
                variable.assign(value)
            self.apply(grads)
            after = [variable.value.clone() for variable in held]
        finally:
            for variable, value in zip(held, before, strict=True):
                variable.assign(value)
        return after[: len(self._weights)], after[len(self._weights) :]


def _once(build: Callable[..., None]) -> Callable[..., None]:
    """Return a user's `build` that runs only once, as in Keras; then weights are followed."""

    @functools.wraps(build)
    def build_once(self: UserWritten, variables: Sequence[Any]) -> None:
        if self.built:
            Stateful.build(self, variables)
        else:
            build(self, variables)

    return build_once


def _initial_values(initializer: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    if isinstance(initializer, str):
        initializer = registry.find(initializer, "keras.initializers")
    elif isinstance(initializer, Mapping):
        initializer = registry.deserialize(initializer)
    if inspect.isclass(initializer):
        initializer = initializer()
    return initializer(shape, dtype=dtype)
