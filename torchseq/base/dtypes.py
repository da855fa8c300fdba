"""Dtypes by name, and dtype policies: what a layer computes in and keeps its weights in.

Source: keras.DTypePolicy, keras.dtype_policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torchseq.base import settings
from torchseq.base.errors import UnsupportedFeatureError
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
_QUANTIZED = ("int8_", "int4_", "int4/", "float8_", "gptq", "awq")  # how such names begin


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
            weights in float32. None means the global policy's.

    Raises:
        TypeError: if `name` is no string.
        ValueError: if it names no policy.
        UnsupportedFeatureError: if it names a quantized one.

    Source: keras.DTypePolicy. Not offered: quantized policies.
    """

    def __init__(self, name: str | None = None):
        if name is None:
            name = global_policy().name
        if not isinstance(name, str):
            raise TypeError(
                "DTypePolicy: `name` must be a string, such as 'mixed_float16'; got "
                f"{name!r} of type {type(name).__name__}."
            )
        self._name = name if name in _MIXED else _policy_name(name)
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

    def convert_input(self, x: Any, autocast: bool, dtype: Any) -> Any:
        """Return an array as a tensor, cast to `dtype` if it is floating and `autocast` is set.

        Args:
            x: a tensor or an array; anything else is returned as it is.
            autocast: whether to cast.
            dtype: dtype or name of it.
        """
        if isinstance(x, np.ndarray):
            x = torch.tensor(x, device=settings.device())
        if autocast and isinstance(x, torch.Tensor) and x.is_floating_point():
            return x.to(torch_dtype(dtype))
        return x

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


class FloatDTypePolicy(DTypePolicy):
    """Another name of `DTypePolicy`."""


def _policy_name(name: str) -> str:
    if name.startswith(_QUANTIZED):
        raise UnsupportedFeatureError(
            f"DTypePolicy: quantized policies are not offered; got {name!r}. Quantize the trained "
            "model's torch modules with a torch library, such as torchao."
        )
    try:
        return name_of(name)
    except ValueError:
        raise ValueError(
            f"DTypePolicy: the name must be one of {list(_MIXED)} or of a dtype, such as "
            f"'float32'; got {name!r}."
        ) from None


_global_policy: list[DTypePolicy] = []


def global_policy() -> DTypePolicy:
    """Return the policy of layers that are given none."""
    return _global_policy[0] if _global_policy else DTypePolicy(settings.floatx())


def set_global_policy(policy: str | DTypePolicy) -> None:
    """Set the policy of layers that are given none, among them models.

    Args:
        policy: `"mixed_bfloat16"`, `"mixed_float16"`, the name of a dtype, or a policy. It holds
            for layers that are made from now on.

    Raises:
        ValueError: if it is neither.
    """
    if not isinstance(policy, str | DTypePolicy):
        raise ValueError(
            "set_global_policy: `policy` must be a name, such as 'mixed_float16', or a "
            f"DTypePolicy; got {policy!r} of type {type(policy).__name__}."
        )
    _global_policy[:] = [get_policy(policy)]


def clear_global_policy() -> None:
    """Go back to the policy that `settings.floatx()` names."""
    _global_policy.clear()


def get_policy(identifier: Any) -> DTypePolicy:
    """Return the policy for None (the global one), a name, a dtype, a config or a policy.

    Raises:
        ValueError: if it is none of these.
        UnsupportedFeatureError: for a quantized policy, or a map of policies.
    """
    if identifier is None:
        return global_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return policy_from_config(identifier)
    return DTypePolicy(identifier if isinstance(identifier, str) else name_of(identifier))


def policy_config(dtype_policy: DTypePolicy) -> Config:
    """Return how configs hold a policy."""
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": dtype_policy.get_config(),
        "registered_name": None,
    }


def policy_from_config(config: Any, custom_objects: Mapping[str, Any] | None = None) -> DTypePolicy:
    """Return the policy that a config describes.

    Args:
        config: what `policy_config` returned, or a policy's name.
        custom_objects: class name -> class of yours.

    Raises:
        ValueError: if it describes none.
        UnsupportedFeatureError: for a quantized policy, or a map of policies.
    """
    if isinstance(config, str):
        return DTypePolicy(config)
    if not isinstance(config, Mapping) or not {"class_name", "config"} <= config.keys():
        raise ValueError(
            "DTypePolicy: a config must have the keys 'class_name' and 'config'; got "
            f"{sorted(config, key=str) if isinstance(config, Mapping) else config!r}."
        )
    name = config["class_name"]
    classes = {**_CLASSES, **(custom_objects or {})}
    if name in classes:
        made: DTypePolicy = classes[name].from_config(config["config"])
        return made
    if name in _NOT_OFFERED:
        raise UnsupportedFeatureError(
            f"DTypePolicy: {name} is not offered. Give each layer its own policy by `dtype=`, such "
            "as 'mixed_bfloat16'."
        )
    raise ValueError(f"DTypePolicy: the class must be one of {sorted(classes)}; got {name!r}.")


_CLASSES: dict[str, type[DTypePolicy]] = {
    "DTypePolicy": DTypePolicy,
    "FloatDTypePolicy": FloatDTypePolicy,
    "Policy": DTypePolicy,  # in files of Keras 2
    "PolicyV1": DTypePolicy,
}
_NOT_OFFERED = frozenset(
    {
        "AWQDTypePolicy",
        "DTypePolicyMap",
        "GPTQDTypePolicy",
        "Int4DTypePolicy",
        "QuantizedDTypePolicy",
        "QuantizedFloat8DTypePolicy",
    }
)
