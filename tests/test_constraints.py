"""Constraints: what `get` takes, errors, Variables."""

import numpy as np
import pytest
import torch

from torchseq import constraints
from torchseq.base.variable import Variable


def test_what_get_takes() -> None:
    assert constraints.max_norm is constraints.MaxNorm
    assert constraints.get(None) is None
    assert isinstance(constraints.get(constraints.NonNeg), constraints.NonNeg)


def test_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="constraint: 'maxnorm' is not.*'MaxNorm'"):
        constraints.get("maxnorm")


def test_arrays_and_variables_are_taken() -> None:
    values = np.array([[-3.0], [4.0]], "float32")
    for w in (values, Variable(values)):
        made = constraints.UnitNorm()(w)  # type: ignore[arg-type]
        torch.testing.assert_close(made, torch.tensor([[-0.6], [0.8]]))
