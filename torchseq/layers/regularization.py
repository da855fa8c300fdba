"""Layers that disturb training so that the model generalizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base import arguments, seeds
from torchseq.base.types import Shape
from torchseq.layers.layer import Layer


class Dropout(Layer):
    """Sets a random fraction of the entries to 0 in training and scales up the others.

    Args:
        rate: fraction to drop, in [0, 1].
        noise_shape: shape of the mask, which is broadcast; None entries take the input's size.
        seed: integer that fixes the sequence of masks; torch's random stream by default.

    Shapes:
        any -> the same

    Raises:
        ValueError: if `rate` is outside [0, 1], or `noise_shape` has a size that is not positive.

    Source: keras.layers.Dropout. Which entries drop differs from Keras's choice.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.rate = arguments.fraction(self, "rate", rate)
        self.noise_shape = _checked_noise_shape(self, noise_shape)
        self.seed = seed
        if seed is None and rate > 0:
            seeds.make_seed()  # Keras draws one here; so later layers get the seeds they get there
        self.built = True
        self._num_masks = 0
        self._generator: torch.Generator | None = None

    def call(self, inputs: Tensor) -> Tensor:
        """Drop entries in training, else return the input."""
        if not self.training or self.rate == 0:
            return inputs
        if self.seed is None and self.noise_shape is None:
            return F.dropout(inputs, self.rate)
        return inputs * self._mask(inputs)

    def _mask(self, inputs: Tensor) -> Tensor:
        """Return a mask of 0 and 1 / (1 - rate)."""
        shape: Sequence[int] = inputs.shape
        if self.noise_shape is not None:
            pairs = zip(self.noise_shape, inputs.shape, strict=True)
            shape = [size if given is None else given for given, size in pairs]
        keep = 1.0 - self.rate
        mask = torch.empty(tuple(shape), dtype=inputs.dtype, device=inputs.device)
        mask.bernoulli_(keep, generator=self._next_generator(inputs.device))
        return mask / keep if keep else mask

    def _next_generator(self, device: torch.device) -> torch.Generator | None:
        """Return a generator whose stream depends on the seed and the number of masks so far."""
        if self.seed is None:
            return None
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device=device)
        self._num_masks += 1
        return self._generator.manual_seed(self.seed + self._num_masks)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape."""
        return input_shape

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_generator": None}


def _checked_noise_shape(
    owner: Layer, shape: Sequence[int | None] | None
) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    entries = tuple(shape) if isinstance(shape, Sequence) else ()
    if not entries or not all(e is None or (arguments.is_integer(e) and e > 0) for e in entries):
        raise ValueError(
            f"{type(owner).__name__}: `noise_shape` must be a tuple of positive integers and None; "
            f"got noise_shape={shape!r}."
        )
    return entries
