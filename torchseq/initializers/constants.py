"""Initializers whose values are not random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, dtypes, registry, settings
from torchseq.base.errors import UnsupportedFeatureError
from torchseq.base.types import Config, Shape
from torchseq.base.variable import as_tensor
from torchseq.initializers.initializer import Initializer, known_shape


class Constant(Initializer):
    """Sets all values to one.

    Args:
        value: a number, or an array that broadcasts to the shape.

    Source: keras.initializers.Constant.

    Examples:
        >>> Constant(2.0)((3,), "float64")
        tensor([2., 2., 2.], dtype=torch.float64)
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        value = as_tensor(self.value, dtypes.torch_dtype(dtype)).to(settings.device())
        return value * torch.ones(known_shape(self, shape), dtype=value.dtype, device=value.device)

    def get_config(self) -> Config:
        return {"value": registry.serialize(self.value)}

    @classmethod
    def from_config(cls, config: Config) -> Constant:
        return cls(registry.deserialize(config["value"]))


class Zeros(Initializer):
    """Sets all values to 0.

    Source: keras.initializers.Zeros.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return torch.zeros(
            known_shape(self, shape), dtype=dtypes.torch_dtype(dtype), device=settings.device()
        )


class Ones(Initializer):
    """Sets all values to 1.

    Source: keras.initializers.Ones.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        return torch.ones(
            known_shape(self, shape), dtype=dtypes.torch_dtype(dtype), device=settings.device()
        )


class Identity(Initializer):
    """Makes a matrix with `gain` on its diagonal and 0 elsewhere.

    Args:
        gain: the value on the diagonal.

    Source: keras.initializers.Identity.
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        """Return the matrix.

        Raises:
            ValueError: unless the shape has two axes.
        """
        if len(shape) != 2:
            raise ValueError(
                f"Identity: the shape must have 2 axes; got shape={tuple(shape)}. "
                "Use another initializer for weights that are no matrix."
            )
        rows, columns = known_shape(self, shape)
        eye = torch.eye(rows, columns, dtype=dtypes.torch_dtype(dtype), device=settings.device())
        return self.gain * eye


_WINDOWS: dict[str, Callable[..., Tensor]] = {
    "blackman": torch.signal.windows.blackman,
    "bartlett": torch.signal.windows.bartlett,
    "cosine": torch.signal.windows.cosine,
    "hamming": torch.signal.windows.hamming,
    "hann": torch.signal.windows.hann,
    "nuttall": torch.signal.windows.nuttall,
}


class STFT(Initializer):
    """Makes the convolution kernel of a short-time Fourier transform, real or imaginary part.

    Args:
        side: `"real"` or `"imag"`.
        window: name of a window, an array of the frame's length, or None for no window.
        scaling: divide the window by its L2 norm (`"density"`) or its sum (`"spectrum"`).
        periodic: whether a named window is one period, rather than symmetric.

    Shapes:
        `(frame_length, 1, frequencies)`, of which there are half the FFT's length plus one

    Raises:
        ValueError: for another `side` or `scaling`.
        UnsupportedFeatureError: for a window that torch does not have.

    Source: keras.initializers.STFT. Windows by name are those of torch.signal.windows.
    """

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ):
        self.side = arguments.one_of(self, "side", side, ["real", "imag"])
        self.scaling = arguments.one_of(self, "scaling", scaling, ["density", "spectrum", None])
        if isinstance(window, str) and window not in _WINDOWS:
            raise UnsupportedFeatureError(
                f"STFT: `window` must be an array or one of {sorted(_WINDOWS)}; got "
                f"window={window!r}. Pass scipy.signal.get_window({window!r}, frame_length)."
            )
        self.window = window
        self.periodic = periodic

    def __call__(self, shape: Shape, dtype: Any = None) -> Tensor:
        frame_length, _, frequencies = known_shape(self, shape)
        torch_dtype, device = dtypes.torch_dtype(dtype), settings.device()
        time = torch.arange(frame_length, dtype=torch_dtype, device=device)
        frequency = torch.arange(frequencies, dtype=torch_dtype, device=device)
        frequency = frequency / (2 * (frequencies - 1))
        angle = -2 * time.reshape(-1, 1, 1) * frequency * torch.pi
        kernel = torch.cos(angle) if self.side == "real" else torch.sin(angle)
        if self.window is None:
            return kernel
        return kernel * self._scaled_window(frame_length, torch_dtype).to(device).reshape(-1, 1, 1)

    def _scaled_window(self, frame_length: int, dtype: torch.dtype) -> Tensor:
        if isinstance(self.window, str):
            # scipy, which Keras asks, computes in float64
            make = _WINDOWS[self.window]
            window = make(frame_length, sym=not self.periodic, dtype=torch.float64).to(dtype)
        else:
            window = as_tensor(self.window, dtype)
        if window.shape != (frame_length,):
            raise ValueError(
                f"STFT: `window` must have the frame's length, {frame_length}; got shape "
                f"{tuple(window.shape)}."
            )
        if self.scaling == "density":
            return window / window.square().sum().sqrt()
        return window / window.abs().sum() if self.scaling == "spectrum" else window

    def get_config(self) -> Config:
        return {
            "side": self.side,
            "window": self.window,
            "periodic": self.periodic,
            "scaling": self.scaling,
        }
