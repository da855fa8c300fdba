"""Each layer in compiled steps, next to eager ones: without a fall back, with the same numbers.

By Inductor these are slow tests; a few rows are recorded and functionalized alone in each run.
"""

import shutil
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from tests.layers.test_every_layer import ROWS, Row
from torchseq import layers

BATCH = 4
# These draw without a seed of their own: other numbers when compiled.
DRAW_FREELY = {
    *("AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout3D"),
    *("LSTM with dropout", "LSTM step by step"),
}


def fitted(row: Row, jit: Any) -> tuple[Any, list[np.ndarray]]:
    """Return losses and metrics of two epochs and an evaluation, and the weights."""
    torchseq.utils.set_random_seed(3)
    shape = row.shape[1:]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2 * BATCH, *shape)).astype("float32")
    if row.integers:
        x = rng.integers(0, row.integers, x.shape)
    y = rng.normal(size=(2 * BATCH, 1)).astype("float32")
    dtype = "int64" if row.integers else "float32"
    layer = row.make()
    size = layer(torch.as_tensor(x[:BATCH]))[0].numel()
    model = torchseq.Sequential(
        [torchseq.Input(shape, BATCH, dtype), layer, layers.Reshape((size,)), layers.Dense(1)]
    )
    optimizer = torchseq.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=jit)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*mask attached")  # Reshape, whose input may have one
        warnings.filterwarnings("error", "jit_compile")
        history = model.fit(x, y, BATCH, 2, verbose=0, shuffle=False).history
        results = model.evaluate(x, y, BATCH, verbose=0)
    return [*history["loss"], *history["mae"], *results], model.get_weights()


def assert_as_eager(name: str, jit: Any) -> None:
    figures, weights = fitted(ROWS[name], jit)
    assert np.isfinite(figures).all()
    if name in DRAW_FREELY:
        return
    expected, others = fitted(ROWS[name], False)
    np.testing.assert_allclose(figures, expected, 1e-4, 1e-5)
    for ours, theirs in zip(weights, others, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-5)


@pytest.mark.parametrize("name", ["ConvLSTM1D", "LSTM with states", "EinsumDense", "GaussianNoise"])
def test_recorded_steps_equal_eager_ones(name: str) -> None:
    assert_as_eager(name, {"backend": "eager"})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ROWS)
def test_compiled_steps_equal_eager_ones(name: str) -> None:
    assert_as_eager(name, True)
