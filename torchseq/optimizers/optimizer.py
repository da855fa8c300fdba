"""What all optimizers share: learning rate, state, clipping, decay, averaging, accumulation."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, naming, registry, settings
from torchseq.base.types import Config
from torchseq.base.variable import Variable, as_tensor
from torchseq.optimizers import gradients, state

Slots: TypeAlias = dict[str, list[Tensor]]
"""Name of a state -> one tensor per weight, in torch's layout."""


class Optimizer:
    """Updates weights from gradients.

    A subclass names its state in `build` by `add_slots`, and writes
    `update(params, grads, slots, learning_rate)`, which works on lists of tensors.

    Args:
        learning_rate: a number, a schedule `step -> rate`, or a callable without arguments.
        weight_decay: each step multiplies the weights by `1 - weight_decay * learning_rate`.
        clipnorm: largest norm of each gradient.
        clipvalue: largest magnitude of each gradient entry.
        global_clipnorm: largest norm of all gradients together.
        use_ema: keep a moving average of the weights, which replaces them when training ends.
        ema_momentum: weight of the old average.
        ema_overwrite_frequency: replace the weights by their average every so many steps.
        loss_scale_factor: factor by which the loss is multiplied and the gradients are divided.
        gradient_accumulation_steps: update every so many steps, from the mean gradient.
        name: in the paths of the state; from the class name by default.

    Raises:
        ValueError: for a rate that is no number, two kinds of clipping, or an unknown argument.

    Source: keras.optimizers.Optimizer. Gradients are given as in Keras (`apply`), or found on the
        parameters as in torch (`step`).
    """

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **options: Any,
    ):
        learning_rate = options.pop("lr", learning_rate)  # its name in Keras 1 and 2
        if options:
            raise ValueError(f"{type(self).__name__}: unrecognized arguments {sorted(options)}.")
        self.name = name or naming.to_snake_case(type(self).__name__)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._check_options()
        self.built = False
        self._weights: list[Variable] = []
        self._params: list[Tensor] = []
        self._slots: Slots = {}
        self._excluded: list[Variable] = []
        self._excluded_names: re.Pattern[str] | None = None
        # Both live on the host: a step reads them, and must not wait for a device.
        self._iterations = state.host_variable(0, torch.int32, f"{self.name}/iteration")
        self._variables: list[Variable] = [self._iterations]
        self._learning_rate: Any = None
        self.learning_rate = learning_rate

    def _check_options(self) -> None:
        clips = {n: getattr(self, n) for n in ("clipnorm", "clipvalue", "global_clipnorm")}
        if sum(value is not None for value in clips.values()) > 1:
            raise ValueError(
                f"{type(self).__name__}: only one of `clipnorm`, `clipvalue` and "
                f"`global_clipnorm` may be given; got {clips}."
            )
        for name, value in clips.items():
            if value is not None and value < 0:
                raise ValueError(
                    f"{type(self).__name__}: `{name}` must be at least 0; got {name}={value}."
                )
        if self.use_ema:
            arguments.fraction(self, "ema_momentum", self.ema_momentum)
        for name in ("ema_overwrite_frequency", "gradient_accumulation_steps"):
            if getattr(self, name) is not None:
                arguments.positive_integer(self, name, getattr(self, name))
        if self.gradient_accumulation_steps == 1:
            raise ValueError(
                f"{type(self).__name__}: `gradient_accumulation_steps` must be at least 2; got 1. "
                "Leave it out to update in every step."
            )

    # --- State ---------------------------------------------------------------------------------

    @property
    def iterations(self) -> Variable:
        """Number of updates so far."""
        steps = self.gradient_accumulation_steps
        if not steps:
            return self._iterations
        return state.host_variable(self._num_updates(), torch.int32, self._iterations.path)

    def _count(self) -> int:
        return int(state.number_of(self._iterations))

    def _num_updates(self) -> int:
        """Return what `iterations` shows: steps, or as many as were gathered per update."""
        return self._count() // (self.gradient_accumulation_steps or 1)

    @property
    def variables(self) -> list[Variable]:
        """Step count, learning rate, then the state, in Keras's order and layout."""
        return self._variables[:]

    @property
    def learning_rate(self) -> Any:
        """The current rate: a variable, or what the schedule says for this step.

        It can be set to a number, a schedule or a callable.
        """
        rate = self._learning_rate
        return rate if isinstance(rate, Variable) else self._scheduled_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, Variable) and value is self._learning_rate:
            return
        if callable(value) and not isinstance(value, Variable | Tensor):
            if isinstance(self._learning_rate, Variable):
                self._variables.remove(self._learning_rate)
            self._learning_rate = value
            return
        rate = _number(self, value)
        if isinstance(self._learning_rate, Variable):
            self._learning_rate.assign(rate)
            return
        if self._learning_rate is not None:
            raise TypeError(
                f"{type(self).__name__}: the learning rate follows a schedule and cannot be set; "
                "make the optimizer with a number to set it later."
            )
        dtype = dtypes.torch_dtype(settings.floatx())
        self._learning_rate = state.host_variable(rate, dtype, f"{self.name}/learning_rate")
        self._variables.insert(1, self._learning_rate)

    lr = learning_rate  # its name in Keras 1 and 2

    def _scheduled_rate(self) -> Any:
        if hasattr(self._learning_rate, "get_config"):
            return self._learning_rate(self._iterations.tensor)
        return self._learning_rate()

    def _rate(self) -> float:
        rate = self._learning_rate
        if isinstance(rate, Variable):
            return float(state.number_of(rate))
        return float(self._scheduled_rate())

    def build(self, variables: Sequence[Any]) -> None:
        """Make the state for these weights (variables or parameters).

        Later calls add state for weights that are new, such as those of a layer that was frozen,
        keep what is there, and let it follow weights that went to another device or dtype.
        """
        weights = [state.as_variable(weight) for weight in variables]
        known = {id(param) for param in self._params}
        if not self.built or any(id(weight.tensor) not in known for weight in weights):
            given = {id(weight.tensor) for weight in weights}
            others = [weight for weight in self._weights if id(weight.tensor) not in given]
            self._make_state([*weights, *others])
        for tensors in self._slots.values():
            for tensor, param in zip(tensors, self._params, strict=True):
                if tensor.device != param.device or tensor.dtype is not param.dtype:
                    tensor.data = tensor.to(param)

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

    def trains_others(self, variables: Iterable[Any]) -> bool:
        """Tell whether it has state for weights, and for none of these."""
        known = {id(param) for param in self._params}
        of_these = (id(state.as_variable(weight).tensor) in known for weight in variables)
        return bool(known) and not any(of_these)

    def twin(self) -> Optimizer:
        """Return an optimizer for other weights: with no state yet, and the same learning rate.

        So one object can be compiled into several models. Setting the rate sets it for all.
        """
        other = copy.copy(self)
        other.built = False
        other._weights, other._params, other._slots = [], [], {}
        other._iterations = state.host_variable(0, torch.int32, self._iterations.path)
        other._variables = [other._iterations]
        if isinstance(self._learning_rate, Variable):
            other._variables.append(self._learning_rate)
        return other

    def build_slots(self) -> None:
        """Make the state; an optimizer with state writes it, by `add_slots`."""

    def add_slots(self, *names: str, value: float = 0.0) -> None:
        """Make tensors like the weights under these names, alternating per weight.

        Args:
            *names: such as `"momentum"`; the keys of `slots` in `update`.
            value: what they start from.
        """
        for name in names:
            self._slots[name] = []
        for weight in self._weights:
            for name in names:
                tensor = torch.full_like(weight.tensor.detach(), value)
                self._slots[name].append(tensor)
                slot = state.Slot(tensor)
                path = f"{self.name}/{weight.path.replace('/', '_')}_{name}"
                variable = Variable.over(
                    slot, "tensor", path, weight._axes, weight._to_keras, weight._to_torch
                )
                variable.name, variable.path = path.split("/")[1], path
                self._variables.append(variable)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign the state, in the order and layout of `variables`.

        Raises:
            ValueError: if their number or a shape differs; nothing is changed then.
        """
        if len(weights) != len(self._variables):
            raise ValueError(
                f"{type(self).__name__}: set_weights needs {len(self._variables)} arrays, as "
                f"`variables` has; got {len(weights)}."
            )
        for variable, value in zip(self._variables, weights, strict=True):
            if tuple(np.shape(value)) != variable.shape:
                raise ValueError(
                    f"{type(self).__name__}: the value of {variable.path!r} must have shape "
                    f"{variable.shape}; got {tuple(np.shape(value))}."
                )
        for variable, value in zip(self._variables, weights, strict=True):
            variable.assign(value)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave weights out of `weight_decay`; to be called before `build`.

        Args:
            var_list: the weights.
            var_names: regular expressions; a weight in whose name one is found is left out.

        Raises:
            ValueError: if the optimizer is built.
        """
        if self.built:
            raise ValueError(
                f"{type(self).__name__}: exclude_from_weight_decay must be called before the "
                "optimizer is built, that is before training starts."
            )
        self._excluded = [state.as_variable(weight) for weight in var_list or ()]
        names = sorted(var_names or ())
        self._excluded_names = re.compile("|".join(names)) if names else None

    # --- Steps ---------------------------------------------------------------------------------

    def update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, learning_rate: float
    ) -> None:
        """Update parameters and state in place.

        Args:
            params: parameters that have a gradient.
            grads: their gradients, clipped.
            slots: the state of these parameters.
            learning_rate: of this step.
        """
        raise NotImplementedError(f"{type(self).__name__}: an optimizer must have `update`.")

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Update the weights from gradients in Keras's layout.

        Args:
            grads: one per weight; None leaves the weight as it is.
            trainable_variables: the weights; those of `build` by default.

        Raises:
            ValueError: if weights or gradients do not match those of `build`.
        """
        grads = list(grads)
        if trainable_variables is not None:
            weights = [state.as_variable(weight) for weight in trainable_variables]
            self.build(weights)
        elif not self.built:
            raise ValueError(
                f"{type(self).__name__}: apply(grads) without weights needs a built optimizer; "
                "call `build(model.trainable_weights)` first."
            )
        else:
            weights = self._weights
        if len(grads) != len(weights):
            raise ValueError(
                f"{type(self).__name__}: there must be one gradient per weight; got {len(grads)} "
                f"gradients for {len(weights)} weights."
            )
        by_param = {
            id(weight.tensor): gradients.like(weight, as_tensor(grad))
            for weight, grad in zip(weights, grads, strict=True)
            if grad is not None
        }
        unknown = set(by_param) - {id(param) for param in self._params}
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: it can update only the weights that it was built with; "
                f"{len(unknown)} others came. Make a new optimizer for them."
            )
        self._apply_to_params([by_param.get(id(param)) for param in self._params])

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Variable:
        """Update the weights from pairs (gradient, weight), and return the step count."""
        grads, weights = zip(*grads_and_vars, strict=True)
        self.apply(grads, weights)
        return self._iterations

    def step(self) -> None:
        """Update the weights from their parameters' `.grad`, as torch's optimizers do."""
        self._apply_to_params([param.grad for param in self._params])

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for param in self._params:
            param.grad = None

    @torch.no_grad()
    def _apply_to_params(self, grads: list[Any]) -> None:
        params, slots = self._params, self._slots
        present: list[int] | None = None
        if any(grad is None for grad in grads):
            present = [index for index, grad in enumerate(grads) if grad is not None]
            params = [params[index] for index in present]
            slots = {name: [tensors[i] for i in present] for name, tensors in slots.items()}
            grads = [grads[index] for index in present]
        if grads:
            if self.loss_scale_factor is not None:
                grads = list(torch._foreach_div(grads, self.loss_scale_factor))
            self._accumulate_and_update(params, grads, slots, present)
            self._constrain(present)
        state.set_number(self._iterations, self._count() + 1)

    def _accumulate_and_update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, present: list[int] | None
    ) -> None:
        steps = self.gradient_accumulation_steps
        if steps:
            sums = slots["gradient_accumulator"]
            torch._foreach_add_(sums, grads)
            if (self._count() + 1) % steps == 0:
                self._update(params, list(torch._foreach_div(sums, steps)), slots, present)
                torch._foreach_zero_(self._slots["gradient_accumulator"])
        else:
            self._update(params, grads, slots, present)
        if self.use_ema:
            self._average_weights()

    def _update(
        self, params: list[Tensor], grads: list[Tensor], slots: Slots, present: list[int] | None
    ) -> None:
        if self.clipnorm or self.global_clipnorm or self.clipvalue:
            grads = gradients.clipped(grads, self.clipnorm, self.global_clipnorm, self.clipvalue)
        rate = self._rate()
        if self.weight_decay is not None:
            decayed = [self._params[i] for i in self._decayed(present)]
            torch._foreach_mul_(decayed, 1 - self.weight_decay * rate)
        self.update(params, grads, slots, rate)

    def _decayed(self, present: list[int] | None) -> list[int]:
        indices = range(len(self._params)) if present is None else present
        return [index for index in indices if self._decays(self._weights[index])]

    def _decays(self, weight: Variable) -> bool:
        if any(weight.tensor is excluded.tensor for excluded in self._excluded):
            return False
        pattern = self._excluded_names
        return pattern is None or pattern.search(weight.name) is None

    def _average_weights(self) -> None:
        averages = self._slots["average"]
        if self._num_updates() == 0:  # the average starts from the first step's weights
            torch._foreach_copy_(averages, self._params)
        else:
            torch._foreach_lerp_(averages, self._params, 1 - self.ema_momentum)
        frequency = self.ema_overwrite_frequency
        if frequency and (self._num_updates() + 1) % frequency == 0:
            torch._foreach_copy_(self._params, averages)

    def _constrain(self, present: list[int] | None) -> None:
        for index, weight in enumerate(self._weights):
            if weight.constraint is not None and (present is None or index in present):
                weight.assign(weight.constraint(weight.value))

    @torch.no_grad()
    def finalize_variable_values(self, var_list: Sequence[Any] | None = None) -> None:
        """Replace the weights by their moving averages, if `use_ema`; called after training."""
        if self.use_ema and self.built:
            torch._foreach_copy_(self._params, self._slots["average"])

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Return the loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    # --- Config --------------------------------------------------------------------------------

    def get_config(self) -> Config:
        """Return the arguments that all optimizers share."""
        rate = self._learning_rate
        return {
            "name": self.name,
            "learning_rate": self._rate()
            if isinstance(rate, Variable)
            else registry.serialize(rate),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Optimizer:
        """Make an optimizer from what `get_config`, or Keras's, returned."""
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config = {**config, "learning_rate": registry.deserialize(rate, custom_objects)}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<torchseq.optimizers.{type(self).__name__} name={self.name}>"


def _number(owner: Optimizer, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(
        value, int | float | np.number | Tensor | Variable
    ):
        raise ValueError(
            f"{type(owner).__name__}: `learning_rate` must be a number, a schedule or a callable; "
            f"got learning_rate={value!r}."
        )
    number = float(value)
    if not number >= 0:
        raise ValueError(
            f"{type(owner).__name__}: `learning_rate` must be at least 0; got {number}."
        )
    return number
