"""How fast are Conv2D and Conv1D, next to torch's modules on channels-last tensors, and Keras?

Forward alone, and forward with backward. `nn.Conv2d` gets what suits it best: a channels-last
input and channels-last weights. `nn.Conv1d` gets a view with the channels second. The layers get
the same memory as Keras shapes it, `(batch, height, width, channels)`. Rounds are interleaved and
medians are taken, since the machine's speed drifts. Run `python benchmarks/convolution.py`.
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
from interleaving import Run, measure
from torch import Tensor, nn


@dataclass
class Task:
    """A convolution, and the images it is for."""

    name: str
    inputs: tuple[int, ...]
    filters: int
    kernel_size: int
    strides: int = 1
    padding: str = "same"

    def torch_padding(self) -> int:
        """Return what "same" comes to, for the odd kernels and even steps used here."""
        return self.kernel_size // 2 if self.padding == "same" else 0

    def torch_module(self) -> nn.Module:
        """Return torch's module, its weights in the memory that suits it best."""
        sizes = (self.inputs[-1], self.filters, self.kernel_size)
        if len(self.inputs) == 3:
            return nn.Conv1d(*sizes, self.strides, self.torch_padding())
        plain = nn.Conv2d(*sizes, self.strides, self.torch_padding())
        return plain.to(memory_format=torch.channels_last)


TASKS = [
    Task("32x32x64 -> 64, 3x3 same, batch 16", (16, 32, 32, 64), 64, 3),
    Task("56x56x64 -> 128, 1x1, batch 8", (8, 56, 56, 64), 128, 1),
    Task("28x28x1 -> 32, 3x3 valid, batch 64", (64, 28, 28, 1), 32, 3, padding="valid"),
    Task("64x64x3 -> 32, 5x5 valid, steps of 2, batch 16", (16, 64, 64, 3), 32, 5, 2, "valid"),
    Task("1D 100x64 -> 128, 3 same, batch 32", (32, 100, 64), 128, 3),
    Task("1D 1000x8 -> 32, 5 same, batch 16", (16, 1000, 8), 32, 5),
]


def backward_of(call: Callable[[Tensor], Tensor], x: Tensor, weights: list[Tensor]) -> Run:
    """Return a forward and backward pass that leaves no gradients behind."""
    inputs = x.clone(memory_format=torch.preserve_format).requires_grad_(True)

    def run() -> object:
        outputs = call(inputs)
        return torch.autograd.grad(outputs.sum(), [inputs, *weights])

    return run


def forward_of(call: Callable[[Tensor], Tensor], x: Tensor) -> Run:
    """Return a forward pass without gradients."""

    def run() -> object:
        with torch.no_grad():
            return call(x)

    return run


def framework_layer(keras: object, task: Task) -> object:
    """Return the built layer of torchseq or Keras."""
    make = keras.layers.Conv1D if len(task.inputs) == 3 else keras.layers.Conv2D
    layer = make(task.filters, task.kernel_size, task.strides, task.padding)
    layer.build(task.inputs)
    return layer


def contenders(task: Task, with_keras: bool, with_backward: bool) -> dict[str, Run]:
    """Return name -> one pass."""
    import torchseq

    x = torch.randn(task.inputs, generator=torch.Generator().manual_seed(0))
    view = x.movedim(-1, 1)
    plain = task.torch_module()
    ours = framework_layer(torchseq, task)
    found: dict[str, tuple[Callable[[Tensor], Tensor], Tensor, list[Tensor]]] = {
        "torch.nn": (plain, view, list(plain.parameters())),
        "torchseq": (ours, x, list(ours.parameters())),
    }
    if with_keras:
        import keras

        theirs = framework_layer(keras, task)
        found["Keras on torch"] = (theirs, x, [weight.value for weight in theirs.weights])
    if with_backward:
        return {name: backward_of(*each) for name, each in found.items()}
    return {name: forward_of(call, inputs) for name, (call, inputs, _) in found.items()}


def table_row(title: str, times: dict[str, list[float]]) -> str:
    """Return the medians of the ratios to `torch.nn`, taken round by round."""
    base = times["torch.nn"]
    cells = [f"1 ({statistics.median(base) * 1e3:.2f} ms)"]
    for name, values in times.items():
        if name != "torch.nn":
            ratios = [value / other for value, other in zip(values, base, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f}")
    return f"| {title} | " + " | ".join(cells) + " |"


def main() -> int:
    """Print a Markdown table of times relative to `torch.nn`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="per contender and round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-keras", action="store_true")
    parser.add_argument("--only", default="", help="substring of the tasks to run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = ["task", "torch.nn", "torchseq"] + ["Keras on torch"] * (not arguments.no_keras)
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.rounds} rounds")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for task in TASKS:
        for with_backward in (False, True):
            title = f"{task.name}, {'forward and backward' if with_backward else 'forward'}"
            if arguments.only in title:
                runs = contenders(task, not arguments.no_keras, with_backward)
                times = measure(runs, arguments.rounds, arguments.seconds)
                print(table_row(title, times), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
