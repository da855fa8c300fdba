"""Convolutional networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from comparison.problems.problem import Problem, labels


def images(*shape: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Return what makes noise with labels of ten classes; `shape` is (height, width, channels)."""

    def make(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        x = generator.standard_normal((count, *shape), dtype="float32")
        return x, labels(x, generator, 10)

    return make


def convnet_layers(keras: Any) -> list[Any]:
    """Return two convolutions with pooling, and a classifier."""
    layers = keras.layers
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]


def convnet_module() -> Any:
    """Return two convolutions with pooling, and logits."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 10),
    )


def resnet_layers(keras: Any) -> list[Any]:
    """Return a convolution, three residual blocks and a classifier."""
    layers = keras.layers

    class Block(layers.Layer):
        """Two convolutions around which the input goes as well."""

        def __init__(self, filters: int, strides: int):
            super().__init__()
            options = {"padding": "same", "use_bias": False}
            self.first = layers.Conv2D(filters, 3, strides, **options)
            self.first_norm = layers.BatchNormalization()
            self.second = layers.Conv2D(filters, 3, **options)
            self.second_norm = layers.BatchNormalization()
            self.shortcut = layers.Conv2D(filters, 1, strides, **options)

        def call(self, inputs: Any) -> Any:
            hidden = keras.activations.relu(self.first_norm(self.first(inputs)))
            hidden = self.second_norm(self.second(hidden))
            return keras.activations.relu(hidden + self.shortcut(inputs))

    return [
        layers.Conv2D(16, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        Block(16, 1),
        Block(32, 2),
        Block(64, 2),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, activation="softmax"),
    ]


def resnet_module() -> Any:
    """Return a convolution, three residual blocks and logits."""
    from torch import nn

    class Block(nn.Module):
        """Two convolutions around which the input goes as well."""

        def __init__(self, channels: int, filters: int, stride: int):
            super().__init__()
            self.first = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
            self.first_norm = nn.BatchNorm2d(filters)
            self.second = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
            self.second_norm = nn.BatchNorm2d(filters)
            self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False)

        def forward(self, inputs: Any) -> Any:
            hidden = self.first_norm(self.first(inputs)).relu()
            return (self.second_norm(self.second(hidden)) + self.shortcut(inputs)).relu()

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        Block(16, 16, 1),
        Block(16, 32, 2),
        Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


PROBLEMS = [
    Problem(
        "convnet",
        "convnet 28x28, batch 128",
        1_280,
        128,
        10,
        images(28, 28, 1),
        convnet_layers,
        convnet_module,
    ),
    Problem(
        "resnet",
        "ResNet-like, 32x32, 3 blocks, batch 32",
        192,
        32,
        10,
        images(32, 32, 3),
        resnet_layers,
        resnet_module,
    ),
]
