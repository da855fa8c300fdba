"""Matrix products by oneDNN next to torch's own; forced, whatever machine the tests run on."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import torchseq
from torchseq import layers
from torchseq.base import products

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="torch was built without oneDNN"
)
Rng = np.random.Generator


class Counted:
    """Counts oneDNN's products."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.count = 0
        product = products.product

        def counted(*args: Any) -> Tensor:
            self.count += 1
            return product(*args)

        monkeypatch.setattr(products, "product", counted)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Products of any size go to oneDNN, which is counted."""
    monkeypatch.setattr(products, "_is_amd_with_avx512", lambda: True)
    monkeypatch.setattr(products, "LEAST", 0)
    monkeypatch.setattr(products, "_LEAST_IN_TRAINING", 0)
    return Counted(monkeypatch)


def drawn(rng: Rng, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape).astype("float32"))


@pytest.mark.parametrize("shape", [(1, 3), (5, 7), (64, 96), (2, 5, 8), (2, 3, 4, 6)])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("wants_inputs", [True, False])
def test_values_and_gradients(
    shape: tuple[int, ...], has_bias: bool, wants_inputs: bool, counted: Counted, rng: Rng
) -> None:
    inputs = drawn(rng, *shape).requires_grad_(wants_inputs)
    weight = drawn(rng, 11, shape[-1]).requires_grad_()
    bias = drawn(rng, 11).requires_grad_() if has_bias else None
    grad = drawn(rng, *shape[:-1], 11)
    wanted = [t for t in (inputs, weight, bias) if t is not None and t.requires_grad]
    found, expected = (
        [output, *torch.autograd.grad(output, wanted, grad)]
        for output in (
            products.linear(inputs, weight, bias),
            functional.linear(inputs, weight, bias),
        )
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.detach(), theirs.detach(), 1e-5, 1e-5)
        assert ours.shape == theirs.shape
    assert counted.count == 2 + wants_inputs


def test_gradients_of_gradients(counted: Counted, rng: Rng) -> None:
    inputs, weight = drawn(rng, 4, 3).requires_grad_(), drawn(rng, 2, 3).requires_grad_()
    results = []
    for linear in (products.linear, functional.linear):
        (grad,) = torch.autograd.grad(
            linear(inputs, weight, None).square().sum(), inputs, create_graph=True
        )
        results.append(torch.autograd.grad(grad.square().sum(), [inputs, weight]))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-4)
    assert counted.count


def under_autocast(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return linear(inputs, weight, None)  # type: ignore[no-any-return]


def differentiated_forward(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    return torch.func.jvp(lambda x: linear(x, weight, None), (inputs,), (inputs,))[1]  # type: ignore[no-any-return]


def mapped(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    return torch.vmap(lambda x: linear(x, weight, None))(inputs)  # type: ignore[no-any-return]


def in_double(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    return linear(inputs.double(), weight.double(), None)  # type: ignore[no-any-return]


def transposed(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    return linear(inputs.t().contiguous().t(), weight, None)  # type: ignore[no-any-return]


def traced(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    function = torch.jit.trace(lambda x: linear(x, weight, None), inputs, check_trace=False)
    return function(inputs)  # type: ignore[no-any-return]


def compiled(inputs: Tensor, weight: Tensor, linear: Any) -> Tensor:
    function = torch.compile(lambda x: linear(x, weight, None), backend="eager", fullgraph=True)
    return function(inputs)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "way",
    [
        under_autocast,
        differentiated_forward,
        mapped,
        in_double,
        transposed,
        traced,
        compiled,
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_what_onednn_does_not_take_is_torchs(way: Any, counted: Counted, rng: Rng) -> None:
    inputs, weight = drawn(rng, 6, 5), drawn(rng, 3, 5)
    found, expected = (way(inputs, weight, each) for each in (products.linear, functional.linear))
    assert torch.equal(found, expected)
    assert counted.count == 0


def test_small_products_are_torchs(monkeypatch: pytest.MonkeyPatch, rng: Rng) -> None:
    monkeypatch.setattr(products, "_is_amd_with_avx512", lambda: True)
    count = Counted(monkeypatch)
    inputs, weight = drawn(rng, 32, 64), drawn(rng, 64, 64)
    assert torch.equal(
        products.linear(inputs, weight, None), functional.linear(inputs, weight, None)
    )
    assert count.count == 0
    large = drawn(rng, 64, 512)
    with torch.no_grad():
        products.linear(large, drawn(rng, 128, 512), None)
    assert count.count == 1


@torch.no_grad()
def test_kept_weights_are_kept_until_they_change(counted: Counted, rng: Rng) -> None:
    inputs, weight = drawn(rng, 8, 16), drawn(rng, 4, 16)
    with products.constant_weights():
        first = products.linear(inputs, weight, None)
        assert torch.equal(products.linear(inputs, weight, None), first)
        weight.mul_(2)
        np.testing.assert_allclose(products.linear(inputs, weight, None), 2 * first, 1e-6)
        weight.data = weight.data / 2
        np.testing.assert_allclose(products.linear(inputs, weight, None), first, 1e-6)
    assert products._run.packs is None
    assert counted.count == 4


@torch.no_grad()
def test_threads_keep_weights_apart(counted: Counted, rng: Rng) -> None:
    inputs, weight = drawn(rng, 8, 16), drawn(rng, 4, 16)
    inside, outside = threading.Event(), threading.Event()

    def keeps() -> None:
        with torch.no_grad(), products.constant_weights():
            products.linear(inputs, weight, None)
            inside.set()
            outside.wait(10)

    thread = threading.Thread(target=keeps)
    thread.start()
    inside.wait(10)
    with products.constant_weights():
        assert products._run.packs == {}
        outside.set()
        thread.join()
        assert products._run.packs == {}
    assert products._run.packs is None


def test_a_dense_layer_is_the_same_by_both(counted: Counted, rng: Rng) -> None:
    """Through fit, evaluate and predict; hooks on the inner module are run."""
    x = rng.normal(size=(40, 6)).astype("float32")
    results: list[Any] = []
    for is_forced in (True, False):
        torchseq.utils.set_random_seed(3)
        model = torchseq.Sequential(
            [torchseq.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(2)]
        )
        model.compile("sgd", "mse", run_eagerly=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(products, "_is_amd_with_avx512", lambda is_forced=is_forced: is_forced)
            before = counted.count
            model.fit(x, x[:, :2], 8, 2, shuffle=False, verbose=0)
            results.append([model.evaluate(x, x[:, :2], verbose=0), model.predict(x, verbose=0)])
            assert (counted.count > before) is is_forced
    np.testing.assert_allclose(results[0][0], results[1][0], 1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], 1e-5, 1e-6)
    seen = []
    model.layers[0].linear.register_forward_hook(lambda *given: seen.append(1))
    model(torch.from_numpy(x))
    assert seen == [1]


def test_a_bias_learns_while_its_kernel_is_frozen(counted: Counted, rng: Rng) -> None:
    weight, bias = drawn(rng, 3, 5), drawn(rng, 3).requires_grad_()
    (grad,) = torch.autograd.grad(products.linear(drawn(rng, 4, 5), weight, bias).sum(), bias)
    assert torch.equal(grad, torch.full((3,), 4.0))
    assert counted.count == 1
