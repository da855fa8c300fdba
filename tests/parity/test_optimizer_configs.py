"""Configs of optimizers and what their arguments may be, against live Keras."""

import json
from typing import Any

import keras
import pytest

import torchseq
from tests.optimizer_parity import CLASSES, KINDS, ROWS, optimizers


@pytest.mark.parametrize(("kind", "options"), ROWS)
def test_config_equals_keras_and_goes_round(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = optimizers(kind, **options)
    assert ours.get_config() == theirs.get_config()
    assert list(ours.get_config()) == list(theirs.get_config())
    again = type(ours).from_config(ours.get_config())
    assert again.get_config() == ours.get_config()
    serialized = torchseq.optimizers.serialize(ours)
    # Keras's "module" is a private one of its torch backend.
    assert serialized["config"] == keras.optimizers.serialize(theirs)["config"]
    assert torchseq.optimizers.deserialize(serialized).get_config() == ours.get_config()
    # By its general function: its `optimizers.deserialize` does not know Lamb.
    theirs = keras.saving.deserialize_keras_object(serialized)
    assert theirs.get_config() == ours.get_config()


@pytest.mark.parametrize("kind", KINDS)
def test_dicts_of_keras_are_read(kind: str) -> None:
    _, theirs = optimizers(kind, weight_decay=0.1, name="own")
    saved = json.loads(json.dumps(keras.optimizers.serialize(theirs)))
    for read in (torchseq.optimizers.deserialize, torchseq.optimizers.get):
        found = read(saved)
        assert type(found) is getattr(torchseq.optimizers, KINDS[kind][0])
        assert found.get_config() == theirs.get_config()


@pytest.mark.parametrize("name", CLASSES)
def test_default_config_equals_keras(name: str) -> None:
    ours = getattr(torchseq.optimizers, name)()
    assert ours.get_config() == getattr(keras.optimizers, name)().get_config()
    for identifier in (name, name.lower(), name.upper(), {"class_name": name, "config": {}}):
        assert type(torchseq.optimizers.get(identifier)) is type(ours)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("AdamW", {"weight_decay": None}),
        ("Lion", {"beta_1": 0.0}),
        ("Lion", {"beta_1": -0.1}),
        ("Lion", {"beta_1": 1.1}),
        ("Ftrl", {"learning_rate_power": 0.1}),
        ("Ftrl", {"initial_accumulator_value": -0.1}),
        ("Ftrl", {"l1_regularization_strength": -0.1}),
        ("Ftrl", {"l2_regularization_strength": -0.1}),
        ("Ftrl", {"l2_shrinkage_regularization_strength": -0.1}),
    ],
)
def test_both_raise(name: str, options: dict[str, Any]) -> None:
    (argument,) = options
    with pytest.raises(ValueError, match=f"`{argument}`"):
        getattr(keras.optimizers, name)(**options)
    with pytest.raises(ValueError, match=f"^{name}: `{argument}` must be .*; got {argument}="):
        getattr(torchseq.optimizers, name)(**options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Lion", {"beta_1": 1.0, "beta_2": 0.0}),
        ("Ftrl", {"learning_rate_power": 0, "initial_accumulator_value": 0}),
        ("Ftrl", {"l1_regularization_strength": 1, "beta": 2}),
        ("AdamW", {"weight_decay": 0}),
        ("Adagrad", {"initial_accumulator_value": 0}),
        ("Adamax", {"epsilon": 0}),
    ],
)
def test_both_take_the_ends_of_ranges_and_keep_integers(name: str, options: dict[str, Any]) -> None:
    ours = getattr(torchseq.optimizers, name)(**options).get_config()
    theirs = getattr(keras.optimizers, name)(**options).get_config()
    assert repr(ours) == repr(theirs)
