"""Keras's `utils` namespace."""

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
from torchseq.base.seeds import set_random_seed
from torchseq.base.session import clear_session
from torchseq.data.preparation import to_categorical

__all__ = [
    "CustomObjectScope",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
]
