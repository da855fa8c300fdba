"""How fast are recurrent layers, next to torch's own modules and Keras on torch?

One forward and backward pass over (32, 100, 128) with 64 units, with and without a mask. All take
the same input in the same process. Rounds are interleaved and medians are taken of the ratios
within a round, since the machine's speed drifts. Run `python benchmarks/recurrent.py`; pin it to a
core with `taskset -c 1`.

torch's module takes no mask. Beside the masked rows stand the module on the whole sequences, which
computes something else in the same number of steps, and on packed ones, which is torch's way.
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

BATCH, TIME, FEATURES, UNITS = 32, 100, 128, 64


@dataclass
class Task:
    """A layer, by torchseq's and by torch's name, and how its input is masked."""

    layer: str
    module: type[nn.RNNBase]
    mask: str | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.layer}({UNITS})" + (f", {self.mask} mask" if self.mask else "")


TASKS = [
    Task(layer, module, mask)
    for layer, module in (("LSTM", nn.LSTM), ("GRU", nn.GRU), ("SimpleRNN", nn.RNN))
    for mask in (None, "right-padded", "left-padded", "random")
]


def mask_of(task: Task) -> Tensor | None:
    """Return a mask, (batch, time), in which about half of the steps are False."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, TIME + 1, (BATCH, 1), generator=generator)
    masks = {
        None: None,
        "right-padded": torch.arange(TIME) < lengths,
        "left-padded": torch.arange(TIME) >= TIME - lengths,
        "random": torch.rand(BATCH, TIME, generator=generator) < 0.5,
    }
    return masks[task.mask]


def layer_run(layer: Callable[..., Tensor], x: Tensor, mask: Tensor | None) -> Run:
    """Return a pass of torchseq's or Keras's layer."""
    options = {} if mask is None else {"mask": mask}
    return lambda: layer(x, training=True, **options).sum().backward()


def packed_run(module: nn.RNNBase, x: Tensor, mask: Tensor) -> Run:
    """Return a pass of torch's module over packed sequences."""
    lengths = mask.sum(1)

    def run() -> None:
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
        outputs.sum().backward()

    return run


def contenders(task: Task, with_keras: bool) -> dict[str, Run]:
    """Return name -> one forward and backward pass."""
    import torchseq

    torch.manual_seed(0)
    x, mask = torch.randn(BATCH, TIME, FEATURES, requires_grad=True), mask_of(task)
    module = task.module(FEATURES, UNITS, batch_first=True)
    ours = getattr(torchseq.layers, task.layer)(UNITS, return_sequences=True)
    runs = {
        "torch, no mask": lambda: module(x)[0].sum().backward(),
        "torchseq": layer_run(ours.train(), x, mask),
    }
    if task.mask == "right-padded":
        runs["torch, packed"] = packed_run(module, x, mask)
    if with_keras:
        import keras

        theirs = getattr(keras.layers, task.layer)(UNITS, return_sequences=True)
        runs["Keras on torch"] = layer_run(theirs, x, mask)
    return runs


def table_row(task: Task, seconds: dict[str, list[float]], columns: list[str]) -> str:
    """Return the medians of the times relative to torch's module, taken round by round."""
    base = seconds["torch, no mask"]
    cells = [f"1 ({1000 * statistics.median(base):.1f} ms)"]
    for name in columns[2:]:
        pairs = zip(seconds.get(name, []), base, strict=False)
        ratios = [value / other for value, other in pairs]
        cells.append(f"{statistics.median(ratios):.2f}" if ratios else "")
    return f"| {task.name} | " + " | ".join(cells) + " |"


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-keras", action="store_true")
    parser.add_argument("--only", default="", help="substring of the tasks to run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns = ["task", "torch, no mask", "torchseq", "torch, packed"]
    if not arguments.no_keras:
        columns += ["Keras on torch"]
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.rounds} rounds")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for task in TASKS:
        if arguments.only in task.name:
            runs = contenders(task, not arguments.no_keras)
            seconds = measure(runs, arguments.rounds)
            print(table_row(task, seconds, columns), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
