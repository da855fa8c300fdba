"""Package-wide defaults: float type, fuzz factor, image layout, device.

Source: keras.config.
"""

from __future__ import annotations

from typing import Any

import torch

from torchseq.base import process

_FLOAT_TYPES = ("bfloat16", "float16", "float32", "float64")
_DATA_FORMATS = ("channels_last", "channels_first")

_values: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "device_data_share": 0.5,
}


def floatx() -> str:
    """Return the default float type, such as `"float32"`."""
    return str(_values["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float type: `"float16"`, `"bfloat16"`, `"float32"` or `"float64"`.

    Raises:
        ValueError: for any other name.
    """
    _values["floatx"] = _one_of("set_floatx", value, _FLOAT_TYPES)


def epsilon() -> float:
    """Return the small number that keeps divisions and logarithms finite."""
    return float(_values["epsilon"])


def set_epsilon(value: float) -> None:
    """Set the small number that keeps divisions and logarithms finite."""
    _values["epsilon"] = float(value)


def image_data_format() -> str:
    """Return the default image layout, `"channels_last"` or `"channels_first"`."""
    return str(_values["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the default image layout: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: for any other name.
    """
    _values["image_data_format"] = _one_of(
        "set_image_data_format", str(data_format).lower(), _DATA_FORMATS
    )


def device_data_share() -> float:
    """Return which share of a GPU's free memory the arrays given to `fit` may take there."""
    return float(_values["device_data_share"])


def set_device_data_share(share: float) -> None:
    """Set which share of a GPU's free memory the arrays given to `fit` may take there.

    Args:
        share: in [0, 1]; 0 keeps all arrays on the host, from where batches are copied.

    Raises:
        ValueError: if it is outside.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"set_device_data_share: `share` must be in [0, 1]; got {share!r}.")
    _values["device_data_share"] = float(share)


def device() -> torch.device:
    """Return where new weights are made.

    torch's own default device (`torch.set_default_device`, `with torch.device(...)`) if one was
    chosen, else the GPU if there is one, as Keras does, else the CPU.
    """
    chosen = torch.get_default_device()  # the CPU, too, if nothing was chosen
    if chosen.type == "cpu" and torch.cuda.is_available() and not _is_chosen():
        own = process.local_index()  # of several processes, each has a GPU of its own
        return torch.device("cuda", torch.cuda.current_device() if own is None else own)
    return chosen


def _is_chosen() -> bool:
    modes = torch.overrides._get_current_function_mode_stack()
    return any(isinstance(mode, torch.utils._device.DeviceContext) for mode in modes)


def _one_of(owner: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{owner}: the value must be one of {list(allowed)}; got {value!r}.")
    return value
