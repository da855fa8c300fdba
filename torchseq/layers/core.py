"""The layers that everything is made of: Input, Dense, wrapped modules and functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from torchseq import activations
from torchseq.base import arguments, dtypes, products, registry
from torchseq.base.errors import UnsupportedFeatureError
from torchseq.base.module_hooks import has_hooks
from torchseq.base.symbolic import KerasTensor
from torchseq.base.types import Config, Identifier, Shape
from torchseq.layers import shapes
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.layer import Layer


class InputLayer(Layer):
    """Holds the shape and dtype of a model's input.

    Args:
        shape: sizes without the batch axis; None where not known.
        batch_size: size of the batch axis, if it is fixed.
        dtype: dtype name; floatx by default.
        sparse, ragged: accepted for Keras's sake; only None and False are possible.
        batch_shape: `shape` with the batch axis in front, instead of it.
        input_tensor: a result of `Input` to take the shape from.
        optional: whether None may be given.

    Raises:
        ValueError: unless exactly one of `shape`, `batch_shape` and `input_tensor` is given.

    Source: keras.layers.InputLayer.
    """

    def __init__(
        self,
        shape: Shape | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Shape | None = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **layer_options: Any,
    ):
        batch_shape = layer_options.pop("batch_input_shape", batch_shape)
        layer_options.pop("input_shape", None)
        super().__init__(name=name)
        if layer_options:
            raise ValueError(f"InputLayer: unrecognized arguments {sorted(layer_options)}.")
        if sparse or ragged:
            raise UnsupportedFeatureError(
                "InputLayer: sparse and ragged inputs are not offered; got "
                f"sparse={sparse}, ragged={ragged}. Convert them to dense arrays first."
            )
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        self.batch_shape = _input_shape(shape, batch_size, batch_shape)
        self._input_dtype: str = arguments.looked_up(self, "dtype", dtypes.name_of, dtype)
        self.sparse = False
        self.ragged = False
        self.optional = optional
        self.built = True
        self.output = KerasTensor(self.batch_shape, self._input_dtype, name, origin=self)

    def set_dtype(self, dtype: str) -> None:
        """Declare another dtype."""
        self._input_dtype = self.output.dtype = dtype

    @property
    def dtype(self) -> str:
        """Name of the input's dtype."""
        return self._input_dtype

    def call(self, inputs: Tensor) -> Tensor:
        """Return the input."""
        return inputs

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        names = ("batch_shape", "dtype", "sparse", "ragged", "name", "optional")
        return {name: getattr(self, name) for name in names}


def _input_shape(shape: Any, batch_size: int | None, batch_shape: Any) -> Shape:
    if (shape is None) == (batch_shape is None):
        raise ValueError(
            "InputLayer: exactly one of `shape` and `batch_shape` must be given; got "
            f"shape={shape!r}, batch_shape={batch_shape!r}."
        )
    if batch_shape is not None and batch_size is not None:
        raise ValueError(
            "InputLayer: `batch_size` goes with `shape`, not with `batch_shape`; got "
            f"batch_size={batch_size!r}, batch_shape={batch_shape!r}."
        )
    if arguments.is_integer(shape):
        shape = (shape,)
    sizes = tuple(batch_shape) if batch_shape is not None else (batch_size, *shape)
    if not all(size is None or (arguments.is_integer(size) and size >= 0) for size in sizes):
        raise ValueError(
            "InputLayer: each size of the shape must be None or an integer of at least 0; got "
            f"{sizes!r}."
        )
    return tuple(None if size is None else int(size) for size in sizes)


def Input(
    shape: Shape | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Shape | None = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
) -> KerasTensor:
    """Return a symbolic tensor that declares a Sequential model's input.

    Args:
        shape: sizes without the batch axis; None where not known.
        batch_size: size of the batch axis, if it is fixed.
        dtype: dtype name; floatx by default.
        sparse, ragged: accepted for Keras's sake; only None and False are possible.
        batch_shape: `shape` with the batch axis in front, instead of it.
        name: of the input layer; unique by default.
        tensor: another result of `Input` to take the shape from.
        optional: whether None may be given.

    Source: keras.Input. It can be put first into a Sequential; layers cannot be called on it.

    Examples:
        >>> Input(shape=(28, 28)).shape
        (None, 28, 28)
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        ragged=ragged,
        batch_shape=batch_shape,
        input_tensor=tensor,
        optional=optional,
        name=name,
    )
    return layer.output


class Dense(Layer):
    """Fully connected layer: `activation(inputs @ kernel + bias)`.

    Args:
        units: size of the last output axis; a positive integer.
        activation: name, config or callable; None leaves the sum as it is.
        use_bias: learn a bias and add it.
        kernel_initializer, bias_initializer: name, config or callable.
        kernel_regularizer, bias_regularizer: penalty on the weight.
        activity_regularizer: penalty on the output, divided by the batch size.
        kernel_constraint, bias_constraint: projection of the weight after each update.
        lora_rank, lora_alpha, quantization_config: only None is possible.

    Shapes:
        `(batch, ..., features)` -> `(batch, ..., units)`

    Raises:
        ValueError: if `units` is not a positive integer.

    Source: keras.layers.Dense. Not offered: quantization, LoRA.
    """

    casts_integers = True

    def __init__(
        self,
        units: int,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        activity_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **layer_options: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **layer_options)
        self.supports_masking = True
        self.units = arguments.positive_integer(self, "units", units)
        self.resolve(activation=activation)
        self.use_bias = use_bias
        self.resolve(
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )
        refuse_adapters(self, lora_rank, quantization_config)
        self.quantization_config = None

    def build(self, input_shape: Shape) -> None:
        """Make the `nn.Linear`."""
        features = known_size(self, input_shape, -1)
        self.linear = self.torch_module(nn.Linear, features, self.units, bias=self.use_bias)
        self.expose("kernel", self.linear, "weight", axes=(1, 0))  # torch keeps (units, features)
        if self.use_bias:
            self.expose("bias", self.linear, "bias")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Tensor) -> Tensor:
        """Compute `activation(inputs @ kernel + bias)`."""
        linear = self.linear
        if type(linear) is nn.Linear and not has_hooks(linear):
            return self.activation(products.linear(inputs, linear.weight, linear.bias))  # type: ignore[no-any-return]
        return self.activation(linear(inputs))  # type: ignore[no-any-return]

    def bare(self) -> Callable[..., Any]:
        """Return what `call` computes, by torch's functions."""
        is_plain = type(self.linear) is nn.Linear and not has_hooks(self.linear)
        if not is_plain or type(self).call is not Dense.call:
            return self.forward  # parametrized, or another module in its place
        params: Any = self.linear._parameters
        linear = products.linear
        activation = activations.of_tensors(self.activation)
        if activation is None:
            return lambda inputs: linear(inputs, params["weight"], params["bias"])
        return lambda inputs: activation(linear(inputs, params["weight"], params["bias"]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with `units` last."""
        return (*input_shape[:-1], self.units)


def known_size(layer: Layer, shape: Shape, axis: int) -> int:
    """Return the size on `axis` of a shape that a layer is built for.

    Raises:
        ValueError: if there is no such axis or its size is None.
    """
    if len(shape) < 2 or shape[axis] is None:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}): axis {axis} of the input must have a "
            f"known size, and the input at least two axes; got shape {tuple(shape)}."
        )
    return int(shape[axis])  # type: ignore[arg-type]


def refuse_adapters(layer: Layer, lora_rank: Any, quantization_config: Any) -> None:
    """Raise UnsupportedFeatureError if LoRA or quantization is asked for."""
    if lora_rank is not None or quantization_config is not None:
        raise UnsupportedFeatureError(
            f"{type(layer).__name__}: LoRA and quantization are not offered; got "
            f"lora_rank={lora_rank!r}, quantization_config={quantization_config!r}. Apply a "
            "torch library such as torchao or peft to the layer's torch module."
        )


class Identity(Layer):
    """Returns its input.

    Shapes:
        any -> the same

    Source: keras.layers.Identity.
    """

    def __init__(self, **layer_options: Any):
        super().__init__(**layer_options)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape


class Lambda(Layer):
    """Wraps a function of one tensor.

    Args:
        function: called with the input, and with `arguments`; also with `training` or `mask` if
            it has such an argument.
        output_shape: shape of one output sample, or a function of the input shape; found by a run
            on torch's `meta` device by default.
        mask: the output's mask, or a function `(inputs, mask)`.
        arguments: further keyword arguments.

    Source: keras.layers.Lambda. Files hold the function's name, never its code: a lambda cannot be
        saved, and a named function must be registered or passed in `custom_objects` for loading.
    """

    _casts_on_read = True  # the function decides what dtype comes out

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **layer_options: Any,
    ):
        super().__init__(**layer_options)
        if not callable(function):
            raise TypeError(f"Lambda: `function` must be callable; got {function!r}.")
        self.function = function
        self.arguments = arguments or {}
        self.supports_masking = mask is not None
        self.mask = mask
        self._given_output_shape = output_shape
        self._told = {"mask", "training"} & argument_names(function)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Call the function."""
        told = {"mask": mask, "training": training}
        told = {name: value for name, value in told.items() if name in self._told}
        return self.function(inputs, **{**self.arguments, **told})

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return what `mask` says."""
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """Return what `output_shape` says, or what a run on the `meta` device shows."""
        given = self._given_output_shape
        if given is None:
            return super().compute_output_shape(input_shape)
        return given(input_shape) if callable(given) else (input_shape[0], *given)

    def get_config(self) -> Config:
        """Return the constructor's arguments; the function by its name."""
        config = {**super().get_config(), "function": registry.serialize(self.function)}
        config.pop("output_shape", None)
        if self._given_output_shape is not None:
            config["output_shape"] = registry.serialize(self._given_output_shape)
        if self.mask is None:  # Keras leaves it out
            del config["mask"]
        return config

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Lambda:
        """Make the layer; its functions must be registered or in `custom_objects`."""
        made = {
            key: registry.deserialize(value, custom_objects)
            if key in ("function", "output_shape", "mask", "arguments")
            else value
            for key, value in config.items()
        }
        return cls(**made)


def argument_names(function: Callable[..., Any]) -> set[str]:
    """Return the names of a function's arguments; none for one whose signature is not known."""
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # many of torch's own
        return set()


class TorchModuleWrapper(Layer):
    """Makes a layer of any `nn.Module` of one input.

    As other layers do, it casts floating inputs to its compute dtype: a module of another dtype
    than float32 needs `dtype=`, one that takes inputs as they come `autocast=False`.

    Args:
        module: the module; moved nowhere and initialized by nobody but itself.
        name: unique by default.
        output_shape: shape of one output sample; a run on torch's `meta` device by default.

    Source: keras.layers.TorchModuleWrapper. A config holds no code, so a model with one is loaded
        by building it in Python and calling `load_weights`.
    """

    def __init__(
        self,
        module: nn.Module,
        name: str | None = None,
        output_shape: Shape | None = None,
        **layer_options: Any,
    ):
        super().__init__(name=name, **layer_options)
        if not isinstance(module, nn.Module):
            raise TypeError(
                "TorchModuleWrapper: `module` must be an instance of torch.nn.Module; got "
                f"{module!r}."
            )
        self.module = module
        self._given_output_shape = output_shape
        if not self._trainable:
            self.trainable = False

    def build(self, input_shape: Any) -> None:
        """Let lazy modules make their weights, by a run on zeros."""
        shapes.build_sublayers(self, input_shape, self._dtype_of_input())
        if not self._trainable:
            self.trainable = False

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self.module(inputs, *args, **kwargs)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """Return the given shape, or what a run on the `meta` device shows."""
        if self._given_output_shape is not None:
            return (input_shape[0], *self._given_output_shape)
        return super().compute_output_shape(input_shape)

    def get_config(self) -> Config:
        """Raise, since a module can be written into a file only as code.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"Layer {self.name!r} (TorchModuleWrapper): a plain torch module has no config; got "
            f"{type(self.module).__name__}. Save the weights with `save_weights`, build the model "
            "in Python and `load_weights`; or make it a Layer with get_config."
        )
