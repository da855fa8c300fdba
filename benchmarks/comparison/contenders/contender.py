"""What a contender is to the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comparison.problems.problem import Problem


class Contender:
    """Makes sessions, and says what it needs; the libraries are imported in a worker alone.

    Args:
        name: in tables and on the command line.
        devices: where it can run: "cpu", "cuda".
    """

    packages: Sequence[str] = ("torch",)
    """Distributions that must be installed, in the order in which a report names them."""
    modules: Sequence[str] = ("torch",)
    """What a user's script imports."""

    def __init__(self, name: str, devices: Sequence[str] = ("cpu", "cuda")):
        self.name = name
        self.devices = devices

    def environment(self) -> dict[str, str]:
        """Return variables that must be set before the imports."""
        return {}

    def session(self, problem: Problem, device: str) -> Session:
        """Return a new model of a problem's network, ready to be trained."""
        raise NotImplementedError


class Session:
    """A model that trains and answers; what a contender has no own way for is not there.

    `fit(data)` trains an epoch and returns its mean loss, `evaluate(data)` returns the loss,
    `predict(x)` an array, `save(path)` and `load(path)` do as they say.
    """

    suffix = ""
    """Of the files that it saves."""

    def data(self, x: Any, y: Any) -> Any:
        """Return arrays as `fit` takes them; not timed."""
        return x, y

    def test_data(self, x: Any, y: Any) -> Any:
        """Return arrays as `evaluate` takes them; not timed."""
        return self.data(x, y)

    def fit(self, data: Any) -> float:
        """Train for an epoch in random order and return the mean loss."""
        raise NotImplementedError
