"""Layers that prepare data: what they know comes from the data, not from training."""

from torchseq.layers.preprocessing.numeric import Normalization, Rescaling

__all__ = ["Normalization", "Rescaling"]
