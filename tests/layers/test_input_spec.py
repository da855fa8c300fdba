"""What a layer demands of a shape."""

from typing import Any

import pytest

from torchseq import InputSpec


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
