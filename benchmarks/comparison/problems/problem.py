"""A data set, and a network for it in two dialects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Problem:
    """Data, a network in Keras's words and in torch's, and how it is trained.

    Args:
        key: names it on the command line.
        name: names it in tables.
        num_samples: a multiple of the batch size, so that no batch is uneven.
        batch_size: samples per step.
        classes: 1 for yes and no, with one output; else as many outputs.
        make: `(generator, num_samples)` -> inputs, channels last, and numbers of classes.
        layers: the module `keras` -> layers that end in a sigmoid or softmax.
        module: returns torch's module, which ends in logits and takes channels first.
    """

    key: str
    name: str
    num_samples: int
    batch_size: int
    classes: int
    make: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    layers: Callable[[Any], list[Any]]
    module: Callable[[], Any]

    @property
    def num_steps(self) -> int:
        """Batches in an epoch."""
        return self.num_samples // self.batch_size

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets: float32 `(n, 1)` for one output, else class numbers."""
        x, y = self.make(np.random.default_rng(0), self.num_samples)
        return x, y.astype("float32")[:, None] if self.classes == 1 else y.astype("int64")

    def scaled(self, scale: float) -> Problem:
        """Return it with more or fewer samples, at least two batches."""
        steps = max(round(self.num_steps * scale), 2)
        return replace(self, num_samples=steps * self.batch_size)


def labels(x: np.ndarray, generator: np.random.Generator, classes: int) -> np.ndarray:
    """Return class numbers that a network can learn from the inputs."""
    flat = x.reshape(len(x), -1)
    scores = flat @ generator.standard_normal((flat.shape[1], max(classes, 1)), dtype="float32")
    return scores[:, 0] > 0 if classes == 1 else scores.argmax(1)
