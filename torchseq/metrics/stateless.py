"""Metrics as functions of their state: what Keras's `stateless_` methods are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from torchseq.base.variable import Variable, as_tensor


class Stateless:
    """The methods of a metric that take its state and return it, and change nothing.

    A `metric_variables` is a list of tensors, in the order of `variables`.

    Source: the methods of keras.metrics.Metric.
    """

    update_state: Callable[..., Any]
    result: Callable[..., Any]
    reset_state: Callable[..., Any]

    @property
    def variables(self) -> list[Variable]:
        """The metric's state."""
        raise NotImplementedError

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[Tensor]:
        """Return the state after a batch.

        Raises:
            ValueError: unless there is a tensor for each variable.
        """
        with self._holding(metric_variables):
            self.update_state(*args, **kwargs)
            return self._copies()

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """Return the value that a state gives.

        Raises:
            ValueError: unless there is a tensor for each variable.
        """
        with self._holding(metric_variables):
            value = self.result()
            return value.clone() if isinstance(value, Tensor) else value

    def stateless_reset_state(self) -> list[Tensor]:
        """Return the state before any batch."""
        with self._holding(self._copies()):
            self.reset_state()
            return self._copies()

    def _copies(self) -> list[Tensor]:
        return [variable.tensor.clone() for variable in self.variables]

    @contextmanager
    def _holding(self, metric_variables: Sequence[Any]) -> Iterator[None]:
        if len(metric_variables) != len(self.variables):
            raise ValueError(
                f"{type(self).__name__}: `metric_variables` must hold a tensor for each of its "
                f"{len(self.variables)} variables; got {len(metric_variables)}."
            )
        before = self._copies()
        try:
            self._write(metric_variables)
            yield
        finally:
            self._write(before)

    @torch.no_grad()
    def _write(self, values: Sequence[Any]) -> None:
        for variable, value in zip(self.variables, values, strict=False):
            given = value.value if isinstance(value, Variable) else as_tensor(value)
            variable.tensor.copy_(given)
