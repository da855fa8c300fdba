"""Metrics by name, and the metric that a user means in `compile`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from torchseq import losses
from torchseq.base import arguments, naming, registry
from torchseq.base.targets import kind_of_targets
from torchseq.base.types import Shape
from torchseq.metrics import (
    accuracy,
    averages,
    confusion,
    correlation,
    curves,
    f_scores,
    metric,
    overlap,
    probabilistic,
    regression,
    torch_metric,
)

_MODULES = (
    metric,
    averages,
    regression,
    correlation,
    confusion,
    curves,
    f_scores,
    overlap,
    probabilistic,
    accuracy,
)
CLASSES: dict[str, type[metric.Metric]] = {
    name: thing
    for module in _MODULES
    for name, thing in vars(module).items()
    if inspect.isclass(thing)
    and issubclass(thing, metric.Metric)
    and not name.startswith("_")
    and name not in ("ConfusionMetric", "MeanOfFunction", "MeanOfLoss")
}
"""Keras's metric classes by their names."""

_SHORT_NAMES = {
    "bce": "BinaryCrossentropy",
    "mse": "MeanSquaredError",
    "mae": "MeanAbsoluteError",
    "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
}
_NAMES = {
    **CLASSES,
    **{naming.to_snake_case(name): made for name, made in CLASSES.items()},
    **{short: CLASSES[name] for short, name in _SHORT_NAMES.items()},
    **{short.upper(): CLASSES[name] for short, name in _SHORT_NAMES.items()},
}
_FAMILY = registry.Family("metric", "keras.metrics", _NAMES)

# Names whose class is chosen by shapes -> what the class's name ends in.
_BY_SHAPES = {"accuracy": "Accuracy", "crossentropy": "Crossentropy"}
_BY_SHAPES_ALIASES = {"acc": "accuracy", "ce": "crossentropy"}


def get(identifier: Any) -> Any:
    """Return the metric, or function, for a name, config, class, function or metric.

    Raises:
        ValueError: if a name is not known, naming the nearest ones.
        TypeError: if it is none of these.

    Examples:
        >>> get("mse")
        <MeanSquaredError name=mean_squared_error>

    Source: keras.metrics.get.
    """
    return _FAMILY.get(identifier)


def serialize(metric: Any) -> Any:
    """Return the config of a metric or function.

    Source: keras.metrics.serialize.
    """
    return _FAMILY.serialize(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the metric or function that a config describes.

    Source: keras.metrics.deserialize.
    """
    return _FAMILY.deserialize(config, custom_objects)


def resolve(identifier: Any, y_true_shape: Shape, y_pred_shape: Shape) -> metric.Metric:
    """Return the metric that `compile(metrics=[identifier])` means, named as in the history.

    "accuracy" and "acc" (and, beyond Keras, "crossentropy" and "ce") are chosen by shapes:
    binary if predictions have a last axis of 1; sparse if targets lack the last axis or have 1
    there; else categorical. A name stays the key as the user wrote it, an object brings its own
    name, a function is called by its own in snake case. A torchmetrics metric and a torch loss are
    called by their class's name in snake case.

    Args:
        identifier: name, config, class, function or metric.
        y_true_shape: shape of the targets, batch first.
        y_pred_shape: shape of the predictions, batch first.

    Raises:
        ValueError: if a name is not known, naming the nearest ones; for None.
        TypeError: if it is no metric.

    Examples:
        >>> resolve("acc", (32,), (32, 10))
        <SparseCategoricalAccuracy name=acc>

    Source: Keras's compile_utils.get_metric.
    """
    if identifier is None:
        raise ValueError(
            "compile: each entry of `metrics` must be a metric; got None. Leave it out."
        )
    found: Any = _chosen_by_shapes(identifier, y_true_shape, y_pred_shape)
    if found is None:
        found = _known(identifier)
    name = identifier if isinstance(identifier, str) else _name_of(found)
    if torch_metric.is_torch_metric(found):
        found = torch_metric.TorchMetric(found)
    elif isinstance(found, nn.Module) and not isinstance(found, metric.Metric):
        found = averages.MeanMetricWrapper(losses.TorchLoss(found))
    elif not isinstance(found, metric.Metric):
        found = averages.MeanMetricWrapper(found)
    made: metric.Metric = found
    made.name = name
    return made


def _known(identifier: Any) -> Any:
    if not isinstance(identifier, str):
        return get(identifier)
    if registry.get_registered_object(identifier, None, _NAMES) is None:
        names = [*_NAMES, *_BY_SHAPES, *_BY_SHAPES_ALIASES]
        raise ValueError(
            f"metric: {identifier!r} is not a known name. {arguments.nearest(identifier, names)}"
        )
    return get(identifier)


def _chosen_by_shapes(
    identifier: Any, y_true_shape: Shape, y_pred_shape: Shape
) -> metric.Metric | None:
    if not isinstance(identifier, str):
        return None
    name = identifier.lower()
    ending = _BY_SHAPES.get(_BY_SHAPES_ALIASES.get(name, name))
    if ending is None:
        return None
    kind = kind_of_targets(y_true_shape, y_pred_shape)
    prefix = {"binary": "Binary", "sparse": "SparseCategorical", "categorical": "Categorical"}[kind]
    return CLASSES[prefix + ending]()


def _name_of(thing: Any) -> str:
    if hasattr(thing, "name"):
        return str(thing.name)
    return naming.to_snake_case(getattr(thing, "__name__", type(thing).__name__))
