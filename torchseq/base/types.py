"""Names for the shapes of data that cross the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int | None, ...]
"""A tensor's shape, batch first; None where a size is not known."""

Identifier: TypeAlias = str | Mapping[str, Any] | Callable[..., Any] | type | None
"""What Keras accepts where an object is wanted: a name, a config, an object, a class, None."""

Config: TypeAlias = dict[str, Any]
"""A JSON-able description of an object, in Keras's form."""
