"""`Sequential`: a linear stack of layers that is a model."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import arguments, dtypes, naming, registry
from torchseq.base.symbolic import KerasTensor
from torchseq.base.types import Config, Shape
from torchseq.layers import InputLayer, Lambda, Layer, TorchModuleWrapper, shapes
from torchseq.layers.chain import Chain, can_chain
from torchseq.layers.layer import check_initialized, rebuildable
from torchseq.models import together
from torchseq.models.model import Model

_Layers = Iterable[Any]


class _Declared:
    """Holds a model's input layer, which is none of its submodules: it does nothing."""

    input: InputLayer | None = None


class Sequential(Model):
    """A linear stack of layers: Keras's methods, on an ordinary `nn.Module`.

    Args:
        layers: what `add` takes, one by one.
        trainable: whether the weights are updated in training.
        name: unique by default.

    Shapes:
        those of the first layer's input -> those of the last layer's output

    Source: keras.Sequential.

    Examples:
        >>> from torchseq import Input, Sequential, layers
        >>> model = Sequential([Input((16,)), layers.Dense(8, activation="relu")])
        >>> model.output_shape
        (None, 8)
    """

    _casts_outputs = False
    _has_masking_layers = True  # Keras's warns of a lost mask all the same
    is_stack = True

    def __init__(
        self, layers: _Layers | None = None, trainable: bool = True, name: str | None = None
    ):
        super().__init__(trainable=trainable, name=name)
        self.casts_integers = True  # to the declared dtype, which may be an integer one
        self._declared = _Declared()
        self._layers: list[Layer] = []
        self._chain: Chain | None = None
        for layer in layers or ():
            self.add(layer, rebuild=False)
        if self._layers:
            self._rebuild()

    # --- The stack -----------------------------------------------------------------------------

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Put a layer on top.

        Args:
            layer: a `Layer`, a result of `Input` (first), any `nn.Module`, or a function of one
                tensor.
            rebuild: make its weights now if the input shape is known.

        Raises:
            ValueError: if it is none of these, its name is taken, or an input is declared twice.
        """
        if isinstance(layer, KerasTensor) and isinstance(layer.origin, InputLayer):
            layer = layer.origin
        if isinstance(layer, InputLayer):
            self._set_input(layer)
        else:
            self._append(self._as_layer(layer))
        self.built = False
        if rebuild:
            self._rebuild()

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the top layer and return it.

        Args:
            rebuild: work out the model's shapes anew.

        Raises:
            IndexError: if there is none.
        """
        self.built = False
        if not self._layers:
            return self._pop_input()
        layer = self._layers.pop()
        self._chain = None
        if all(layer is not other for other in self._layers):
            key = next(key for key, module in self._modules.items() if module is layer)
            del self._modules[key]
        if rebuild:
            self._rebuild()
        return layer

    def _pop_input(self) -> InputLayer:
        layer, self._declared.input = self._declared.input, None
        if layer is None:
            raise IndexError(f"Sequential {self.name!r}: pop needs a layer; the model has none.")
        return layer

    def _as_layer(self, layer: Any) -> Layer:
        if isinstance(layer, Layer):
            return layer
        if isinstance(layer, nn.Module):
            return TorchModuleWrapper(layer)
        if isinstance(layer, FunctionType | BuiltinFunctionType):
            return Lambda(layer)
        hint = " It is a class: add an instance, `Dense(8)`." if inspect.isclass(layer) else ""
        raise ValueError(
            f"Sequential {self.name!r}: only layers, torch modules and functions can be added; got "
            f"{layer!r} of type {type(layer).__name__}.{hint}"
        )

    def _set_input(self, layer: InputLayer) -> None:
        if self._input_layer is not None:
            raise ValueError(
                f"Sequential {self.name!r}: the input can be declared once; it has shape "
                f"{self._input_layer.batch_shape}, and an input of shape {layer.batch_shape} came."
            )
        if self._layers:
            raise ValueError(
                f"Sequential {self.name!r}: an input must come first; it came after "
                f"{len(self._layers)} layers."
            )
        self._declared.input = layer

    def _append(self, layer: Layer) -> None:
        check_initialized(layer)
        if any(layer.name == other.name for other in self._all_layers() if other is not layer):
            raise ValueError(
                f"Sequential {self.name!r}: layers must have unique names; {layer.name!r} is the "
                "name of a layer of this model already. Pass another `name`."
            )
        if not self._layers and self._input_layer is None:
            self._declared.input = _declared_input(layer)
        self._layers.append(layer)
        self._chain = None
        layer.train(self.training)
        if all(layer is not other for other in self._modules.values()):
            self.add_module(self._key_for(layer), layer)

    def _key_for(self, layer: Layer) -> str:
        """Return the layer's key in `state_dict`: its class in snake case, numbered if need be.

        Not its name, which depends on how many layers the process made before.
        """
        inner = layer.module if type(layer) is TorchModuleWrapper else layer
        stem = naming.to_snake_case(type(inner).__name__) or "layer"
        key, count = stem, 0
        while key in self._modules or hasattr(self, key):
            count += 1
            key = f"{stem}_{count}"
        return key

    def _all_layers(self) -> list[Layer]:
        return [*([self._input_layer] if self._input_layer is not None else []), *self._layers]

    @property
    def _input_layer(self) -> InputLayer | None:
        return self._declared.input

    def _listed_layers(self) -> list[Layer]:
        """Return the layers in order, without the input layer."""
        return self._layers[:]

    def _named_layers(self) -> list[Layer]:
        return self._all_layers()

    # --- Building ------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        self.built = False
        first = self._layers[0] if self._layers else None
        if self._input_layer is not None and first is not None:
            self.build(self._input_layer.batch_shape)
        elif isinstance(first, Sequential) and first.built and len(self._layers) > 1:
            self.build(first.input_shape)

    @rebuildable
    def build(self, input_shape: Any = None) -> None:
        """Make all weights.

        Args:
            input_shape: the batch size first; None where a size is not known.

        Raises:
            ValueError: if the model has no layers or another input shape is declared.
        """
        if not self._layers:
            raise ValueError(
                f"Sequential {self.name!r}: it must have a layer before it can be built. Use "
                "`model.add(layer)`."
            )
        if not _is_shape(input_shape):
            return  # nested inputs: the layers build themselves when called
        input_shape = tuple(input_shape)
        self._declare_input(input_shape)
        self._read_input_dtype()
        shape: Any = input_shape
        for layer in self._layers:
            shape = _pass_through(layer, shape)
        self._flow = (input_shape, shape)
        self._met_shape = None
        self._chain = None

    def _build_on(self, inputs: Tensor) -> None:
        self.build(tuple(inputs.shape))

    def _declare_input(self, input_shape: Shape) -> None:
        if self._input_layer is None:
            dtype = self._layers[0].compute_dtype
            self._declared.input = InputLayer(batch_shape=input_shape, dtype=dtype)
        elif self._input_layer.batch_shape != input_shape:
            raise ValueError(
                f"Sequential {self.name!r}: it is declared for inputs of shape "
                f"{self._input_layer.batch_shape}; it cannot be built for {input_shape}."
            )

    def _read_input_dtype(self) -> None:
        """Cast inputs to the declared dtype; integers stay for a first layer that wants them."""
        declared = self._input_layer.dtype if self._input_layer is not None else self.dtype
        self._compute_dtype = dtypes.torch_dtype(declared)
        self._layers[0]._declared_dtype = self._compute_dtype
        first: Layer = self._layers[0]
        while isinstance(first, Sequential) and first._layers:
            first = first._layers[0]
        self.takes_integers = first.takes_integers
        self.casts_integers = not self.takes_integers

    def _set_policy(self, policy: dtypes.DTypePolicy) -> None:
        """Let the declared input follow where the whole model moves to another floating dtype."""
        super()._set_policy(policy)
        declared = self._input_layer if "_declared" in self.__dict__ else None
        if declared is not None and dtypes.torch_dtype(declared.dtype).is_floating_point:
            declared.set_dtype(policy.variable_dtype)

    def _meet(self, inputs: Any) -> Any:
        """Build for the first input; give a new shape the declared number of axes and check it."""
        self._chain = None
        if not self.built or not isinstance(inputs, Tensor) or self._flow is None:
            return super()._meet(inputs)
        expected = self._flow[0]
        if inputs.ndim == len(expected) + 1 and inputs.shape[-1] == 1:
            inputs = inputs.squeeze(-1)  # as Keras does
        elif inputs.ndim == len(expected) - 1 and expected[-1] == 1:
            inputs = inputs.unsqueeze(-1)
        if inputs.ndim != len(expected):
            raise ValueError(
                f"Sequential {self.name!r}: its input must have {len(expected)} axes, as in "
                f"{expected}; got an input of shape {tuple(inputs.shape)}."
            )
        return super()._meet(inputs)

    def _first_call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return Layer._first_call(self, inputs, *args, **kwargs)  # past the run that Model needs

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Apply the layers in order."""
        if mask is not None:
            inputs._keras_mask = mask
        elif type(inputs) is Tensor and not torch.compiler.is_compiling():
            chain = self._chain
            if chain is not None and inputs.dtype is chain.dtype and chain.is_valid():
                return chain(inputs)
            return self._call_and_chain(inputs)
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def _call_and_chain(self, inputs: Any) -> Any:
        """Apply the layers in order, and keep how for inputs like these."""
        dtypes_met = []
        for layer in self._layers:
            dtypes_met.append(getattr(inputs, "dtype", None))
            inputs = layer(inputs)
        self._chain = Chain(self._layers, dtypes_met) if can_chain(self._layers) else None
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape for an input shape, without building the model."""
        for layer in self._layers:
            input_shape = layer.compute_output_shape(input_shape)
        return input_shape

    def _is_indifferent(self) -> bool:
        return type(self) is Sequential and together.is_indifferent(self)

    def _most_at_once(self, sample_shape: Shape) -> int:
        return together.most_at_once(self, sample_shape)

    def _flow_shapes(self) -> tuple[Any, Any]:
        if not self.built or self._flow is None:
            raise AttributeError(f"Sequential model {self.name!r} has no defined shapes yet.")
        return self._flow

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic input, in a list.

        Raises:
            AttributeError: before the model is built.
        """
        self._flow_shapes()
        return [self._input_layer.output] if self._input_layer is not None else []

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic output, in a list.

        Raises:
            AttributeError: before the model is built.
        """
        output_shapes = shapes.flat(self._flow_shapes()[1])
        last = self._layers[-1]
        return [KerasTensor(shape, last.compute_dtype, origin=last) for shape in output_shapes]

    def reset_states(self) -> None:
        """Set the states of stateful recurrent layers to zero, as Keras 2 does."""
        for layer in self._layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()

    # --- Config and files ----------------------------------------------------------------------

    def get_config(self) -> Config:
        """Return name, dtype and the layers' configs."""
        config = Layer.get_config(self)
        config["layers"] = [registry.serialize(layer) for layer in self._all_layers()]
        if self.built and self._input_layer is not None:
            config["build_input_shape"] = self._input_layer.batch_shape
        return config

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None) -> Sequential:
        """Make a model from what `get_config`, or Keras's, returned.

        Raises:
            ValueError: if the config has no layers, or names a class that is not known.
        """
        if isinstance(config, Sequence) and not isinstance(config, str):
            config = {"layers": config}  # Keras 1 and 2.0 wrote the list alone
        if "layers" not in config:
            raise ValueError(
                f"Sequential: a config must have the key 'layers'; got the keys {sorted(config)}."
            )
        model = cls(name=config.get("name"))
        if "dtype" in config:
            model._set_policy(dtypes.get_policy(config["dtype"]))
        made: list[tuple[Any, Any]] = []  # a layer may come more than once
        for layer_config in config["layers"]:
            layer = next((layer for known, layer in made if known == layer_config), None)
            if layer is None:
                layer = registry.deserialize(layer_config, custom_objects)
                made.append((layer_config, layer))
            model.add(layer, rebuild=False)
        model._rebuild()
        shape = config.get("build_input_shape")
        if not model.built and shape and _is_shape(shape) and model._layers:
            model.build(tuple(shape))
        model._trainable = config.get("trainable", True)  # the layers' configs say their own
        return model


def _declared_input(layer: Layer) -> InputLayer | None:
    """Return the input that a first layer declares by `input_shape=` and the like."""
    shape = layer._first_layer_shape
    return None if shape is None else InputLayer(batch_shape=shape, dtype=None)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, Sequence) and all(
        size is None or arguments.is_integer(size) for size in shape
    )


def _pass_through(layer: Layer, shape: Any) -> Any:
    """Build a layer for an input shape and return its output shape."""
    known = layer._flow
    if known is not None and known[0] == shape and layer.built:
        return known[1]
    if not layer.built:
        layer.build(shape)
        if not isinstance(layer, Sequential):
            shapes.build_sublayers(layer, shape, layer._dtype_of_input())
    layer._check_shape(shape)
    output_shape = layer.compute_output_shape(shape)
    if not isinstance(layer, Sequential):
        layer._flow = (shape, output_shape)
    return output_shape
