"""Layers to configs and back, under Keras's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base import registry
from torchseq.base.types import Config
from torchseq.layers.layer import Layer


def serialize(layer: Any) -> Config:
    """Return the config of a layer: its class, and what `get_config` returns.

    Source: keras.layers.serialize.
    """
    config: Config = registry.serialize(layer)
    return config


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the layer that a config describes; without its weights.

    Args:
        config: what `serialize` (or Keras's) returned, or an older form without `module`.
        custom_objects: name in the config -> class of yours.

    Raises:
        TypeError: if it is no config.
        ValueError: if it names a class that is not known, or describes something else.

    Source: keras.layers.deserialize.
    """
    if isinstance(config, Mapping) and "module" not in config:
        config = {"module": "keras.layers", **config}
    layer = registry.deserialize(config, custom_objects)
    if not isinstance(layer, Layer):
        raise ValueError(
            "layers.deserialize: the config must describe a layer; got one of "
            f"{type(layer).__name__}: {config!r}."
        )
    return layer
