"""Layers of users in files, by registration and by `custom_objects`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import torchseq
from torchseq import layers, saving


class Block(layers.Layer):
    """Keras style: sublayers as attribute, in lists, dicts and lists of lists, and own weights."""

    def __init__(self, units: int, activation: Any = "relu", **options: Any):
        super().__init__(**options)
        self.units = units
        self.activation = torchseq.activations.get(activation)
        self.norm = layers.BatchNormalization()
        self.blocks = [layers.Dense(units, name="first"), layers.Dense(units)]
        self.branches = {"left": layers.Dense(2), "right": [layers.Dense(2), layers.Dense(2)]}
        self.drop = layers.Dropout(0.5, seed=3)

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(self.units,), initializer="ones", name="scale")
        self.count = self.add_weight(
            shape=(), initializer="zeros", name="count", trainable=False, dtype="int64"
        )
        self.norm.build(input_shape)
        shape = input_shape
        for block in self.blocks:
            block.build(shape)
            shape = (*shape[:-1], self.units)
        for branch in (self.branches["left"], *self.branches["right"]):
            branch.build(shape)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        outputs = self.norm(inputs, training=training)
        for block in self.blocks:
            outputs = self.activation(block(outputs))
        outputs = self.drop(outputs, training=training) * self.scale
        right = [branch(outputs) for branch in self.branches["right"]]
        return torch.cat([outputs, self.branches["left"](outputs), *right], dim=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units + 6)


class Lazy(layers.Layer):
    """Keras style: sublayers that are made in `build` and built when called."""

    def __init__(self, count: int = 2, **options: Any):
        super().__init__(**options)
        self.count = count
        self.made: list[Any] = []

    def build(self, input_shape: Any) -> None:
        for _ in range(self.count):
            self.made.append(layers.Dense(4))

    def call(self, inputs: Tensor) -> Tensor:
        for layer in self.made:
            inputs = layer(inputs)
        return inputs


class Torch(layers.Layer):
    """Torch style: modules, a parameter and a buffer, in `__init__` and `forward`."""

    def __init__(self, features: int, units: int, **options: Any):
        super().__init__(**options)
        self.features = features
        self.units = units
        self.body = nn.Sequential(nn.Linear(features, units), nn.BatchNorm1d(units), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(units, 2), nn.Linear(units, 3)])
        self.shift = nn.Parameter(torch.ones(units))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.body(inputs) + self.shift
        return torch.cat([head(outputs) for head in self.heads], dim=-1)


class Halves(layers.Wrapper):
    """A wrapper around a layer that comes as an argument."""

    def call(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) / 2

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)


class Keeper(layers.Layer):
    """A layer whose `get_config` is its own, with layers as configs."""

    def __init__(self, parts: list[Any], **options: Any):
        super().__init__(**options)
        self.parts = parts

    def call(self, inputs: Tensor) -> Tensor:
        for part in self.parts:
            inputs = part(inputs)
        return inputs

    def get_config(self) -> Any:
        parts = [saving.serialize_keras_object(part) for part in self.parts]
        return {**super().get_config(), "parts": parts}

    @classmethod
    def from_config(cls, config: Any) -> Any:
        parts = [saving.deserialize_keras_object(part) for part in config.pop("parts")]
        return cls(parts, **config)


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(2 * x)


CUSTOM = {cls.__name__: cls for cls in (Block, Lazy, Torch, Halves, Keeper)} | {"swish": swish}

MAKERS = {
    "block": lambda: Block(4),
    "block of a function": lambda: Block(4, swish),
    "lazy": lambda: Lazy(3),
    "torch": lambda: Torch(5, 3),
    "wrapper": lambda: Halves(Block(4)),
    "wrapper of torch": lambda: Halves(Torch(5, 3)),
    "keeper": lambda: Keeper([layers.Dense(4), Block(3), Lazy()]),
    "keeper in a model": lambda: torchseq.Sequential([Keeper([layers.Dense(4), Torch(4, 3)])]),
    "time distributed": lambda: torchseq.Sequential(
        [layers.RepeatVector(2), layers.TimeDistributed(Block(3)), layers.Flatten()]
    ),
}


@pytest.fixture
def registered() -> Iterator[None]:
    known = dict(saving.get_custom_objects())
    for thing in CUSTOM.values():
        saving.register_keras_serializable("tests")(thing)
    yield
    saving.get_custom_objects().clear()
    saving.get_custom_objects().update(known)


def trained(make: Any) -> tuple[Any, Tensor]:
    model = torchseq.Sequential([torchseq.Input((5,)), make(), layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    x = torch.randn(8, 5)
    model.fit(x, torch.randn(8, 2), batch_size=4, epochs=2, verbose=0)
    return model, x


def assert_goes_on_alike(model: Any, loaded: Any, x: Tensor) -> None:
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
    assert [w.path.split("/", 1)[-1] for w in loaded.weights]
    assert [tuple(w.shape) for w in loaded.weights] == [tuple(w.shape) for w in model.weights]
    for one, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        torch.testing.assert_close(one.value, other.value, rtol=0, atol=0)


SUFFIXES = pytest.mark.parametrize("suffix", [".safetensors", ".keras", ".h5"])
EACH = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@EACH
@SUFFIXES
def test_custom_objects_name_them(make: Any, suffix: str, tmp_path: Path) -> None:
    model, x = trained(make)
    model.save(tmp_path / f"m{suffix}")
    loaded = torchseq.models.load_model(tmp_path / f"m{suffix}", CUSTOM)
    assert_goes_on_alike(model, loaded, x)
    if suffix == ".safetensors":
        torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
        targets = torch.randn(8, 2)
        histories = [m.fit(x, targets, shuffle=False, verbose=0).history for m in (loaded, model)]
        assert histories[0] == histories[1]


@EACH
@SUFFIXES
def test_registered_ones_need_nothing(
    make: Any, suffix: str, tmp_path: Path, registered: None
) -> None:
    model, x = trained(make)
    model.save(tmp_path / f"m{suffix}")
    assert_goes_on_alike(model, torchseq.models.load_model(tmp_path / f"m{suffix}"), x)


@EACH
@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5", ".h5"])
def test_weights_alone(make: Any, suffix: str, tmp_path: Path) -> None:
    model, x = trained(make)
    model.save_weights(tmp_path / f"m{suffix}")
    other, _ = trained(make)
    other.load_weights(tmp_path / f"m{suffix}")
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)
