"""Weights from a file into variables: everything is checked and read before anything changes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchseq.base.errors import FileFormatError

_KINDS = {"f": "floating", "b": "boolean", "i": "integer", "u": "integer", "c": "complex"}
_COUNTERS = ("iteration", "learning_rate")  # what an optimizer has before it is built


@dataclass(frozen=True)
class Source:
    """An array in a file that has not been read yet.

    Args:
        entry: where in the file it is, for errors.
        shape: its shape, in Keras's layout.
        dtype: its dtype's name.
        read: returns the array or tensor.
        path: the variable's path when it was saved.
    """

    entry: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Any]
    path: str = ""


class Plan:
    """Which array goes to which variable; `apply` does all of it or nothing.

    Args:
        path: the file, for errors.
        skip_mismatch: leave out what does not fit, with a warning, as Keras does.
    """

    def __init__(self, path: str | os.PathLike[str], skip_mismatch: bool = False):
        self.path = os.fspath(path)
        self.skip_mismatch = skip_mismatch
        self._pairs: list[tuple[Any, Source]] = []

    def add(self, variable: Any, source: Source) -> None:
        """Plans one assignment.

        Args:
            variable: a `Variable` (anything with `path`, `shape`, `dtype`, `assign`).
            source: what it is to hold.

        Raises:
            FileFormatError: shape or kind of dtype differ.
        """
        expected = f"shape {tuple(variable.shape)}, dtype {variable.dtype}"
        found = f"shape {source.shape}, dtype {source.dtype}"
        fits = tuple(variable.shape) == source.shape and kind_of(source.dtype) == kind_of(
            variable.dtype
        )
        if fits:
            self._pairs.append((variable, source))
        else:
            self.mismatch(
                f"entry {source.entry!r} must fit the weight {variable.path!r} of {expected}; "
                f"got {found}."
            )

    def add_all(self, variables: list[Any], sources: list[Source], owner: str) -> None:
        """Plans assignments in order.

        Args:
            variables: the variables of one owner.
            sources: as many sources.
            owner: whose they are, for errors.

        Raises:
            FileFormatError: the numbers differ, or a shape or dtype does.
        """
        if len(variables) != len(sources):
            self.mismatch(
                f"{owner} must have as many weights as the file has for it; it has "
                f"{[(v.path, tuple(v.shape)) for v in variables]}, the file "
                f"{[(s.entry, s.shape) for s in sources]}."
            )
            return
        for variable, source in zip(variables, sources, strict=True):
            self.add(variable, source)

    def mismatch(self, message: str) -> None:
        """Reports what does not fit: an error, or a warning under `skip_mismatch`."""
        if not self.skip_mismatch:
            raise FileFormatError(
                f"{self.path}: {message} Build the model as it was saved, or pass "
                "skip_mismatch=True to load_weights to leave out what does not fit."
            )
        warnings.warn(f"{self.path}: skipped: {message}", stacklevel=4)

    def apply(self) -> None:
        """Reads all arrays, then assigns all.

        Raises:
            FileFormatError: an array cannot be read; no variable has changed then.
        """
        values = [source.read() for _, source in self._pairs]
        for (variable, _), value in zip(self._pairs, values, strict=True):
            variable.assign(value)


def kind_of(dtype: str) -> str:
    """Returns the kind of a dtype by its name: weights convert within a kind, never across.

    Examples:
        >>> kind_of("bfloat16"), kind_of("uint8")
        ('floating', 'integer')
    """
    if "float" in dtype:  # also those that NumPy does not have
        return "floating"
    return _KINDS.get(np.dtype(dtype).kind, dtype)


def plan_optimizer(plan: Plan, optimizer: Any, weights: list[Any], sources: list[Source]) -> None:
    """Plans the assignment of an optimizer's variables: by order, or by name if numbers differ.

    Args:
        plan: takes the assignments.
        optimizer: the compiled model's.
        weights: what it trains; it is built for them if the file has more than its counters.
        sources: the file's optimizer variables, in order.

    Raises:
        FileFormatError: a shape or dtype differs.
    """
    if not optimizer.built and len(sources) > len(optimizer.variables):
        optimizer.build(weights)
    variables = list(optimizer.variables)
    counters = [variable for variable in variables if is_counter(variable.path)]
    if len(counters) == len(sources):  # saved before the first step
        variables = counters
    if len(variables) == len(sources):
        plan.add_all(variables, sources, "the optimizer")
        return
    # Layers were frozen or freed between `compile` and `save`: the file has other slots too.
    matches = [_of_same_name(variable, sources) for variable in variables]
    if all(len(found) == 1 for found in matches):
        plan.add_all(variables, [found[0] for found in matches], "the optimizer")
        return
    warnings.warn(
        f"{plan.path}: the optimizer's state was left out, since it does not fit the model's "
        f"optimizer ({len(sources)} arrays in the file, {len(variables)} variables). Training "
        "goes on with a fresh optimizer; load with compile=False to silence this.",
        stacklevel=4,
    )


def _of_same_name(variable: Any, sources: list[Source]) -> list[Source]:
    """Returns the sources whose name ends as the variable's does, or the other way round.

    A weight built before its layer was put into the model has no model's name in front.
    """
    name = variable.path.rpartition("/")[2]
    return [
        source
        for source in sources
        if name.endswith(saved := source.path.rpartition("/")[2]) or saved.endswith(name)
    ]


def is_counter(path: str) -> bool:
    """Tells whether an optimizer's variable of this path is not the slot of a weight."""
    return path.rpartition("/")[2] in _COUNTERS
