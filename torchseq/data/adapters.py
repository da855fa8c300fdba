"""Picks the source that fits what a user passes as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchseq.data import foreign
from torchseq.data.arrays import ArraySource
from torchseq.data.batches import unpack
from torchseq.data.loaders import DatasetSource, LoaderSource, SampleStreamSource
from torchseq.data.py_dataset import PyDataset, PyDatasetSource
from torchseq.data.source import Source
from torchseq.data.streams import GeneratorSource, IterableSource


def source_for(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool | str = False,
    class_weight: Mapping[int, float] | None = None,
    device: torch.device | str = "cpu",
    owner: str = "fit",
    inputs_only: bool = False,
) -> Source:
    """Return the source of the batches that `x`, or `x` and `y`, make.

    Args:
        x: inputs, or an object that gives inputs, targets and weights together.
        y, sample_weight: targets and weights, if `x` is inputs alone.
        batch_size: samples per batch, for data that comes sample by sample.
        steps: batches that are wanted of the data.
        shuffle: True, False or `"batch"`, for data that has an order.
        class_weight: class index -> weight.
        device: where batches are wanted.
        owner: the method that errors name.
        inputs_only: leave targets and weights aside.

    Raises:
        ValueError: if the data has no form that is known, or arguments contradict it.
    """
    if not is_stream(x):
        if type(x) is TensorDataset:
            _refuse_targets(owner, "TensorDataset", y, sample_weight)
            x, y, sample_weight = unpack(x.tensors, f"{owner}: a TensorDataset")
            y, sample_weight = (None, None) if inputs_only else (y, sample_weight)
        return ArraySource(
            x, y, sample_weight, batch_size, steps, shuffle, class_weight, device, owner
        )
    kind = _kind_of(x)
    _refuse_targets(owner, kind.noun, y, sample_weight)
    options: dict[str, Any] = {
        "class_weight": class_weight,
        "device": device,
        "owner": owner,
        "inputs_only": inputs_only,
    }
    if kind in (DatasetSource, SampleStreamSource):
        options["batch_size"] = batch_size
    if kind in (DatasetSource, PyDatasetSource):
        options["shuffle"] = shuffle
    if kind is DatasetSource:
        options["steps"] = steps
    source: Source = kind(x, **options)
    if source.is_endless and steps is None:
        raise ValueError(
            f"{owner}: a {kind.noun} without end needs a number of batches. Pass "
            f"`{steps_name(owner)}`."
        )
    return source


def _kind_of(x: Any) -> Any:
    """Return the class of source for an object that gives its batches or samples by itself."""
    if isinstance(x, PyDataset) or foreign.is_keras_dataset(x):
        return PyDatasetSource
    if isinstance(x, DataLoader):
        return LoaderSource
    if isinstance(x, IterableDataset):
        return SampleStreamSource
    if isinstance(x, Dataset):
        return DatasetSource
    return GeneratorSource if isinstance(x, Iterator) else IterableSource


def is_stream(x: Any) -> bool:
    """Tell whether `x` gives batches or samples by itself, and is no array of inputs."""
    if isinstance(x, PyDataset | Dataset) or foreign.is_keras_dataset(x):
        return type(x) is not TensorDataset  # the very class is its tensors, and faster so
    if isinstance(x, Tensor | Sequence | Mapping) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__iter__") and not foreign.is_sparse_matrix(x)


def check_split(x: Any) -> None:
    """Check that `validation_split` can cut the data.

    Raises:
        ValueError: if `x` gives its batches or samples by itself.
    """
    if is_stream(x) or isinstance(x, TensorDataset):
        raise ValueError(
            "fit: `validation_split` is only supported for arrays, tensors and lists; got x of "
            f"type {type(x).__name__}. Pass `validation_data`."
        )


def validation_parts(data: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and weights of `validation_data`; the inputs may give the others.

    Raises:
        ValueError: if it is neither a tuple of arrays nor something that gives batches.
    """
    if is_stream(data) or isinstance(data, TensorDataset):
        return data, None, None
    if not isinstance(data, tuple | list) or not 1 <= len(data) <= 3:
        raise ValueError(
            "fit: `validation_data` must be a tuple (x, y) or (x, y, sample_weight), or what gives "
            f"such batches; got {type(data).__name__}."
        )
    return unpack(data)


def steps_name(owner: str) -> str:
    """Return how a method calls the number of batches that are wanted."""
    return {"fit": "steps_per_epoch", "fit, validation_data": "validation_steps"}.get(
        owner, "steps"
    )


def _refuse_targets(owner: str, noun: str, y: Any, sample_weight: Any) -> None:
    for name, given in (("y", y), ("sample_weight", sample_weight)):
        if given is not None:
            raise ValueError(
                f"{owner}: `{name}` must not be given when `x` is a {noun}; got one of type "
                f"{type(given).__name__}. Let the {noun} yield (x, y) or (x, y, sample_weight)."
            )
