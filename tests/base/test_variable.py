"""A Keras weight over a torch tensor."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchseq import Variable
from torchseq.base.variable import as_tensor


@pytest.fixture
def kernel():
    """A (3, 2) kernel over a Linear's (2, 3) weight."""
    return Variable.over(nn.Linear(3, 2), "weight", "kernel", axes=(1, 0))


def test_it_shows_keras_layout_of_torchs_parameter(kernel):
    assert kernel.shape == (3, 2)
    assert kernel.tensor.shape == (2, 3)
    assert kernel.dtype == "float32"
    np.testing.assert_array_equal(kernel.numpy(), kernel.tensor.detach().numpy().T)
    assert kernel.value.data_ptr() == kernel.tensor.data_ptr()


def test_assign_writes_through_in_place(kernel):
    parameter, pointer = kernel.tensor, kernel.tensor.data_ptr()
    value = np.arange(6, dtype="float32").reshape(3, 2)
    kernel.assign(value)
    assert kernel.tensor is parameter
    assert parameter.data_ptr() == pointer
    np.testing.assert_array_equal(parameter.detach().numpy(), value.T)
    kernel.assign_add(np.ones((3, 2)))
    kernel.assign_sub(2 * np.ones((3, 2)))
    np.testing.assert_array_equal(kernel.numpy(), value - 1)


def test_assign_checks_the_shape(kernel):
    with pytest.raises(ValueError, match=r"'kernel' must have its shape, \(3, 2\); got.*\(2, 3\)"):
        kernel.assign(np.zeros((2, 3)))


def test_a_conversion_that_reorders_entries_goes_both_ways():
    linear = nn.Linear(1, 4, bias=False)

    def swap(tensor):
        return torch.cat([tensor[2:], tensor[:2]])

    variable = Variable.over(linear, "weight", "kernel", to_keras=swap, to_torch=swap)
    variable.assign([[1.0], [2.0], [3.0], [4.0]])
    np.testing.assert_array_equal(linear.weight.detach()[:, 0], [3, 4, 1, 2])
    np.testing.assert_array_equal(variable.numpy()[:, 0], [1, 2, 3, 4])


def test_it_takes_part_in_tensor_arithmetic(kernel):
    x = torch.ones(4, 3)
    expected = x @ kernel.value
    assert torch.equal(x @ kernel, expected)
    assert torch.equal(torch.matmul(x, kernel), expected)
    assert torch.equal(torch.stack([kernel, kernel])[0], kernel.value)
    assert torch.equal(2 - kernel, 2 - kernel.value)
    assert torch.equal(kernel.sum(), kernel.value.sum())
    assert torch.equal(kernel[0], kernel.value[0])
    assert len(kernel) == 3
    assert (kernel == kernel.value).all()
    np.testing.assert_array_equal(np.asarray(kernel), kernel.numpy())


def test_gradients_reach_the_parameter(kernel):
    (torch.ones(1, 3) @ kernel).sum().backward()
    assert torch.equal(kernel.tensor.grad, torch.ones(2, 3))
    assert kernel.grad.shape == (3, 2)


def test_trainable_is_requires_grad(kernel):
    kernel.trainable = False
    assert not kernel.tensor.requires_grad
    assert not kernel.trainable


def test_it_follows_its_module():
    module = nn.Linear(3, 2)
    variable = Variable.over(module, "weight", "kernel", axes=(1, 0))
    module.double()
    assert variable.dtype == "float64"
    twin, twin_variable = copy.deepcopy((module, variable))
    assert twin_variable.tensor is twin.weight
    back = pickle.loads(pickle.dumps(variable))
    np.testing.assert_array_equal(back.numpy(), variable.numpy())


def test_alone_it_holds_its_own_tensor():
    variable = Variable(3.0, name="step")
    assert float(variable) == 3.0
    assert variable.trainable
    assert int(Variable(2, trainable=False)) == 2
    zeros = Variable(lambda shape, dtype: torch.zeros(shape), shape=(2,), dtype="float64")
    assert (zeros.dtype, zeros.shape) == ("float64", (2,))
    with pytest.raises(ValueError, match="`shape` must be given"):
        Variable(lambda shape, dtype: None)


def test_repr_reads_like_keras():
    variable = Variable([1.0, 2.0], name="v")
    assert repr(variable) == "<Variable path=v, shape=(2,), dtype=float32, value=[1. 2.]>"


def test_it_works_inside_compiled_functions(kernel):
    def function(x):
        return torch.relu(x @ kernel) * 2

    x = torch.randn(4, 3)
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), function(x))


def test_arrays_of_ml_dtypes_bfloat16_are_taken_bit_for_bit():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.0, -2.5, 3e38], dtype=ml_dtypes.bfloat16)
    tensor = as_tensor(array)
    assert tensor.dtype == torch.bfloat16
    assert torch.equal(tensor.float(), torch.tensor(array.astype("float32")))
