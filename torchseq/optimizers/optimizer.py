"""What all optimizers share: steps, clipping, decay, averaging, accumulation, configs."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchseq.base import naming, registry
from torchseq.base.types import Config
from torchseq.base.variable import Variable, as_tensor
from torchseq.optimizers import gradients, options, state
from torchseq.optimizers.own import UserWritten
from torchseq.optimizers.slots import Slots

__all__ = ["Optimizer", "Part", "Slots"]


@dataclass(slots=True)
class Part:
    """Those of an optimizer's weights that have a gradient in a step, with their state."""

    params: list[Tensor]
    slots: Slots
    indices: list[int] | None = None  # among the optimizer's weights; None: these are all


class Optimizer(UserWritten):
    """Updates weights from gradients.

    A subclass names its state in `build_slots` by `add_slots`, and writes
    `update(params, grads, slots, learning_rate)`, which works on lists of tensors. One written for
    Keras 3, with `build` and `update_step`, works as it is, weight by weight.

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
        **legacy: names of Keras 1 and 2: `lr` for `learning_rate`; `decay` divides the rate by
            `1 + decay * steps`.

    Raises:
        ValueError: for a rate that is no number, two kinds of clipping, or an unknown argument.

    Source: keras.optimizers.Optimizer. Gradients are given as in Keras (`apply`), or found on the
        parameters as in torch (`step`). Keras 3 ignores `decay` with a warning; here it does what
        it did in Keras 2.
    """

    is_elementwise = False  # `update` treats each entry of each weight alike
    _saved: tuple[str, ...] = ()  # the constructor's other arguments, in the order of the config
    _spared: Collection[int] = ()  # indices of the weights that do not decay
    _constrained: Sequence[tuple[int, Variable]] = ()  # the weights with a constraint

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
        **legacy: Any,
    ):
        learning_rate = legacy.pop("lr", learning_rate)
        self.decay = options.checked_decay(self, legacy)
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
        options.check(self)
        self._excluded: list[Variable] = []
        self._excluded_names: re.Pattern[str] | None = None
        self._start_empty()
        self._set_rate(learning_rate)

    # --- Steps ---------------------------------------------------------------------------------

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Update the weights from gradients in Keras's layout.

        Args:
            grads: one per weight; None leaves the weight as it is.
            trainable_variables: the weights; those of `build` by default.

        Raises:
            ValueError: if weights or gradients do not match those of `build`, or all are None.
        """
        grads = list(grads)
        if not grads:
            return
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
        self._check_presence(grads, weights)
        by_param = {
            id(weight.tensor): gradients.like(weight, as_tensor(grad))
            for weight, grad in zip(weights, grads, strict=True)
            if grad is not None
        }
        unknown = set(by_param) - {id(param) for param in self._params}
        if unknown:
            raise self._only_these(len(unknown))
        self._apply_to_params([by_param.get(id(param)) for param in self._params])

    def _check_presence(self, grads: list[Any], weights: list[Variable]) -> None:
        missing = [w.path for w, grad in zip(weights, grads, strict=True) if grad is None]
        if len(missing) == len(grads):
            raise ValueError(
                f"{type(self).__name__}: there must be a gradient for at least one weight; got "
                f"None for all of {missing}. Compute the loss from the model's weights."
            )
        if missing:
            warnings.warn(  # begins with Keras's words: scripts filter by them
                f"Gradients do not exist for variables {missing}: {type(self).__name__} leaves "
                "them as they are. Does the loss depend on them?",
                stacklevel=3,
            )

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

    def _apply_to_params(self, grads: list[Any]) -> None:
        if any(grad is not None for grad in grads):
            self.step_from(grads, self.step_numbers())
        self.count_step()

    @torch.no_grad()
    def step_from(self, grads: list[Any], numbers: list[Any]) -> None:
        """Update the weights from gradients in torch's layout.

        Args:
            grads: one per weight of `build`; None leaves the weight as it is.
            numbers: what `step_numbers` returned; in a compiled step as tensors without axes.
        """
        part = Part(self._params, self._slots)
        if any(grad is None for grad in grads):
            part, grads = self._part_with(grads)
        if grads:
            if self.loss_scale_factor is not None:
                grads = list(torch._foreach_div(grads, self.loss_scale_factor))
            self._accumulate_and_update(part, grads, numbers)
            self._constrain(part)

    def _part_with(self, grads: list[Any]) -> tuple[Part, list[Tensor]]:
        """Return the weights that have a gradient, and the gradients."""
        present = [index for index, grad in enumerate(grads) if grad is not None]
        params = [self._params[index] for index in present]
        slots = {name: [tensors[i] for i in present] for name, tensors in self._slots.items()}
        return Part(params, slots, present), [grads[index] for index in present]

    def _accumulate_and_update(self, part: Part, grads: list[Tensor], numbers: list[Any]) -> None:
        steps = self.gradient_accumulation_steps
        if steps:
            sums = part.slots["gradient_accumulator"]
            torch._foreach_add_(sums, grads)
            if self._is_due():
                self._update(part, list(torch._foreach_div(sums, steps)), numbers)
                torch._foreach_zero_(self._slots["gradient_accumulator"])
        else:
            self._update(part, grads, numbers)
        if self.use_ema:
            self._average_weights()

    def _update(self, part: Part, grads: list[Tensor], numbers: list[Any]) -> None:
        if self.clipnorm or self.global_clipnorm or self.clipvalue:
            grads = gradients.clipped(grads, self.clipnorm, self.global_clipnorm, self.clipvalue)
        rate, *of_the_formula = numbers
        self._decay_weights(part, rate)
        if self._is_by_weight:
            self._update_by_weight(part.params, grads, rate)
        else:
            self.update(part.params, grads, part.slots, *of_the_formula)

    # --- What differs from step to step --------------------------------------------------------
    #
    # A compiled step runs `step_from` again and again without Python: what these methods return is
    # all that Python adds to it.

    def step_numbers(self) -> list[Any]:
        """Return the numbers of this step: the learning rate, then those of the formula.

        Empty in a step that only gathers gradients. To be called once for each step.
        """
        if not self._is_due():
            return []
        rate = self._rate()
        return [rate, *self.numbers(rate, self._params[0].dtype)]

    def phase(self) -> tuple[bool, ...]:
        """Return what decides which operations this step has; each phase is a graph of its own."""
        if not self.use_ema:
            return (self._is_due(),)
        return self._is_due(), self._num_updates() == 0, self._overwrites()

    def count_step(self) -> None:
        """Count the step that was taken."""
        state.set_number(self._iterations, self._count() + 1)

    def _is_due(self) -> bool:
        """Tell whether this step updates the weights; it may only gather gradients."""
        steps = self.gradient_accumulation_steps
        return not steps or (self._count() + 1) % steps == 0

    @property
    def can_be_flat(self) -> bool:
        """Whether all weights may be treated as one: each entry is updated alike."""
        return self.is_elementwise and not self.clipnorm and not self._spared

    def over(self, params: list[Tensor], slots: Slots) -> Optimizer:
        """Return this optimizer over other tensors, which stand for its own."""
        other = copy.copy(self)
        other._params, other._slots = params, slots
        return other

    # --- Weights: decay, averages, constraints -------------------------------------------------

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

    def _make_state(self, weights: list[Variable]) -> None:
        super()._make_state(weights)
        self._spared = {i for i, weight in enumerate(weights) if self._is_excluded(weight)}

    def _is_excluded(self, weight: Variable) -> bool:
        if any(weight.tensor is excluded.tensor for excluded in self._excluded):
            return True
        pattern = self._excluded_names
        return pattern is not None and pattern.search(weight.name) is not None

    def _decay_weights(self, part: Part, rate: float) -> None:
        """Shrink the weights that are not left out."""
        if self.weight_decay is not None:
            params = [part.params[place] for place in self._decaying(part)]
            self._shrink(params, self.weight_decay * rate)

    def _decaying(self, part: Part) -> Iterable[int]:
        """Return the places in the part of the weights that decay."""
        places = range(len(part.params))
        if not self._spared:
            return places
        indices = places if part.indices is None else part.indices
        return [place for place in places if indices[place] not in self._spared]

    def _shrink(self, params: list[Tensor], share: float) -> None:
        if not params:
            return
        if self._found_inf is None:
            torch._foreach_mul_(params, 1 - share)
        else:
            torch._foreach_mul_(params, 1 - share * (1 - self._found_inf))

    def _average_weights(self) -> None:
        averages = self._slots["average"]
        if self._num_updates() == 0:  # the average starts from the first step's weights
            torch._foreach_copy_(averages, self._params)
        else:
            torch._foreach_lerp_(averages, self._params, 1 - self.ema_momentum)
        if self._overwrites():
            torch._foreach_copy_(self._params, averages)

    def _overwrites(self) -> bool:
        frequency = self.ema_overwrite_frequency
        return frequency is not None and (self._num_updates() + 1) % frequency == 0

    def _follow_weights(self) -> None:
        super()._follow_weights()
        found = enumerate(self._weights)
        self._constrained = [(i, weight) for i, weight in found if weight.constraint is not None]

    def _constrain(self, part: Part) -> None:
        for index, weight in self._constrained:
            if part.indices is None or index in part.indices:
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
        """Return the constructor's arguments: those that all optimizers share, then the others."""
        rate = self._learning_rate
        is_number = isinstance(rate, Variable)
        config = {
            "name": self.name,
            "learning_rate": self._base_rate() if is_number else registry.serialize(rate),
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
        if self.decay:
            config["decay"] = self.decay
        return {**config, **{name: getattr(self, name) for name in self._saved}}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Optimizer:
        """Make an optimizer from what `get_config`, or Keras's, returned."""
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config = {**config, "learning_rate": registry.deserialize(rate, custom_objects)}
        return cls(**config)

    def __repr__(self) -> str:
        return f"<torchseq.optimizers.{type(self).__name__} name={self.name}>"
