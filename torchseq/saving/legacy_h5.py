"""`.h5`: Keras's older layout of whole models and of weights alone, both ways.

A whole model has its architecture in the attribute `model_config`, its compile arguments in
`training_config`, its weights in the group `model_weights` and the optimizer's variables in
`optimizer_weights`. A file of weights has the contents of `model_weights` at its root. Both name
layers and weights in lists, since HDF5 sorts its entries and weights have an order.

Source: keras.src.legacy.saving.legacy_h5_format, Keras 3.15.1. Known difference: HDF5 writes to
memory first, and nothing is made of lambdas.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from torchseq.base import registry
from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError
from torchseq.base.optional import require
from torchseq.saving import (
    legacy_config,
    legacy_optimizer,
    limits,
    reconstruction,
    torch_state,
)
from torchseq.saving.assignment import Plan, Source, plan_optimizer
from torchseq.saving.h5_reading import H5Reader, open_h5

_KERAS_VERSION = "3.15.1"  # the layout that is written
_ATTRIBUTE_BYTES = 64512  # Keras's bound, a little below the 64 KiB of an HDF5 object header
_TOP_LEVEL = "top_level_model_weights"


# --- Saving -------------------------------------------------------------------------------------


def save_model(model: Any, path: str | os.PathLike[str], include_optimizer: bool = True) -> None:
    """Writes a whole model that real Keras loads too.

    Args:
        model: a built model.
        path: the file; replaced in one step.
        include_optimizer: write compile arguments and the optimizer's variables.

    Raises:
        ImportError: h5py is not installed.
        ValueError: its configuration cannot be written.
        OSError: the file cannot be written; the one that was there is as before.
    """
    h5py = require("h5py", "keras-files", "model.save('m.h5')")
    is_left_out = include_optimizer and torch_state.left_out(model, path)
    include_optimizer = include_optimizer and not is_left_out
    config = {"class_name": type(model).__name__}
    config |= {"config": legacy_config.legacy(registry.serialize(model))["config"]}
    compiled = model.get_compile_config() if include_optimizer and model.compiled else None
    texts = {"model_config": json.dumps(config)}
    if compiled and compiled.get("optimizer"):
        texts["training_config"] = json.dumps(legacy_config.training_config(compiled))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["keras_version"] = _KERAS_VERSION
        file.attrs["backend"] = "torch"
        for name, text in texts.items():
            file.attrs[name] = text.encode()
        _write_layers(file.create_group("model_weights"), model)
        if "training_config" in texts:
            group = file.create_group("optimizer_weights")
            _write_variables(group, list(model.optimizer.variables))
    _write_file(path, buffer)


def save_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Writes the weights alone.

    Args:
        model: a built model.
        path: the file; replaced in one step.

    Raises:
        ImportError: h5py is not installed.
        OSError: the file cannot be written; the one that was there is as before.
    """
    h5py = require("h5py", "keras-files", "model.save_weights('m.h5')")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_layers(file, model)
    _write_file(path, buffer)


def _write_file(path: str | os.PathLike[str], buffer: io.BytesIO) -> None:
    # HDF5 itself crashes the process when a write fails while it closes a file (h5py 3.16, full
    # disk), so it only ever writes to memory, and Python writes that to the disk.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


def _write_layers(group: Any, model: Any) -> None:
    _write_names(group, "layer_names", [layer.name for layer in model.layers])
    group.attrs["backend"] = b"torch"
    group.attrs["keras_version"] = _KERAS_VERSION.encode()
    # Sorted as in Keras, so that a name that another one starts with comes first.
    for layer in sorted(model.layers, key=lambda layer: str(layer.name)):
        _write_variables(group.create_group(layer.name), _weights_of(layer))
    _write_variables(group.create_group(_TOP_LEVEL), [])


def _write_variables(group: Any, variables: list[Any]) -> None:
    names: list[str] = []
    for variable in variables:
        name = str(variable.path)
        while name in names:  # one path for two, as of a weight in a list of nested modules
            name += "_"
        names.append(name)
        group.create_dataset(name, data=variable.numpy())
    _write_names(group, "weight_names", names)


def _write_names(group: Any, attribute: str, names: list[str]) -> None:
    """Writes a list of names, in as many attributes as it needs."""
    encoded = np.asarray([name.encode() for name in names])
    parts = [encoded]
    while any(part.nbytes > _ATTRIBUTE_BYTES for part in parts):
        parts = np.array_split(encoded, len(parts) + 1)
    if len(parts) == 1:
        group.attrs[attribute] = [name.encode() for name in names]
        return
    for i, part in enumerate(parts):
        group.attrs[f"{attribute}{i}"] = part


def _weights_of(layer: Any) -> list[Any]:
    return [*layer.trainable_weights, *layer.non_trainable_weights]


# --- Loading ------------------------------------------------------------------------------------


def load_model(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
) -> Any:
    """Returns the model that this module, Keras or tf.keras wrote as one `.h5` file.

    Args:
        path: the file.
        custom_objects: name in the file -> class or function of yours.
        compile: compile it as it was, with the optimizer's variables.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: the file is damaged, has no model, or holds what must not be in it.
        UnsupportedFeatureError: the model has code in it.
    """
    with open_h5(path, "load_model('m.h5')") as reader:
        config = _config(reader, "model_config")
        if config is None:
            raise FileFormatError(
                f"{reader.path}: the file must hold a model's architecture, in the attribute "
                "'model_config'; it does not. If it holds weights alone, build the model in code "
                "and use model.load_weights(...)."
            )
        if isinstance(config, list):
            config = {"class_name": "Sequential", "config": config}
        group = reader.group(reader.root, "model_weights")
        model = reconstruction.rebuild(
            legacy_config.modern(config),
            reader.path,
            custom_objects,
            lambda sketch: _plan_by_order(reader, group, sketch, Plan(reader.path)),
        )
        plan = Plan(reader.path)
        _plan_by_order(reader, group, model, plan)
        if compile:
            with registry.custom_object_scope(custom_objects or {}):
                _compile(reader, model, plan)
        plan.apply()
    return model


def is_legacy(path: str | os.PathLike[str]) -> bool:
    """Tells whether an HDF5 file has this layout, rather than that of `.weights.h5`.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: the file is damaged.
    """
    with open_h5(path, "model.load_weights('m.h5')") as reader:
        is_new = reader.find_group(reader.root, "layers") is not None
        return not is_new or reader.has_attribute(reader.root, "layer_names")


def load_weights(
    model: Any,
    path: str | os.PathLike[str],
    skip_mismatch: bool = False,
    by_name: bool = False,
) -> None:
    """Loads the weights of a legacy `.h5` file, of a whole model or of weights alone.

    Args:
        model: a built model.
        path: the file.
        skip_mismatch: leave out what does not fit, with a warning.
        by_name: match layers by name instead of by order; layers without a match stay as they are.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: the file is damaged or does not fit; no weight has changed then.
    """
    with open_h5(path, "model.load_weights('m.h5')") as reader:
        group = reader.root
        if not reader.has_attribute(group, "layer_names"):
            group = reader.find_group(group, "model_weights") or group
        plan = Plan(reader.path, skip_mismatch)
        if by_name:
            _plan_by_name(reader, group, model, plan)
        else:
            _plan_by_order(reader, group, model, plan)
        plan.apply()


def _config(reader: H5Reader, name: str) -> Any:
    text = reader.text(reader.root, name)
    return None if text is None else limits.parse_json(text, reader.path, name)


def _sources(reader: H5Reader, group: Any, layer_name: str) -> list[Source]:
    layer_group = reader.group(group, layer_name)
    return [reader.array(layer_group, name) for name in reader.names(layer_group, "weight_names")]


def _plan_by_order(reader: H5Reader, group: Any, model: Any, plan: Plan) -> None:
    layers = [layer for layer in model.layers if _weights_of(layer)]
    saved = {name: _sources(reader, group, name) for name in reader.names(group, "layer_names")}
    saved = {name: sources for name, sources in saved.items() if sources}
    if len(layers) != len(saved):
        raise FileFormatError(
            f"{reader.path}: the model must have as many layers with weights as the file; it has "
            f"{len(layers)} ({', '.join(layer.name for layer in layers) or 'none'}), the file "
            f"{len(saved)} ({', '.join(saved) or 'none'}). Build the model as it was saved, or "
            "pass by_name=True to load_weights."
        )
    for layer, (name, sources) in zip(layers, saved.items(), strict=True):
        plan.add_all(_weights_of(layer), sources, _owner(layer, name))


def _plan_by_name(reader: H5Reader, group: Any, model: Any, plan: Plan) -> None:
    names = set(reader.names(group, "layer_names"))
    for layer in model.layers:
        if layer.name in names:
            sources = _sources(reader, group, layer.name)
            plan.add_all(_weights_of(layer), sources, _owner(layer, layer.name))


def _owner(layer: Any, saved_name: str) -> str:
    return f"layer {layer.name!r} ({saved_name!r} in the file)"


def _compile(reader: H5Reader, model: Any, plan: Plan) -> None:
    training = _config(reader, "training_config")
    if training is None:
        return
    try:
        config = legacy_config.compile_config(training)
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"{reader.path}: entry 'training_config' must name an optimizer and a loss; "
            f"{type(error).__name__}: {error}. Pass compile=False and compile the model yourself."
        ) from error
    reconstruction.compile_model(model, config, reader.path)
    group = reader.find_group(reader.root, "optimizer_weights")
    if group is not None:
        sources = [reader.array(group, name) for name in reader.names(group, "weight_names")]
        weights = model.trainable_weights
        sources = legacy_optimizer.in_todays_order(sources, model.optimizer, weights)
        plan_optimizer(plan, model.optimizer, weights, sources)
