"""The state of an optimizer: which tensors it keeps for which weights, and as variables."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchseq.base import dtypes, settings
from torchseq.base.variable import Variable, check_values
from torchseq.optimizers import state
from torchseq.optimizers.rate import Rated

if TYPE_CHECKING:
    from typing_extensions import Self

Slots: TypeAlias = dict[str, list[Tensor]]
"""Name of a state -> one tensor per weight, in torch's layout."""


class Stateful(Rated):
    """The part of `Optimizer` that makes, keeps and shows the state.

    `_weights`, `_params` and each list in `_slots` have one entry per weight, in one order. Tensors
    stay the same objects from step to step.
    """

    use_ema: bool

    def _start_empty(self) -> None:
        self.built = False
        self._weights: list[Variable] = []
        self._params: list[Tensor] = []
        self._slots: Slots = {}
        self._numbers: dict[str, Variable] = {}
        self._own: list[tuple[Variable, Variable | None]] = []  # of a user's class, with the weight
        path = f"{self.name}/iteration"
        self._iterations = state.host_variable(0, torch.int32, path)
        self._variables: list[Variable] = [self._iterations]

    @property
    def variables(self) -> list[Variable]:
        """Step count, learning rate, then the state, in Keras's order and layout."""
        return self._variables[:]

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state for these weights (variables or parameters).

        Later calls add state for weights that are new, such as those of a layer that was frozen,
        keep what is there, and let it follow weights that went to another device or dtype. Which
        weights have a constraint is looked up in each call.

        Raises:
            ValueError: if weights are new and a user's class made variables for the others.
        """
        weights = [state.as_variable(weight) for weight in variables]
        known = {id(param) for param in self._params}
        if not self.built or any(id(weight.tensor) not in known for weight in weights):
            if self.built and self._own:
                raise self._only_these(sum(id(weight.tensor) not in known for weight in weights))
            given = {id(weight.tensor) for weight in weights}
            others = [weight for weight in self._weights if id(weight.tensor) not in given]
            self._make_state([*weights, *others])
        self._follow_weights()

    def _weights_of(self, params: list[Tensor]) -> list[Variable]:
        """Return the weights over parameters that it was built with."""
        if params is self._params:
            return self._weights
        weights = {id(weight.tensor): weight for weight in self._weights}
        return [weights[id(param)] for param in params]

    def _only_these(self, num_others: int) -> ValueError:
        return ValueError(
            f"{type(self).__name__}: it can update only the weights that it was built with; "
            f"{num_others} others came. Make a new optimizer for them."
        )

    def _tensors(self) -> list[Tensor]:
        """Return all tensors that a step may change."""
        of_users = [variable.tensor for variable, _ in self._own]
        return [*self._params, *(t for slots in self._slots.values() for t in slots), *of_users]

    def _follow_weights(self) -> None:
        for tensors in self._slots.values():
            for tensor, param in zip(tensors, self._params, strict=True):
                _follow(tensor, param)
        for variable, weight in self._own:
            if weight is not None:
                _follow(variable.tensor, weight.tensor)

    def _make_state(self, weights: list[Variable]) -> None:
        """Make the state for these weights anew, with the values that are there already."""
        indices = {id(param): index for index, param in enumerate(self._params)}
        before = self._slots
        self._variables = self._variables[: 2 if isinstance(self._learning_rate, Variable) else 1]
        self._slots = {}
        self._weights = weights
        self._params = [weight.tensor for weight in weights]
        if self.use_ema:
            self.add_slots("average")
        if self.gradient_accumulation_steps:
            self.add_slots("gradient_accumulator")
        self.build_slots()
        if self.use_ema and self._count():
            torch._foreach_copy_(self._slots["average"], [param.detach() for param in self._params])
        for index, param in enumerate(self._params):
            for name, tensors in before.items() if id(param) in indices else ():
                self._slots[name][index].copy_(tensors[indices[id(param)]])
        self.built = True

    def build_slots(self) -> None:
        """Make the state; an optimizer with state writes it, by `add_slots`."""

    def add_slots(self, *names: str, value: float = 0.0) -> None:
        """Make tensors like the weights under these names, alternating per weight.

        Args:
            *names: such as `"momentum"`; the keys of `slots` in `update`.
            value: what they start from.
        """
        for weight in self._weights:
            for name in names:
                self.add_slot(weight, name, torch.full_like(weight.tensor.detach(), value))
        for name in names:
            self._slots.setdefault(name, [])  # if there are no weights

    def add_slot(
        self, weight: Variable, name: str, tensor: Tensor | None, path: str | None = None
    ) -> None:
        """Keep one tensor for the weight; a name needs one call per weight, in their order.

        Args:
            weight: the weight.
            name: the key of `slots` in `update`.
            tensor: of the parameter's shape and layout; with `path`, of any shape, in Keras's
                layout; None keeps an empty one, and shows none in `variables`.
            path: of the variable; from the weight's path and `name` by default.
        """
        tensors = self._slots.setdefault(name, [])
        if tensor is None:
            tensors.append(weight.tensor.detach().new_empty(0))
            return
        tensors.append(tensor)
        slot = state.Slot(tensor)
        if path is None:
            path = f"{self.name}/{weight.path.replace('/', '_')}_{name}"
            variable = Variable.over(
                slot, "tensor", path, weight._axes, weight._to_keras, weight._to_torch
            )
        else:
            variable = Variable.over(slot, "tensor", path)
        variable.name, variable.path = path.rpartition("/")[2], path
        self._variables.append(variable)

    def add_number(
        self, name: str, value: float, dtype: torch.dtype | None = None, path: str | None = None
    ) -> Variable:
        """Keep a number on the host among `variables`; `state.number_of` and `set_number` use it.

        Args:
            name: by which it goes on when the state is made anew for more weights.
            value: what it starts from.
            dtype: floatx by default.
            path: of the variable; from the optimizer's name and `name` by default.
        """
        if name not in self._numbers:
            dtype = dtype or dtypes.torch_dtype(settings.floatx())
            path = path or f"{self.name}/{name}"
            self._numbers[name] = state.host_variable(value, dtype, path)
        self._variables.append(self._numbers[name])
        return self._numbers[name]

    # --- Several models ------------------------------------------------------------------------

    def trains_others(self, variables: Iterable[Any]) -> bool:
        """Tell whether it has state for weights, and for none of these."""
        known = {id(param) for param in self._params}
        of_these = (id(state.as_variable(weight).tensor) in known for weight in variables)
        return bool(known) and not any(of_these)

    def twin(self) -> Self:
        """Return an optimizer for other weights: with no state yet, and the same learning rate.

        So one object can be compiled into several models. Setting the rate sets it for all.
        """
        other = copy.copy(self)
        other._start_empty()
        if isinstance(self._learning_rate, Variable):
            other._variables.append(self._learning_rate)
        return other

    # --- Values of the state -------------------------------------------------------------------

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign the state, in the order and layout of `variables`.

        Raises:
            ValueError: if their number or a shape differs; nothing is changed then.
        """
        variables = self.variables
        needed = f"{len(variables)} arrays, as `variables` has"
        check_values(type(self).__name__, needed, variables, weights)
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)

    def save_own_variables(self, store: Any) -> None:
        """Put the values of `variables` into a mapping, under "0", "1", ..."""
        for index, variable in enumerate(self.variables):
            store[str(index)] = np.asarray(variable)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Assign what `save_own_variables` put into a mapping.

        If their number differs, it warns, as Keras does, and changes nothing.

        Raises:
            ValueError: if a shape differs; nothing is changed then.
        """
        num_saved = len(store.keys())
        if num_saved != len(self.variables):
            warnings.warn(
                f"{type(self).__name__}: load_own_variables needs as many values as `variables` "
                f"has, {len(self.variables)}; got {num_saved}. The state was left as it is. Build "
                "the optimizer for the weights that it was saved with.",
                stacklevel=2,
            )
            return
        self.set_weights([np.asarray(store[str(index)]) for index in range(num_saved)])


def _follow(tensor: Tensor, param: Tensor) -> None:
    if tensor.device != param.device or tensor.dtype is not param.dtype:
        tensor.data = tensor.to(param)
