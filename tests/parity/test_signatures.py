"""Every public class and function takes Keras's arguments, in Keras's order, with its defaults."""

import importlib
import inspect
from typing import Any

import keras
import pytest

import torchseq

PACKAGES = [
    "activations",
    "callbacks",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "optimizers",
    "regularizers",
    "utils",
]

# Ours -> why its signature is not compared.
OUR_OWN = {
    "callbacks.CallbackList": "the training loop's",
    "layers.Layer": "options are named in its docstring; Keras takes them as **kwargs",
    "optimizers.Optimizer": "options of all optimizers are its own arguments",
}

# Arguments that Keras's class names and ours takes among its **options.
AMONG_OPTIONS = {
    "optimizers": {
        "weight_decay",
        "clipnorm",
        "clipvalue",
        "global_clipnorm",
        "use_ema",
        "ema_momentum",
        "ema_overwrite_frequency",
        "loss_scale_factor",
        "gradient_accumulation_steps",
        "name",
    }
}


def names() -> list[str]:
    """Return `package.name` of what both libraries have."""
    found = []
    for package in PACKAGES:
        ours = importlib.import_module(f"torchseq.{package}")
        theirs = getattr(keras, package)
        found += [f"{package}.{name}" for name in ours.__all__ if hasattr(theirs, name)]
    return sorted(set(found) - set(OUR_OWN))


def arguments(thing: Any) -> dict[str, Any] | None:
    """Return argument -> default; None if Python knows no signature."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p.default for p in parameters if p.kind in kinds}


@pytest.mark.parametrize("name", names())
def test_arguments_and_defaults_are_those_of_keras(name: str) -> None:
    package, short = name.split(".")
    ours = getattr(importlib.import_module(f"torchseq.{package}"), short)
    theirs = getattr(getattr(keras, package), short)
    if inspect.ismodule(ours) or not callable(ours):
        return
    expected, found = arguments(theirs), arguments(ours)
    if not expected or found is None:  # Keras gives the class no signature of its own
        return
    expected = {k: v for k, v in expected.items() if k not in AMONG_OPTIONS.get(package, ())}
    shared = [argument for argument in found if argument in expected]
    assert shared == list(expected), f"Keras takes {list(expected)}, ours {list(found)}"
    for argument, default in expected.items():
        assert found[argument] == default, (
            f"{argument}: Keras {default!r}, ours {found[argument]!r}"
        )


@pytest.mark.parametrize(
    "method",
    [
        "add",
        "build",
        "compile",
        "evaluate",
        "fit",
        "get_layer",
        "load_weights",
        "pop",
        "predict",
        "predict_on_batch",
        "save",
        "save_weights",
        "summary",
        "test_on_batch",
        "train_on_batch",
    ],
)
def test_methods_of_sequential_take_the_arguments_of_keras(method: str) -> None:
    expected = arguments(getattr(keras.Sequential, method)) or {}
    found = arguments(getattr(torchseq.Sequential, method)) or {}
    given_by_options = {"zipped", "max_shard_size", "skip_mismatch"}
    expected = {k: v for k, v in expected.items() if k not in given_by_options}
    assert {k: v for k, v in found.items() if k in expected} == expected
