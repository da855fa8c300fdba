"""Keras's `config` namespace."""

from torchseq.base.dtypes import global_policy as dtype_policy
from torchseq.base.dtypes import set_global_policy as set_dtype_policy
from torchseq.base.settings import (
    device_data_share,
    epsilon,
    floatx,
    image_data_format,
    set_device_data_share,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)

__all__ = [
    "device_data_share",
    "dtype_policy",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_device_data_share",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]
