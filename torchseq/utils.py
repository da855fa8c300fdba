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
from torchseq.data.batches import pack_x_y_sample_weight, unpack_x_y_sample_weight
from torchseq.data.preparation import to_categorical
from torchseq.data.py_dataset import PyDataset
from torchseq.data.py_dataset import PyDataset as Sequence

__all__ = [
    "CustomObjectScope",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "pack_x_y_sample_weight",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
