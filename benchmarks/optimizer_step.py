"""How long does a step of each optimizer take, next to torch's own with the same options?

The weights of a perceptron of 20 layers, 64 wide: 40 tensors, their gradients set once, so that the
step alone is timed. torch's optimizers run in their multi-tensor form, `foreach=True`; Adam and
AdamW in their fused form too. Rounds are interleaved and ratios are taken round by round, then
their median. Run `taskset -c 1 python benchmarks/optimizer_step.py`.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, field
from typing import Any

import torch
from interleaving import Run, measure
from torch import nn

from torchseq import optimizers


@dataclass
class Task:
    """An optimizer of ours, and torch's with the same options; without one, only a time."""

    ours: str
    options: dict[str, Any] = field(default_factory=dict)
    theirs: str | None = None
    their_options: dict[str, Any] = field(default_factory=dict)
    has_fused: bool = False

    @property
    def name(self) -> str:
        """Class and options."""
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.ours}({options})"


MOMENTUM = {"momentum": 0.9}
TASKS = [
    Task("Adam", theirs="Adam", has_fused=True),
    Task("Adam", {"amsgrad": True}, "Adam", {"amsgrad": True}, has_fused=True),
    Task("AdamW", {"weight_decay": 0.01}, "AdamW", {"weight_decay": 0.01}, has_fused=True),
    Task("SGD", theirs="SGD"),
    Task("SGD", MOMENTUM, "SGD", MOMENTUM),
    Task("SGD", {**MOMENTUM, "nesterov": True}, "SGD", {**MOMENTUM, "nesterov": True}),
    Task("RMSprop", {"rho": 0.9}, "RMSprop", {"alpha": 0.9}),
    Task(
        "RMSprop",
        {"rho": 0.9, **MOMENTUM, "centered": True},
        "RMSprop",
        {"alpha": 0.9, **MOMENTUM, "centered": True},
    ),
    Task("Adamax", theirs="Adamax"),
    Task("Nadam", theirs="NAdam"),
    Task("Adadelta", {"rho": 0.95}, "Adadelta", {"rho": 0.95}),
    Task(
        "Adagrad",
        {"initial_accumulator_value": 0.1},
        "Adagrad",
        {"initial_accumulator_value": 0.1},
    ),
    Task("Ftrl"),
    Task("Lion"),
    Task("Lamb"),
]


def weights() -> list[nn.Parameter]:
    """Return new weights with gradients."""
    layers = [nn.Linear(64, 64) for _ in range(20)]
    params = [param for layer in layers for param in layer.parameters()]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def our_step(task: Task) -> Run:
    """Return the step of torchseq's optimizer."""
    optimizer = getattr(optimizers, task.ours)(0.001, **task.options)
    optimizer.build(weights())
    run: Run = optimizer.step
    return run


def torch_step(task: Task, form: str) -> Run:
    """Return the step of torch's optimizer; `form` is "foreach" or "fused"."""
    make = getattr(torch.optim, task.theirs or "")
    run: Run = make(weights(), lr=0.001, **{form: True}, **task.their_options).step
    return run


def row(task: Task, rounds: int) -> str:
    """Return a task's line of the table."""
    runs = {"ours": our_step(task)}
    if task.theirs:
        runs["foreach"] = torch_step(task, "foreach")
    if task.has_fused:
        runs["fused"] = torch_step(task, "fused")
    seconds = measure(runs, rounds, least_seconds=0.02)
    cells = [f"{1e6 * statistics.median(seconds['ours']):.0f} us"]
    for form in ("foreach", "fused"):
        pairs = zip(seconds["ours"], seconds.get(form, ()), strict=False)
        ratios = [own / their for own, their in pairs]
        cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
    return f"| {task.name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| optimizer | torchseq | / torch's foreach | / torch's fused |")
    print("|---|---|---|---|")
    for task in TASKS:
        print(row(task, rounds), flush=True)


if __name__ == "__main__":
    main()
