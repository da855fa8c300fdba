"""A `torch.optim` optimizer, and a scheduler of torch's, in the place of one of Keras's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from torchseq.base import naming
from torchseq.base.types import Config
from torchseq.base.variable import Variable, as_tensor, check_values
from torchseq.optimizers import gradients, state, torch_config, torch_forms, torch_state
from torchseq.optimizers.schedules.schedule import number


class TorchOptimizer:
    """Lets `fit` train with a `torch.optim` optimizer; `compile` makes it from what it is given.

    The numbers are those of a loop `loss.backward(); optimizer.step(); scheduler.step()`, bit for
    bit. Constraints of weights are applied after the step.

    Args:
        optimizer: an optimizer that holds all or some of the model's parameters; or its class; or
            a function of the list of parameters that returns one, which is called when model and
            parameters are there. The function may return what `compile` takes, too.
        scheduler: an LR scheduler of this optimizer, its class, or a function of the optimizer.
        interval: when `scheduler.step()` is called: after each `"step"` of the optimizer, or after
            the training part of each `"epoch"`, before validation and `on_epoch_end`.

    Raises:
        TypeError, ValueError: if it is something else, or the interval is missing.
        UnsupportedFeatureError: for LBFGS and torch's ReduceLROnPlateau, which need more than a
            gradient.

    Source: no Keras object; Keras takes no torch optimizer.

    Examples:
        >>> import functools, torch, torchseq
        >>> model = torchseq.Sequential([torchseq.Input((3,)), torchseq.layers.Dense(1)])
        >>> model.compile(torch.optim.AdamW(model.parameters(), lr=0.01), "mse")
        >>> model.compile(functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9), "mse")
        >>> halving = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
        >>> model.compile((torch.optim.AdamW, halving, "epoch"), "mse")
        >>> history = model.fit(torch.ones(8, 3), torch.ones(8, 1), epochs=2, verbose=0)
        >>> float(model.optimizer.learning_rate)
        0.00025
    """

    loss_scale_factor = None
    use_ema = False

    def __init__(self, optimizer: Any, scheduler: Any = None, interval: str | None = None):
        torch_forms.check_optimizer(optimizer)
        torch_forms.check_scheduler(scheduler, interval)
        self._given = (optimizer, scheduler, interval)
        self._start()

    def _start(self) -> None:
        self.built = False
        self.optimizer: Any = None
        self.scheduler: Any = None
        self.interval: str | None = None
        self._weights: list[Variable] = []
        self._constrained: list[Variable] = []
        self._offered: list[Tensor] = []
        self._first_rates: list[float] = []
        self._iterations = state.host_variable(0, torch.int32, "torch_optimizer/iteration")
        self._learning_rate = _Rate.of(self)
        given = self._given[0]
        if isinstance(given, torch.optim.Optimizer):
            self._make([])

    # --- Making --------------------------------------------------------------------------------

    def _make(self, params: list[Tensor]) -> None:
        """Make optimizer and scheduler, or take those that were given."""
        optimizer, scheduler, interval = self._given
        if not isinstance(optimizer, torch.optim.Optimizer):
            optimizer, own_scheduler, own_interval = torch_forms.parts_of(optimizer(params))
            torch_forms.check_optimizer(optimizer)
            if own_scheduler is not None:
                scheduler, interval = own_scheduler, own_interval
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise TypeError(
                    "compile: a function given as optimizer must return a torch optimizer for the "
                    f"parameters that it gets; got {optimizer!r}."
                )
        if scheduler is not None and not isinstance(scheduler, LRScheduler):
            scheduler = scheduler(optimizer)
        torch_forms.check_scheduler(scheduler, interval)
        if scheduler is not None and scheduler.optimizer is not optimizer:
            raise ValueError(
                f"compile: the scheduler must be one of this optimizer; {type(scheduler).__name__} "
                f"came with a {type(scheduler.optimizer).__name__} of its own."
            )
        self.optimizer, self.scheduler, self.interval = optimizer, scheduler, interval
        self._first_rates = [float(group["lr"]) for group in optimizer.param_groups]

    @property
    def name(self) -> str:
        """The class of torch's optimizer in snake case."""
        made = type(self) if self.optimizer is None else type(self.optimizer)
        return naming.to_snake_case(made.__name__)

    def build(self, variables: Sequence[Any]) -> None:
        """Make the optimizer for these weights, or check that it holds some of them.

        Raises:
            ValueError: if it holds none, or a function made it for other weights than these.
        """
        weights = [state.as_variable(weight) for weight in variables]
        if not weights:
            return
        if self.optimizer is None:
            self._offered = [weight.tensor for weight in weights]
            self._make(self._offered)
        held = self._held()
        if not any(id(weight.tensor) in held for weight in weights):
            raise ValueError(
                f"compile: the torch optimizer must hold parameters of the model; this "
                f"{type(self.optimizer).__name__} holds none of its {len(weights)} trainable "
                "weights. Make it from `model.parameters()` once the model is built, or give a "
                "function of the parameters: `lambda params: torch.optim.AdamW(params)`."
            )
        known = held | {id(param) for param in self._offered}
        new = [weight.path for weight in weights if id(weight.tensor) not in known]
        if new and self._offered:
            raise ValueError(
                f"compile: the torch optimizer was made when {new[0]!r} ({len(new)} weights in "
                "all) did not train yet. Compile again after layers were made trainable."
            )
        self._weights = weights
        self._constrained = [weight for weight in weights if weight.constraint is not None]
        torch_state.follow_params(self.optimizer)
        self.built = True

    def _held(self) -> set[int]:
        return {id(param) for group in self.param_groups for param in group["params"]}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Torch's parameter groups.

        Raises:
            ValueError: if the optimizer has not been made yet.
        """
        self._check_made()
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        return groups

    def _check_made(self) -> None:
        if self.optimizer is None:
            raise ValueError(
                "TorchOptimizer: a function given as optimizer is called when the model is built; "
                "it is not yet. Declare the model's input, or train first."
            )

    def trains_others(self, variables: Iterable[Any]) -> bool:
        """Tell whether a function made it for weights, and for none of these."""
        offered = {id(param) for param in self._offered}
        of_these = (id(state.as_variable(weight).tensor) in offered for weight in variables)
        return bool(offered) and not any(of_these)

    def twin(self) -> TorchOptimizer:
        """Return one that the same functions make for other weights."""
        return type(self)(*self._given)

    # --- Steps ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Update the weights from their parameters' `.grad`."""
        self.optimizer.step()
        for weight in self._constrained:
            if weight.tensor.grad is not None:
                weight.assign(weight.constraint(weight.value.detach()))
        if self.interval == "step":
            self.scheduler.step()
        state.set_number(self._iterations, state.number_of(self._iterations) + 1)

    def end_epoch(self) -> None:
        """Step the scheduler, if it does so once per epoch."""
        if self.interval == "epoch" and self.scheduler is not None:
            self.scheduler.step()

    def zero_grad(self) -> None:
        """Drop the gradients, also of the model's weights that the optimizer does not hold."""
        if self.optimizer is not None:
            self.optimizer.zero_grad()
        for weight in self._weights:
            weight.tensor.grad = None

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Return the loss; torch's optimizers do not scale it."""
        return loss

    def finalize_variable_values(self, var_list: Any = None) -> None:
        """Do nothing: torch's optimizers keep no average of the weights."""

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Any] | None = None) -> None:
        """Update the weights from gradients in Keras's layout; None leaves a weight as it is.

        Raises:
            ValueError: if there is not one gradient per weight.
        """
        if trainable_variables is not None:
            self.build(list(trainable_variables))
        grads = list(grads)
        if len(grads) != len(self._weights):
            raise ValueError(
                f"TorchOptimizer: there must be one gradient per weight; got {len(grads)} "
                f"gradients for {len(self._weights)} weights."
            )
        self.zero_grad()
        for weight, grad in zip(self._weights, grads, strict=True):
            if grad is not None:
                weight.tensor.grad = gradients.like(weight, as_tensor(grad))
        self.step()
        self.zero_grad()

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Variable:
        """Update the weights from pairs (gradient, weight), and return the step count."""
        grads, weights = zip(*grads_and_vars, strict=True)
        self.apply(grads, weights)
        return self._iterations

    # --- What Keras's callbacks and users read and set -----------------------------------------

    @property
    def iterations(self) -> Variable:
        """Number of steps so far."""
        return self._iterations

    @property
    def learning_rate(self) -> Any:
        """The rate of the first parameter group.

        Set to a number, it sets the rates of all groups; groups of another rate keep their ratio
        to the first one.

        Raises:
            TypeError: if it is set and a scheduler sets it, too.
        """
        self._check_made()
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if value is self._learning_rate:  # what `optimizer.learning_rate += x` does at its end
            return
        rate = number(self, "learning_rate", value, 0)
        if self.scheduler is not None:
            raise TypeError(
                f"TorchOptimizer: the learning rate follows {type(self.scheduler).__name__} and "
                "cannot be set; compile without a scheduler to set it."
            )
        present = [float(group["lr"]) for group in self.param_groups]
        compared = present if present[0] > 0 else self._first_rates
        for group, other in zip(self.param_groups, compared, strict=True):
            same = other == compared[0] or not compared[0] > 0
            new = float(rate) if same else rate * (other / compared[0])
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(new)
            else:
                group["lr"] = new

    lr = learning_rate  # its name in Keras 1 and 2

    @property
    def variables(self) -> list[Variable]:
        """Step count, learning rate, and torch's state, which its first step makes."""
        fixed = [self._iterations, *([self._learning_rate] if self.optimizer is not None else [])]
        return [*fixed, *torch_state.variables(self.optimizer, self._weights, self.name)]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign the state, in the order of `variables`.

        Raises:
            ValueError: if their number or a shape differs; nothing is changed then.
        """
        variables = self.variables
        needed = f"{len(variables)} arrays, as `variables` has"
        check_values("TorchOptimizer", needed, variables, weights)
        for variable, value in zip(variables, weights, strict=True):
            if variable is not self._learning_rate or self.scheduler is None:
                variable.assign(value)

    # --- State and config ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the states of optimizer and scheduler, for `torch.save`."""
        self._check_made()
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "iterations": state.number_of(self._iterations),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what `state_dict` returned."""
        self._check_made()
        self.optimizer.load_state_dict(state_dict["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state_dict["scheduler"])
        state.set_number(self._iterations, state_dict["iterations"])

    def saved_state(self) -> tuple[dict[str, Tensor], Config]:
        """Return the state for a file: tensors by name, and the rest as JSON-able facts."""
        if self.optimizer is None:
            return {}, {}
        tensors, facts = torch_state.taken(self.optimizer, self.scheduler, self._weights)
        return tensors, {**facts, "iterations": state.number_of(self._iterations)}

    def load_saved_state(self, tensors: dict[str, Tensor], facts: Config) -> bool:
        """Take what `saved_state` returned; return False, and change nothing, if it does not fit.

        Args:
            tensors: by the names that `saved_state` gave them.
            facts: the rest.
        """
        if self.optimizer is None:
            return not facts
        if not torch_state.put(self.optimizer, self.scheduler, self._weights, tensors, facts):
            return False
        state.set_number(self._iterations, int(facts["iterations"]))
        return True

    def unsaved_because(self) -> str | None:
        """Return why a config cannot describe it, or None if one can."""
        try:
            self.get_config()
        except ValueError as error:
            return str(error)
        return None

    def get_config(self) -> Config:
        """Return class, options and groups of optimizer and scheduler.

        Raises:
            ValueError: if functions or objects stand in them, which no file can hold.
        """
        config = torch_config.describe_optimizer(self._given[0], self.optimizer, self._weights)
        given = self._given[1] if self.scheduler is None else self.scheduler
        config["scheduler"] = torch_config.describe_scheduler(self._given[1], given)
        config["interval"] = self._given[2] if self.interval is None else self.interval
        return config

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> TorchOptimizer:
        """Make one from what `get_config` returned.

        Raises:
            ValueError: if a class is neither torch's nor in `custom_objects`.
        """
        return cls(
            torch_config.OptimizerMaker(config, custom_objects),
            torch_config.scheduler_maker(config.get("scheduler"), custom_objects),
            config.get("interval"),
        )

    def __repr__(self) -> str:
        made = self._given[0] if self.optimizer is None else type(self.optimizer).__name__
        return f"<torchseq.optimizers.TorchOptimizer of {made}>"


class _RateOfGroups:
    """Reads the rate of the first parameter group as a tensor."""

    def __init__(self, owner: TorchOptimizer):
        self.owner = owner

    @property
    def tensor(self) -> Tensor:
        rate = self.owner.param_groups[0]["lr"]
        # In float64, since torch computes with the Python number.
        return rate if isinstance(rate, Tensor) else torch.tensor(rate, dtype=torch.float64)


class _Rate(Variable):
    """The learning rate as Keras shows it: assigning to it sets the parameter groups' rates."""

    @classmethod
    def of(cls, owner: TorchOptimizer) -> _Rate:
        """Return the variable over an optimizer's rate."""
        variable = cls.over(_RateOfGroups(owner), "tensor", "learning_rate")
        variable.path = "torch_optimizer/learning_rate"
        return variable  # type: ignore[return-value]  # `over` makes one of its class

    def assign(self, value: Any) -> Variable:
        """Set the rate."""
        self._owner.owner.learning_rate = value
        return self
