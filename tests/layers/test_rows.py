"""1D operations run as 2D ones: equal to torch's own, in the memory that came."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchseq import layers
from torchseq.layers import rows

PAIRS = [(nn.Conv1d, rows.RowConv1d), (nn.ConvTranspose1d, rows.RowConvTranspose1d)]


@pytest.mark.parametrize(("plain", "by_rows"), PAIRS)
@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"padding": 1, "bias": False}, {"dilation": 2, "groups": 2}],
)
def test_modules_equal_torchs(plain: Any, by_rows: Any, options: dict[str, Any]) -> None:
    one, other = plain(4, 6, 3, **options), by_rows(4, 6, 3, **options)
    other.load_state_dict(one.state_dict())
    for x in (torch.rand(2, 4, 9), torch.rand(2, 9, 4).transpose(1, 2)):
        torch.testing.assert_close(other(x), one(x))


def test_an_output_size_may_be_asked_for() -> None:
    module = rows.RowConvTranspose1d(4, 6, 3, stride=2)
    assert module(torch.rand(2, 4, 9), [20]).shape == (2, 6, 20)


@pytest.mark.parametrize("options", [{}, {"padding": (1,)}, {"ceil_mode": True}])
def test_maxima_equal_torchs(options: dict[str, Any]) -> None:
    x = torch.rand(2, 3, 10)
    expected = F.max_pool1d(x, 3, 2, **options)
    assert torch.equal(rows.max_pool1d(x, (3,), (2,), **options), expected)


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_sequences_with_channels_last_keep_their_memory(padding: str) -> None:
    x = torch.rand(2, 9, 4)
    assert layers.Conv1D(3, 2, padding=padding)(x).is_contiguous()
    assert layers.MaxPooling1D(2)(x).is_contiguous()
