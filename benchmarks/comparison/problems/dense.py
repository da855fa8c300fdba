"""Perceptrons: the smallest steps, of which most is overhead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from comparison.problems.problem import Problem, labels


def rows(features: int, classes: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return what makes rows of normally distributed features."""

    def make(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((count, features), dtype="float32")
        return x, labels(x, generator, classes)

    return make


def stack(hidden: list[int], classes: int) -> Callable[[Any], list[Any]]:
    """Return Keras's layers with these widths."""

    def layers(keras: Any) -> list[Any]:
        dense = keras.layers.Dense
        last = dense(classes, activation="sigmoid" if classes == 1 else "softmax")
        return [*(dense(width, activation="relu") for width in hidden), last]

    return layers


def chain(features: int, hidden: list[int], classes: int) -> Callable[[], Any]:
    """Return torch's module with these widths."""

    def module() -> Any:
        from torch import nn

        parts, width = [], features
        for units in hidden:
            parts += [nn.Linear(width, units), nn.ReLU()]
            width = units
        return nn.Sequential(*parts, nn.Linear(width, classes))

    return module


def network(
    key: str, name: str, samples: int, batch: int, features: int, hidden: list[int], classes: int
) -> Problem:
    """Return a perceptron and its data."""
    parts = (rows(features, classes), stack(hidden, classes), chain(features, hidden, classes))
    return Problem(key, name, samples, batch, classes, *parts)


def perceptron(width: int, depth: int, batch: int, samples: int) -> Problem:
    """Return one whose size is chosen; `depth` hidden layers of `width`, on 64 features."""
    key = f"perceptron:{width},{depth},{batch},{samples}"
    name = f"{depth} layers of {width}, batch {batch}, {samples:,} samples"
    return network(key, name, samples, batch, 64, [width] * depth, 1)


PROBLEMS = [
    network("tiny", "tiny 20-64-64-1, batch 32", 24_000, 32, 20, [64, 64], 1),
    network("mlp", "MLP 784-128-10, batch 32", 25_600, 32, 784, [128], 10),
    network("deep", "deep MLP, 20 layers of 64, batch 32", 6_400, 32, 64, [64] * 20, 10),
    # Enough data that copies of it show among the rest of a process's memory: 125 MB.
    network("large-data", "MLP 784-128-10, 125 MB of data", 40_000, 32, 784, [128], 10),
]
