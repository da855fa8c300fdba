"""Layers, under Keras's names."""

from torchseq.base import registry as _registry
from torchseq.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from torchseq.layers.conv import Conv2D
from torchseq.layers.core import Dense, Identity, Input, InputLayer, Lambda, TorchModuleWrapper
from torchseq.layers.einsum import EinsumDense
from torchseq.layers.embedding import Embedding, Masking
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer
from torchseq.layers.normalization import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    SpectralNormalization,
    UnitNormalization,
)
from torchseq.layers.pooling import MaxPooling2D
from torchseq.layers.preprocessing import Normalization, Rescaling
from torchseq.layers.regularization import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from torchseq.layers.reshaping import Flatten, Reshape
from torchseq.layers.wrapper import Wrapper

Convolution2D = Conv2D
MaxPool2D = MaxPooling2D

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "AlphaDropout",
    "BatchNormalization",
    "Conv2D",
    "Convolution2D",
    "Dense",
    "Dropout",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GroupNormalization",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool2D",
    "MaxPooling2D",
    "Normalization",
    "PReLU",
    "RMSNormalization",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "SpectralNormalization",
    "TorchModuleWrapper",
    "UnitNormalization",
    "Wrapper",
]

_registry.register_builtin("keras.layers", {name: globals()[name] for name in __all__})
