"""A model from its configuration, without trust in the sizes that the configuration names."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from torchseq.base import registry
from torchseq.base.errors import FileFormatError, UnsupportedFeatureError
from torchseq.base.types import Config


def rebuild(
    config: Config,
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None,
    check: Callable[[Any], object],
) -> Any:
    """Returns the model that a configuration describes, once its size has been checked.

    The model is built on torch's `meta` device first, where weights have shapes and no memory.
    So a small file that names a layer of a trillion units fails in `check`, not in the memory.

    Args:
        config: the model's, in Keras 3's form.
        path: the file it came from, for errors.
        custom_objects: name in the config -> class or function of the caller's.
        check: compares a model's weights with the file's; raises where they differ.

    Raises:
        FileFormatError: the configuration describes no model, or something that is not known.
        UnsupportedFeatureError: it holds code, or a Keras feature that torchseq does not offer.
    """
    refuse_code(config, path)
    with registry.custom_object_scope(custom_objects or {}):
        with _same_random_numbers_after(), torch.device("meta"):
            sketch = _sketched(config, path, custom_objects)
        if sketch is not None:
            check(sketch)
        return _made(config, path, custom_objects)


def _sketched(config: Config, path: str | os.PathLike[str], custom_objects: Any) -> Any:
    """Returns the model without memory; None if a class of the caller's cannot do without."""
    try:
        return _made(config, path, custom_objects)
    except FileFormatError as error:
        has_own_classes = bool(custom_objects or registry.get_custom_objects())
        cause = error.__cause__
        reads_values = isinstance(cause, RuntimeError) and "meta tensor" in str(cause).lower()
        if has_own_classes and reads_values:
            return None
        raise


@contextmanager
def _same_random_numbers_after() -> Iterator[None]:
    """Leaves the global generators as they were: the sketch must not change what comes later."""
    python_state, torch_state = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        torch.set_rng_state(torch_state)


def _made(config: Config, path: str | os.PathLike[str], custom_objects: Any) -> Any:
    try:
        model = registry.deserialize(config, custom_objects)
    except UnsupportedFeatureError:
        raise
    # What goes wrong while a class reads a config that it did not write may be of any type.
    except Exception as error:
        raise FileFormatError(
            f"{path}: the model's configuration must describe a model that can be built here; "
            f"{type(error).__name__}: {error}"
        ) from error
    if not (hasattr(model, "layers") and hasattr(model, "load_state_dict")):
        raise FileFormatError(
            f"{path}: the configuration must describe a model; it describes "
            f"{type(model).__name__}. Save a whole model with model.save(...)."
        )
    return model


def compile_model(model: Any, config: Config, path: str | os.PathLike[str]) -> None:
    """Compiles a model as a file says.

    Raises:
        FileFormatError: the compile arguments name something that is not known.
    """
    try:
        model.compile_from_config(config)
    except UnsupportedFeatureError:
        raise
    except Exception as error:  # of any type, as above
        raise FileFormatError(
            f"{path}: the compile arguments must be known here; {type(error).__name__}: {error} "
            "Pass compile=False and compile the model yourself."
        ) from error


def refuse_code(config: Any, path: str | os.PathLike[str]) -> None:
    """Refuses configurations that hold a function's bytecode, as Keras wrote it for lambdas.

    Raises:
        UnsupportedFeatureError: there is some; it is neither read nor run.
    """
    if isinstance(config, list | tuple):
        for entry in config:
            refuse_code(entry, path)
    elif isinstance(config, Mapping):
        class_name, inner = config.get("class_name"), config.get("config")
        holds_code = class_name == "__lambda__" or (
            class_name == "Lambda"
            and isinstance(inner, Mapping)
            and (isinstance(inner.get("function"), list) or inner.get("function_type") == "lambda")
        )
        if holds_code:
            raise UnsupportedFeatureError(
                f"{path}: the model's configuration holds the bytecode of a lambda, which torchseq "
                "never runs, since it could do anything. Build the model in code with a named "
                "function and load the weights with model.load_weights(...)."
            )
        for entry in config.values():
            refuse_code(entry, path)
