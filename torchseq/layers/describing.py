"""A layer's config, read off its constructors' signatures.

Every argument is kept as an attribute of the same name, so no layer writes its own `get_config`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torchseq.base import registry
from torchseq.base.types import Config

_Method = TypeVar("_Method", bound=Callable[..., Config])

# What `Layer` keeps; `weights` is its property, whatever an argument of that name was.
_KEPT_BY_LAYER = frozenset(
    {"name", "trainable", "dtype", "activity_regularizer", "autocast", "weights"}
)
_REFUSED = frozenset({"lora_rank", "lora_alpha"})  # Keras writes them only where they are set
_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def constructor_arguments(cls: type, base: type) -> tuple[str, ...]:
    """Return the arguments of the constructors of `cls` and its parents, down to below `base`."""
    names: dict[str, None] = {}
    for parent in reversed(cls.__mro__):
        if parent is base or not issubclass(parent, base) or "__init__" not in vars(parent):
            continue
        parameters = list(inspect.signature(vars(parent)["__init__"]).parameters.values())[1:]
        names.update(dict.fromkeys(p.name for p in parameters if p.kind in _KINDS))
    return tuple(names)


def from_signature(get_config: _Method) -> _Method:
    """Mark a `get_config` that knows no more of a subclass's arguments than `described` finds."""
    get_config.is_from_signature = True  # type: ignore[attr-defined]
    return get_config


def described(layer: Any, base: type) -> Config:
    """Return argument -> value, serialized, for the arguments that `layer` keeps as attributes.

    A model notes the plain ones, too, which count before attributes.

    Raises:
        NotImplementedError: if one is not kept and the class has no `get_config` to make up for it.
    """
    config: Config = {}
    get_config: Any = type(layer).get_config
    is_default = get_config is base.get_config or hasattr(get_config, "is_from_signature")  # type: ignore[attr-defined]
    noted: Config = layer.__dict__.get("_given_arguments", {})
    for name in constructor_arguments(type(layer), base):
        if name in _KEPT_BY_LAYER or name in _REFUSED:
            continue
        if name in noted:
            config[name] = registry.serialize(noted[name])
        elif hasattr(layer, name):
            config[name] = serialized(name, getattr(layer, name))
        elif is_default:
            raise NotImplementedError(
                f"{type(layer).__name__}: each constructor argument must be kept as an attribute "
                f"of the same name, for the config; {name!r} is not. Add `self.{name} = {name}` "
                "to __init__, or write get_config."
            )
    return config


def serialized(name: str, value: Any) -> Any:
    """Return what a config holds for `value`: a built-in function's name, an object's config."""
    if inspect.isfunction(value) and registry.is_builtin(value):
        return value.__name__
    return registry.serialize(value)
