"""Layers, under Keras's names."""

from torchseq.base import registry as _registry
from torchseq.layers.activation import Activation
from torchseq.layers.conv import Conv2D
from torchseq.layers.core import Dense, Identity, Input, InputLayer, Lambda, TorchModuleWrapper
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer
from torchseq.layers.pooling import MaxPooling2D
from torchseq.layers.regularization import Dropout
from torchseq.layers.reshaping import Flatten, Reshape

Convolution2D = Conv2D
MaxPool2D = MaxPooling2D

__all__ = [
    "Activation",
    "Conv2D",
    "Convolution2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "Lambda",
    "Layer",
    "MaxPool2D",
    "MaxPooling2D",
    "Reshape",
    "TorchModuleWrapper",
]

_registry.register_builtin("keras.layers", {name: globals()[name] for name in __all__})
