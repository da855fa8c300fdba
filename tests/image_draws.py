"""Random choices that parity tests of layers over images share."""

from collections.abc import Sequence
from typing import Any

from tests.layer_parity import (
    ACTIVATIONS,
    CONSTRAINTS,
    INITIALIZERS,
    REGULARIZERS,
    Rng,
    one_of,
    sizes,
)

DATA_FORMATS = ("channels_last", "channels_first", None)


def size_or_sizes(rng: Rng, low: int, high: int, rank: int) -> int | tuple[int, ...]:
    """One integer, or one for each axis."""
    return one_of(rng, (int(rng.integers(low, high + 1)), sizes(rng, low, high, rank)))


def for_each_axis(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else value


def weight_options(rng: Rng, *roles: str) -> dict[str, Any]:
    """Options of a layer with weights of these roles, an activation and a bias."""
    options = {
        "activation": one_of(rng, (*ACTIVATIONS, "softmax")),
        "use_bias": bool(rng.integers(4)),
        "activity_regularizer": one_of(rng, REGULARIZERS),
        "trainable": bool(rng.integers(4)),
        "bias_initializer": one_of(rng, ("zeros", "random_normal")),
    }
    for role in (*roles, "bias"):
        options.setdefault(f"{role}_initializer", one_of(rng, INITIALIZERS))
        options[f"{role}_regularizer"] = one_of(rng, REGULARIZERS)
        options[f"{role}_constraint"] = one_of(rng, CONSTRAINTS)
    return options


def image_shape(
    rng: Rng, spatial: Sequence[int], channels: int, data_format: str | None
) -> tuple[int, ...]:
    """An input shape in a layout, often with a batch of one."""
    batch = int(rng.integers(1, 4))
    if data_format == "channels_first":
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)
