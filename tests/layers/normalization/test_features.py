"""Normalizations of samples: axes that Keras refuses, degenerate groups, errors."""

from typing import Any

import pytest
import torch

from torchseq import layers


@pytest.mark.parametrize("axis", [1, 2, [1, 2], [2, 1], [-1, 1], [1, 3], [2]])
@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization"])
def test_axes_anywhere(name: str, axis: Any) -> None:
    x = torch.randn(2, 3, 4, 5)
    layer = getattr(layers, name)(axis=axis, epsilon=1e-4)
    layer.build(x.shape)
    axes = sorted([axis] if isinstance(axis, int) else axis)
    weight = layer.weights[0]
    assert weight.shape == tuple(x.shape[a] for a in axes)
    weight.assign(torch.randn(weight.shape))
    order = sorted(range(len(axes)), key=lambda i: axes[i] % 4)
    shape = [x.shape[a] if a in [b % 4 for b in axes] else 1 for a in range(4)]
    scale = weight.value.permute(order).reshape(shape)
    centered = x - x.mean(axes, keepdim=True) if name == "LayerNormalization" else x
    square = centered.square().mean(axes, keepdim=True)
    torch.testing.assert_close(layer(x), centered * (square + 1e-4).rsqrt() * scale)


def test_groups_of_one_value_give_the_offset() -> None:
    layer = layers.GroupNormalization(-1, beta_initializer="ones")
    assert layer(torch.randn(1, 3)).tolist() == [[1.0, 1.0, 1.0]]
    assert layer.groups == 3


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_images_of_either_layout_train(options: Any, needs_gradient: bool) -> None:
    # torch.group_norm crashes the process in some of these cases.
    for axis in (-1, 1):
        layer = layers.GroupNormalization(2, axis=axis, **options)
        x = torch.randn(2, 4, 4, 4, requires_grad=needs_gradient)
        layer(x).square().sum().backward()
        with torch.no_grad():
            torch.testing.assert_close(layer(x), layer(x.clone().requires_grad_()))


def test_unit_normalization_of_zeros_is_zero() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    outputs = layers.UnitNormalization()(x)
    outputs.sum().backward()
    assert outputs.abs().sum() == 0
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization", "UnitNormalization"])
@pytest.mark.parametrize("axis", [None, 1.5, "1", []])
def test_what_is_no_axis_is_refused(name: str, axis: Any) -> None:
    with pytest.raises(TypeError, match=f"{name}: `axis` must be an integer or a list of integers"):
        getattr(layers, name)(axis=axis)


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization", "UnitNormalization"])
@pytest.mark.parametrize("axis", [3, -4, [1, 1], [0, 5], [1, -2]])
def test_axes_that_are_not_there_are_refused(name: str, axis: Any) -> None:
    layer = getattr(layers, name)(axis=axis, name="n")
    with pytest.raises(ValueError, match=rf"Layer 'n' \({name}\): `axis` must name different axes"):
        layer(torch.ones(2, 3, 4))


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization", "GroupNormalization"])
def test_unknown_sizes_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"the size on axis \[-1\] of the input must be known"):
        getattr(layers, name)().build((None, None))


def test_wrong_groups_are_refused() -> None:
    for groups in (0, -2, 1.5, True):
        with pytest.raises(ValueError, match="`groups` must be a positive integer, or -1"):
            layers.GroupNormalization(groups)
    with pytest.raises(ValueError, match="`groups` must divide.*got groups=3, 4 channels"):
        layers.GroupNormalization(3).build((None, 4))
    with pytest.raises(ValueError, match="`groups` must divide.*got groups=32, 4 channels"):
        layers.GroupNormalization().build((None, 4))
    with pytest.raises(ValueError, match="`axis` must not be the batch axis; got axis=-2"):
        layers.GroupNormalization(axis=-2).build((32, 4))
    with pytest.raises(TypeError, match="`axis` must be an integer; got axis="):
        layers.GroupNormalization(axis=[1])  # type: ignore[arg-type]
