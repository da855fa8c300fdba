"""State of metrics: its size, its merging over objects and processes, no reads, Keras's stateless
methods."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.test_host_reads import counting
from torchseq import metrics
from torchseq.metrics import merging, resolution

ARGUMENTS: dict[str, dict[str, Any]] = {
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "IoU": {"num_classes": 3, "target_class_ids": [1]},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [1]},
    "MeanIoU": {"num_classes": 3},
    "OneHotMeanIoU": {"num_classes": 3},
    "MeanMetricWrapper": {"fn": metrics.mean_squared_error},
    "TopKCategoricalAccuracy": {"k": 2},
    "SparseTopKCategoricalAccuracy": {"k": 2},
}
VARIANTS = [
    ("AUC", {"multi_label": True, "label_weights": [0.2, 0.3, 0.5]}),
    ("AUC", {"curve": "PR", "thresholds": [0.1, 0.45]}),
    ("AUC", {"curve": "PRGAIN", "from_logits": True}),
    ("Precision", {"top_k": 2, "class_id": 1, "thresholds": [0.2, 0.6]}),
    ("Recall", {"thresholds": 0.3}),
    ("FBetaScore", {"average": "micro", "threshold": 0.3}),
    ("R2Score", {"class_aggregation": None, "num_regressors": 1}),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 1}),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}),
]
CASES = [
    (name, ARGUMENTS.get(name, {})) for name in sorted(resolution.CLASSES) if name != "Metric"
] + VARIANTS
IDS = [f"{name}-{options}" for name, options in CASES]
SPARSE = {"IoU", "MeanIoU"}


def batch(name: str, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """Return what the metric's `update_state` takes: three classes, or numbers."""
    labels = torch.tensor(rng.integers(0, 3, size))
    scores = torch.tensor(rng.dirichlet(np.ones(3), size).astype("float32"))
    if name in ("Mean", "Sum"):
        return (scores,)
    if name in SPARSE:
        return labels, torch.tensor(rng.integers(0, 3, size))
    return (labels if name.startswith("Sparse") else torch.eye(3)[labels]), scores


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_update_reads_nothing_and_state_does_not_grow(
    name: str, options: dict[str, Any], weighted: bool, rng: np.random.Generator
) -> None:
    metric = getattr(metrics, name)(**options)
    data = batch(name, 8, rng), batch(name, 640, rng)
    sizes = []
    with counting([]) as reads:
        for entries in data:
            weight = torch.ones(len(entries[0])) if weighted else None
            metric.update_state(*entries, sample_weight=weight)
            metric.result()
            metric.reset_state()
            metric.update_state(*entries, sample_weight=weight)
            tensors = [tensor for tensor, _ in metric.states()]
            lists = [len(value) for value in vars(metric).values() if isinstance(value, list)]
            loose = [v for v in vars(metric).values() if isinstance(v, torch.Tensor | np.ndarray)]
            assert not loose  # all state is in buffers
            sizes.append((sum(t.numel() for t in tensors), *lists))
    assert reads.count == 0
    assert sizes[0] == sizes[1]
    assert sum(tensor.numel() for tensor in metric.buffers()) <= 200 * 4 * 3 + 203


def test_the_counter_of_reads_counts() -> None:
    with counting([]) as reads:
        float(torch.ones(()))
    assert reads.count == 1


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_merged_metrics_equal_one_that_saw_all(
    name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    make = getattr(metrics, name)
    whole, parts = make(**options), [make(**options) for _ in range(4)]
    for part in parts[1:3]:  # the first and the last see nothing
        for size in (5, 9):
            entries = batch(name, size, rng)
            weight = torch.tensor(rng.random(size, dtype="float32"))
            part.update_state(*entries, sample_weight=weight)
            whole.update_state(*entries, sample_weight=weight)
    before = [tensor.clone() for tensor, _ in parts[1].states()]
    parts[0].merge_state(parts[1:])
    torch.testing.assert_close(parts[0].result(), whole.result(), equal_nan=True)
    for (tensor, _), old in zip(parts[1].states(), before, strict=True):
        assert torch.equal(tensor, old)


class Newest(metrics.Metric):
    """A metric with each kind of aggregation, and one inside."""

    def __init__(self) -> None:
        super().__init__()
        self.average = self.add_variable(aggregation="mean", name="average")
        self.first = self.add_variable(aggregation=None, name="first")
        self.inner = metrics.Sum()

    def update_state(self, value: Any) -> None:
        self.average.assign(value)
        self.first.assign(value)
        self.inner.update_state(value)


def test_aggregations() -> None:
    made = [Newest() for _ in range(3)]
    for value, metric in enumerate(made):
        metric.update_state(float(value))
    made[1].merge_state([made[0], made[2]])
    assert [float(v.value) for v in made[1].variables] == [1.0, 1.0, 3.0]
    with pytest.raises(ValueError, match="Metric: `aggregation` must be one of .*got aggregation="):
        metrics.Metric().add_variable(aggregation="max")


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(ValueError, match="Mean: `merge_state` takes metrics of the same class; go"):
        metrics.Mean().merge_state([metrics.Sum()])
    with pytest.raises(ValueError, match=r"Precision: states can be merged if .*\(1,\).*\(2,\)"):
        metrics.Precision().merge_state([metrics.Precision(thresholds=[0.1, 0.2])])

    class Late(metrics.Metric):
        def update_state(self, value: Any) -> None:
            self.total = self.add_variable(name="total")

    seen = Late()
    seen.update_state(1)
    with pytest.raises(ValueError, match="Late: state that the first batch makes can be merged"):
        Late().merge_state([seen])


def test_without_processes_nothing_happens() -> None:
    metric = metrics.Mean()
    metric.update_state([1.0, 3.0])
    merging.all_reduce_states([metric])
    with merging.merged_states([metric]):
        assert metric.result() == 2
    assert metric.result() == 2


# Two processes, of which the second sees no batch of the metrics that make state late.
WORKER = """
import sys
import torch
import torch.distributed as distributed
from torchseq import metrics
from torchseq.engine.objective import LossMean
from torchseq.metrics import merging

rank, port = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group(
    "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
)
mean, f1, iou, auc, loss = made = [
    metrics.Mean(),
    metrics.F1Score(),
    metrics.MeanIoU(2),
    metrics.AUC(multi_label=True),
    LossMean(),
]
mean.update_state([1.0, 2.0] if rank == 0 else [9.0])
loss.add(torch.tensor(2.0), 3) if rank == 0 else loss.add(torch.tensor(6.0), 1)
iou.update_state([0, 1], [0, rank])
if rank == 0:
    f1.update_state(torch.eye(2), torch.eye(2))
    auc.update_state(torch.eye(2), torch.eye(2))
own = [float(metric.result().mean()) for metric in made]
with merging.merged_states(made):
    merged = [float(metric.result().mean()) for metric in made]
assert [float(metric.result().mean()) for metric in made] == own, own
merging.all_reduce_states(made)
again = [float(metric.result().mean()) for metric in made]
assert merged == again, (merged, again)
print(" ".join(f"{value:.4f}" for value in merged))
distributed.destroy_process_group()
"""


def test_two_processes_get_the_state_of_both(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    root = str(Path(__file__).parents[2])
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    # mean of 1, 2, 9; F1 of perfect predictions; IoU of (0,0) (1,0) (0,0) (1,1); AUC; 12 / 4
    expected = ["4.0000 1.0000 0.5833 1.0000 3.0000"] * 2
    assert [out.strip() for out, _ in outputs] == expected


def test_stateless_methods_change_nothing() -> None:
    metric = metrics.Mean()
    metric.update_state([1.0])
    state = metric.stateless_update_state([torch.tensor(6.0), torch.tensor(2.0)], [1.0, 2.0])
    assert [float(value) for value in state] == [9.0, 4.0]
    assert metric.stateless_result(state) == 2.25
    assert [float(value) for value in metric.stateless_reset_state()] == [0.0, 0.0]
    assert metric.result() == 1
    with pytest.raises(ValueError, match="a tensor for each of its 2 variables; got 1"):
        metric.stateless_result(state[:1])
