"""How fast is `fit`, next to a hand-written loop, the usual DataLoader loop, and Keras on torch?

Each contender trains the same network on the same data in the same process. Rounds are interleaved
and medians are taken, since the machine's speed drifts. Run `python benchmarks/fit_throughput.py`;
pin it to a core with `taskset -c 1` to measure overhead rather than the number of cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("KERAS_BACKEND", "torch")

import torch
import torch.nn.functional as F
from interleaving import Run, measure
from torch import Tensor, nn


@dataclass
class Task:
    """A data set, a network in three dialects, and how to train it."""

    name: str
    num_samples: int
    batch_size: int
    inputs: tuple[int, ...]
    classes: int
    layers: Callable[[object], list[object]]
    module: Callable[[], nn.Module]

    def data(self) -> tuple[Tensor, Tensor]:
        """Return random inputs (channels last) and class numbers."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.num_samples, *self.inputs, generator=generator)
        high = max(self.classes, 2)
        y = torch.randint(0, high, (self.num_samples,), generator=generator)
        return x, y.float()[:, None] if self.classes == 1 else y


def tiny_layers(keras: object) -> list[object]:
    """Return 20-64-64-1."""
    layers = keras.layers
    return [
        layers.Dense(64, activation="relu"),
        layers.Dense(64, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]


def tiny_module() -> nn.Module:
    """Return 20-64-64-1."""
    return nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )


def mlp_layers(keras: object) -> list[object]:
    """Return 784-128-10."""
    layers = keras.layers
    return [layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")]


def mlp_module() -> nn.Module:
    """Return 784-128-10."""
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def convnet_layers(keras: object) -> list[object]:
    """Return two convolutions with pooling, and a classifier."""
    layers = keras.layers
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, activation="softmax"),
    ]


def convnet_module() -> nn.Module:
    """Return two convolutions with pooling, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 10),
    )


TASKS = [
    Task("tiny 20-64-64-1, batch 32", 16_000, 32, (20,), 1, tiny_layers, tiny_module),
    Task("MLP 784-128-10, batch 32", 9_600, 32, (784,), 10, mlp_layers, mlp_module),
    Task("convnet 28x28, batch 128", 1_280, 128, (28, 28, 1), 10, convnet_layers, convnet_module),
]


def framework_run(keras: object, task: Task, x: object, y: object) -> Run:
    """Return an epoch of `fit` of torchseq or Keras."""
    model = keras.Sequential([keras.Input(task.inputs), *task.layers(keras)])
    loss = "binary_crossentropy" if task.classes == 1 else "sparse_categorical_crossentropy"
    model.compile(optimizer="adam", loss=loss)
    return lambda: model.fit(x, y, batch_size=task.batch_size, epochs=1, verbose=0)


def train_step(module: nn.Module, optimizer: object, x: Tensor, y: Tensor, total: Tensor) -> None:
    """Run one step as a careful author writes it: no host sync, gradients dropped."""
    outputs = module(x)
    if y.is_floating_point():
        loss = F.binary_cross_entropy_with_logits(outputs, y)
    else:
        loss = F.cross_entropy(outputs, y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    total += loss.detach()


def in_memory_run(task: Task, x: Tensor, y: Tensor) -> Run:
    """Return an epoch of a loop over tensors in memory, with torch's fused Adam."""
    module = task.module()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()

    def run() -> float:
        order, total = torch.randperm(len(x)), torch.zeros(())
        for start in range(0, len(x), task.batch_size):
            rows = order[start : start + task.batch_size]
            train_step(module, optimizer, x[rows], y[rows], total)
        return float(total)

    return run


def dataloader_run(task: Task, x: Tensor, y: Tensor) -> Run:
    """Return an epoch of the loop of the tutorials: DataLoader, default Adam, loss.item()."""
    module = task.module()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
    dataset = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(dataset, batch_size=task.batch_size, shuffle=True)

    def run() -> float:
        total = 0.0
        for inputs, targets in loader:
            step_total = torch.zeros(())
            train_step(module, optimizer, inputs, targets, step_total)
            total += step_total.item()
        return total

    return run


def contenders(task: Task, with_keras: bool) -> dict[str, Run]:
    """Return name -> one epoch."""
    import torchseq

    x, y = task.data()
    runs = {
        "in-memory loop": in_memory_run(task, x, y),
        "torchseq": framework_run(torchseq, task, x, y),
        "DataLoader loop": dataloader_run(task, x, y),
    }
    if with_keras:
        import keras

        runs["Keras on torch"] = framework_run(keras, task, x.numpy(), y.numpy())
    return runs


def table_row(task: Task, seconds: dict[str, list[float]]) -> str:
    """Return the medians of the ratios of speeds to the in-memory loop, taken round by round."""
    speeds = {name: [task.num_samples / each for each in times] for name, times in seconds.items()}
    base = speeds["in-memory loop"]
    cells = [f"1 ({statistics.median(base):,.0f}/s)"]
    for name, values in speeds.items():
        if name != "in-memory loop":
            ratios = [value / other for value, other in zip(values, base, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f}")
    if "Keras on torch" in speeds:
        pairs = zip(speeds["torchseq"], speeds["Keras on torch"], strict=True)
        cells.append(f"{statistics.median(ours / theirs for ours, theirs in pairs):.1f}")
    return f"| {task.name} | " + " | ".join(cells) + " |"


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-keras", action="store_true")
    parser.add_argument("--only", default="", help="substring of the tasks to run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = ["task", "in-memory loop", "torchseq", "DataLoader loop"]
    if not arguments.no_keras:
        columns += ["Keras on torch", "torchseq / Keras"]
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.rounds} rounds")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for task in TASKS:
        if arguments.only in task.name:
            runs = contenders(task, not arguments.no_keras)
            seconds = measure(runs, arguments.rounds)
            print(table_row(task, seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
