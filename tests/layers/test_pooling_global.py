"""Global pooling: errors and masks; values are compared in tests/parity."""

import pytest
import torch

from torchseq import Sequential, layers

NAMES = [f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2, 3)]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arguments_and_inputs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: `data_format` must be one of .* got .*'last'"):
        getattr(layers, name)("last")
    layer = getattr(layers, name)(name="p")
    with pytest.raises(ValueError, match=rf"'p' \({name}\): its input must have .* shape \(2, 3\)"):
        layer(torch.ones(2, 3))


def test_masked_steps_do_not_count() -> None:
    model = Sequential([layers.Masking(), layers.GlobalAveragePooling1D()])
    x = torch.tensor([[[2.0, 4.0], [0.0, 0.0], [4.0, 0.0]]])
    assert model(x).tolist() == [[3.0, 2.0]]


@pytest.mark.parametrize("name", NAMES)
def test_integers_have_floating_means_and_integer_maxima(name: str) -> None:
    outputs = getattr(layers, name)()(torch.ones([2] * (int(name[-2]) + 2), dtype=torch.int32))
    assert outputs.dtype == (torch.int32 if "Max" in name else torch.float32)
