"""Dynamic loss scaling, for training in float16."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, registry
from torchseq.base.types import Config
from torchseq.base.variable import Variable, as_tensor
from torchseq.optimizers import gradients, state
from torchseq.optimizers.optimizer import Optimizer

_GROWTH, _BACKOFF = 2.0, 0.5

# What older files give, with the value that changes nothing.
_INNER_OPTIONS = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


class LossScaleOptimizer(Optimizer):
    """Multiplies the loss so that small float16 gradients do not vanish, and divides them again.

    A step with a gradient that is infinite or NaN is left out and halves the scale; after
    `dynamic_growth_steps` steps in a row that were not left out, the scale is doubled.

    On a device other than the CPU no step waits for it: whether a step is left out is decided
    there. The host learns it one step later, for what it counts (`iterations`).

    Args:
        inner_optimizer: updates the weights; its `loss_scale_factor` is set to None.
        initial_scale: the first factor.
        dynamic_growth_steps: steps from one growth to the next.
        name: in the paths of the state; from the class name by default.
        **options: what old files have; none may differ from its default.

    Raises:
        TypeError: if `inner_optimizer` is no optimizer.
        ValueError: for an option of the inner optimizer, or a number out of range.

    Source: keras.optimizers.LossScaleOptimizer. A scale that doubling would make infinite stays.
    """

    dynamic_scale: Variable
    step_counter: Variable

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **options: Any,
    ):
        _check_options(options)
        if not isinstance(inner_optimizer, Optimizer):
            raise TypeError(
                "LossScaleOptimizer: `inner_optimizer` must be an optimizer; got "
                f"{inner_optimizer!r}. Make one, such as `keras.optimizers.Adam()`."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = arguments.number(self, "initial_scale", initial_scale)
        if initial_scale <= 0:
            raise ValueError(
                "LossScaleOptimizer: `initial_scale` must be above 0; got "
                f"initial_scale={initial_scale}."
            )
        self.dynamic_growth_steps = arguments.positive_integer(
            self, "dynamic_growth_steps", dynamic_growth_steps
        )
        inner_optimizer._is_inner = True
        inner_optimizer.loss_scale_factor = None  # or the loss would be scaled twice

    # --- State ---------------------------------------------------------------------------------

    def _make_state(self, weights: list[Variable]) -> None:
        inner = self.inner_optimizer
        inner.build(weights)
        self._weights, self._params = inner._weights, inner._params
        if not self.built:
            device = self._params[0].device if self._params else None
            for name, value in (
                ("step_counter", torch.zeros((), dtype=torch.int32, device=device)),
                ("dynamic_scale", torch.full((), float(self.initial_scale), device=device)),
            ):
                variable = Variable.over(state.Slot(value), "tensor", name)
                variable.path = f"{self.name}/{name}"
                setattr(self, name, variable)
                self._variables.append(variable)
        self.built = True

    def _follow_weights(self) -> None:
        self.inner_optimizer._follow_weights()
        if self._params:
            for variable in (self.step_counter, self.dynamic_scale):
                variable.tensor.data = variable.tensor.to(self._params[0].device)

    @property
    def variables(self) -> list[Variable]:
        """Its own variables, then those of the inner optimizer."""
        return [*self._variables, *self.inner_optimizer.variables]

    def twin(self) -> LossScaleOptimizer:
        """Return an optimizer for other weights: with no state yet, and the same learning rate."""
        other = super().twin()
        other.inner_optimizer = self.inner_optimizer.twin()
        return other

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        """Number of updates of the inner optimizer; steps that were left out do not count."""
        return self.inner_optimizer.iterations

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave weights out of the inner optimizer's `weight_decay`; before `build`."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    # --- Steps ---------------------------------------------------------------------------------

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Return the loss times the scale of now."""
        return loss * (self.dynamic_scale.tensor if self.built else self.initial_scale)

    def check_finite(self, grads: Iterable[Any]) -> Tensor:
        """Return whether no gradient has an entry that is infinite or NaN, as a tensor."""
        present = [as_tensor(grad) for grad in grads if grad is not None]
        return gradients.all_finite(present) if present else torch.ones((), dtype=torch.bool)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one weight by the inner optimizer, without scaling."""
        self.inner_optimizer.update_step(gradient, variable, learning_rate)

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights from their parameters' `.grad`, which are divided in place."""
        grads = [param.grad for param in self._params]
        self._divide_and_apply([_writable(grad) for grad in grads])

    @torch.no_grad()
    def _apply_to_params(self, grads: list[Any]) -> None:
        self._divide_and_apply([None if grad is None else grad.clone() for grad in grads])

    def _divide_and_apply(self, grads: list[Any]) -> None:
        present = [grad for grad in grads if grad is not None]
        if not present:
            return
        scale = self.dynamic_scale.tensor
        found_inf = gradients.multiply_and_check(present, scale.reciprocal())
        if not _is_on_host(found_inf):
            self._apply_unless(found_inf, grads)
        elif not found_inf:
            self.inner_optimizer._apply_to_params(grads)
        torch._amp_update_scale_(
            scale,
            self.step_counter.tensor,
            found_inf,
            _GROWTH,
            _BACKOFF,
            self.dynamic_growth_steps,
        )

    def _apply_unless(self, found_inf: Tensor, grads: list[Any]) -> None:
        """Take the inner step, so that it has no effect where `found_inf` is 1."""
        inner = self.inner_optimizer
        numbers = [v for v in inner.variables if state.is_host_variable(v)]
        before = [state.number_of(number) for number in numbers]
        if _heeds_found_inf(inner):
            inner._found_inf = found_inf
            try:
                inner._apply_to_params(grads)
            finally:
                inner._found_inf = None
        else:
            kept = state.Snapshot(inner._tensors())
            inner._apply_to_params(grads)
            kept.restore_where(found_inf != 0)
        flag = state.LateFlag(found_inf == 0)
        for number, value in zip(numbers, before, strict=True):
            state.take_back_unless(number, flag, value)

    def finalize_variable_values(self, var_list: Sequence[Any] | None = None) -> None:
        """Let the inner optimizer set the final weights."""
        self.inner_optimizer.finalize_variable_values(var_list)

    # --- Config --------------------------------------------------------------------------------

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            "name": self.name,
            "inner_optimizer": registry.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> LossScaleOptimizer:
        """Make an optimizer from what `get_config`, or Keras's, returned."""
        inner = registry.deserialize(config["inner_optimizer"], custom_objects)
        return cls(**{**config, "inner_optimizer": inner})


def _writable(grad: Tensor | None) -> Tensor | None:
    """Return the gradient, or a copy if one place in memory stands for several entries."""
    if grad is None or 0 not in grad.stride():
        return grad
    return grad.clone()


def _is_on_host(tensor: Tensor) -> bool:
    """Tell whether reading the tensor waits for no device."""
    return tensor.device.type == "cpu"


def _heeds_found_inf(inner: Optimizer) -> bool:
    """Tell whether all that a step of the optimizer changes is left alone at `found_inf`."""
    changes_more = inner.use_ema or inner.gradient_accumulation_steps or inner._is_by_weight
    return inner._heeds_found_inf and not changes_more and not inner._constrained


def _check_options(options: Config) -> None:
    if not options.pop("dynamic", True):
        raise ValueError(
            "LossScaleOptimizer: the scale must be dynamic; got dynamic=False. Give the inner "
            "optimizer a `loss_scale_factor` instead."
        )
    for name, value in options.items():
        if name not in _INNER_OPTIONS:
            raise ValueError(f"LossScaleOptimizer: unrecognized arguments {sorted(options)}.")
        if value != _INNER_OPTIONS[name]:
            raise ValueError(
                f"LossScaleOptimizer: `{name}` must be given to the inner optimizer; got "
                f"{name}={value!r}."
            )
