"""What contenders train on: data, and a network in Keras's words and in torch's."""

from __future__ import annotations

from comparison.problems import convolutional, dense, recurrent
from comparison.problems.problem import Problem

PROBLEMS = {
    problem.key: problem
    for problem in (*dense.PROBLEMS, *recurrent.PROBLEMS, *convolutional.PROBLEMS)
}


def find(key: str, scale: float = 1) -> Problem:
    """Return a problem by its key, with `scale` times its samples, in whole batches.

    Args:
        key: of `PROBLEMS`, or `perceptron:width,depth,batch,samples` with numbers.
        scale: 1 for the standard run.
    """
    if key.startswith("perceptron:"):
        return dense.perceptron(*map(int, key.removeprefix("perceptron:").split(",")))
    return PROBLEMS[key].scaled(scale)
