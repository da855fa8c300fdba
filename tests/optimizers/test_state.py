"""Numbers that stay on the host and are seen as variables."""

import copy
import pickle

import pytest
import torch

from torchseq.optimizers import state


@pytest.fixture
def rate():
    return state.host_variable(0.1, torch.float32, "adam/learning_rate")


def test_a_number_is_rounded_to_its_dtype(rate):
    assert state.number_of(rate) == float(torch.tensor(0.1))
    assert type(state.number_of(state.host_variable(3, torch.int32, "iteration"))) is int


def test_what_is_assigned_to_the_variable_is_the_number(rate):
    rate.assign(0.5)
    assert state.number_of(rate) == 0.5
    rate.assign_add(0.25)
    assert state.number_of(rate) == 0.75
    rate.tensor.fill_(2.0)
    assert state.number_of(rate) == 2.0


def test_the_variable_shows_a_number_that_was_set(rate):
    state.set_number(rate, 4.0)
    assert float(rate) == 4.0
    assert rate.numpy() == 4.0
    rate.assign(rate.value + 1)
    assert state.number_of(rate) == 5.0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_keep_what_is_not_written_yet(rate, copied):
    rate.assign(3.0)
    state.set_number(rate, 4.0)
    twin = copied(rate)
    assert state.number_of(twin) == 4.0
    state.set_number(twin, 6.0)
    assert float(rate) == 4.0


def test_a_number_in_doubt_is_settled_when_it_is_read(rate):
    for is_kept, expected in ((True, 2.0), (False, 1.0)):
        rate.assign(1.0)
        state.set_number(rate, 2.0)
        state.take_back_unless(rate, state.LateFlag(torch.tensor(is_kept)), 1.0)
        twin = copy.deepcopy(rate)
        assert float(rate) == state.number_of(rate) == state.number_of(twin) == expected
    state.set_number(rate, 3.0)
    state.take_back_unless(rate, state.LateFlag(torch.tensor(False)), 1.0)
    state.set_number(rate, 4.0)  # what is set later counts
    assert float(rate) == 4.0


def test_a_snapshot_sets_tensors_back_on_a_condition_of_the_device():
    tensors = [torch.ones(2, 3).T, torch.ones(()), torch.ones(2, dtype=torch.int32), torch.ones(0)]
    for condition, expected in ((False, 5.0), (True, 1.0)):
        for tensor in tensors:
            tensor.fill_(1)
        kept = state.Snapshot(tensors)
        for tensor in tensors:
            tensor.fill_(5)
        tensors[0][0, 0] = float("nan")
        kept.restore_where(torch.tensor(condition))
        assert [float(tensor.sum()) for tensor in tensors[1:]] == [expected, 2 * expected, 0]
        assert bool(tensors[0].isnan().any()) != condition
