"""What a metric is: state on the device that batches add to, and a result made from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import arguments, dtypes, fixed_state, naming, registry, settings
from torchseq.base.types import Config
from torchseq.base.variable import Variable, as_tensor
from torchseq.metrics import merging
from torchseq.metrics.stateless import Stateless


class Metric(Stateless, nn.Module):
    """Base class of metrics.

    A metric makes its state in `__init__` by `add_variable`, adds to it in `update_state` and
    computes its value in `result`. State lies on the device in buffers, which move with
    `.to(...)` and are not part of a `state_dict`.

    Args:
        dtype: dtype name or policy for state and computations; floatx by default.
        name: key in logs and history; unique by default.

    Attributes:
        direction: which values are better, `"max"` or `"min"`; None if that is not known.

    Examples:
        >>> class PositiveCount(Metric):
        ...     def __init__(self, name="positive_count", **options):
        ...         super().__init__(name=name, **options)
        ...         self.total = self.add_weight(name="total", initializer="zeros")
        ...
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.total.assign_add((y_pred > 0).sum())
        ...
        ...     def result(self):
        ...         return self.total.value
        >>> metric = PositiveCount()
        >>> float(metric(None, torch.tensor([1.0, -1.0, 2.0])))
        2.0

    Source: keras.metrics.Metric. Ours beyond it: `merge_state` and `states`.
    """

    direction: str | None = None
    is_compilable = True  # all that `update_state` changes are the variables, in place
    has_weights = False  # a model that has it as an attribute does not take its state for weights

    def __init__(self, dtype: Any = None, name: str | None = None):
        super().__init__()
        self.name = name or naming.auto_name(type(self).__name__)
        self._dtype = dtypes.get_policy(dtype or settings.floatx()).compute_dtype
        self._torch_dtype = dtypes.torch_dtype(self._dtype)
        self._own_variables: list[Variable] = []
        self.aggregations: dict[str, str] = {}

    @property
    def dtype(self) -> str:
        """Name of the dtype of state and computations."""
        return self._dtype

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> Variable:
        """Make a variable that holds state.

        Args:
            shape: sizes; `()` for a number.
            initializer: `"zeros"`, `"ones"`, or an initializer's object or config; zeros by
                default. Whatever it is, `reset_state` sets zeros, as in Keras.
            dtype: dtype name; floatx by default.
            aggregation: how the values of several processes become one: `"sum"`, `"mean"`, or
                `"only_first_replica"`, for which `"none"` and None are other words.
            name: unique by default.

        Raises:
            RuntimeError: if `super().__init__()` has not run.
            ValueError: for another `initializer` or `aggregation`.
        """
        if "_buffers" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}: `super().__init__()` must run first in `__init__`; it "
                "has not. Call it before `add_variable`."
            )
        fixed_state.may_be_made()
        if aggregation in ("none", None):
            aggregation = "only_first_replica"
        arguments.one_of(self, "aggregation", aggregation, merging.AGGREGATIONS)
        name = name or f"variable_{len(self._own_variables)}"
        buffer_name = f"_state_{len(self._own_variables)}_{name}".replace(".", "_")
        value = _initial_value(initializer, tuple(shape), dtypes.name_of(dtype))
        self.register_buffer(buffer_name, value, persistent=False)
        with naming.scope(self.name.replace("/", ">")):
            variable = Variable.over(self, buffer_name, name)
        self._own_variables.append(variable)
        self.aggregations[buffer_name] = aggregation
        return variable

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a variable that holds state; the older name of `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The metric's state, then that of metrics inside it."""
        inner = [child for child in self.children() if isinstance(child, Metric)]
        return self._own_variables + [each for metric in inner for each in metric.variables]

    def states(self) -> merging.States:
        """Return each tensor of state, with how those of several processes become one."""
        own = [
            (variable.tensor, self.aggregations[name])
            for variable, name in zip(self._own_variables, self.aggregations, strict=True)
        ]
        inner = [child for child in self.children() if isinstance(child, Metric)]
        return own + [state for metric in inner for state in metric.states()]

    def merge_state(self, metrics: Iterable[Metric]) -> None:
        """Add what other metrics of the same kind have seen, as if it had come to this one.

        Args:
            metrics: made with the same arguments; they stay as they are.

        Raises:
            ValueError: if one is of another class, or its state has other shapes.

        Examples:
            >>> from torchseq import metrics
            >>> first, second = metrics.Mean(), metrics.Mean()
            >>> first.update_state([1.0, 2.0])
            >>> second.update_state([6.0])
            >>> first.merge_state([second])
            >>> float(first.result())
            3.0
        """
        merging.merge(self, list(metrics))

    def build_state(self, shapes: merging.Shapes) -> None:
        """Make the state of these shapes, which another metric of the kind has.

        A metric whose first batch makes its state overrides this, to be merged before it.
        """
        raise ValueError(
            f"{type(self).__name__}: state that the first batch makes can be merged once there "
            f"is some; got shapes {shapes} for none. Make all state in `__init__`, or write "
            "`build_state(shapes)`."
        )

    def _state(self, buffer_name: str) -> Tensor:
        # Past `nn.Module.__getattr__`, which costs half a microsecond: this runs once a step.
        return self._buffers[buffer_name]  # type: ignore[return-value]  # buffers are never None

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch: usually `(y_true, y_pred, sample_weight=None)`."""
        raise NotImplementedError

    def result(self) -> Any:
        """Return the value over all batches since `reset_state`, on the device."""
        raise NotImplementedError

    def reset_state(self) -> None:
        """Forget all batches: set all state to zero."""
        for variable in self.variables:
            variable.tensor.zero_()

    def reset_states(self) -> None:
        """Forget all batches; the older name of `reset_state`."""
        self.reset_state()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch and return the value so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: Config) -> Any:
        """Make a metric from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"

    def __str__(self) -> str:
        return repr(self)


def _initial_value(initializer: Any, shape: tuple[int, ...], dtype: str) -> Tensor:
    options: dict[str, Any] = {"dtype": dtypes.torch_dtype(dtype), "device": settings.device()}
    if initializer is None or initializer == "zeros":
        return torch.zeros(shape, **options)
    if initializer == "ones":
        return torch.ones(shape, **options)
    if isinstance(initializer, dict):
        initializer = registry.deserialize(initializer)
    if not callable(initializer):
        raise ValueError(
            "Metric: `initializer` must be 'zeros', 'ones' or an initializer object; got "
            f"initializer={initializer!r}."
        )
    return as_tensor(initializer(shape, dtype=dtype), dtype).detach().clone()


def divide_no_nan(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, and 0 where the denominator is 0."""
    is_zero = denominator == 0
    quotient = numerator / denominator.masked_fill(is_zero, 1)
    return quotient.masked_fill(is_zero, 0)
