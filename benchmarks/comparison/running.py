"""Times the chosen tasks: the contenders' rounds interleaved, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from comparison import figures, processes
from comparison.contenders import CONTENDERS
from comparison.processes import Place, Worker, WorkerError
from comparison.tasks import OURS, Task


@dataclass
class Result:
    """What a task gave.

    Args:
        task: which one.
        device: "cpu" or "cuda".
        units: samples, rows or calls in a round.
        figures: contender -> round -> figures of the activity, mostly one time in seconds.
        first_seconds: contender -> seconds to the end of the first step; in "memory" from the
            start of the process.
        losses: contender -> mean loss of each epoch.
        failures: contender -> what was raised.
    """

    task: Task
    device: str
    units: int
    figures: dict[str, list[list[float]]] = field(default_factory=dict)
    first_seconds: dict[str, float] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def as_config(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


class Runner:
    """Has the workers of one place.

    Args:
        names: of the contenders that may take part.
        place: where they run.
        rounds: how often each is timed.
        scale: share of the standard number of samples.
    """

    def __init__(self, names: Iterable[str], place: Place, rounds: int, scale: float):
        self._place = place
        self._rounds = rounds
        self._scale = scale
        self._names = [name for name in names if place.device in CONTENDERS[name].devices]
        self._workers: dict[str, Worker] = {}
        self.absent: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def start(self) -> None:
        """Start the workers that can be had."""
        for name in self._names:
            lacking = processes.missing(CONTENDERS[name])
            if lacking:
                self.absent[name] = f"not installed: {', '.join(lacking)}"
                continue
            try:
                worker = Worker(CONTENDERS[name], self._place)
                failure = worker.ask(do="warm").get("error") if worker.has_device else None
            except WorkerError as error:
                self.absent[name] = str(error)
                continue
            if failure is not None:
                worker.close()
                self.absent[name] = failure
            elif worker.has_device:
                self._workers[name] = worker
                self.versions |= worker.versions
            else:
                worker.close()
                self.absent[name] = f"does not see the device {self._place.device}"
        for name, reason in self.absent.items():
            say(f"without {name}: {reason}")

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers.values():
            worker.close()

    def run(self, task: Task) -> Result:
        """Time a task."""
        result = Result(task, self._place.device, task.units(self._scale))
        names = [name for name in self._workers if not task.contenders or name in task.contenders]
        start = time.perf_counter()
        if task.activity == "import":
            self._imports(names, result)
        elif task.activity == "memory":
            self._memory(names, result)
        else:
            workers = self._prepared({name: self._workers[name] for name in names}, result)
            turns(workers, self._rounds, lambda name: self._round(workers[name], result))
        say(f"{task.key}: {time.perf_counter() - start:.0f} s{_first_look(result)}")
        return result

    def _prepared(self, workers: Mapping[str, Worker], result: Result) -> dict[str, Worker]:
        """Let workers warm up; return those that can."""
        task, ready = result.task, {}
        for name, worker in workers.items():
            request = {"activity": task.activity, "problem": task.problem, "scale": self._scale}
            answer = self._ask(worker, result, do="prepare", **request)
            if "first_seconds" in answer:
                result.first_seconds[name] = answer["first_seconds"]
                ready[name] = worker
        return ready

    def _round(self, worker: Worker, result: Result) -> None:
        if worker.name in result.failures:
            return
        answer = self._ask(worker, result, do="round")
        if "figures" in answer:
            result.figures.setdefault(worker.name, []).append(answer["figures"])
            result.losses[worker.name] = answer["losses"]

    def _ask(self, worker: Worker, result: Result, **request: Any) -> dict[str, Any]:
        try:
            answer = worker.ask(**request)
        except WorkerError as error:
            answer = {"error": str(error)}
            if self._workers.get(worker.name) is worker:
                del self._workers[worker.name]
        if "error" in answer:
            result.failures[worker.name] = answer["error"]
            say(f"{result.task.key}, {worker.name}: {answer['error']}")
        return answer

    def _memory(self, names: list[str], result: Result) -> None:
        """Measure each in a process that did nothing before."""
        place = replace(self._place, has_steady_memory=False)
        for name in names:
            start = time.perf_counter()
            worker = Worker(CONTENDERS[name], place)
            import_seconds = time.perf_counter() - start
            if self._prepared({name: worker}, result):
                result.first_seconds[name] += import_seconds
                self._round(worker, result)
            worker.close()

    def _imports(self, names: list[str], result: Result) -> None:
        """Time fresh interpreters that do nothing but import."""

        def once(name: str) -> None:
            contender = CONTENDERS[name]
            command = [sys.executable, "-c", f"import {', '.join(contender.modules)}"]
            start = time.perf_counter()
            quiet = {"stderr": subprocess.DEVNULL}
            status = processes.start(command, contender, self._place, **quiet).wait()
            if status:
                result.failures[name] = f"the import ended with status {status}"
            result.figures.setdefault(name, []).append([time.perf_counter() - start])

        distinct = [name for name in names if name not in ("torchseq compiled", "DataLoader loop")]
        turns(distinct, self._rounds, once)


def turns(names: Iterable[str], rounds: int, run: Any) -> None:
    """Call `run(name)` for all, round by round, in an order that turns back and forth.

    So whoever stands next to another runs next to it in each round, when the machine's speed has
    hardly changed.
    """
    order = list(names)
    for _ in range(rounds):
        for name in order:
            run(name)
        order.reverse()


def _first_look(result: Result) -> str:
    """Return the speeds of ours, as multiples of the base, to watch while a run goes on."""
    found = [(name, figures.ratio(result.as_config(), name)) for name in OURS]
    known = [f"{name} {ratio:.2f}" for name, ratio in found if ratio is not None]
    return "".join(f", {each}" for each in known)


def say(line: str) -> None:
    """Tell how the run goes on."""
    print(line, file=sys.stderr, flush=True)
