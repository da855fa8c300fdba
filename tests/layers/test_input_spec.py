"""What a layer demands of a shape."""

from typing import Any

import pytest

from torchseq import InputSpec
from torchseq.layers.input_spec import over_time


@pytest.mark.parametrize(
    ("options", "shape", "violation"),
    [
        ({"ndim": 2}, (3, 4, 5), "have 2 axes, the batch axis included"),
        ({"min_ndim": 3}, (3, 4), "have at least 3 axes, the batch axis included"),
        ({"max_ndim": 1}, (3, 4), "have at most 1 axes, the batch axis included"),
        ({"axes": {-1: 5}}, (3, 4), "have 5 entries on axis -1"),
        ({"shape": (None, 5)}, (3, 4), r"have shape (None, 5)"),
        ({"shape": (None, 5)}, (3,), "have 2 axes, the batch axis included"),
        ({"shape": (None, 4), "allow_last_axis_squeeze": True}, (3, 4, 1), None),
        ({"shape": (None, 4, 1), "allow_last_axis_squeeze": True}, (3, 4), None),
        ({"ndim": 2, "axes": {1: 4}}, (3, None), None),
        ({}, (), None),
    ],
)
def test_violations_are_told(options: Any, shape: Any, violation: str | None) -> None:
    assert InputSpec(**options).violation(shape) == violation


def test_configs_go_round() -> None:
    spec = InputSpec(shape=(None, 4), axes={1: 4})
    assert InputSpec(**spec.get_config()).get_config() == spec.get_config()


def test_a_sequence_has_a_time_axis_more() -> None:
    spec = over_time(InputSpec(ndim=3, axes={1: 4, -1: 5}))
    assert spec is not None
    assert spec.violation((2, 9, 4, 5)) is None
    assert spec.violation((2, 9, 3, 5)) == "have 4 entries on axis 2"
    assert spec.violation((2, 9, 4, 6)) == "have 5 entries on axis -1"
    assert spec.violation((2, 4, 5)) == "have 4 axes, the batch axis included"
    fixed = over_time(InputSpec(shape=(None, 5)))
    assert fixed is not None
    assert fixed.violation((2, 9, 5)) is None
    assert fixed.violation((2, 9, 6)) == "have 5 entries on axis 2"
    assert over_time(None) is None
