"""Layers to configs and back."""

import keras
import pytest
from torch import Tensor

import torchseq
from tests import checks
from torchseq import layers


class Twice(layers.Layer):
    def call(self, inputs: Tensor) -> Tensor:
        return 2 * inputs


def test_configs_are_keras_and_go_round() -> None:
    ours, theirs = (library.layers.Dense(3, "relu", name="d") for library in (torchseq, keras))
    config = layers.serialize(ours)
    assert checks.as_json(config) == checks.as_json(keras.layers.serialize(theirs))
    again = layers.deserialize(keras.layers.serialize(theirs))
    assert type(again) is layers.Dense
    assert again.get_config() == ours.get_config()
    old = {"class_name": "Dense", "config": {"units": 3}}  # as Keras 2 wrote it
    assert layers.deserialize(old).units == 3


def test_layers_of_users_are_passed() -> None:
    config = layers.serialize(Twice(name="t"))
    assert layers.deserialize(config, {"Twice": Twice}).name == "t"
    with pytest.raises(ValueError, match="Twice"):
        layers.deserialize(config)


def test_what_is_no_layer_is_refused() -> None:
    config = torchseq.losses.serialize(torchseq.losses.MeanSquaredError())
    with pytest.raises(ValueError, match="the config must describe a layer; got one of MeanSq"):
        layers.deserialize(config)
