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
