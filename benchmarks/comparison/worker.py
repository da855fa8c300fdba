"""The process of one contender: answers requests, lines of JSON, one after the other.

`python -m comparison.worker NAME DEVICE` reads requests from its standard input and writes answers
to what was its standard output; whatever the libraries print goes to its standard error.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import traceback
from typing import Any

from comparison import activities, problems
from comparison.contenders import CONTENDERS
from comparison.contenders.contender import Contender


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    service = Service(CONTENDERS[sys.argv[1]], sys.argv[2])
    for line in sys.stdin:
        print(json.dumps(service.answer(json.loads(line))), file=answers, flush=True)


class Service:
    """Does what requests say.

    Args:
        contender: whose process this is.
        device: "cpu" or "cuda".
    """

    def __init__(self, contender: Contender, device: str):
        self._contender = contender
        self._device = device
        self._ready: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer; `{"error": ...}` if something was raised."""
        try:
            return getattr(self, request.pop("do"))(**request)
        except activities.NotOfferedError:
            return {"not_offered": True}
        except Exception as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}".splitlines()[0]}

    def start(self, threads: int) -> dict[str, Any]:
        """Import, and tell the versions."""
        for module in self._contender.modules:
            importlib.import_module(module)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        versions = {}
        for package in self._contender.packages:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:  # run from its checkout
                versions[package] = getattr(sys.modules.get(package), "__version__", "?")
        return {"versions": versions, "has_device": self._has_device()}

    def _has_device(self) -> bool:
        if self._device == "cpu":
            return True
        if "jax" in sys.modules:
            return any(device.platform == "gpu" for device in sys.modules["jax"].devices())
        if "tensorflow" in sys.modules:
            return bool(sys.modules["tensorflow"].config.list_physical_devices("GPU"))
        return bool(sys.modules["torch"].cuda.is_available())

    def warm(self) -> dict[str, Any]:
        """Train something, so that what libraries load late counts in no task's first step."""
        problem = problems.find("perceptron:4,1,4,8")
        session = self._contender.session(problem, self._device)
        session.fit(session.data(*problem.arrays()))
        return {}

    def prepare(self, activity: str, problem: str, scale: float) -> dict[str, Any]:
        """Make a session ready; the one before is dropped."""
        self._ready = None
        found = problems.find(problem, scale)
        self._ready = activities.prepare(activity, self._contender, found, self._device)
        return {"first_seconds": self._ready.first_seconds}

    def round(self) -> dict[str, Any]:
        """Do one round."""
        return {"figures": self._ready.round(), "losses": self._ready.losses}


if __name__ == "__main__":
    main()
