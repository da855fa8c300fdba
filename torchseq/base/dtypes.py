"""Dtypes by name, and dtype policies: what a layer computes in and keeps its weights in.

Source: keras.DTypePolicy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torchseq.base import settings
from torchseq.base.types import Config

_TORCH_DTYPES: dict[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
}
_NAMES = {dtype: name for name, dtype in _TORCH_DTYPES.items()}
_ALIASES = {"half": "float16", "float": "float32", "double": "float64", "int": "int32"}
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


def name_of(dtype: Any) -> str:
    """Return the name of a torch, NumPy or named dtype, such as `"float32"`; None means floatx.

    Raises:
        ValueError: if it names no dtype that torch has.
    """
    if dtype is None:
        return settings.floatx()
    if isinstance(dtype, torch.dtype):
        return _NAMES.get(dtype, str(dtype).removeprefix("torch."))
    name = dtype if isinstance(dtype, str) else _numpy_name(dtype)
    name = _ALIASES.get(name, name)
    if name not in _TORCH_DTYPES:
        raise ValueError(f"dtype: must be one of {sorted(_TORCH_DTYPES)}; got {dtype!r}.")
    return name


def torch_dtype(dtype: Any) -> torch.dtype:
    """Return the torch dtype for a name, a NumPy dtype or a torch dtype; None means floatx."""
    return dtype if isinstance(dtype, torch.dtype) else _TORCH_DTYPES[name_of(dtype)]


def _numpy_name(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return str(getattr(dtype, "__name__", dtype))


class DTypePolicy:
    """Which dtype a layer computes in, and which its weights have.

    Args:
        name: a dtype name, for both; or `"mixed_float16"`, `"mixed_bfloat16"`: compute in 16 bits,
            weights in float32. None means `settings.floatx()`.

    Raises:
        ValueError: if `name` is none of these.

    Source: keras.DTypePolicy. Not offered: quantized policies.
    """

    def __init__(self, name: str | None = None):
        self._name = name if name in _MIXED else name_of(name)
        self._compute_dtype = _MIXED.get(self._name, self._name)
        self._variable_dtype = "float32" if self._name in _MIXED else self._name

    @property
    def name(self) -> str:
        """The name the policy was made from."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """Name of the dtype that layers compute in."""
        return self._compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Name of the dtype that weights have."""
        return self._variable_dtype

    @property
    def quantization_mode(self) -> None:
        """Always None: quantized policies are not offered."""
        return

    def get_config(self) -> Config:
        """Return `{"name": ...}`."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Config) -> DTypePolicy:
        """Make a policy from what `get_config` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


_global_policy: list[DTypePolicy] = []


def global_policy() -> DTypePolicy:
    """Return the policy of layers that are given none."""
    return _global_policy[0] if _global_policy else DTypePolicy(settings.floatx())


def set_global_policy(policy: str | DTypePolicy) -> None:
    """Set the policy of layers that are given none."""
    _global_policy[:] = [get_policy(policy)]


def clear_global_policy() -> None:
    """Go back to the policy that `settings.floatx()` names."""
    _global_policy.clear()


def get_policy(identifier: Any) -> DTypePolicy:
    """Return the policy for None (the global one), a name, a dtype, a config or a policy."""
    if identifier is None:
        return global_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return DTypePolicy(**identifier["config"])
    return DTypePolicy(identifier if isinstance(identifier, str) else name_of(identifier))
