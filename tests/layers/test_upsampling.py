"""Up-sampling: its errors, and one copy; values are compared in tests/parity."""

from typing import Any

import numpy as np
import pytest
import torch

from torchseq import layers


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("UpSampling1D", {"size": 0}, ValueError, "`size` must be a positive integer; got size=0"),
        ("UpSampling1D", {"size": 2.5}, TypeError, "`size` must be an integer; got size=2.5"),
        ("UpSampling1D", {"size": True}, TypeError, "`size` must be an integer; got size=True"),
        ("UpSampling2D", {"size": (1, 0)}, ValueError, r"`size` must be .* got size=\(1, 0\)"),
        ("UpSampling2D", {"size": (1, 2, 3)}, ValueError, "tuple of 2 integers"),
        ("UpSampling2D", {"interpolation": "area"}, ValueError, "one of .* got .*='area'"),
        ("UpSampling2D", {"data_format": "last"}, ValueError, "`data_format` must be one of"),
        ("UpSampling3D", {"size": -1}, ValueError, "`size` must be .* got size=-1"),
        ("UpSampling3D", {"data_format": "last"}, ValueError, "`data_format` must be one of"),
    ],
)
def test_wrong_arguments_are_refused(
    name: str, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"{name}: .*{message}"):
        getattr(layers, name)(**options)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_wrong_inputs_are_refused(rank: int) -> None:
    with pytest.raises(
        ValueError, match=rf"'u' \(UpSampling{rank}D\): its input must have .* axes"
    ):
        getattr(layers, f"UpSampling{rank}D")(name="u")(torch.ones(2, 3))


def test_numpy_integers_are_integers() -> None:
    assert layers.UpSampling1D(np.int64(3)).size == 3


def test_bilinear_takes_values_at_the_cells_centers() -> None:
    outputs = layers.UpSampling2D((1, 2), interpolation="bilinear")(
        torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1)
    )
    assert outputs.flatten().tolist() == [0.0, 0.25, 0.75, 1.0]
