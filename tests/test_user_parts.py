"""User-written initializers, regularizers and constraints, as functions and subclasses, in fit."""

from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import constraints, initializers, layers, regularizers


class Halves(initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return torch.full(tuple(shape), 0.5)


class Sum(regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return 0.1 * x.sum()


class AtMostOne(constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return w.clamp(max=1.0)


@pytest.mark.parametrize("kind", ["classes", "functions"])
def test_all_three_in_fit(kind: str) -> None:
    parts: dict[str, Any] = {
        "classes": {
            "kernel_initializer": Halves(),
            "kernel_regularizer": Sum(),
            "kernel_constraint": AtMostOne(),
        },
        "functions": {
            "kernel_initializer": lambda shape, dtype=None: torch.full(tuple(shape), 0.5),
            "kernel_regularizer": lambda x: 0.1 * x.sum(),
            "kernel_constraint": lambda w: w.clamp(max=1.0),
        },
    }[kind]
    model = torchseq.Sequential([torchseq.Input((3,)), layers.Dense(2, **parts)])
    assert (model.get_weights()[0] == 0.5).all()
    x, y = np.ones((4, 3), "float32"), np.full((4, 2), 1.5, "float32")
    model.compile(torchseq.optimizers.SGD(1.0), "mse")
    assert model.evaluate(x, y, verbose=0) == pytest.approx(0.1 * 6 * 0.5)
    model.fit(x, y + 100, verbose=0)
    assert (model.get_weights()[0] == 1.0).all()  # the step went far beyond
