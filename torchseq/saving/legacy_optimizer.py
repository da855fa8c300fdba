"""Optimizer variables of Keras 2's files, in today's order.

Keras 2 wrote the step, then one slot of every weight, then the next slot of every weight. Today
it is step, learning rate, then all slots of a weight, then those of the next.
"""

from __future__ import annotations

from typing import Any

from torchseq.saving.assignment import Source, is_counter

_COUNTER_NAMES = ("iter", "iteration", "iterations")
# What Keras 2 called a slot -> today's name of the same.
_SLOT_NAMES = {
    "m": "momentum",
    "mg": "average_gradient",
    "momentum": "momentum",
    "rms": "velocity",
    "v": "velocity",
    "velocity": "velocity",
    "vhat": "velocity_hat",
}


def in_todays_order(sources: list[Source], optimizer: Any, weights: list[Any]) -> list[Source]:
    """Returns the sources in the order of `optimizer.variables`.

    Files of Keras 3 are in this order already; what is not understood is returned as it is.

    Args:
        sources: the file's optimizer variables, their `path` as saved.
        optimizer: the compiled model's; built here if the file is of Keras 2.
        weights: what the optimizer trains.
    """
    words = [_words(source.path) for source in sources]
    counters = [source for source, word in zip(sources, words, strict=True) if _is_counter(word)]
    slots: dict[str, list[Source]] = {}
    for source, word in zip(sources, words, strict=True):
        if (slot := _slot(word)) is not None:
            slots.setdefault(slot, []).append(source)
    if len(counters) != 1 or not slots:
        return sources
    if not optimizer.built:
        optimizer.build(weights)
    if any(len(found) != len(weights) for found in slots.values()):
        return sources
    ordered: list[Source] = []
    for variable in optimizer.variables:
        if is_counter(variable.path):
            is_step = variable.path.endswith("iteration")
            ordered.append(counters[0] if is_step else _as_it_is(variable))
            continue
        known = [name for name in slots if variable.path.endswith(f"_{name}")]
        if not known or not slots[known[-1]]:
            return sources
        ordered.append(slots[known[-1]].pop(0))
    return ordered


def _words(path: str) -> list[str]:
    return path.removesuffix(":0").split("/")


def _is_counter(words: list[str]) -> bool:
    return words[-1] in _COUNTER_NAMES


def _slot(words: list[str]) -> str | None:
    """Returns today's name of the slot: the last word of `Adam/dense/kernel/m`."""
    # TensorFlow 2.11 to 2.15 put it second: `Adam/m/dense/kernel`.
    for word in (words[-1], words[1] if len(words) > 2 else ""):
        if word in _SLOT_NAMES:
            return _SLOT_NAMES[word]
    return None


def _as_it_is(variable: Any) -> Source:
    """Returns a source that leaves a variable's value; the configuration has set it."""
    return Source(variable.path, tuple(variable.shape), variable.dtype, variable.numpy)
