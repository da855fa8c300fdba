"""The rows of the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comparison import problems
from comparison.contenders import BASE


@dataclass(frozen=True)
class Task:
    """A row.

    Args:
        key: names it on the command line.
        activity: what is timed, see `activities`; "import" is timed by fresh processes.
        problem: on what, by its key.
        name: in tables; the problem's if empty.
        contenders: who takes part; None means all.
        on_devices: where it is timed.
    """

    key: str
    activity: str
    problem: str
    name: str = ""
    contenders: tuple[str, ...] | None = None
    on_devices: tuple[str, ...] = ("cpu",)

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.name or problems.find(self.problem).name

    def units(self, scale: float) -> int:
        """How many samples, rows or calls a round has."""
        if self.activity in ("fit", "verbose", "evaluate", "predict", "memory"):
            return problems.find(self.problem, scale).num_samples
        return 1


OURS = ("torchseq", "torchseq compiled")
BOTH = ("cpu", "cuda")

FITS = [
    Task(key, "fit", key, on_devices=BOTH)
    for key in ("tiny", "mlp", "gru", "lstm", "convnet", "deep", "resnet", "bilstm")
]

ANSWERS = [
    Task("evaluate", "evaluate", "mlp", "evaluate, MLP, batch 32", on_devices=BOTH),
    Task("predict", "predict", "mlp", "predict, MLP, batch 32", on_devices=BOTH),
    Task("row", "row", "mlp", "predict of one row, MLP", on_devices=BOTH),
]

VERBOSE = [
    Task(f"verbose-{key}", "verbose", key, contenders=OURS, on_devices=BOTH)
    for key in ("tiny", "mlp", "convnet")
]

FILES = [
    Task("save", "save", "mlp", "save the MLP with Adam's state"),
    Task("load", "load", "mlp", "load it"),
]

FRESH = [
    Task("import", "import", "mlp", "import, in a fresh process"),
    Task("memory", "memory", "large-data"),
]

# Where the cost of a step must grow in proportion, or not at all: (axis, size, problem).
GROWTH_POINTS: list[tuple[str, int, str]] = [
    *(("width", width, f"perceptron:{width},2,32,6400") for width in (64, 256, 1024)),
    *(("depth", depth, f"perceptron:64,{depth},32,6400") for depth in (5, 10, 20, 40)),
    *(("batch", batch, f"perceptron:256,2,{batch},{batch * 40}") for batch in (32, 256, 2048)),
    *(("samples", count, f"perceptron:64,2,32,{count}") for count in (3_200, 25_600, 204_800)),
]

GROWTH = [
    Task(f"growth-{axis}-{size}", "fit", problem, contenders=(BASE, *OURS))
    for axis, size, problem in GROWTH_POINTS
]

TENTHS = [
    Task("tenths", "tenths", "perceptron:64,2,32,64000", "tenths of an epoch", contenders=OURS)
]

TASKS = [*FITS, *VERBOSE, *ANSWERS, *FILES, *FRESH, *GROWTH, *TENTHS]


def chosen(wanted: list[str]) -> list[Task]:
    """Return the tasks whose keys begin with one of these; all if there are none.

    Raises:
        ValueError: for a beginning that no key has.
    """
    for start in wanted:
        if not any(task.key.startswith(start) for task in TASKS):
            keys: Any = ", ".join(task.key for task in TASKS)
            raise ValueError(f"compare: no task begins with {start!r}; there are {keys}.")
    return [task for task in TASKS if not wanted or task.key.startswith(tuple(wanted))]
