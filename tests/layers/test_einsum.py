"""EinsumDense: shapes and errors."""

from typing import Any

import pytest
import torch

from torchseq import layers


def test_it_is_the_dense_layer_of_that_equation() -> None:
    layer, dense = layers.EinsumDense("...x,xy->...y", 5, bias_axes="y"), layers.Dense(5)
    x = torch.randn(2, 3, 4)
    dense.build(x.shape)
    layer.build(x.shape)
    layer.set_weights(dense.get_weights())
    torch.testing.assert_close(layer(x), dense(x))


@pytest.mark.parametrize(
    ("equation", "options", "message"),
    [
        ("ab,bc", {}, "`equation` must have the form 'ab,bc->ac'.*got equation='ab,bc'"),
        ("ab,bc->...ac", {}, "`equation` must have the form"),
        ("a...,bc->ac...", {}, "`equation` must have the form"),
        (None, {}, "`equation` must have the form.*got equation=None"),
        ("ab,bd->ac", {}, "each output axis must be one of the input or the kernel; 'c' is nei"),
        ("ab,bce->ac", {}, "each kernel axis must be one of the input or the output; 'e' is nei"),
        ("ab,bc->ac", {"bias_axes": "x"}, "`bias_axes` must be letters of the output; got bias_"),
        ("ab,bc->ac", {"bias_axes": ""}, "`bias_axes` must be letters of the output; got bias_"),
    ],
)
def test_wrong_equations_are_refused(equation: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"EinsumDense: .*{message}"):
        layers.EinsumDense(equation, 5, **options)


@pytest.mark.parametrize(
    ("equation", "output_shape", "shape", "message"),
    [
        ("abc,cd->abd", (3, 4), (2, 5, 6), "one size on axis 'b'; got 5 and 3"),
        ("abc,cd->abd", 4, (2, 5, 6), r"must have the axes of the equation.*output_shape=\(4,\)"),
        ("abc,cd->abd", (None, 4), (2, 5), r"must have the axes of the equation.*shape \(2, 5\)"),
        ("abc,cd->abd", (None, 4), (2, 5, 6, 7), "must have the axes of the equation"),
        ("abc,cd->abd", (None, None), (2, 5, 6), "the size on axis 'd' must be known"),
        ("abc,cd->abd", (None, 4), (2, 5, None), "the size on axis 'c' must be known"),
    ],
)
def test_wrong_shapes_are_refused(
    equation: str, output_shape: Any, shape: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"Layer 'e' \(EinsumDense\): .*{message}"):
        layers.EinsumDense(equation, output_shape, name="e").build(shape)


def test_other_ranks_are_refused_once_it_is_built() -> None:
    layer = layers.EinsumDense("abc,cd->abd", (None, 4))
    layer.build((2, 3, 5))
    assert layer(torch.ones(1, 7, 5)).shape == (1, 7, 4)
    with pytest.raises(ValueError, match="must have 3 axes"):
        layer(torch.ones(2, 5))
