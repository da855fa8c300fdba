"""Files of models and weights, and the names that they use for classes and functions.

Source: keras.saving.
"""

from torchseq.base.registry import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from torchseq.base.registry import custom_object_scope as CustomObjectScope
from torchseq.base.registry import deserialize as deserialize_keras_object
from torchseq.base.registry import serialize as serialize_keras_object
from torchseq.saving.dispatch import load_model, load_weights, save_model, save_weights

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]
