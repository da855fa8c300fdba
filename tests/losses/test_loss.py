"""Losses: subclasses, errors, conversion, compiled use, half precision."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchseq import activations, losses
from torchseq.base import logits, settings
from torchseq.losses import crossentropy


class Doubled(losses.Loss):
    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return 2 * (y_true - y_pred).abs().mean(-1)


class Changed(losses.MeanSquaredError):
    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        values: Tensor = super().call(y_true, y_pred)
        return values + 1


def test_own_losses_are_called() -> None:
    y = torch.zeros(3, 2)
    loss = Doubled()
    assert loss(y, y + 1) == 2
    assert loss.name == "doubled"
    assert Changed()(y, y) == 1


def test_own_losses_get_the_loss_s_dtype() -> None:
    seen: list[Any] = []

    class Looking(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Tensor:
            seen.extend([y_true, y_pred])
            return torch.zeros(2)

    Looking()(np.array([1, 0]), torch.ones(2, dtype=torch.float16))
    assert [value.dtype for value in seen] == [torch.float32] * 2
    seen.clear()
    Looking(dtype="float64")({"a": [1, 2]}, {"a": torch.ones(2)})
    assert seen[0]["a"].dtype == seen[1]["a"].dtype == torch.float64
    seen.clear()
    Looking()([torch.ones(2), torch.ones(3)], (torch.ones(2), torch.ones(3)))
    assert [len(value) for value in seen] == [2, 2]


def test_a_wrapped_function_is_aligned_and_reduced() -> None:
    def difference(y_true: Tensor, y_pred: Tensor, factor: float) -> Tensor:
        assert y_true.shape == y_pred.shape == (3, 1)
        return factor * (y_pred - y_true).mean(-1)

    loss = losses.LossFunctionWrapper(difference, factor=2.0)
    assert loss(torch.zeros(3), torch.ones(3, 1)) == 2


def test_lists_of_numbers_are_taken() -> None:
    assert losses.MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [1, 0]]) == 0.5
    assert losses.mean_squared_error(np.zeros(2), np.array([1.0, 3.0])) == 5


def test_unknown_reduction_is_an_error() -> None:
    with pytest.raises(ValueError, match="MeanSquaredError: `reduction` must be one of .*got redu"):
        losses.MeanSquaredError(reduction="average")


def test_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="loss: 'mean_square_error'.*'mean_squared_error'"):
        losses.get("mean_square_error")


@pytest.mark.parametrize("name", ["mean_squared_error", "huber", "cosine_similarity", "hinge"])
@pytest.mark.parametrize("shapes", [((4, 1), (4, 3)), ((4,), (4, 3)), ((3, 2), (4, 2))])
def test_other_shapes_are_an_error(name: str, shapes: tuple[Any, Any]) -> None:
    y_true, y_pred = (torch.ones(shape) for shape in shapes)
    message = f"{name}: targets and predictions must .* y_true of shape .{shapes[0][0]}"
    for call in (losses.get(name), losses.LossFunctionWrapper(losses.get(name))):
        with pytest.raises(ValueError, match=message):
            call(y_true, y_pred)


@pytest.mark.parametrize("name", ["categorical_crossentropy", "binary_crossentropy"])
def test_crossentropies_broadcast_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: .* y_true of shape \(1, 3\) and y_pred of"):
        losses.get(name)(torch.ones(1, 3), torch.ones(4, 3))


def test_single_numbers_and_leading_ones_broadcast() -> None:
    assert losses.MeanSquaredError()(0.0, torch.ones(4, 3)) == 1
    assert losses.MeanSquaredError()(torch.zeros(1, 3), torch.ones(4, 3)) == 1


def test_one_hot_targets_for_a_sparse_loss_are_an_error() -> None:
    with pytest.raises(ValueError, match="sparse_cat.*For one-hot targets use categorical_cross"):
        losses.SparseCategoricalCrossentropy()(torch.eye(3), torch.eye(3))


def test_weights_of_another_shape_are_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"sample_weight: .* shape \(5,\) for values of shape \(4,"
    ):
        losses.MeanSquaredError()(torch.ones(4, 2), torch.ones(4, 2), torch.ones(5))


def test_axis_of_a_truth_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="categorical_crossentropy: `axis` must be an integer"):
        losses.categorical_crossentropy(torch.eye(2), torch.eye(2), axis=True)


def test_one_class_gives_a_warning() -> None:
    with pytest.warns(SyntaxWarning, match="Use binary_crossentropy"):
        losses.categorical_crossentropy(torch.ones(2, 1), torch.ones(2, 1))


def test_q_out_of_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="`q` must be between 0 and 1; got q=1"):
        losses.CategoricalGeneralizedCrossEntropy(q=1)


def test_ctc_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"ctc: .*\(2, 3\) and \(2, 3\)"):
        losses.ctc(torch.ones(2, 3), torch.ones(2, 3))


def test_labels_are_not_rounded_to_floats() -> None:
    label = 2**24 + 1  # float32 has no such number
    seen = []
    crossentropy.takes_labels(function := lambda y_true, y_pred: seen.append(y_true) or y_pred)
    losses.LossFunctionWrapper(function)(torch.tensor([label]), torch.ones(1))
    assert seen[0].tolist() == [label]


LOGIT_CASES = [
    (losses.SparseCategoricalCrossentropy, activations.softmax, torch.tensor([0, 1, 2, 1])),
    (losses.CategoricalCrossentropy, activations.softmax, torch.eye(3)[[0, 1, 2, 1]]),
    (losses.BinaryCrossentropy, activations.sigmoid, torch.eye(3)[[0, 1, 2, 1]]),
]


@pytest.mark.parametrize(("loss", "activation", "y"), LOGIT_CASES)
def test_half_precision_outputs_are_computed_from_logits_in_float32(
    loss: Any, activation: Any, y: Tensor
) -> None:
    z = torch.tensor([[9.0, -9.0, 0.0]] * 4)
    expected = loss()(y, activation(z))
    torch.testing.assert_close(loss()(y, activation(z.half())), expected)
    torch.testing.assert_close(loss()(y, activation(z.bfloat16())), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize(("loss", "activation", "y"), LOGIT_CASES)
def test_other_dtypes_are_finite_at_extremes(
    loss: Any, activation: Any, y: Tensor, dtype: str
) -> None:
    z = torch.tensor([[1e4, -1e4, 0.0]] * 4, dtype=getattr(torch, dtype), requires_grad=True)
    for output in (activation(z), activation(z) * 1):
        value = loss(dtype=dtype)(y, output)
        (gradient,) = torch.autograd.grad(value, z)
        assert value.dtype == z.dtype
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("loss", "activation", "y"), LOGIT_CASES)
def test_nan_outputs_give_nan(loss: Any, activation: Any, y: Tensor) -> None:
    z = torch.full((4, 3), torch.nan)
    assert loss()(y, activation(z)).isnan()
    assert loss()(y, activation(z) * 1).isnan()


@pytest.mark.parametrize(("epsilon", "largest"), [(1e-3, 6.9078), (1e-7, 16.1181)])
def test_epsilon_is_followed(
    epsilon: float, largest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings._values, "epsilon", epsilon)
    y, z = torch.tensor([[1.0]]), torch.tensor([[-1e4]])
    for output in (activations.sigmoid(z), torch.sigmoid(z)):
        assert losses.BinaryCrossentropy()(y, output).item() == pytest.approx(largest, abs=1e-3)


@pytest.mark.parametrize("value", [1e-7, 1 - 1e-7, 1e-3, 0.3, 6e-8])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_is_torch_s(value: float, dtype: torch.dtype) -> None:
    assert crossentropy._rounded(value, dtype) == torch.tensor(value, dtype=dtype).double().item()


@pytest.mark.parametrize(("loss", "activation", "y"), LOGIT_CASES)
def test_compiles_to_one_graph(loss: Any, activation: Any, y: Tensor) -> None:
    crossentropy._bounds_of.clear()
    made, weight = loss(), torch.rand(4)

    def plain(z: Tensor) -> Tensor:
        return made(y, activation(z * 2))

    def weighted(z: Tensor) -> Tensor:
        return made(y, activation(z * 2), weight)

    for function in (plain, weighted):
        torch._dynamo.reset()
        z = torch.randn(4, 3)
        compiled = torch.compile(function, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(z), function(z))


def test_logits_changed_in_place_are_not_used() -> None:
    output = activations.softmax(torch.randn(4, 3))
    before = output.clone()
    output.copy_(torch.full((4, 3), 1 / 3))
    value = losses.SparseCategoricalCrossentropy()(torch.zeros(4), output)
    torch.testing.assert_close(value, torch.tensor(3.0).log())
    assert logits.recall(before, "softmax") is None


def test_ignored_classes_count_neither_in_value_nor_in_gradient() -> None:
    z = torch.randn(4, 3, requires_grad=True)
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    value = loss(torch.tensor([0, -1, 2, -1]), activations.softmax(z))
    expected = losses.SparseCategoricalCrossentropy()(
        torch.tensor([0, 2]), activations.softmax(z[::2])
    )
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, z)
    assert not gradient[1::2].any()
    assert gradient[::2].all()
