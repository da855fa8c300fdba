"""Normalization and Rescaling: what adapt takes, stability, devices, errors."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchseq import Input, Sequential, layers


def data_of(rows: int = 50) -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (rows, 4)).astype("float32")


@pytest.mark.parametrize(
    "form",
    [
        lambda data: data.tolist(),
        lambda data: torch.tensor(data),
        lambda data: np.array_split(data, 7),
        lambda data: (part for part in np.array_split(data, 7)),
        lambda data: [(part, None) for part in np.array_split(data, 3)],
        lambda data: [[torch.tensor(part), torch.ones(1)] for part in np.array_split(data, 3)],
        lambda data: DataLoader(TensorDataset(torch.tensor(data), torch.ones(50)), batch_size=8),
        lambda data: data.astype("float64"),
    ],
)
def test_adapt_takes_data_of_many_forms(form: Any) -> None:
    data = data_of()
    layer = layers.Normalization()
    layer.adapt(form(data))
    np.testing.assert_allclose(layer.mean.numpy(), data.mean(0, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(layer.variance.numpy(), data.var(0, keepdims=True), rtol=1e-5)


def test_adapt_is_stable_and_starts_anew() -> None:
    data = 1e4 + np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")
    layer = layers.Normalization()
    for forms in (data, np.array_split(data, 9)):
        layer.adapt(np.zeros((3, 2)))
        layer.adapt(forms)
        variance = layer.get_weights()[1]
        np.testing.assert_allclose(variance, data.astype("float64").var(0), rtol=1e-5)


def test_invert_turns_back() -> None:
    data = data_of()
    there, back = layers.Normalization(), layers.Normalization(invert=True)
    for layer in (there, back):
        layer.adapt(data)
    np.testing.assert_allclose(back(there(data)).numpy(), data, rtol=1e-5)
    constant = layers.Normalization(mean=2.0, variance=0.0)(np.full((1, 2), 2.0))
    assert constant.tolist() == [[0.0, 0.0]]


def test_integers_become_floats() -> None:
    layer = layers.Normalization()
    layer.adapt(np.arange(12).reshape(4, 3))
    assert layer(np.arange(12).reshape(4, 3)).dtype is torch.float32
    assert layers.Rescaling(1 / 255)(torch.tensor([[255]], dtype=torch.uint8)).item() == 1.0


def test_weights_that_are_set_count_at_once() -> None:
    layer = layers.Normalization()
    model = Sequential([Input((2,)), layer])
    layer.set_weights([np.ones(2), 4 * np.ones(2), np.array(0)])
    assert model(torch.tensor([[3.0, 5.0]])).tolist() == [[1.0, 2.0]]
    assert layer.trainable_weights == []
    assert sorted(layer.state_dict()) == ["adapt_count", "adapt_mean", "adapt_variance"]
    assert layers.Normalization(mean=1.0, variance=1.0).state_dict() == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": 1.0}, "`mean` and `variance` must be given together; got mean=.*variance=None"),
        ({"mean": 1.0, "variance": [1.0]}, r"must have one shape.*got shapes \(\) and \(1,\)"),
        ({"mean": [[1.0]], "variance": [[1.0]]}, r"no more axes than `axis` names.*axis=\(-1,\)"),
        ({"axis": 1.5}, "`axis` must be an integer, a tuple of integers or None; got axis=1.5"),
        ({"axis": [None]}, "`axis` must be an integer, a tuple of integers or None"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"Normalization: .*{message}"):
        layers.Normalization(**options)


def test_wrong_shapes_and_data_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Layer 'n' \(Normalization\): `axis` must name axes"):
        layers.Normalization(axis=2, name="n").build((None, 3))
    with pytest.raises(ValueError, match=r"the sizes on axis=\(-1,\) must be known"):
        layers.Normalization().build((None, None))
    layer = layers.Normalization()
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"must have the shape.*\(None, 3\); got shape \(2, 4\)"):
        layer.adapt(np.ones((2, 4)))
    with pytest.raises(ValueError, match="adapt needs data; got none"):
        layer.adapt(iter(()))
    with pytest.raises(TypeError, match="must be an array, a tensor or an iterable.*got int"):
        layer.adapt(3)
    with pytest.raises(ValueError, match="adapt needs a layer without given values"):
        layers.Normalization(mean=1.0, variance=1.0).adapt(np.ones((2, 3)))
    with pytest.raises(ValueError, match="must have a value for each position"):
        layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 1.0]).build((None, 3))


def test_rescaling_is_made_of_a_config_without_offset() -> None:
    layer = layers.Rescaling.from_config({"scale": 2.0})
    assert (layer.scale, layer.offset) == (2.0, 0.0)
