"""Keras's `dtype_policies` namespace."""

from torchseq.base.dtypes import DTypePolicy, FloatDTypePolicy
from torchseq.base.dtypes import get_policy as get
from torchseq.base.dtypes import policy_config as serialize
from torchseq.base.dtypes import policy_from_config as deserialize

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "get", "serialize"]
