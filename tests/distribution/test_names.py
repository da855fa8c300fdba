"""Keras's words for devices and layouts, in one process."""

import os
import re

import keras
import numpy as np
import pytest

import torchseq
from torchseq import distribution
from torchseq.base import joined
from torchseq.distribution.runs import current

MESH = ((2, 2), ["batch", "model"], [f"cpu:{index}" for index in range(4)])


def test_one_process_works_alone() -> None:
    assert current() is None
    assert distribution.distribution() is None


def test_a_mesh_and_layouts_answer_as_those_of_keras() -> None:
    answers = []
    for library in (keras, torchseq):
        mesh = library.distribution.DeviceMesh(*MESH)
        layouts = library.distribution.LayoutMap(mesh)
        layouts[".*dense.*kernel"] = (None, "model")
        layouts[".*bias"] = library.distribution.TensorLayout(("model",))
        chosen = library.distribution.ModelParallel(layout_map=layouts)
        found = [layouts["a/dense_1/kernel"], layouts["a/bias"], chosen.get_data_layout((8, 3))]
        answers.append(
            [
                tuple(mesh.shape),
                list(mesh.axis_names),
                mesh.devices.tolist(),
                [layout.axes for layout in found],
                layouts["conv/kernel"],
                len(layouts),
                chosen.num_model_replicas,
                chosen.batch_dim_name,
            ]
        )
    assert answers[0] == answers[1]


def test_what_scope_chooses_ends_with_it() -> None:
    chosen = distribution.DataParallel(devices=["cpu:0"])
    with chosen.scope():
        assert distribution.distribution() is chosen
    assert distribution.distribution() is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: distribution.DeviceMesh((2,), ["a", "b"]), "must have as many entries"),
        (lambda: distribution.DeviceMesh((3,), ["a"], ["cpu:0"]), "a place for each device"),
        (lambda: distribution.DataParallel(distribution.DeviceMesh(*MESH)), "with one axis"),
        (lambda: distribution.ModelParallel(layout_map={}), "must be a LayoutMap with a mesh"),
        (lambda: distribution.set_distribution("data"), "must be a DataParallel"),
        (lambda: distribution.list_devices("tpu"), "must be one of"),
        (lambda: distribution.initialize("host", 2, 0), "must be 'host:port'"),
        (lambda: distribution.initialize("host:1", 2, 2), "process_id=2"),
        (
            lambda: distribution.TensorLayout(("c",), distribution.DeviceMesh(*MESH)),
            "an axis of the mesh",
        ),
    ],
)
def test_errors_say_what_must_hold(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()  # type: ignore[operator]


def test_a_launcher_says_how_many_devices_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "3")
    assert distribution.list_devices("cpu") == ["cpu:0", "cpu:1", "cpu:2"]
    assert distribution.get_device_count("gpu") == 3


@pytest.mark.parametrize("sizes", [(3, 2), (1, 0), (4, 4)])
def test_shares_make_the_mean_over_processes_that_over_rows(sizes: tuple[int, int]) -> None:
    rows = np.arange(1.0, sum(sizes) + 1)
    parts = np.split(rows, [sizes[0]])
    shares = [joined.Part(sizes, rank).share for rank in (0, 1)]
    means = [part.mean() if len(part) else 99.0 for part in parts]
    np.testing.assert_allclose(np.mean(np.multiply(shares, means)), rows.mean())


@pytest.mark.gpu
def test_a_gpu_of_its_own_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "0")
    model = torchseq.Sequential([torchseq.Input((2,)), torchseq.layers.Dense(1)])
    assert str(model.weights[0].tensor.device) == "cuda:0"
