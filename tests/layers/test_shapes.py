"""Output shapes found on the meta device."""

from typing import Any

import torch
from torch import Tensor, nn

from torchseq.layers import shapes


def shape_of(module: nn.Module, shape: Any) -> Any:
    return shapes.output_shape(module, module, shape, torch.float32)


def test_unknown_sizes_stay_unknown_where_they_matter() -> None:
    assert shape_of(nn.Linear(4, 2), (None, 4)) == (None, 2)
    assert shape_of(nn.Linear(4, 2), (7, None, 4)) == (7, None, 2)
    assert shape_of(nn.AdaptiveAvgPool1d(3), (None, 2, None)) == (None, 2, 3)
    assert shape_of(nn.Flatten(), (None, None, 3)) == (None, None)


def test_structures_of_shapes_go_in_and_come_out() -> None:
    class Pair(nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Any:
            return inputs["a"] + inputs["b"][0], {"double": (inputs["a"], inputs["b"][1][:, :2])}

    found = shape_of(Pair(), {"a": (None, 3), "b": [(None, 3), (None, 5)]})
    assert found == ((None, 3), {"double": ((None, 3), (None, 2))})


def test_the_run_changes_nothing() -> None:
    norm = nn.BatchNorm1d(3)
    before = norm.running_mean
    norm.train()
    assert shape_of(norm, (None, 3)) == (None, 3)
    assert norm.running_mean is before
    assert int(norm.num_batches_tracked) == 0


def test_lists_become_tuples() -> None:
    assert shapes.as_tuples([None, 3]) == (None, 3)
    assert shapes.as_tuples({"a": [1, 2], "b": [[1], [2]]}) == {"a": (1, 2), "b": [(1,), (2,)]}
    assert shapes.as_tuples(None) is None
