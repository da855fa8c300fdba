"""How fast is `predict`, next to calling the bare torch module?

One row, as a service asks for it, and many rows against a loop that writes into one array. Run
`python benchmarks/predict.py`; rounds are interleaved and medians of their ratios are taken.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial

import numpy as np
import torch
from comparison import problems
from comparison.problems.problem import Problem
from interleaving import Run, measure
from torch import nn


def bare_call(module: nn.Module, row: np.ndarray) -> Run:
    """Return a prediction of one row from NumPy to NumPy."""

    def run() -> object:
        with torch.inference_mode():
            return module(torch.from_numpy(row)).numpy()

    return run


def bare_loop(module: nn.Module, x: np.ndarray, batch_size: int) -> Run:
    """Return a loop over batches that fills one array."""

    def run() -> object:
        with torch.inference_mode():
            batches = torch.from_numpy(x).split(batch_size)
            first = module(batches[0])
            outputs = torch.empty(len(x), *first.shape[1:])
            row = 0
            for batch in batches:
                outputs[row : row + len(batch)].copy_(module(batch))
                row += len(batch)
        return outputs.numpy()

    return run


def torchs_module(problem: Problem, has_images: bool) -> nn.Module:
    """Return torch's form of a problem's network, channels last outside as in Keras."""
    last = nn.Sigmoid() if problem.classes == 1 else nn.Softmax(-1)
    module = nn.Sequential(problem.module(), last)
    return nn.Sequential(_ChannelsFirst(), module) if has_images else module


class _ChannelsFirst(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.permute(0, 3, 1, 2)


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torchseq

    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.rounds} rounds")
    print("| task | rows | bare torch, µs a call | torchseq, rate to bare |\n|---|---|---|---|")
    for problem in map(problems.find, ("tiny", "mlp", "convnet")):
        x, _ = problem.arrays()
        layers = problem.layers(torchseq)
        model = torchseq.Sequential([torchseq.Input(x.shape[1:]), *layers])
        module = torchs_module(problem, x.ndim == 4)
        for rows in (1, len(x)):
            given, size = x[:rows], problem.batch_size
            bare = bare_call(module, given) if rows == 1 else bare_loop(module, given, size)
            runs = {
                "bare": bare,
                "torchseq": partial(model.predict, given, size, 0),
            }
            seconds = measure(runs, arguments.rounds, least_seconds=0.2)
            pairs = zip(seconds["bare"], seconds["torchseq"], strict=True)
            ratio = statistics.median(theirs / ours for theirs, ours in pairs)
            call = statistics.median(seconds["bare"]) * 1e6
            print(f"| {problem.name} | {rows:,} | {call:,.0f} | {ratio:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
