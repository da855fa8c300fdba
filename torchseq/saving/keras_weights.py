"""`.weights.h5`: Keras 3's layout of weights, both ways; also the inside of `.keras`.

Source: keras.src.saving.saving_lib, Keras 3.15.1. Not offered: files in several shards.
"""

from __future__ import annotations

import io
import os
from typing import Any

from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError
from torchseq.base.optional import require
from torchseq.saving import torch_state, weight_paths
from torchseq.saving.assignment import Plan, Source, plan_optimizer
from torchseq.saving.h5_reading import H5Reader, open_h5

_OPTIMIZER = "optimizer"
_INNER = "inner_optimizer"  # of a LossScaleOptimizer
_STREAM, _POSITION = "seed_generator", "position"  # of a layer that draws; the group is ours


def save_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Writes a model's weights, and its optimizer's variables if it is compiled, as Keras does.

    Args:
        model: a built model.
        path: the file; replaced in one step.

    Raises:
        ImportError: h5py is not installed.
        OSError: the file cannot be written; the one that was there is as before.
    """
    buffer = written(model, "model.save_weights('m.weights.h5')")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


def load_weights(model: Any, path: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
    """Loads the weights of a file; the optimizer's state stays as it is.

    Args:
        model: a built model.
        path: the file.
        skip_mismatch: leave out what does not fit, with a warning.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: the file is damaged or does not fit; no weight has changed then.
    """
    with open_h5(path, "model.load_weights('m.weights.h5')") as reader:
        plan = Plan(reader.path, skip_mismatch)
        plan_weights(reader, model, plan)
        plan.apply()


def written(model: Any, feature: str, include_optimizer: bool = True) -> io.BytesIO:
    """Returns the contents of a `.weights.h5` file.

    Args:
        model: the model.
        feature: who needs h5py, for the error without it.
        include_optimizer: write the optimizer's variables, if there are any.
    """
    h5py = require("h5py", "keras-files", feature)
    buffer = io.BytesIO()  # in memory, for the reason that legacy_h5 gives
    with h5py.File(buffer, "w") as file:
        for owner in weight_paths.owners(model):
            _write(file, owner)
        optimizer = model.optimizer
        has_one = model.compiled and optimizer is not None and not torch_state.is_torch(optimizer)
        if include_optimizer and has_one:
            _write(file, weight_paths.Owner(_OPTIMIZER, optimizer.name, optimizer.variables))
            inner = getattr(optimizer, _INNER, None)
            if inner is not None:  # Keras writes and reads its variables a second time
                path = f"{_OPTIMIZER}/{_INNER}"
                _write(file, weight_paths.Owner(path, inner.name, inner.variables))
    return buffer


def _write(file: Any, owner: weight_paths.Owner) -> None:
    group = file.create_group(f"{owner.path}/vars".lstrip("/"))
    group.attrs["name"] = owner.name
    for i, variable in enumerate(owner.variables):
        group.create_dataset(str(i), data=variable.numpy())
    if owner.position is not None:
        group = file.create_group(f"{owner.path}/{_STREAM}".lstrip("/"))
        group.create_dataset(_POSITION, data=owner.position.numpy())


def plan_weights(reader: H5Reader, model: Any, plan: Plan) -> None:
    """Plans the assignment of all of a model's weights.

    Raises:
        FileFormatError: a weight is missing, or a shape or dtype differs.
    """
    for owner in weight_paths.owners(model):
        sources = _sources(reader, owner.path)
        if owner.variables or sources:
            plan.add_all(owner.variables, sources, f"layer {owner.name!r} ({owner.path!r})")
        if owner.position is not None:
            _plan_position(reader, owner, plan)


def _plan_position(reader: H5Reader, owner: weight_paths.Owner, plan: Plan) -> None:
    """Plans to set the random stream where it was; Keras's files do not say, and it stays."""
    group = reader.find_group(reader.root, f"{owner.path}/{_STREAM}".lstrip("/"))
    if group is not None and _POSITION in reader.entries(group):
        plan.add(owner.position, reader.array(group, _POSITION))


def plan_optimizer_state(reader: H5Reader, model: Any, plan: Plan) -> None:
    """Plans the assignment of the optimizer's variables, if the file has any.

    Raises:
        FileFormatError: a shape or dtype differs.
    """
    sources = _sources(reader, _OPTIMIZER)
    if sources:
        plan_optimizer(plan, model.optimizer, model.trainable_weights, sources)


def _sources(reader: H5Reader, path: str) -> list[Source]:
    entry = f"{path}/vars".lstrip("/")
    group = reader.find_group(reader.root, entry)
    if group is None:
        return []
    found = reader.entries(group)
    expected = [str(i) for i in range(len(found))]
    if set(expected) != set(found):
        raise FileFormatError(
            f"{reader.path}: group {entry!r} must number its arrays from 0; got {sorted(found)}. "
            "The file is damaged or was not written by Keras or torchseq."
        )
    return [reader.array(group, name) for name in expected]
