"""Adaptive pooling: its errors; values are compared in tests/parity."""

from typing import Any

import pytest
import torch

from torchseq import layers

NAMES = [f"Adaptive{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("output_size", "error", "message"),
    [
        (0, ValueError, "`output_size` must be .* each at least 1; got output_size=0"),
        ((1, 2, 3, 4), ValueError, r"`output_size` must be .* got output_size=\(1, 2, 3, 4\)"),
        (2.5, TypeError, "`output_size` must be an integer or a tuple .* got output_size=2.5"),
        ("2", TypeError, "`output_size` must be an integer or a tuple .* got output_size='2'"),
        (None, TypeError, "`output_size` must be an integer or a tuple .* got output_size=None"),
    ],
)
def test_wrong_sizes_are_refused(
    name: str, output_size: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"{name}: {message}"):
        getattr(layers, name)(output_size)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_layouts_and_inputs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: `data_format` must be one of .* got .*'last'"):
        getattr(layers, name)(2, "last")
    with pytest.raises(ValueError, match=rf"'p' \({name}\): its input must have .* shape \(2, 3\)"):
        getattr(layers, name)(2, name="p")(torch.ones(2, 3))
