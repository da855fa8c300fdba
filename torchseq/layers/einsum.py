"""A dense layer whose sum is written as an einsum equation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchseq.base import arguments
from torchseq.base.types import Config, Identifier, Shape
from torchseq.initializers import VarianceScaling
from torchseq.layers.core import refuse_adapters
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer

# Input, kernel and output; dots may stand on the left of input and output, or on their right.
_FORMS = (
    r"(?P<x>[a-zA-Z]+),(?P<kernel>[a-zA-Z]+)->(?P<y>[a-zA-Z]+)",
    r"(?P<left>\.\.\.)(?P<x>[a-zA-Z]+),(?P<kernel>[a-zA-Z]+)->\.\.\.(?P<y>[a-zA-Z]+)",
    r"(?P<x>[a-zA-Z]{2,})\.\.\.,(?P<kernel>[a-zA-Z]+)->(?P<y>[a-zA-Z]+)\.\.\.",
)


class EinsumDense(Layer):
    """Fully connected layer of any axes: `activation(einsum(equation, inputs, kernel) + bias)`.

    Args:
        equation: of the form `ab,bc->ac`, `...ab,bc->...ac` or `ab...,bc->ac...`.
        output_shape: sizes of the output without the batch axis and those that dots stand for;
            None for one that is the input's.
        activation: name, config or callable; None leaves the sum as it is.
        bias_axes: letters of the output axes that the bias has; None for no bias.
        kernel_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, bias_regularizer: penalty on the weight.
        kernel_constraint, bias_constraint: projection of the weight after each update.
        lora_rank, lora_alpha, gptq_unpacked_column_size, quantization_config: only None is
            possible.

    Shapes:
        what the equation says

    Raises:
        ValueError: if the equation has another form, its letters do not match, or sizes of input
            and output differ for one letter.

    Source: keras.layers.EinsumDense. Not offered: quantization, LoRA.
    """

    casts_integers = True

    def __init__(
        self,
        equation: str,
        output_shape: int | Sequence[int | None],
        activation: Identifier = None,
        bias_axes: str | None = None,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        self.equation = equation
        self._parsed = _parse(equation, bias_axes)
        self.partial_output_shape = _sizes_of(output_shape)
        self.bias_axes = bias_axes
        self.resolve(
            activation=activation,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        refuse_adapters(self, lora_rank, quantization_config or gptq_unpacked_column_size)
        self.gptq_unpacked_column_size = None
        self.quantization_config = None

    def build(self, input_shape: Shape) -> None:
        """Make kernel and bias."""
        sizes = self._sizes(input_shape)
        parsed = self._parsed
        self.kernel = self.add_weight(
            shape=tuple(self._known(sizes, letter, input_shape) for letter in parsed.kernel),
            name="kernel",
            initializer=self._kernel_initializer(),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.bias_axes is None:
            self.bias = None
        else:
            first = min(parsed.outputs.find(letter) for letter in self.bias_axes)
            shape = [
                self._known(sizes, letter, input_shape) if letter in self.bias_axes else 1
                for letter in parsed.outputs[first:]
            ]
            if not parsed.is_left:
                shape += [1] * (len(input_shape) - len(parsed.inputs))
            self.bias = self.add_weight(
                shape=tuple(shape),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        start = len(input_shape) - len(parsed.inputs) if parsed.is_left else 0
        axes = {
            axis: sizes[letter]
            for axis, letter in enumerate(parsed.inputs, start)
            if letter in parsed.kernel
        }
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def _kernel_initializer(self) -> Any:
        """Return the initializer, told which of the kernel's axes are inputs and which outputs."""
        given, parsed = self.kernel_initializer, self._parsed
        if not isinstance(given, VarianceScaling):
            return given
        if given.input_axes is not None and given.output_axes is not None:
            return given
        is_output = [letter in parsed.outputs for letter in parsed.kernel]
        config = {
            **given.get_config(),
            "seed": given.seed,  # the one it drew, so that the kernel is the one it would make
            "input_axes": [axis for axis, output in enumerate(is_output) if not output],
            "output_axes": [axis for axis, output in enumerate(is_output) if output],
        }
        return type(given).from_config(config)

    def _sizes(self, input_shape: Shape) -> dict[str, int | None]:
        """Return letter -> size, of input and output; None for one that is not known."""
        parsed = self._parsed
        dotted = len(input_shape) - len(parsed.inputs)
        output_shape = self._joined_shape(input_shape)
        start = dotted if parsed.is_left else 0
        found = output_shape[start : start + len(parsed.outputs)]
        if dotted < 0 or (dotted and not parsed.has_dots) or len(found) != len(parsed.outputs):
            raise ValueError(
                f"Layer {self.name!r} (EinsumDense): input and `output_shape` must have the axes "
                f"of the equation; got equation={self.equation!r}, an input of shape "
                f"{tuple(input_shape)}, output_shape={self.partial_output_shape}."
            )
        outputs = dict(zip(parsed.outputs, found, strict=True))
        inputs = dict(zip(parsed.inputs, input_shape[start:], strict=False))
        for letter in inputs.keys() & outputs.keys():
            if None not in (both := (inputs[letter], outputs[letter])) and both[0] != both[1]:
                raise ValueError(
                    f"Layer {self.name!r} (EinsumDense): input and output must have one size on "
                    f"axis {letter!r}; got {inputs[letter]} and {outputs[letter]}."
                )
        return {**inputs, **{letter: size for letter, size in outputs.items() if size is not None}}

    def _joined_shape(self, input_shape: Shape) -> Shape:
        """Return `output_shape` with the batch axis and what the dots stand for."""
        dotted = len(input_shape) - len(self._parsed.inputs)
        if dotted <= 0:
            return (input_shape[0], *self.partial_output_shape)
        if self._parsed.is_left:
            return (*input_shape[:dotted], *self.partial_output_shape)
        return (input_shape[0], *self.partial_output_shape, *input_shape[-dotted:])

    def _known(self, sizes: dict[str, int | None], letter: str, input_shape: Shape) -> int:
        size = sizes.get(letter)
        if size is None:
            raise ValueError(
                f"Layer {self.name!r} (EinsumDense): the size on axis {letter!r} must be known; "
                f"got equation={self.equation!r}, an input of shape {tuple(input_shape)}, "
                f"output_shape={self.partial_output_shape}."
            )
        return size

    def call(self, inputs: Tensor) -> Tensor:
        """Compute `activation(einsum(equation, inputs, kernel) + bias)`."""
        outputs = torch.einsum(self.equation, inputs, self.kernel.tensor)
        if self.bias is not None:
            outputs = outputs + self.bias.tensor
        return self.activation(outputs)  # type: ignore[no-any-return]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape; None where `output_shape` has None, as in Keras."""
        self._sizes(input_shape)
        return self._joined_shape(input_shape)

    def get_config(self) -> Config:
        """Return the constructor's arguments; an absent activity regularizer too, as Keras does."""
        config = {"activity_regularizer": None, **super().get_config()}
        del config["gptq_unpacked_column_size"]
        return {**config, "output_shape": self.partial_output_shape}


def _sizes_of(output_shape: Any) -> tuple[int | None, ...]:
    sizes = output_shape if isinstance(output_shape, Iterable) else [output_shape]
    if not all(size is None or (arguments.is_integer(size) and size > 0) for size in sizes):
        raise ValueError(
            "EinsumDense: `output_shape` must be a positive integer, or a tuple of them and None; "
            f"got output_shape={output_shape!r}."
        )
    return tuple(None if size is None else int(size) for size in sizes)


class _Equation(NamedTuple):
    inputs: str
    kernel: str
    outputs: str
    is_left: bool  # whether the dots stand on the left
    has_dots: bool


def _parse(equation: str, bias_axes: str | None) -> _Equation:
    """Return the parts of the equation, checked."""
    matches = (re.fullmatch(form, equation) for form in _FORMS)
    match = next(filter(None, matches), None) if isinstance(equation, str) else None
    if match is None:
        raise ValueError(
            "EinsumDense: `equation` must have the form 'ab,bc->ac', '...ab,bc->...ac' or "
            f"'ab...,bc->ac...'; got equation={equation!r}."
        )
    parsed = _Equation(
        match["x"], match["kernel"], match["y"], equation.startswith("."), "." in equation
    )
    for letter in parsed.outputs:
        if letter not in parsed.inputs + parsed.kernel:
            raise ValueError(
                f"EinsumDense: each output axis must be one of the input or the kernel; {letter!r} "
                f"is neither in equation={equation!r}."
            )
    for letter in parsed.kernel:
        if letter not in parsed.inputs + parsed.outputs:
            raise ValueError(
                f"EinsumDense: each kernel axis must be one of the input or the output; {letter!r} "
                f"is neither in equation={equation!r}."
            )
    wrong = [letter for letter in bias_axes or "" if letter not in parsed.outputs]
    if wrong or bias_axes == "":
        raise ValueError(
            "EinsumDense: `bias_axes` must be letters of the output; got "
            f"bias_axes={bias_axes!r} with equation={equation!r}."
        )
    return parsed
