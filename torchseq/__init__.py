"""torchseq: Keras 3's Sequential on PyTorch."""

from torchseq import (
    activations,
    callbacks,
    config,
    constraints,
    datasets,
    distribution,
    dtype_policies,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    optimizers,
    regularizers,
    saving,
    utils,
)
from torchseq.base.dtypes import DTypePolicy, FloatDTypePolicy
from torchseq.base.symbolic import KerasTensor
from torchseq.base.variable import Variable
from torchseq.initializers import Initializer
from torchseq.layers import Input, InputSpec, Layer
from torchseq.losses import Loss
from torchseq.metrics import Metric
from torchseq.models import Model, Sequential
from torchseq.optimizers import Optimizer
from torchseq.regularizers import Regularizer

__version__ = "0.1.0"

__all__ = [
    "DTypePolicy",
    "FloatDTypePolicy",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "distribution",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "optimizers",
    "regularizers",
    "saving",
    "utils",
]
