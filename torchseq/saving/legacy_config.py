"""Keras's older configurations <-> today's.

Old ones name a class without its module; before Keras 2.2.3 a Sequential was a bare list.

Source: keras.legacy.saving (serialization, saving_utils), and the arguments of Keras 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base import naming
from torchseq.base.types import Config

# Keras 1's classes and arguments that Keras 2 renamed, for the layers that torchseq has.
_RENAMED_CLASSES = {"Convolution2D": "Conv2D"}
_RENAMED_ARGUMENTS = {
    "W_constraint": "kernel_constraint",
    "W_regularizer": "kernel_regularizer",
    "b_constraint": "bias_constraint",
    "b_regularizer": "bias_regularizer",
    "bias": "use_bias",
    "border_mode": "padding",
    "init": "kernel_initializer",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "subsample": "strides",
}
_ALSO_INITIALIZERS = ("Identity",)  # layers whose class alone says too little
_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}
_DROPPED_OPTIMIZER_OPTIONS = ("decay", "is_legacy_optimizer", "jit_compile")
# Keras chooses the function behind these by the shapes of targets and predictions.
_CHOSEN_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")
# Keras 3 cannot read the short names of losses from its own `.h5` files (3.15.1).
_LOSS_NAMES = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}


# --- Old to new ---------------------------------------------------------------------------------


def modern(config: Any) -> Any:
    """Returns a model's or layer's configuration in today's form.

    Descriptions that name a module are today's already and stay as they are.

    Examples:
        >>> modern({"class_name": "Dropout", "config": {"p": 0.5}})
        {'class_name': 'Dropout', 'config': {'rate': 0.5}}
    """
    if isinstance(config, list):
        return [modern(entry) for entry in config]
    if not isinstance(config, Mapping) or "module" in config:
        return config
    if "class_name" not in config or "config" not in config:
        return {key: modern(value) for key, value in config.items()}
    class_name, inner = config["class_name"], config["config"]
    class_name = _RENAMED_CLASSES.get(class_name, class_name)
    if class_name == "Sequential" and isinstance(inner, list):
        inner = {"name": naming.auto_name("Sequential"), "layers": inner}
    if isinstance(inner, Mapping):
        inner = _modern_arguments(class_name, inner)
    module = {}
    if class_name in _ALSO_INITIALIZERS and "name" in inner:
        module = {"module": "keras.layers"}
    return {**config, **module, "class_name": class_name, "config": inner}


def _modern_arguments(class_name: str, arguments: Mapping[str, Any]) -> Config:
    if "layers" in arguments:
        return {**arguments, "layers": modern(arguments["layers"])}
    is_layer = "name" in arguments or "trainable" in arguments or "p" in arguments
    if not is_layer:  # an initializer, a regularizer, ...
        return dict(arguments)
    is_keras_1 = any(key in arguments for key in ("init", "nb_filter", "border_mode", "p"))
    made: Config = {}
    for key, value in arguments.items():
        name = _RENAMED_ARGUMENTS.get(key, key) if is_keras_1 else key
        made[name] = modern(value)
    if class_name == "InputLayer" and "batch_input_shape" in made:
        made["batch_shape"] = made.pop("batch_input_shape")
    if isinstance(made.get("axis"), list) and len(made["axis"]) == 1:
        made["axis"] = made["axis"][0]
    if isinstance(made.get("dtype"), Mapping) and "module" not in made["dtype"]:
        made["dtype"] = made["dtype"]["config"]["name"]  # Keras 2's Policy
    return _keras_1_shapes(made) if is_keras_1 else made


def _keras_1_shapes(made: Config) -> Config:
    if "nb_row" in made:
        made["kernel_size"] = [made.pop("nb_row"), made.pop("nb_col")]
    if "dim_ordering" in made:
        ordering = made.pop("dim_ordering")
        made["data_format"] = _DATA_FORMATS.get(ordering, ordering)
    return {key: value for key, value in made.items() if key not in ("input_dim", "input_dtype")}


def compile_config(training_config: Mapping[str, Any]) -> Config:
    """Returns what `compile_from_config` takes from what a legacy file says of training.

    Examples:
        >>> old = {"class_name": "SGD", "config": {"lr": 0.5, "decay": 0.0}}
        >>> compile_config({"optimizer_config": old, "loss": "mse"})["optimizer"]["config"]
        {'learning_rate': 0.5}
    """
    made: Config = {
        "optimizer": _modern_optimizer(training_config["optimizer_config"]),
        "loss": _in_module(training_config.get("loss"), "keras.losses"),
        "loss_weights": training_config.get("loss_weights"),
    }
    for key in ("metrics", "weighted_metrics"):
        made[key] = _modern_metrics(training_config.get(key))
    for key in ("run_eagerly", "steps_per_execution", "jit_compile"):
        if key in training_config:
            made[key] = training_config[key]
    return made


def _modern_optimizer(config: Config) -> Config:
    if "module" in config:
        return dict(config)
    arguments = dict(config["config"])
    if "lr" in arguments:
        arguments.setdefault("learning_rate", arguments.pop("lr"))
    kept = {
        key: value
        for key, value in arguments.items()
        # A decay that is not 0 changes the training: the optimizer must say whether it has it.
        if key not in _DROPPED_OPTIMIZER_OPTIONS or (key == "decay" and value)
    }
    class_name = str(config["class_name"])
    return {
        "module": "keras.optimizers",
        # TensorFlow 2.11 to 2.15 wrote `Custom>` before its own optimizers.
        "class_name": class_name.removeprefix("Custom>"),
        "config": kept,
        "registered_name": class_name if ">" in class_name else None,
    }


def _modern_metrics(config: Any) -> Any:
    if not isinstance(config, list):
        return _in_module(config, "keras.metrics")
    if len(config) == 1 and isinstance(config[0], list):  # Keras 2: a list for each output
        config = config[0]
    return [_modern_metric(entry) for entry in config]


def _modern_metric(config: Any) -> Any:
    if isinstance(config, Mapping) and config.get("class_name") == "MeanMetricWrapper":
        name, function = config["config"].get("name"), config["config"].get("fn")
        return name if name in _CHOSEN_BY_SHAPE else function
    return _in_module(config, "keras.metrics")


def _in_module(config: Any, module: str) -> Any:
    """Adds the module to a description; losses and metrics share class names."""
    if not isinstance(config, Mapping) or "class_name" not in config or "module" in config:
        return config
    made = {"module": module, "registered_name": None, **config}
    if ">" in str(config["class_name"]):
        made["registered_name"] = config["class_name"]
    return made


# --- New to old ---------------------------------------------------------------------------------


def legacy(config: Any) -> Any:
    """Returns a layer's configuration as Keras 3 writes it to `.h5`: class and arguments only.

    Examples:
        >>> legacy({"module": "keras.layers", "class_name": "Flatten", "config": {"name": "f"}})
        {'class_name': 'Flatten', 'config': {'name': 'f'}}
    """
    if not isinstance(config, Mapping) or "class_name" not in config:
        return config
    inner = config["config"]
    if isinstance(inner, Mapping) and isinstance(inner.get("layers"), list | tuple):
        inner = {**inner, "layers": [legacy(layer) for layer in inner["layers"]]}
    return {"class_name": config.get("registered_name") or config["class_name"], "config": inner}


def training_config(compiled: Mapping[str, Any]) -> Config:
    """Returns what a legacy file says of training, from what `get_compile_config` returned."""
    made = {key: _legacy_nested(value) for key, value in compiled.items() if key != "optimizer"}
    made.setdefault("loss_weights", None)  # Keras reads it without asking
    if isinstance(made.get("loss"), str):
        made["loss"] = _LOSS_NAMES.get(made["loss"].lower(), made["loss"])
    made["optimizer_config"] = legacy(compiled["optimizer"])
    return made


def _legacy_nested(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return [_legacy_nested(entry) for entry in config]
    if not isinstance(config, Mapping):
        return config
    if config.get("class_name") == "function":
        registered = config.get("registered_name")
        return config["config"] if registered in (None, "function") else registered
    if "class_name" in config:
        return legacy(config)
    return {key: _legacy_nested(value) for key, value in config.items()}
