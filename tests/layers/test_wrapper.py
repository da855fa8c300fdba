"""Wrapper: as the base of a user's layer."""

from typing import Any

import pytest
import torch
from torch import nn

from torchseq import layers


class Twice(layers.Wrapper):
    def call(self, inputs: Any) -> Any:
        return 2 * self.layer(inputs)


def test_a_users_wrapper() -> None:
    wrapper = Twice(layers.Dense(3, name="inner"), name="outer")
    x = torch.randn(2, 4)
    torch.testing.assert_close(wrapper(x), 2 * wrapper.layer(x))
    assert [weight.path for weight in wrapper.weights] == [
        "outer/inner/kernel",
        "outer/inner/bias",
    ]
    assert wrapper.compute_output_shape((None, 4)) == (None, 3)
    config = wrapper.get_config()
    again = Twice.from_config(config)
    assert again.get_config() == config == wrapper.get_config()
    assert again.layer.units == 3


@pytest.mark.parametrize("wrong", [nn.Linear(2, 3), None, layers.Dense])
def test_what_is_no_layer_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="Twice: `layer` must be a layer; got layer="):
        Twice(wrong)
