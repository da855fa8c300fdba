"""What tests of several units share: a Keras layer or model, and its twin made of its config."""

import json
from typing import Any

import keras
import numpy as np
import torch

import torchseq

RELATIVE, ABSOLUTE = 1e-4, 1e-5


def as_json(config: Any) -> Any:
    """A config as a file holds it: lists for tuples."""
    return json.loads(json.dumps(config))


def twin_of(theirs: Any, input_shape: Any = None) -> Any:
    """The same layer or model, made of Keras's config; built and given Keras's weights."""
    classes = torchseq if isinstance(theirs, keras.Sequential) else torchseq.layers
    ours = getattr(classes, type(theirs).__name__).from_config(as_json(theirs.get_config()))
    if not ours.built and input_shape is not None:
        ours.build(input_shape)
    if ours.built:
        ours.set_weights([numpy_of(weight.value) for weight in theirs.weights])
    return ours


def numpy_of(value: Any) -> np.ndarray:
    """A tensor of either library, or an array, as an array; bfloat16 as float32."""
    if isinstance(value, torch.Tensor):
        value = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
        return value.numpy()
    return np.asarray(value)


def assert_close(
    ours: Any, theirs: Any, relative: float = RELATIVE, absolute: float = ABSOLUTE
) -> None:
    """Values and shapes are equal, up to rounding."""
    np.testing.assert_allclose(
        numpy_of(ours), numpy_of(theirs), rtol=relative, atol=absolute, strict=False
    )
    assert tuple(ours.shape) == tuple(theirs.shape)


def assert_same_weights(ours: Any, theirs: Any) -> None:
    """Names, paths, shapes, dtypes and order of the weights are equal."""
    facts = [
        [(weight.name, weight.path, tuple(weight.shape), weight.dtype) for weight in weights]
        for weights in (ours.weights, theirs.weights)
    ]
    assert facts[0] == facts[1]
    for kind in ("trainable_weights", "non_trainable_weights"):
        assert [w.path for w in getattr(ours, kind)] == [w.path for w in getattr(theirs, kind)]
    assert ours.count_params() == theirs.count_params()


def outputs_and_gradients(model: Any, x: np.ndarray, **options: Any) -> list[np.ndarray]:
    """The output, then the gradients of a fixed function of it, by the input and the weights."""
    inputs = torch.tensor(x)
    if inputs.is_floating_point():
        inputs.requires_grad_(True)
    outputs = model(inputs, **options)
    found = [outputs]
    if outputs.requires_grad:
        slopes = torch.linspace(-1.0, 1.0, outputs.numel(), dtype=outputs.dtype)
        penalties = [penalty.to(outputs.dtype) for penalty in model.losses]
        torch.sum(outputs * slopes.reshape(outputs.shape) + sum(penalties)).backward()
        if inputs.grad is not None:  # a model may cast to integers
            found.append(inputs.grad)
        found += [gradient_of(weight) for weight in model.trainable_weights]
    return found


def gradient_of(weight: Any) -> torch.Tensor:
    """The gradient of a weight of either library, in Keras's layout; zeros for none."""
    ours = isinstance(weight, torchseq.Variable)
    grad = weight.grad if ours else weight.value.grad
    return torch.zeros(tuple(weight.shape)) if grad is None else grad
