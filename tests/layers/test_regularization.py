"""Dropout: rate, scale, seeds, noise shapes, errors."""

import copy
import pickle
from typing import Any

import pytest
import torch

from torchseq import layers, utils


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.5}, r"Dropout: `rate` must be in \[0, 1\]; got rate=1.5"),
        ({"rate": -0.1}, r"`rate` must be in \[0, 1\]; got rate=-0.1"),
        ({"rate": "half"}, "`rate` must be a number; got rate='half'"),
        ({"rate": 0.5, "noise_shape": (0, 1)}, r"positive integers and None; got noise_shape=\(0"),
        ({"rate": 0.5, "noise_shape": 3}, "positive integers and None; got noise_shape=3"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Dropout(**options)


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"noise_shape": (None, None)}])
def test_rate_and_scale(options: Any) -> None:
    layer, x = layers.Dropout(0.25, **options), torch.ones(400, 500)
    outputs = layer(x, training=True)
    assert set(outputs.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((outputs == 0).float().mean().item() - 0.25) < 0.01
    assert abs(outputs.mean().item() - 1) < 0.01
    assert layer(x) is x


def test_a_seed_fixes_the_sequence_of_masks() -> None:
    x = torch.ones(50)
    first, second, other = (layers.Dropout(0.5, seed=seed) for seed in (1, 1, 2))
    one, two = first(x, training=True), first(x, training=True)
    assert not torch.equal(one, two)
    assert torch.equal(second(x, training=True), one)
    for again in (copy.deepcopy(second), pickle.loads(pickle.dumps(second)), second):
        assert torch.equal(again(x, training=True), two)
    assert not torch.equal(other(x, training=True), one)
    assert list(first.state_dict()) == []


def test_the_global_seed_fixes_unseeded_masks() -> None:
    def mask() -> torch.Tensor:
        utils.set_random_seed(3)
        return layers.Dropout(0.5)(torch.ones(50), training=True)  # type: ignore[no-any-return]

    assert torch.equal(mask(), mask())


def test_noise_shapes_share_entries() -> None:
    outputs = layers.Dropout(0.5, noise_shape=(None, 1, 7))(torch.ones(4, 5, 7), training=True)
    assert torch.equal(outputs, outputs[:, :1].expand(4, 5, 7))
    assert len(outputs.unique()) == 2


def test_the_ends_of_the_rate() -> None:
    x = torch.ones(20)
    assert torch.equal(layers.Dropout(0)(x, training=True), x)
    for options in ({}, {"seed": 1}):
        assert layers.Dropout(1.0, **options)(x, training=True).sum() == 0
