"""Base of the layers that hold one other layer."""

from __future__ import annotations

from typing import Any

from torchseq.base import registry
from torchseq.base.types import Config
from torchseq.layers.layer import Layer


class Wrapper(Layer):
    """Holds a layer; a subclass says in `call` what it does with it.

    Args:
        layer: the layer; built with the wrapper.

    Raises:
        ValueError: if `layer` is no layer.

    Source: keras.layers.Wrapper.
    """

    def __init__(self, layer: Layer, **layer_options: Any):
        super().__init__(**layer_options)
        if not isinstance(layer, Layer):
            raise ValueError(
                f"{type(self).__name__}: `layer` must be a layer; got layer={layer!r}. Make one of "
                "a torch module with TorchModuleWrapper."
            )
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        """Build the layer."""
        if not self.layer.built:
            self.layer.build(input_shape)

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Wrapper:
        """Make the wrapper and the layer in it."""
        layer = registry.deserialize(config["layer"], custom_objects)
        return cls(layer, **{key: value for key, value in config.items() if key != "layer"})
