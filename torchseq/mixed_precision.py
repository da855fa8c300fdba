"""Keras's `mixed_precision` namespace, of which `config` has the newer names."""

from torchseq.base.dtypes import DTypePolicy, global_policy, set_global_policy
from torchseq.base.dtypes import DTypePolicy as Policy
from torchseq.base.dtypes import global_policy as dtype_policy
from torchseq.base.dtypes import set_global_policy as set_dtype_policy
from torchseq.optimizers import LossScaleOptimizer

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
