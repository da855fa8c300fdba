"""Activations: what is not a comparison with Keras."""

import numpy as np
import pytest
import torch

from torchseq import activations
from torchseq.base import logits
from torchseq.base.variable import Variable

NAMES = sorted(set(activations.__all__) - {"deserialize", "get", "serialize", "threshold"})


def test_none_is_linear() -> None:
    assert activations.get(None) is activations.linear


def test_callables_stay_as_they_are() -> None:
    assert activations.get(torch.sin) is torch.sin


def test_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="activation: 'rellu' is not a known name.*'relu'"):
        activations.get("rellu")


def test_other_things_are_an_error() -> None:
    with pytest.raises(TypeError, match="activation: must be a name.*got 3"):
        activations.get(3)


def test_softmax_remembers_its_logits_on_the_last_axis_only() -> None:
    x = torch.randn(2, 3)
    assert logits.recall(activations.softmax(x), "softmax") is x
    assert logits.recall(activations.softmax(x, axis=1), "softmax") is x
    assert logits.recall(activations.softmax(x, axis=0), "softmax") is None
    assert logits.recall(activations.sigmoid(x), "sigmoid") is x


def test_logits_are_forgotten_where_the_output_is_changed() -> None:
    output = activations.softmax(torch.randn(2, 3))
    assert logits.recall(output * 1, "softmax") is None
    output.mul_(2)
    assert logits.recall(output, "softmax") is None


def test_inference_mode_works() -> None:
    with torch.inference_mode():
        output = activations.sigmoid(torch.randn(2, 3))
        assert logits.recall(output, "sigmoid") is None


def test_arrays_lists_and_variables_are_taken() -> None:
    values = [-1.0, 0.0, 2.0]
    expected = torch.tensor([0.0, 0.0, 2.0])
    for x in (values, np.array(values, "float32"), Variable(np.array(values, "float32"))):
        torch.testing.assert_close(activations.relu(x), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_compiles_to_one_graph_and_exports(name: str) -> None:
    function = getattr(activations, name)
    x = torch.randn(3, 4)

    class Module(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), function(x))
    exported = torch.export.export(Module(), (x,)).module()
    torch.testing.assert_close(exported(x), function(x))


def test_softmax_over_several_axes_takes_negative_ones() -> None:
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(
        activations.softmax(x, axis=(-1, -2)), activations.softmax(x, axis=(1, 2))
    )
