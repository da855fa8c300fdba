"""`Layer`: an `nn.Module` that builds its weights when the input's shape is known."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from torchseq import regularizers
from torchseq.base import arguments, devices, dtypes, naming
from torchseq.base.modes import mode
from torchseq.base.symbolic import KerasTensor, functional_error
from torchseq.base.types import Config, Identifier, Shape
from torchseq.base.variable import Variable, as_tensor
from torchseq.layers import describing, masks, scopes, shapes, tracking, tree
from torchseq.layers.input_spec import InputSpec
from torchseq.layers.weighted import Weighted, adopt

_Layer = TypeVar("_Layer", bound="Layer")

_LOOKED_AT = frozenset(
    ("activation", "activity_regularizer", "autocast", "call", "casts_integers", "forward")
)
_OPTIONS = ("activity_regularizer", "trainable", "dtype", "autocast", "name")
_INPUT_OPTIONS = ("input_shape", "batch_input_shape", "batch_shape", "input_dim", "input_dtype")
# Properties without a value until the layer is built.
_SHAPES = frozenset({"input_shape", "output_shape", "inputs", "outputs"})
# Lists and dicts of our own, in which no user's layers are to be found.
_UNTRACKED = frozenset({"_variables", "_losses", "_layers", "_compile_arguments"})


def rebuildable(build: Callable[..., None]) -> Callable[..., None]:
    """Mark a `build` that may run again, on a model that changes."""
    build.runs_again = True  # type: ignore[attr-defined]
    return build


def building_once(build: Callable[..., None]) -> Callable[..., None]:
    """Wrap a `build` so that it runs once, in the layer's name scope, and its shape is kept."""

    @functools.wraps(build)
    def wrapper(self: Layer, *args: Any, **kwargs: Any) -> None:
        if self._is_building:  # a build that calls its parent class's
            build(self, *args, **kwargs)
            return
        if self.built and not hasattr(build, "runs_again"):
            return
        check_initialized(self)
        self._is_building = True
        try:
            with naming.scope(self.name):
                self._path = naming.path_to("").removesuffix("/")
                build(self, *args, **kwargs)
        finally:
            self._is_building = False
        shape = args[0] if args else next(iter(kwargs.values()), None)
        self._build_shape = shapes.as_tuples(shape)
        self._set_region()
        self.built = True
        self._is_complete = True

    return wrapper


def check_initialized(layer: Layer) -> None:
    """Raise RuntimeError if the layer's constructor did not call its parent's."""
    if "_modules" not in layer.__dict__:
        raise RuntimeError(
            f"{type(layer).__name__}: `super().__init__()` must be the first statement of its "
            "__init__; it was not called."
        )


class Layer(Weighted):
    """A unit of computation with weights: Keras's constructor and methods, an `nn.Module` inside.

    Write one in Keras's way (`build`, `add_weight`, `call`) or in torch's (`__init__`, `forward`).
    The weights are made on the first call, or by `build`, when the input's shape is known. Layers
    start in evaluation mode, as a Keras layer called without `training` infers; `train()`,
    `fit`, or `layer(x, training=True)` train.

    Args:
        activity_regularizer: penalty on the output, divided by the batch size.
        trainable: whether the weights are updated in training.
        dtype: name of a dtype or dtype policy; the global policy by default.
        autocast: cast floating inputs to the layer's compute dtype.
        name: unique by default, from the class name.
        **options: `input_shape`, `batch_input_shape`, `input_dim` of a model's first layer.

    Raises:
        ValueError: for an option that does not exist.

    Source: keras.Layer. Not offered: quantization, LoRA, `stateless_call`, symbolic calls.
    """

    casts_integers = False  # whether integer inputs become floating ones
    takes_integers = False  # whether a model with this layer first leaves integers as they come
    activity_regularizer: Any = None
    built = False
    training = False
    _declared_dtype: torch.dtype | None = None  # of the input, where a model declares it
    _path: str | None = None

    def __init__(
        self,
        *,
        activity_regularizer: Identifier = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(bool(trainable))
        self.training = False
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{type(self).__name__}: `name` must be a string; got name={name!r}.")
        self.name = name or naming.auto_name(type(self).__name__)
        self.built = False
        self.autocast = autocast
        self.supports_masking = tree.overrides(type(self), Layer, "compute_mask")
        self.input_spec: InputSpec | None = None
        self._build_shape: Any = None
        self._flow: tuple[Any, Any] | None = None  # input and output shape
        self._is_building = False
        self._met_shape: tuple[int, ...] | None = None
        self._is_complete = False
        self._set_policy(
            arguments.looked_up(self._name_in_errors(), "dtype", dtypes.get_policy, dtype)
        )
        if activity_regularizer is not None:
            self.resolve(activity_regularizer=activity_regularizer)
            scopes.losses_in_use[0] = True
        self._first_layer_shape = self._read_input_options(options)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = building_once(cls.build)  # type: ignore[method-assign]
        if "call" in vars(cls) and "forward" not in vars(cls):
            cls.forward = cls.call  # type: ignore[method-assign]  # a frame less at each call
        if not cls.__module__.startswith("torchseq."):
            bases = [base for base in cls.__bases__ if issubclass(base, Layer)]
            cls._casts_on_read = all(base is Layer or base._casts_on_read for base in bases)
        method = cls.forward if tree.overrides(cls, Layer, "forward") else cls.call
        parameters = inspect.signature(method).parameters
        cls._takes_training = "training" in parameters
        cls._takes_mask = "mask" in parameters
        cls._makes_mask = tree.overrides(cls, Layer, "compute_mask")

    _casts_on_read = False  # whether the class computes as its author wrote it for Keras
    _casts_outputs = True  # into the compute dtype; what only calls other layers leaves it to them
    _takes_training = False
    _takes_mask = False
    _makes_mask = False
    _told_of_mask = False  # whether it warned that a mask ends here
    _has_masking_layers = False  # whether masks travel through the layers in it

    def _read_input_options(self, options: dict[str, Any]) -> Shape | None:
        unknown = sorted(set(options) - set(_INPUT_OPTIONS))
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: unrecognized arguments {unknown}. It takes "
                f"{[*describing.constructor_arguments(type(self), Layer), *_OPTIONS]}."
            )
        shape = options.get("input_shape")
        batch_shape = options.get("batch_input_shape", options.get("batch_shape"))
        if batch_shape is not None:
            return tuple(batch_shape)
        if "input_dim" in options:
            shape = (options["input_dim"],)
        if shape is None:
            return None
        return (None, *shape) if isinstance(shape, Sequence) else (None, shape)

    # --- What a layer's author writes ------------------------------------------------------------

    @building_once
    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of `input_shape` (batch first; None where not known)."""

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the output."""
        raise NotImplementedError(
            f"{type(self).__name__}: a layer must have a `call(inputs)` or a `forward(inputs)` "
            "method; it has neither."
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape, found on torch's `meta` device unless a layer knows it."""
        if not self.built:
            self.build(input_shape)
        dtype = self._dtype_of_input()
        shapes.build_sublayers(self, input_shape, dtype)
        with mode(self, False):
            return shapes.output_shape(self, self.forward, input_shape, dtype)

    def _dtype_of_input(self) -> torch.dtype:
        dtype = self._declared_dtype or self._compute_dtype
        return self._compute_dtype if dtype.is_floating_point and self.autocast else dtype

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the output's mask: the input's, unless a layer changes it."""
        return previous_mask

    # --- Calling -------------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Build if need be, check the input's shape if it is new, and compute the output."""
        if not self.built:
            return self._first_call(inputs, *args, **kwargs)
        if type(inputs) is not Tensor:
            inputs = self._meet(self._as_tensors(inputs))
        elif inputs.shape[1:] != self._met_shape:
            inputs = self._meet(inputs)
        if kwargs and "training" in kwargs:
            training = kwargs["training"]
            if training is not None and bool(training) is not self.training:
                with mode(self, bool(training)):
                    return self(inputs, *args, **kwargs)
            if not self._takes_training:
                del kwargs["training"]
        if scopes.losses_in_use[0] and scopes.starts_losses():
            with scopes.outermost_call(self._clear_losses):
                return self(inputs, *args, **kwargs)
        if self._region is not scopes.active_region[0]:
            with scopes.precision(self._region, inputs):
                return self(inputs, *args, **kwargs)
        if args:
            args = tuple(self._as_tensors(arg) if type(arg) is np.ndarray else arg for arg in args)
        mask = getattr(inputs, "_keras_mask", None)
        if getattr(inputs, "dtype", None) is not self._compute_dtype and self._casts(inputs):
            inputs = inputs.to(self._compute_dtype)
            if mask is not None:
                inputs._keras_mask = mask
        if self._takes_training and (not args or "training" in kwargs):
            kwargs["training"] = self.training
        if self._takes_mask:
            mask = kwargs.setdefault("mask", mask)
        outputs = super().__call__(inputs, *args, **kwargs)
        wanted = self._output_dtype
        if wanted is not None and getattr(outputs, "dtype", None) is not wanted:
            outputs = scopes.as_dtype(outputs, wanted)
        if mask is not None or self._makes_mask:
            masks.pass_on(self, inputs, outputs, mask)
        if self.activity_regularizer is not None:
            self._add_activity_loss(outputs)
        return outputs

    def forward(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; what torch calls, with its hooks."""
        return self.call(inputs, *args, **kwargs)

    def bare(self) -> Callable[..., Any]:
        """Return what `forward` computes, past the calls of modules inside that have no hooks.

        Parameters are looked up when it is called; a layer with other modules makes another one.
        """
        return self.forward

    def _first_call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Build, and call in the name scope in which sublayers that this call builds belong."""
        check_initialized(self)
        inputs = self._as_tensors(inputs)
        self.build(tree.shapes_of(inputs))
        with naming.scope(self.name):
            return self(inputs, *args, **kwargs)

    def _casts(self, inputs: Any) -> bool:
        if not self.autocast or not isinstance(inputs, Tensor):
            return False
        dtype = inputs.dtype
        if not dtype.is_floating_point:
            return self.casts_integers
        # Where the user's torch.autocast rules, it chooses the dtype.
        device = inputs.device.type
        if self._region is not None or device == "meta":  # autocast knows nothing of meta tensors
            return True
        return not torch.is_autocast_enabled(device)

    def _as_tensors(self, inputs: Any) -> Any:
        if isinstance(inputs, Tensor):  # parameters and other subclasses
            return inputs
        if inputs is None:
            raise ValueError(f"Layer {self.name!r}: it must be called on data; got None.")
        if isinstance(inputs, KerasTensor):
            raise functional_error(
                type(self).__name__,
                f"a layer must be called on data; got the symbolic {inputs}.",
            )
        if isinstance(inputs, dict):
            return {key: self._as_tensors(value) for key, value in inputs.items()}
        has_no_dtype = isinstance(inputs, list | tuple | float)  # Python's numbers
        if isinstance(inputs, list | tuple) and inputs and not np.isscalar(inputs[0]):
            if all(isinstance(entry, Tensor | np.ndarray) for entry in inputs):
                return type(inputs)(self._as_tensors(entry) for entry in inputs)
            inputs = np.asarray(inputs)
        tensor = as_tensor(inputs)
        if not isinstance(inputs, Variable):
            tensor = tensor.to(devices.device_of(self))
        if tensor.is_floating_point() and (self.autocast or has_no_dtype):
            tensor = tensor.to(self._compute_dtype)
        return tensor

    def _meet(self, inputs: Any) -> Any:
        """Check an input of a new shape, and return it."""
        if isinstance(inputs, Tensor):
            self._check_shape(tuple(inputs.shape))
            if not torch.compiler.is_compiling():
                self._met_shape = inputs.shape[1:]
        return inputs

    def _check_shape(self, shape: Shape) -> None:
        violation = self.input_spec.violation(shape) if self.input_spec else None
        if violation is not None:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): its input must {violation}; got an "
                f"input of shape {shape}."
            )

    # --- Dtype, names, config ------------------------------------------------------------------

    def _set_policy(self, policy: dtypes.DTypePolicy) -> None:
        self._policy = policy
        self._compute_dtype = dtypes.torch_dtype(policy.compute_dtype)
        self._set_region()

    def _set_region(self) -> None:
        """Find how a mixed policy is carried out; for a new policy and for new weights."""
        scopes.changes[0] += 1
        self._region: scopes.Region | None = None
        self._output_dtype: torch.dtype | None = None
        is_mixed = self._policy.compute_dtype != self._policy.variable_dtype
        if not is_mixed or not self.autocast:
            return
        dtype = dtypes.torch_dtype(self._policy.compute_dtype)
        by_autocast = not self._casts_on_read or tree.has_torch_weights(self, Layer)
        self._region = scopes.Region((dtype, by_autocast))
        if by_autocast and self._casts_outputs:  # which autocast leaves in float32 here and there
            self._output_dtype = dtype

    @property
    def dtype_policy(self) -> dtypes.DTypePolicy:
        """What the layer computes in and keeps its weights in."""
        return self._policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        self._set_policy(dtypes.get_policy(value))

    @property
    def dtype(self) -> str:
        """Name of the weights' dtype."""
        return self._policy.variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """Name of the dtype that the layer computes in."""
        return self._policy.compute_dtype

    input_dtype = compute_dtype

    def _apply(self: _Layer, fn: Callable[..., Any], recurse: bool = True) -> _Layer:
        """Follow torch's `.double()`, `.half()`, `.to(dtype)` with the dtype policy."""
        before = dtypes.torch_dtype(self.variable_dtype)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = fn(torch.zeros((), dtype=before)).dtype
        if after is not before:
            self._set_policy(dtypes.DTypePolicy(dtypes.name_of(after)))
        return self

    @property
    def path(self) -> str:
        """The names of the layers around it and its own, joined by `/`; its name until built."""
        return self._path or self.name

    @property
    def input_shape(self) -> Any:
        """The input's shape, once built.

        Raises:
            AttributeError: before.
        """
        return self._flow_shapes()[0]

    @property
    def output_shape(self) -> Any:
        """The output's shape, once built.

        Raises:
            AttributeError: before.
        """
        return self._flow_shapes()[1]

    def _flow_shapes(self) -> tuple[Any, Any]:
        """Return the input's and output's shapes in the model, or those it was built for."""
        if self._flow is None:
            shape = self._build_shape
            if shape is None and self._met_shape is not None:  # there was nothing to build
                shape = (None, *self._met_shape)
            if shape is None:
                raise AttributeError(f"Layer {self.name!r} has no defined shapes yet.")
            self._flow = (shape, self.compute_output_shape(shape))
        return self._flow

    def get_config(self) -> Config:
        """Return name, dtype and the constructor's arguments, as Keras's config of the class."""
        config: Config = {
            "name": self.name,
            "trainable": self._trainable,
            "dtype": dtypes.policy_config(self._policy),
        }
        config.update(describing.described(self, Layer))
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return config

    @classmethod
    def from_config(cls: type[_Layer], config: Config) -> _Layer:
        """Make a layer from what `get_config`, or Keras's, returned."""
        return cls(**config)

    def get_build_config(self) -> Config | None:
        """Return the shape the layer was built for, for files; None if it needed no building."""
        return None if self._build_shape is None else {"input_shape": self._build_shape}

    def build_from_config(self, config: Config) -> None:
        """Build for the shape that `get_build_config` returned."""
        shape = config.get("input_shape")
        if shape is not None and not self.built:
            self.build(shapes.as_tuples(shape))

    def __getattr__(self, name: str) -> Any:
        """Find a submodule, a parameter or a buffer; say why an attribute is missing."""
        modules = self.__dict__.get("_modules")
        if modules is not None and name in modules:
            return modules[name]
        if name in _SHAPES:
            raise AttributeError(
                f"{type(self).__name__} {self.name!r} has no defined `{name}` yet. Build it first: "
                "call it on data, or give its input shape."
            )
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module):
            check_initialized(self)
            value.train(self.training)
        elif isinstance(value, Variable):
            self._keep_variable(name, value)
            return
        elif isinstance(value, nn.Parameter) and self._is_weight(name):
            self._parameters[name] = value  # as torch exchanges them: the variable shows it
            return
        elif type(value) in tracking.CONTAINERS and name not in _UNTRACKED:
            if "_modules" not in self.__dict__ and tracking.has_modules(value):
                check_initialized(self)
            tracking.forget(self, name, value)
            value = tracking.keep(self, name, value)
        elif "_places" in self.__dict__:
            tracking.forget(self, name, value)
        super().__setattr__(name, value)
        if name in _LOOKED_AT:
            scopes.changes[0] += 1
        if isinstance(value, nn.Module) and self.built:
            self._set_region()

    def _is_weight(self, name: str) -> bool:
        held = self.__dict__.get(name)
        return isinstance(held, Variable) and self._parameters.get(name) is not None

    def _keep_variable(self, name: str, variable: Variable) -> None:
        """Keep a variable that `add_weight` made, or adopt one that belongs to nobody."""
        check_initialized(self)
        adopt(self, name, variable)
        object.__setattr__(self, name, variable)
        if all(variable is not known for known in self._variables):
            self._variables.append(variable)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
