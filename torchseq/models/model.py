"""`Model`: a module of one input and one output that compiles, fits, evaluates and predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from torchseq import saving
from torchseq.base import registry
from torchseq.base.modes import mode
from torchseq.base.symbolic import functional_error
from torchseq.base.types import Config
from torchseq.engine.trainer import Trainer
from torchseq.layers import Layer, TorchModuleWrapper, describing, shapes, tree
from torchseq.layers.layer import rebuildable
from torchseq.metrics import Metric
from torchseq.models import constructors, summary


class Model(Trainer, Layer):
    """Base class of models written as a class, in Keras's way or in torch's.

    Keep layers and torch modules as attributes, also in lists and dicts, and say in `call(self,
    inputs)` (with `training=None` and `mask=None` if you want them) or in `forward` what the model
    computes. Weights are made when the input's shape is known: on the first call, by `build`, or by
    `fit`. For a module that is written already there is `Model.wrap(module)`.

    Args:
        *args: none; Keras's Functional API, which is not offered, has its inputs and outputs here.
        **options: `name`, `trainable`, `dtype`, `autocast`, `activity_regularizer`, as of a
            `Layer`.

    Raises:
        UnsupportedFeatureError: for `Model(inputs, outputs)`.

    Source: keras.Model. Not offered: the Functional API, several inputs or outputs, quantization,
        export. Beyond it: `forward`, `wrap`, and `build` for a model that has no `build` of its
        own, which runs it once on zeros.

    Examples:
        >>> import torchseq
        >>> from torchseq import layers
        >>> class Residual(torchseq.Model):
        ...     def __init__(self, units):
        ...         super().__init__()
        ...         self.hidden = layers.Dense(units, activation="relu")
        ...         self.back = torch.nn.LazyLinear(4)
        ...
        ...     def call(self, inputs):
        ...         return inputs + self.back(self.hidden(inputs))
        >>> model = Residual(8)
        >>> model(torch.zeros(2, 4)).shape
        torch.Size([2, 4])
    """

    _given_arguments: Config
    is_stack = False  # whether files number its layers in the order in which they run
    _casts_outputs = False  # the layers in it have their own dtypes

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make the model, and note the constructor's plain arguments for the config."""
        model = super().__new__(cls)
        object.__setattr__(
            model, "_given_arguments", constructors.plain_arguments(cls, args, kwargs)
        )
        return model

    def __init__(self, *args: Any, **options: Any):
        if args or "inputs" in options or "outputs" in options:
            raise functional_error(
                type(self).__name__,
                "a model must be made of a class that says what it computes; got inputs and "
                f"outputs, {[*args, *options.values()]}.",
            )
        super().__init__(**options)
        self._init_trainer()

    @staticmethod
    def wrap(module: nn.Module, name: str | None = None) -> Model:
        """Return a model that computes what a torch module computes, with its very weights.

        Args:
            module: of one input and one output; it is not copied, and trained in place.
            name: unique by default, from the module's class.

        Raises:
            TypeError: if `module` is no module.

        Examples:
            >>> import torchseq
            >>> model = torchseq.Model.wrap(torch.nn.Sequential(torch.nn.Linear(3, 2)))
            >>> model.compile("adam", "mse")
            >>> model.fit(torch.zeros(8, 3), torch.zeros(8, 2), verbose=0).epoch
            [0]
        """
        return WrappedModule(module, name)

    # --- Layers --------------------------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers that are attributes, in the order in which they became it; a new list.

        A plain torch module stands there as a `TorchModuleWrapper` around it.
        """
        return self._listed_layers()

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            f"{type(self).__name__}: `layers` is the list of all layers of a model, and cannot be "
            "set. Keep them under another name, such as `self.blocks`."
        )

    def _listed_layers(self) -> list[Layer]:
        found: dict[int, Layer] = {}
        for key, module in _parts(self):
            if not isinstance(module, Metric):
                found.setdefault(id(module), self._as_shown(key, module))
        return list(found.values())

    def _as_shown(self, key: str, module: nn.Module) -> Layer:
        """Return a layer; for a torch module always the same wrapper, which the model has not."""
        if isinstance(module, Layer):
            return module
        wrappers: dict[str, TorchModuleWrapper] = self.__dict__.setdefault("_wrappers", {})
        wrapper = wrappers.get(key)
        if wrapper is None or wrapper.module is not module:
            wrapper = wrappers[key] = _wrapper_of(module, self._name_shown(key))
        wrapper.built = not any(tree.lacks_weights(part) for part in module.modules())
        return wrapper

    def _name_shown(self, key: str) -> str | None:
        """Return the name of the wrapper for a torch module; None for a default one."""
        return None

    def _named_layers(self) -> list[Layer]:
        """Return the layers that `get_layer` finds by name."""
        return self.layers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by name or by index.

        Raises:
            ValueError: unless exactly one of the two is given and there is such a layer.
        """
        owner = f"{_kind(self)} {self.name!r}"
        layers = self.layers
        if (name is None) == (index is None):
            raise ValueError(
                f"{owner}: get_layer needs either `name` or `index`; got name={name!r}, "
                f"index={index!r}."
            )
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"{owner}: `index` must be below the number of layers, {len(layers)}; got "
                    f"index={index}."
                )
            return layers[index]
        for layer in self._named_layers():
            if layer.name == name:
                return layer
        raise ValueError(
            f"{owner}: no layer is called {name!r}. Layers: {[layer.name for layer in layers]}."
        )

    # --- Building ------------------------------------------------------------------------------

    @rebuildable
    def build(self, input_shape: Any = None) -> None:
        """Make all weights: run the model once on zeros, unless a subclass has its own `build`.

        Args:
            input_shape: the batch size first; None where a size is not known.
        """
        if input_shape is None or self._is_called or tree.overrides(type(self), Model, "build"):
            return
        dtype = self._declared_dtype or self._compute_dtype
        try:
            shapes.build_sublayers(self, input_shape, dtype)
        except Exception:
            if not _builds_on_integers(self, input_shape):
                raise

    _is_called = False  # whether a call is under way that makes the weights

    def _first_call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        object.__setattr__(self, "_is_called", True)
        try:
            return super()._first_call(inputs, *args, **kwargs)
        except BaseException:
            self.built = False  # some of the layers may be, and others not
            raise
        finally:
            object.__delattr__(self, "_is_called")

    def _build_on(self, inputs: Tensor) -> None:
        """Make all weights by a call on a batch, which shows dtypes as well as shapes."""
        with mode(self, False), torch.no_grad():
            self(inputs.to(self._device()))

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the output."""
        raise NotImplementedError(
            f"{type(self).__name__}: a model must have a `call(inputs)` or a `forward(inputs)` "
            "method; it has neither."
        )

    # --- Config and files ----------------------------------------------------------------------

    @describing.from_signature
    def get_config(self) -> Config:
        """Return what the constructor takes: its arguments, and name, dtype and `trainable`.

        Arguments that are plain values, such as numbers and strings, are noted; others must be kept
        as attributes of the same name.

        Raises:
            NotImplementedError: if an argument is neither plain nor kept.
        """
        config = super().get_config()
        return {key: value for key, value in config.items() if constructors.takes(type(self), key)}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Any:
        """Make a model from what `get_config` returned.

        Raises:
            TypeError: if the constructor does not take all of it.
        """
        with registry.custom_object_scope(custom_objects or {}):
            given = {
                key: value if key == "dtype" else registry.deserialize(value)
                for key, value in config.items()
            }
        try:
            return cls(**given)
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__}: the constructor must take what `get_config` returns; got the "
                f"keys {sorted(config)}: {error}. Make the two agree, or write `from_config`."
            ) from error

    def to_json(self, **options: Any) -> str:
        """Return the architecture as JSON; options go to `json.dumps`."""
        return json.dumps(registry.serialize(self), **options)

    def save(self, filepath: str | PathLike[str], overwrite: bool = True, **options: Any) -> None:
        """Save architecture, weights and the state of training in one file; see `saving`."""
        saving.save_model(self, filepath, overwrite=overwrite, **options)

    def save_weights(self, filepath: str | PathLike[str], overwrite: bool = True) -> None:
        """Save the weights."""
        saving.save_weights(self, filepath, overwrite=overwrite)

    def load_weights(self, filepath: str | PathLike[str], **options: Any) -> None:
        """Load weights from a file of `save_weights` or `save`; a failed load changes nothing."""
        saving.load_weights(self, filepath, **options)

    # --- Looks ---------------------------------------------------------------------------------

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the table of layers, output shapes and numbers of parameters, as Keras does.

        Args:
            line_length: width of the table in characters.
            positions: where columns end, as fractions of the width.
            print_fn: called with the whole text; prints to stdout by default.
            expand_nested: list the layers of nested models.
            show_trainable: add a column that says which layers train.
            layer_range: names (or regular expressions) of the first and last layer to list.
        """
        summary.print_summary(
            self,
            line_length=line_length,
            positions=positions,
            print_fn=print_fn,
            expand_nested=expand_nested,
            show_trainable=show_trainable,
            layer_range=layer_range,
        )

    def _repr_html_(self) -> str:
        return summary.summary_html(self)


class WrappedModule(Model):
    """A model that is one torch module; what `Model.wrap` returns.

    It computes in the dtype of the module's weights. Its layers are the module's parts, under the
    names that they have there.

    Args:
        module: of one input and one output.
        name: unique by default, from the module's class.
    """

    def __init__(self, module: nn.Module, name: str | None = None):
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"Model.wrap: it takes an instance of torch.nn.Module; got {module!r} of type "
                f"{type(module).__name__}."
            )
        super().__init__(name=name, dtype=_dtype_of(module))
        self.module = module
        self.built = not any(tree.lacks_weights(part) for part in module.modules())

    def forward(self, inputs: Any) -> Any:
        """Call the module."""
        return self.module(inputs)

    def _listed_layers(self) -> list[Layer]:
        """Return the module's parts, or itself if it has none; each as a layer."""
        parts = dict(_parts(self.module)) or {"module": self.module}
        return [self._as_shown(key, module) for key, module in parts.items()]

    def _name_shown(self, key: str) -> str | None:
        return key

    def get_config(self) -> Config:
        """Raise, since a module can be written into a file only as code.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"Model {self.name!r}: a plain torch module has no config; got "
            f"{type(self.module).__name__}. Save the weights with `save_weights`, wrap the module "
            "anew and `load_weights`; or write the model as a Model with get_config."
        )


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that compute; a ModuleList or ModuleDict only holds some."""
    for key, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from ((f"{key}_{inner}", part) for inner, part in _parts(child))
        else:
            yield key, child


def _builds_on_integers(model: Model, shape: Any) -> bool:
    """Make the weights by a run on integer zeros, as a torch embedding wants, if that works."""
    try:
        shapes.build_sublayers(model, shape, torch.int64)
    except Exception:
        return False
    return True


def _wrapper_of(module: nn.Module, name: str | None) -> TorchModuleWrapper:
    modes = [(part, part.training) for part in module.modules()]
    wrapper = TorchModuleWrapper(module, name=name)
    for part, training in modes:  # the wrapper only shows the module
        part.training = training
    wrapper.shows_module = name is not None
    return wrapper


def _dtype_of(module: nn.Module) -> str | None:
    """Return the dtype of a module's floating weights; None if it has none."""
    dtypes = [
        str(parameter.dtype).removeprefix("torch.")
        for parameter in module.parameters()
        if parameter.is_floating_point()
    ]
    return dtypes[0] if dtypes else None


def _kind(model: Model) -> str:
    return "Sequential" if model.is_stack else type(model).__name__
