"""Regularizers: arguments, errors, what `get` takes."""

import pytest
import torch

from torchseq import regularizers


def test_lower_case_names_are_the_classes() -> None:
    assert regularizers.l1_l2 is regularizers.L1L2
    assert isinstance(regularizers.get("l1_l2"), regularizers.L1L2)
    assert regularizers.get(None) is None
    assert regularizers.get(torch.sum) is torch.sum


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.1"])
def test_factors_must_be_finite_and_not_negative(value: object) -> None:
    with pytest.raises(ValueError, match="L2: `l2` must be a finite number of at least 0; got l2="):
        regularizers.L2(value)  # type: ignore[arg-type]


def test_orthogonal_errors() -> None:
    with pytest.raises(ValueError, match="OrthogonalRegularizer: `mode` must be one of"):
        regularizers.OrthogonalRegularizer(mode="diagonals")
    with pytest.raises(ValueError, match=r"must have 2 axes; got shape \(2, 2, 2\)"):
        regularizers.OrthogonalRegularizer()(torch.ones(2, 2, 2))


def test_orthogonal_of_a_zero_row_is_finite() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert regularizers.OrthogonalRegularizer()(x) == 0


def test_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="regularizer: 'l3' is not a known name"):
        regularizers.get("l3")


def test_own_class_without_config_cannot_be_saved() -> None:
    class Mine(regularizers.Regularizer):
        pass

    assert Mine()(torch.ones(2)) == 0.0
    with pytest.raises(NotImplementedError, match="Mine: a regularizer must write `get_config`"):
        Mine().get_config()
