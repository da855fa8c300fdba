"""The initializers by name and config.

Source: keras.initializers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from torchseq.base import dtypes, naming, registry
from torchseq.base.types import Shape
from torchseq.base.variable import as_tensor
from torchseq.initializers.constants import STFT, Constant, Identity, Ones, Zeros
from torchseq.initializers.initializer import Initializer
from torchseq.initializers.random import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)

_CLASSES = {
    made.__name__: made
    for made in (
        Constant,
        GlorotNormal,
        GlorotUniform,
        HeNormal,
        HeUniform,
        Identity,
        Initializer,
        LecunNormal,
        LecunUniform,
        Ones,
        Orthogonal,
        RandomNormal,
        RandomUniform,
        STFT,
        TruncatedNormal,
        VarianceScaling,
        Zeros,
    )
}
_ALIASES = {
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
    "STFTInitializer": STFT,
    "normal": RandomNormal,
    "one": Ones,
    "uniform": RandomUniform,
    "zero": Zeros,
}
_NAMES = {
    **_CLASSES,
    **{naming.to_snake_case(name): made for name, made in _CLASSES.items()},
    **_ALIASES,
}
_FAMILY = registry.Family("initializer", "keras.initializers", _NAMES)
registry.register_builtin("keras.initializers", _NAMES)


def get(identifier: Any) -> Any:
    """Return the initializer for a name, config, class, callable, array or tensor; None is None.

    An array or tensor becomes an initializer that gives its values to a weight of its shape.

    Raises:
        ValueError: if the name is not known.
        TypeError: if it is none of these.

    Source: keras.initializers.get.

    Examples:
        >>> get("glorot_uniform").get_config()
        {'seed': None, 'input_axes': None, 'output_axes': None}
    """
    if isinstance(identifier, Tensor | np.ndarray | np.generic):
        return _from_values(identifier)
    return _FAMILY.get(identifier)


def _from_values(values: Any) -> Callable[..., Tensor]:
    def initialize(shape: Shape, dtype: Any = None) -> Tensor:
        if tuple(shape) != tuple(values.shape):
            raise ValueError(
                f"initializer: an array used as one must have the weight's shape, {tuple(shape)}; "
                f"got an array of shape {tuple(values.shape)}."
            )
        return as_tensor(values, dtypes.torch_dtype(dtype))

    return initialize


def serialize(initializer: Any) -> Any:
    """Return the config of an initializer."""
    return _FAMILY.serialize(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the initializer that a name or config describes."""
    return _FAMILY.deserialize(config, custom_objects)
