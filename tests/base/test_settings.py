"""Defaults, dtypes, names, seeds and argument checks."""

import random

import numpy as np
import pytest
import torch

from torchseq.base import arguments, dtypes, logits, modes, naming, seeds, settings


@pytest.fixture(autouse=True)
def _restore_settings():
    before = dict(settings._values)
    yield
    settings._values.update(before)
    dtypes.clear_global_policy()


def test_settings_are_checked_and_kept():
    settings.set_floatx("float64")
    settings.set_epsilon(1e-5)
    settings.set_image_data_format("channels_first")
    assert settings.floatx() == "float64"
    assert settings.epsilon() == 1e-5
    assert settings.image_data_format() == "channels_first"
    with pytest.raises(ValueError, match=r"one of \['bfloat16'.*got 'float8'"):
        settings.set_floatx("float8")


def test_new_weights_follow_torchs_default_device():
    with torch.device("meta"):
        assert settings.device().type == "meta"


def test_with_a_gpu_new_weights_go_there_unless_the_cpu_was_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert settings.device() == torch.device("cuda", 3)
    with torch.device("cpu"):
        assert settings.device() == torch.device("cpu")
    torch.set_default_device("cpu")
    try:
        assert settings.device() == torch.device("cpu")
    finally:
        torch.set_default_device(None)
    assert settings.device() == torch.device("cuda", 3)


@pytest.mark.parametrize("given", ["float16", torch.float16, np.float16, np.dtype("float16")])
def test_dtypes_have_one_name(given):
    assert dtypes.name_of(given) == "float16"
    assert dtypes.torch_dtype(given) is torch.float16


def test_unknown_dtypes_are_refused():
    with pytest.raises(ValueError, match="must be one of"):
        dtypes.name_of("float8")


def test_a_mixed_policy_keeps_weights_in_float32():
    policy = dtypes.get_policy("mixed_bfloat16")
    assert (policy.compute_dtype, policy.variable_dtype) == ("bfloat16", "float32")
    assert dtypes.get_policy(policy.get_config()["name"]) == policy
    dtypes.set_global_policy("float64")
    assert dtypes.get_policy(None).compute_dtype == "float64"


@pytest.mark.parametrize(
    ("name", "snake"),
    [("Dense", "dense"), ("Conv2D", "conv2d"), ("MaxPooling2D", "max_pooling2d"), ("LSTM", "lstm")],
)
def test_default_names_are_snake_case_and_numbered(name, snake):
    assert naming.auto_name(name) == snake
    assert naming.auto_name(name) == f"{snake}_1"
    naming.clear()
    assert naming.auto_name(name) == snake


def test_paths_join_the_scopes():
    with naming.scope("model"), naming.scope("dense"):
        assert naming.path_to("kernel") == "model/dense/kernel"
    assert naming.path_to("kernel") == "kernel"


def test_set_random_seed_seeds_everything():
    def draw():
        return random.random(), np.random.rand(), float(torch.rand(())), seeds.make_seed()

    seeds.set_random_seed(3)
    first = draw()
    seeds.set_random_seed(3)
    assert draw() == first
    for wrong in (-1, 2**32, 1.5, True):
        with pytest.raises(ValueError, match=r"integer in \[0, 2\*\*32\)"):
            seeds.set_random_seed(wrong)


def test_argument_checks_name_owner_value_and_rule():
    with pytest.raises(ValueError, match=r"Dense: `units` must be a positive integer; got units=0"):
        arguments.positive_integer("Dense", "units", 0)
    assert arguments.positive_integer("Dense", "units", np.int64(3)) == 3
    with pytest.raises(ValueError, match=r"`rate` must be in \[0, 1\]; got rate=2"):
        arguments.fraction("Dropout", "rate", 2)
    with pytest.raises(ValueError, match="tuple of 2 integers"):
        arguments.integer_tuple("Conv2D", "strides", (1, 2, 3), 2)
    assert arguments.integer_tuple("Conv2D", "strides", 2, 2) == (2, 2)


def test_logits_are_found_only_behind_an_untouched_output():
    x = torch.randn(2, 3)
    output = logits.remember(torch.softmax(x, -1), x, "softmax")
    assert logits.recall(output, "softmax") is x
    assert logits.recall(output, "sigmoid") is None
    assert logits.recall(output * 1, "softmax") is None
    output.mul_(2)
    assert logits.recall(output, "softmax") is None


def test_modes_come_back_as_they_were():
    module = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    module[0].eval()
    with modes.mode(module, False):
        assert not module[1].training
    assert [part.training for part in module] == [False, True]
