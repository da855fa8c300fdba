"""Keeps the largest singular value of a layer's kernel at 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchseq.base import arguments, settings
from torchseq.base.types import Shape
from torchseq.initializers import TruncatedNormal
from torchseq.layers.layer import Layer
from torchseq.layers.wrapper import Wrapper


class SpectralNormalization(Wrapper):
    """Divides the kernel of a layer by its spectral norm before each step of training.

    Args:
        layer: a layer with a `kernel` or `embeddings`.
        power_iterations: steps by which the estimate of the norm improves at each call.

    Shapes:
        those of the layer

    Raises:
        ValueError: if `power_iterations` is not a positive integer, or the layer has no such
            weight.

    Source: keras.layers.SpectralNormalization.
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **layer_options: Any):
        super().__init__(layer, **layer_options)
        self.power_iterations = arguments.positive_integer(
            self, "power_iterations", power_iterations
        )

    def build(self, input_shape: Any) -> None:
        """Build the layer, and make the vector that the estimate goes on from."""
        super().build(input_shape)
        kernel = getattr(self.layer, "kernel", None)
        kernel = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if kernel is None:
            raise ValueError(
                f"Layer {self.name!r} (SpectralNormalization): the layer must have a `kernel` or "
                f"`embeddings`; got {self.layer!r}."
            )
        self.kernel = kernel
        self.input_spec = self.layer.input_spec
        self.vector_u = self.add_weight(
            shape=(1, kernel.shape[-1]),
            initializer=TruncatedNormal(stddev=0.02),
            trainable=False,
            name="vector_u",
            dtype=kernel.dtype,
        )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Normalize the kernel in training; call the layer."""
        if training:
            self._normalize()
        outputs = self._call_layer(inputs)
        return outputs.to(inputs.dtype) if inputs.is_floating_point() else outputs

    def _call_layer(self, inputs: Tensor) -> Tensor:
        """Call the layer; for gradients with a copy of the kernel, since a later call changes it.

        So the loss of several calls has for each the gradient at the kernel that it ran with.
        """
        tensor = self.kernel.tensor
        if not torch.is_grad_enabled():
            return self.layer(inputs)  # type: ignore[no-any-return]
        for name, known in self.layer.named_parameters():
            if known is tensor:
                copy = {name: tensor.clone()}
                return torch.func.functional_call(self.layer, copy, (inputs,))  # type: ignore[no-any-return]
        return self.layer(inputs)  # type: ignore[no-any-return]

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """Return the layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    @torch.no_grad()
    def _normalize(self) -> None:
        kernel, vector_u = self.kernel.value, self.vector_u.tensor
        dtype = torch.promote_types(kernel.dtype, torch.float32)  # the factors need its range
        matrix = kernel.reshape(-1, kernel.shape[-1]).to(dtype)  # (inputs, outputs)
        u = vector_u.to(dtype)  # (1, outputs)
        for _ in range(self.power_iterations):  # products by hand: autocast would round matmul's
            v = _to_unit((matrix * u).sum(1, keepdim=True))  # (inputs, 1)
            u = _to_unit((matrix * v).sum(0, keepdim=True))
        norm = (matrix * v * u).sum()
        is_zero = ~kernel.any()  # then it stays so, and the vector too
        vector_u.copy_(torch.where(is_zero, vector_u, u.to(vector_u.dtype)))
        self.kernel.assign(torch.where(is_zero, kernel, kernel / norm.to(kernel.dtype)))


def _to_unit(vector: Tensor) -> Tensor:
    inverse = vector.square().sum().rsqrt().clamp(max=1.0 / settings.epsilon())
    return vector * inverse
