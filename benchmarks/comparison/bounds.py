"""What issue 6 says must hold, next to what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comparison import figures

_FITS = ("tiny", "mlp", "gru", "lstm", "convnet", "deep", "resnet", "bilstm")
_ROWS = (*_FITS, "evaluate", "predict", "row")
_OVER_KERAS_ON_TORCH = {"mlp": 4, "tiny": 4, "lstm": 4, "predict": 8, "convnet": 1.8, "gru": 1.8}

Bound = tuple[str, float, float]
"""What it says, the figure, and the least that it must be."""


def bounds(results: dict[str, Any]) -> Iterator[Bound]:
    """Yield the bounds for which there are figures.

    Args:
        results: key of a task -> its result.
    """
    for what, key, name, other, least in _speeds():
        if key in results:
            found = figures.ratio(results[key], name, other)
            if found is not None:
                yield f"{what}: {results[key]['title']}", found, least
    for key in ("tiny", "mlp", "convnet"):
        if f"verbose-{key}" in results:
            found = figures.verbose_ratio(results[f"verbose-{key}"], "torchseq")
            if found is not None:
                yield f"verbose=1 over verbose=0: {results[key]['title']}", found, 0.95


def _speeds() -> Iterator[tuple[str, str, str, str, float]]:
    """Yield what is said, the task, who, over whom, and the least ratio of speeds."""
    for key in (*_FITS, "evaluate"):
        yield "default over the in-memory loop", key, "torchseq", figures.BASE, 0.97
    yield "default over the bare loop", "predict", "torchseq", figures.BASE, 0.95
    yield "default over the bare call", "row", "torchseq", figures.BASE, 0.5
    yield "default over nn.GRU", "gru", "torchseq", figures.BASE, 1.5
    for key, least in (*_OVER_KERAS_ON_TORCH.items(), ("row", 15)):
        yield "default over Keras on torch", key, "torchseq", "Keras on torch", least
    for other in ("Lightning", "skorch", "Poutyne"):
        for key in _ROWS:
            yield f"default over {other}", key, "torchseq", other, 1
    for key in _ROWS:
        yield "compiled over Keras on JAX", key, "torchseq compiled", "Keras on JAX", 1
    yield "compiled over default", "tiny", "torchseq compiled", "torchseq", 2.5
