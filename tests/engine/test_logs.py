"""Logs that are read from the device when somebody asks for a value, and only then, and once."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torchseq.engine.logs import DeviceLogs, read


class Source:
    """Counts how often the values are asked for."""

    def __init__(self) -> None:
        self.num_reads = 0

    def __call__(self) -> dict[str, float]:
        self.num_reads += 1
        return {"accuracy": 0.5, "loss": 1.25}

    def logs(self) -> DeviceLogs:
        return DeviceLogs(["accuracy", "loss"], self)


VALUES = {"accuracy": 0.5, "loss": 1.25}


@pytest.mark.parametrize(
    "look",
    [
        lambda logs: "loss" in logs,
        lambda logs: len(logs),
        lambda logs: bool(logs),
        lambda logs: logs or {},
        lambda logs: isinstance(logs, dict),
        lambda logs: type(logs),
    ],
)
def test_looks_that_need_no_value_read_nothing(look: Callable[[Any], Any]) -> None:
    source = Source()
    logs = source.logs()
    assert look(logs)
    assert source.num_reads == 0
    assert "val_loss" not in logs
    assert len(logs) == 2


@pytest.mark.parametrize(
    "whole",
    [
        dict,
        lambda logs: {**logs},
        lambda logs: {} | logs,
        lambda logs: logs | {},
        lambda logs: logs.copy(),
        lambda logs: dict(logs.items()),
        lambda logs: dict(zip(logs.keys(), logs.values(), strict=True)),
        lambda logs: dict(zip(logs, logs.values(), strict=True)),
        lambda logs: {name: logs[name] for name in logs},
        lambda logs: {name: logs.get(name) for name in ("accuracy", "loss")},
        lambda logs: json.loads(json.dumps(logs)),
        lambda logs: json.loads(json.dumps({"logs": logs}))["logs"],
        lambda logs: pickle.loads(pickle.dumps(logs)),
        copy.copy,
        copy.deepcopy,
        lambda logs: (lambda **given: given)(**logs),
        lambda logs: {name: logs.pop(name) for name in list(logs)},
        lambda logs: dict([logs.popitem(), logs.popitem()]),
        lambda logs: {name: logs.setdefault(name, 7.0) for name in ("accuracy", "loss")},
        lambda logs: {"accuracy": logs["accuracy"], "loss": logs["loss"]},
    ],
)
def test_ways_to_read_all_values(whole: Callable[[Any], Any]) -> None:
    source = Source()
    result = whole(source.logs())
    assert result == VALUES
    assert sorted(result) == ["accuracy", "loss"]
    assert source.num_reads == 1


def test_update_of_another_dict() -> None:
    source = Source()
    target: dict[str, Any] = {"loss": 0.0}
    target.update(source.logs())
    assert target == VALUES
    target = {}
    target |= source.logs()
    assert target == VALUES


def test_values_that_callbacks_add_are_kept() -> None:
    source = Source()
    logs = source.logs()
    logs["learning_rate"] = 0.1
    logs["loss"] = 9.0
    assert dict(logs) == {**VALUES, "loss": 9.0, "learning_rate": 0.1}
    logs = source.logs()
    logs.update(loss=8.0, extra=1.0)
    assert logs["loss"] == 8.0
    assert logs["extra"] == 1.0
    logs = source.logs()
    del logs["loss"]
    assert dict(logs) == {"accuracy": 0.5}
    logs = source.logs()
    logs.clear()
    assert dict(logs) == {}
    logs = source.logs()
    logs |= {"loss": 3.0}
    assert logs["loss"] == 3.0


def test_values_are_read_once_and_stay() -> None:
    source = Source()
    logs = source.logs()
    for _ in range(3):
        assert logs["loss"] == 1.25
        assert logs.get("nothing", 3) == 3
        assert str(logs) == repr(VALUES)
        assert f"{logs}" == str(VALUES)
        assert logs == VALUES
        assert logs != {}
        assert list(reversed(logs)) == ["loss", "accuracy"]
    assert source.num_reads == 1
    with pytest.raises(KeyError, match="missing"):
        logs["missing"]


def test_read_makes_floats_of_scalars_and_arrays_of_the_rest() -> None:
    values = read(
        {
            "loss": torch.tensor(1.5),
            "count": torch.tensor(3),
            "is_done": torch.tensor(True),
            "half": torch.tensor(0.5, dtype=torch.bfloat16),
            "number": 4,
            "numpy": np.float32(0.25),
            "text": "x",
            "matrix": torch.ones(2, 2, requires_grad=True),
        }
    )
    matrix = values.pop("matrix")
    assert type(matrix) is np.ndarray
    assert values == {
        "loss": 1.5,
        "count": 3.0,
        "is_done": 1.0,
        "half": 0.5,
        "number": 4.0,
        "numpy": 0.25,
        "text": "x",
    }
    assert all(type(value) is float for name, value in values.items() if name != "text")
    assert read({}) == {}
