"""GRU and LSTM of compiled steps, in C++, next to torch's."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torchseq
from torchseq import layers
from torchseq.base import islands, native
from torchseq.layers.recurrent import fused, native_kernels

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

# Batch, time, features, units: whole vectors and tiles, and what is left of them.
SIZES = [
    (3, 5, 4, 6),
    (1, 1, 1, 1),
    (9, 7, 33, 47),
    (32, 9, 64, 64),
    (130, 3, 16, 17),
    (7, 20, 1, 9),
]
KERNELS = ["gru", "lstm"]
NUM_GATES = {"gru": 3, "lstm": 4}
NUM_STATES = {"gru": 1, "lstm": 2}


def draw(kernel: str, size: tuple[int, ...], has_bias: bool = True) -> list[Tensor]:
    """Return inputs, first states and weights in float64, all of which require gradients."""
    batch, time, features, units = size
    rows = NUM_GATES[kernel] * units
    shapes = [(batch, time, features), *[(batch, units)] * NUM_STATES[kernel]]
    scales = [1.0, 0.5, 0.8][: len(shapes)]
    shapes += [(rows, features), (rows, units), *([(rows,), (rows,)] if has_bias else [])]
    scales += [features**-0.5, units**-0.5, 0.3, 0.3]
    pairs = zip(shapes, scales, strict=False)
    values = [torch.randn(shape) * scale for shape, scale in pairs]
    return [value.double().requires_grad_() for value in values]


def single(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return leaves in float32 with the same values."""
    return [tensor.detach().float().requires_grad_(tensor.requires_grad) for tensor in tensors]


def ours(kernel: str, given: Sequence[Tensor]) -> list[Tensor]:
    """Run our kernel: outputs and last states."""
    end = 1 + NUM_STATES[kernel]
    return native_kernels.run(kernel, given[0], given[1:end], given[end:])


def theirs(kernel: str, given: Sequence[Tensor]) -> list[Tensor]:
    """Run torch's kernel."""
    end = 1 + NUM_STATES[kernel]
    states, weights = [state[None] for state in given[1:end]], given[end:]
    outputs, *last = getattr(torch, kernel)(
        given[0], states if kernel == "lstm" else states[0], weights, len(weights) == 4, 1, 0.0,
        True, False, True,
    )  # fmt: skip
    return [outputs, *(state[0] for state in last)]


def assert_close(mine: Tensor, exact: Tensor) -> None:
    """Compare relatively to the largest entry; inside the gates are sums of the size of 1."""
    assert mine.dtype == torch.float32
    atol = 1e-6 * exact.abs().max().item() + 2e-7
    torch.testing.assert_close(mine.double(), exact, rtol=0, atol=atol)


def compare(
    kernel: str,
    exact: Sequence[Tensor],
    loss: Callable[[list[Tensor]], Tensor] | None = None,
) -> None:
    """Compare results and gradients with torch's in float64."""
    given = single(exact)
    pairs = ours(kernel, given), theirs(kernel, exact)
    for mine, other in zip(*pairs, strict=True):
        assert_close(mine, other)
    factors = [torch.randn_like(tensor) for tensor in pairs[0]]

    def weighted(results: list[Tensor]) -> Tensor:
        return sum(((a * b).sum() for a, b in zip(results, factors, strict=True)), torch.zeros(()))

    grads, exact_grads = (
        torch.autograd.grad((loss or weighted)(results), [t for t in tensors if t.requires_grad])
        for results, tensors in zip(pairs, (given, exact), strict=True)
    )
    for mine, other in zip(grads, exact_grads, strict=True):
        assert_close(mine, other)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_equals_torchs_kernel(kernel: str, size: tuple[int, ...], has_bias: bool) -> None:
    torch.manual_seed(0)
    compare(kernel, draw(kernel, size, has_bias))


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let three threads share the batch, however little there is to do."""
    monkeypatch.setattr(native_kernels, "_PRODUCTS_OF_A_THREAD", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_threads_share_a_batch(kernel: str, size: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    compare(kernel, draw(kernel, size))


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_of_some_alone(kernel: str) -> None:
    torch.manual_seed(0)
    given = draw(kernel, (2, 3, 4, 5))
    given[0].requires_grad_(False)
    given[-3].requires_grad_(False)
    compare(kernel, given)


def test_loss_on_the_last_cell_state_alone() -> None:
    torch.manual_seed(0)
    compare("lstm", draw("lstm", (2, 3, 4, 5)), lambda results: results[2].sin().sum())


@pytest.mark.parametrize("kernel", KERNELS)
def test_tensors_need_not_be_contiguous(kernel: str) -> None:
    torch.manual_seed(0)
    given = [tensor.detach() for tensor in single(draw(kernel, (5, 3, 4, 6)))]
    strided = [tensor[..., None].expand(*tensor.shape, 2).contiguous()[..., 0] for tensor in given]
    assert not any(tensor.is_contiguous() for tensor in strided)
    for mine, other in zip(ours(kernel, strided), ours(kernel, given), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("kernel", KERNELS)
def test_output_may_be_overwritten(kernel: str) -> None:
    torch.manual_seed(0)
    compare(kernel, draw(kernel, (2, 3, 4, 5)), lambda results: results[0].mul_(3).sum())


@pytest.mark.parametrize("kernel", KERNELS)
def test_extreme_values(kernel: str) -> None:
    torch.manual_seed(0)
    exact = draw(kernel, (4, 3, 2, 20))
    with torch.no_grad():
        exact[0][0] *= 1e4
        exact[0][1] = float("inf")
        exact[0][2, 1] = float("nan")
    mine, other = ours(kernel, single(exact))[0], theirs(kernel, exact)[0]
    assert mine[2, 1].isnan().all()
    assert mine[2, 0].isfinite().all()
    torch.testing.assert_close(mine.double(), other, rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activations(name: str) -> None:
    function = getattr(native_kernels._library("gru"), f"torchseq_{name}")
    small = torch.logspace(-37, 0, 10_000)
    special = torch.tensor([float("inf"), -float("inf"), float("nan"), 0.0, 3e38, -3e38, 200, -200])
    x = torch.cat([torch.linspace(-87, 89, 300_001), small, -small, special])
    y = torch.empty_like(x)
    function(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_int64(len(x)))
    exact = getattr(torch, name)(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=2e-7, atol=1e-44, equal_nan=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_keeps_nothing_without_gradients(kernel: str) -> None:
    exact = draw(kernel, (2, 3, 4, 5))
    given = single(exact)
    end = 1 + NUM_STATES[kernel]
    for keeps, num_steps in ((True, 3), (False, 0)):
        outputs, _, kept = torch.ops.torchseq.recurrent(
            kernel, given[0], given[1:end], given[end:], keeps
        )
        assert_close(outputs, theirs(kernel, exact)[0])
        assert kept.shape[1] == num_steps


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_of_gradients_are_refused(kernel: str) -> None:
    given = single(draw(kernel, (2, 3, 4, 5)))
    loss = ours(kernel, given)[0].sum()
    with pytest.raises(NotImplementedError, match=f"{kernel}: gradients of gradients"):
        torch.autograd.grad(loss, given[0], create_graph=True)


# --- When they are used --------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each kernel that is run."""
    seen: list[str] = []
    run = native_kernels.run

    def noted(kernel: str, *given: Any) -> list[Tensor]:
        seen.append(kernel)
        return run(kernel, *given)

    monkeypatch.setattr(native_kernels, "run", noted)
    return seen


@pytest.mark.parametrize(
    ("kernel", "size", "threads", "is_worth"),
    [
        ("gru", (32, 50, 64, 64), 1, True),
        ("gru", (32, 50, 64, 64), 16, True),
        ("gru", (1, 1, 256, 256), 1, True),
        ("gru", (1, 50, 512, 512), 1, False),
        ("gru", (4, 10, 512, 512), 1, True),
        ("gru", (4, 9, 512, 512), 1, False),
        ("gru", (32, 50, 512, 512), 16, False),
        ("gru", (256, 50, 512, 512), 16, False),
        ("gru", (256, 64, 512, 512), 16, True),
        ("lstm", (32, 100, 32, 64), 1, True),
        ("lstm", (2, 1, 128, 128), 16, True),
        ("lstm", (1, 50, 128, 128), 1, False),
        ("lstm", (256, 50, 129, 128), 1, False),
    ],
)
def test_large_weights_need_many_rows(
    kernel: str, size: tuple[int, ...], threads: int, is_worth: bool
) -> None:
    assert native_kernels._is_worth(kernel, size, threads) is is_worth


@pytest.mark.parametrize("kernel", [*KERNELS, "rnn_tanh"])
@pytest.mark.parametrize("kind", ["recorded", "eager", "float64", "no compiler"])
def test_serves_recorded_steps_alone(
    kind: str, kernel: str, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    if kernel == "rnn_tanh":
        exact = [torch.randn(s).double() for s in [(2, 3, 4), (2, 5), (5, 4), (5, 5)]]
        expected = torch.rnn_tanh(
            exact[0], exact[1][None], exact[2:], False, 1, 0.0, True, False, True
        )[0]
    else:
        exact = draw(kernel, (2, 3, 4, 5))
        expected = theirs(kernel, exact)[0]
    given = exact if kind == "float64" else single(exact)
    if kind == "no compiler":
        monkeypatch.setattr(native_kernels, "_library", lambda _: None)
    if kind == "eager":
        monkeypatch.setattr(native_kernels, "_library", lambda _: pytest.fail("it was compiled"))
    end = 1 + NUM_STATES.get(kernel, 1)

    def run() -> Tensor:
        return fused.run(kernel, given[0], given[1:end], given[end:])[0]

    if kind == "eager":
        outputs = run()
    else:
        with islands.tracing():
            outputs = run()
    assert bool(calls) is (kind == "recorded" and kernel != "rnn_tanh")
    torch.testing.assert_close(outputs.double(), expected, rtol=0, atol=1e-6)


def test_empty_batches_go_elsewhere() -> None:
    given = single(draw("gru", (2, 0, 4, 5)))
    with islands.tracing():
        assert not native_kernels.serves("gru", given[0], given[2:])


def test_code_that_does_not_compile_is_no_library() -> None:
    assert native.library("#error This is no program.") is None


MODELS = {
    "gru": lambda: [layers.GRU(7, return_sequences=True), layers.GRU(5)],
    "lstm": lambda: [layers.LSTM(7, return_sequences=True), layers.LSTM(5)],
    "no bias": lambda: [layers.GRU(7, use_bias=False, return_sequences=True),
                        layers.LSTM(5, use_bias=False)],
    "masked": lambda: [layers.Masking(), layers.GRU(7, return_sequences=True), layers.LSTM(5)],
    "both directions": lambda: [layers.Bidirectional(layers.GRU(6))],
    "backwards": lambda: [layers.LSTM(6, go_backwards=True)],
    "dropout": lambda: [layers.GRU(6, dropout=0.3, seed=3)],
    "frozen": lambda: [layers.GRU(6, trainable=False)],
    "stateful": lambda: [layers.LSTM(6, stateful=True)],
    "overwritten": lambda: [layers.GRU(6), layers.Lambda(lambda x: x.mul_(2), output_shape=(6,))],
    "no reset after": lambda: [layers.GRU(3, reset_after=False)],
}  # fmt: skip


def fitted(name: str, jit: Any) -> list[Any]:
    """Return losses and weights after a fit."""
    torchseq.utils.set_random_seed(5)
    x = np.random.default_rng(0).normal(size=(16, 6, 4)).astype("float32")
    x[::2, 4:] = 0.0
    y = np.arange(16) % 3
    batch_shape = (8, 6, 4) if name == "stateful" else (None, 6, 4)
    model = torchseq.Sequential(
        [torchseq.Input(batch_shape=batch_shape), *MODELS[name](), layers.Dense(3)]
    )
    loss = torchseq.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(torchseq.optimizers.SGD(0.3), loss, jit_compile=jit)
    history = model.fit(x, y, 8, 2, verbose=0, validation_data=(x, y)).history
    return [*history.values(), *model.get_weights()]


@pytest.mark.parametrize("name", MODELS)
def test_recorded_fits_equal_eager_ones(name: str, calls: list[str]) -> None:
    eager = fitted(name, False)
    assert not calls
    recorded = fitted(name, {"backend": "eager"})
    assert bool(calls) is (name != "no reset after")
    for mine, other in zip(recorded, eager, strict=True):
        np.testing.assert_allclose(mine, other, 1e-6, 1e-6)
