"""Layers around layers: both directions of time, and each time step on its own.

Source: keras.layers.Bidirectional, keras.layers.TimeDistributed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchseq.base import arguments, registry
from torchseq.base.types import Config, Shape
from torchseq.layers.alike import treats_samples_alike
from torchseq.layers.input_spec import over_time
from torchseq.layers.layer import Layer
from torchseq.layers.wrapper import Wrapper

_MERGE_MODES = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Layer):
    """Runs a recurrent layer over time in both directions and merges what they return.

    With `return_sequences` both directions give zeros at masked steps. Without, the last output of
    each direction is that of its own last step.

    Args:
        layer: a recurrent layer, or one with `go_backwards`, `return_sequences`, `return_state`
            and `stateful`; the forward layer is made anew from its config.
        merge_mode: `"concat"`, `"sum"`, `"mul"`, `"ave"`, or None for both outputs in a tuple.
        weights: arrays for the forward layer's weights, then the backward layer's.
        backward_layer: the layer for the other direction; a copy of `layer` by default.

    Shapes:
        those of `layer`, the last axis twice as long with "concat"; with return_state the forward
        layer's states follow, then the backward layer's.

    Raises:
        ValueError: if `layer` is no layer, `merge_mode` is none of these, or the two layers do not
            fit together.

    Source: keras.layers.Bidirectional, which ignores `weights`.
    """

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Any = None,
        **layer_options: Any,
    ):
        check_layer(type(self).__name__, "layer", layer)
        if backward_layer is not None:
            check_layer(type(self).__name__, "backward_layer", backward_layer)
        _check_recurrent(type(self).__name__, layer)
        super().__init__(**layer_options)
        self.merge_mode = arguments.one_of(self, "merge_mode", merge_mode, _MERGE_MODES)
        name = layer.name
        self.forward_layer = _copy(layer, name=f"forward_{name.removeprefix('forward_')}")
        if backward_layer is None:
            backward_name = f"backward_{name.removeprefix('backward_')}"
            backward_layer = _copy(layer, name=backward_name, go_backwards=True)
        self.backward_layer = backward_layer
        self._check_layers()
        for part in (self.forward_layer, self.backward_layer):
            if getattr(layer, "use_cudnn", None) is not None:
                part.use_cudnn = layer.use_cudnn
            if getattr(part, "zero_output_for_mask", None) is not None:
                part.zero_output_for_mask = part.return_sequences
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._given_weights = weights

    def _check_layers(self) -> None:
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                f"{type(self).__name__}: the forward and the backward layer must differ in "
                f"`go_backwards`; both have go_backwards={forward.go_backwards}."
            )
        for name in ("stateful", "return_sequences", "return_state"):
            values = getattr(forward, name), getattr(backward, name)
            if values[0] != values[1]:
                raise ValueError(
                    f"{type(self).__name__}: the forward and the backward layer must have the "
                    f"same `{name}`; got {values[0]} and {values[1]}."
                )

    def build(self, input_shape: Any) -> None:
        """Build both layers."""
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(input_shape)
        self.input_spec = self.forward_layer.input_spec
        if self._given_weights is not None:
            self.set_weights(self._given_weights)
            self._given_weights = None

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Process the sequences in both directions.

        Args:
            sequences: `(batch, time, ...)`, or a list of that and the first states.
            initial_state: the forward layer's first states, then the backward layer's.
            mask: `(batch, time)`, False where a step is to be skipped.
            training: whether dropout is applied; by default the layer's own mode.
        """
        if isinstance(sequences, list | tuple):
            sequences, *initial_state = sequences
            mask = getattr(sequences, "_keras_mask", None) if mask is None else mask
        states: tuple[Any, Any] = (None, None)
        if initial_state is not None:
            half = len(initial_state) // 2
            states = initial_state[:half], initial_state[half:]
        pairs = zip((self.forward_layer, self.backward_layer), states, strict=True)
        forward, backward = (
            _call(layer, sequences, state, mask, training) for layer, state in pairs
        )
        forward, *forward_states = forward if self.return_state else [forward]
        backward, *backward_states = backward if self.return_state else [backward]
        merged = self._merged(forward, backward.flip(1) if self.return_sequences else backward)
        if self.return_state:
            outputs = merged if self.merge_mode is None else (merged,)
            return (*outputs, *forward_states, *backward_states)
        return merged

    def _merged(self, forward: Tensor, backward: Tensor) -> Any:
        dtype = self._compute_dtype
        forward, backward = (
            each.to(dtype) if each.dtype is not dtype and self._casts(each) else each
            for each in (forward, backward)
        )
        if self.merge_mode == "concat":
            return torch.cat([forward, backward], dim=-1)
        if self.merge_mode == "sum":
            return forward + backward
        if self.merge_mode == "ave":
            return (forward + backward) / 2
        if self.merge_mode == "mul":
            return forward * backward
        return forward, backward

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape, followed by the states' with return_state."""
        shape = self.forward_layer.compute_output_shape(input_shape)
        shape, *states = shape if self.return_state else [shape]
        outputs = [shape, shape] if self.merge_mode is None else [shape]
        if self.merge_mode == "concat":
            outputs = [(*shape[:-1], 2 * shape[-1])]
        if self.return_state or self.merge_mode is None:
            return (*outputs, *states, *states)
        return outputs[0]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of each output, and None for each state."""
        mask = previous_mask[0] if isinstance(previous_mask, list | tuple) else previous_mask
        mask = mask if self.return_sequences else None
        masks = (mask, mask) if self.merge_mode is None else (mask,)
        return masks if self.return_state or self.merge_mode is None else mask

    @property
    def states(self) -> tuple[Any, ...] | None:
        """The states of both stateful layers, once built; else None."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return (*forward, *backward) if forward and backward else None

    def reset_state(self) -> None:
        """Set the states of both layers to zeros.

        Raises:
            AttributeError: if they are not stateful.
        """
        if not self.stateful:
            raise AttributeError(f"Layer {self.name!r}: it has no states; stateful is False.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def get_config(self) -> Config:
        """Return the constructor's arguments, both layers as configs."""
        return {
            **super().get_config(),
            "layer": registry.serialize(self.forward_layer),
            "backward_layer": registry.serialize(self.backward_layer),
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> Bidirectional:
        """Make both layers and the wrapper."""
        made = {
            name: registry.deserialize(config[name], custom_objects)
            for name in ("layer", "backward_layer")
            if config.get(name) is not None
        }
        return cls(**{**config, **made})


def check_layer(owner: str, name: str, layer: Any) -> None:
    """Raise ValueError unless `layer` is a `Layer`."""
    if not isinstance(layer, Layer):
        raise ValueError(f"{owner}: `{name}` must be a layer; got {name}={layer!r}.")


def _check_recurrent(owner: str, layer: Layer) -> None:
    names = ("go_backwards", "return_sequences", "return_state", "stateful")
    missing = [name for name in names if not hasattr(layer, name)]
    if missing:
        raise ValueError(
            f"{owner}: `layer` must be a recurrent layer, or one with {', '.join(names)}; got "
            f"layer={layer!r}, without {', '.join(missing)}."
        )


def _copy(layer: Layer, **changes: Any) -> Any:
    """Return a new layer of the same config but for the changes, built if `layer` is."""
    classes = {type(part).__name__: type(part) for part in layer.modules()}  # also unregistered
    with registry.custom_object_scope(classes):
        made = type(layer).from_config({**layer.get_config(), **changes})
    build_config = layer.get_build_config()
    if build_config is not None:
        made.build_from_config(build_config)
    return made


def _call(layer: Any, sequences: Tensor, states: Any, mask: Any, training: bool | None) -> Any:
    options = {} if states is None else {"initial_state": states}
    if layer._takes_mask:
        options["mask"] = mask
    return layer(sequences, training=training, **options)


class TimeDistributed(Wrapper):
    """Applies a layer to each time step of its input.

    Layers of this package that treat the samples of a batch alike get all steps in one call, as one
    larger batch. Others go step by step: BatchNormalization and SpectralNormalization in training,
    stateful layers, layers with a `noise_shape` or an activity regularizer, and users' own.

    Args:
        layer: the layer to apply.

    Shapes:
        `(batch, time, ...)` -> `(batch, time, ...)`, the rest as `layer` makes of it

    Raises:
        ValueError: if `layer` is no layer, the input has less than 3 axes, or a mask does not fit.

    Source: keras.layers.TimeDistributed. As there, the layer's activity regularizer has no effect.
    """

    def __init__(self, layer: Layer, **layer_options: Any):
        super().__init__(layer, **layer_options)
        self.supports_masking = True
        self.casts_integers = layer.casts_integers  # its `__call__`, which would cast, is passed by

    def build(self, input_shape: Any = None) -> None:
        """Build the layer for one time step."""
        super().build(self._step_shape(input_shape))
        self.input_spec = over_time(self.layer.input_spec)

    def _step_shape(self, shape: Any) -> Shape:
        if len(shape) < 3 or isinstance(shape[0], list | tuple):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): its input must have at least 3 "
                f"axes, batch, time and features; got shape {tuple(shape)}."
            )
        return (shape[0], *shape[2:])

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Return the layer's output shape with the time axis second."""
        batch, *rest = self.layer.compute_output_shape(self._step_shape(input_shape))
        return (batch, input_shape[1], *rest)

    def call(self, inputs: Tensor, training: bool | None = None, mask: Any = None) -> Tensor:
        """Apply the layer to each step."""
        if mask is not None and tuple(mask.shape[:2]) != tuple(inputs.shape[:2]):
            raise ValueError(
                f"{type(self).__name__}: `mask` must have shape (batch, time), as the input has; "
                f"got shape {tuple(mask.shape)} for an input of shape {tuple(inputs.shape)}."
            )
        if self._steps_are_alike():
            flat_mask = None if mask is None else mask.flatten(0, 1)
            outputs = self._apply_layer(inputs.flatten(0, 1), flat_mask)
            return outputs.reshape(*inputs.shape[:2], *outputs.shape[1:])
        steps = [
            self._apply_layer(inputs[:, time], None if mask is None else mask[:, time])
            for time in range(inputs.shape[1])
        ]
        return torch.stack(steps, dim=1)

    def _apply_layer(self, inputs: Tensor, mask: Any) -> Tensor:
        layer = self.layer
        options = {"training": self.training} if layer._takes_training else {}
        if layer._takes_mask:
            options["mask"] = mask
        # As in Keras past Layer.__call__, which adds the activity regularizer's loss.
        outputs: Tensor = nn.Module.__call__(layer, inputs, **options)
        return outputs

    def _steps_are_alike(self) -> bool:
        """Tell whether one call on all steps gives what a call per step gives."""
        parts = [part for part in self.layer.modules() if isinstance(part, Layer)]
        return all(map(treats_samples_alike, parts))
