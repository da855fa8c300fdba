"""Layers that give their inputs, or their weights, a chosen mean, variance or norm."""

from torchseq.layers.normalization.batch import BatchNormalization
from torchseq.layers.normalization.features import (
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from torchseq.layers.normalization.spectral import SpectralNormalization

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "SpectralNormalization",
    "UnitNormalization",
]
