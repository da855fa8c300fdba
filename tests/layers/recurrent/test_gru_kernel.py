"""The GRU's own kernel, next to torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchseq.layers.recurrent import fused, gru_kernel

SIZES = [(3, 5, 4, 6), (1, 1, 1, 1), (2, 7, 3, 1), (1, 20, 2, 3)]  # batch, time, features, units


def draw(
    size: tuple[int, ...], has_bias: bool, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return inputs, first state and weights, all of which require gradients."""
    batch, time, features, units = size
    shapes = [(batch, time, features), (batch, units), (3 * units, features), (3 * units, units)]
    shapes += [(3 * units,), (3 * units,)] if has_bias else []
    inputs, state, *weights = (torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)
    return inputs, state, weights


def by_torch(inputs: Tensor, state: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Run torch's kernel."""
    has_bias = len(weights) == 4
    outputs, last = torch.gru(
        inputs, state[None], weights, has_bias, 1, 0.0, True, False, batch_first=True
    )
    return outputs, last[0]


@pytest.fixture(params=["scripted", "plain"])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loops run in TorchScript, or as they do where that is missing."""
    if request.param == "plain":
        monkeypatch.setattr(gru_kernel, "_forward_steps", lambda: gru_kernel.forward_steps)
        monkeypatch.setattr(gru_kernel, "_backward_steps", lambda: gru_kernel.backward_steps)


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_equals_torchs_kernel(size: tuple[int, ...], has_bias: bool) -> None:
    torch.manual_seed(0)
    inputs, state, weights = draw(size, has_bias)
    given = [inputs, state, *weights]
    ours, theirs = (run(inputs, state, weights) for run in (gru_kernel.gru, by_torch))
    upstream = [torch.randn_like(tensor) for tensor in ours]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    for mine, other in zip(
        torch.autograd.grad(ours, given, upstream),
        torch.autograd.grad(theirs, given, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_gradients_of_some_alone() -> None:
    torch.manual_seed(0)
    inputs, state, weights = draw((2, 3, 4, 5), True)
    inputs.requires_grad_(False)
    weights[1].requires_grad_(False)
    given = [state, weights[0], weights[2], weights[3]]
    ours, theirs = (
        torch.autograd.grad(run(inputs, state, weights)[0].sin().sum(), given)
        for run in (gru_kernel.gru, by_torch)
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_gradients_of_gradients() -> None:
    torch.manual_seed(0)
    inputs, state, weights = draw((2, 3, 2, 2), True)
    weights[2].requires_grad_(False)
    assert torch.autograd.gradgradcheck(
        lambda *given: gru_kernel.gru(given[0], given[1], list(given[2:]))[0],
        (inputs, state, *weights),
    )


def test_output_may_be_overwritten() -> None:
    torch.manual_seed(0)
    inputs, state, weights = draw((2, 3, 4, 5), True)
    outputs, _ = gru_kernel.gru(inputs, state, weights)
    expected = torch.autograd.grad((by_torch(inputs, state, weights)[0] * 3).sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(outputs.mul_(3).sum(), inputs), expected)


def test_saved_tensors_are_freed_by_backward() -> None:
    inputs, state, weights = draw((2, 3, 4, 5), True)
    outputs, _ = gru_kernel.gru(inputs, state, weights)
    outputs.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        outputs.sum().backward()


@pytest.mark.parametrize("kind", ["func", "bfloat16"])
def test_torchs_kernel_serves_elsewhere(kind: str) -> None:
    """torch.func and half precision do not know the hand-written one."""
    torch.manual_seed(0)
    inputs, state, weights = draw((2, 3, 4, 5), True)

    def loss(values: Tensor) -> Tensor:
        return fused.run("gru", values, [state], weights)[0].sum()

    if kind == "func":
        expected = torch.autograd.grad(loss(inputs), inputs)[0]
        torch.testing.assert_close(torch.func.grad(loss)(inputs), expected)
    else:
        half = [weight.bfloat16() for weight in weights]
        outputs, _ = fused.run("gru", inputs.bfloat16(), [state.bfloat16()], half)
        assert outputs.dtype is torch.bfloat16
        expected = loss(inputs)
        torch.testing.assert_close(outputs.sum().double(), expected, rtol=0.1, atol=0.3)
