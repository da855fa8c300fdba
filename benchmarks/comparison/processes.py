"""Worker processes, and on which cores they run."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison.contenders.contender import Contender

_FOLDER = Path(__file__).parent.parent
_TIMEOUT_SECONDS = 600

# By default glibc gives large blocks back to the system and fetches them anew, thousands of pages
# in a step, depending on what else happens to lie in memory. Then two processes of the same program
# differ by as much as 1.4 times (convnet). So that the ratio is that of the programs, all keep what
# they have.
_STEADY_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


@dataclass(frozen=True)
class Place:
    """Where workers run.

    Args:
        device: "cpu" or "cuda".
        cores: of the host, by number; as many threads as there are cores.
        cache: folder for compiled code.
        log: file for what workers print.
        has_steady_memory: let the C library keep freed memory for the process.
    """

    device: str
    cores: tuple[int, ...]
    cache: str
    log: str
    has_steady_memory: bool = True

    def environment(self, contender: Contender) -> dict[str, str]:
        """Return the variables of a worker."""
        threads = str(len(self.cores))
        variables = {
            **os.environ,
            **contender.environment(),
            "PYTHONPATH": os.pathsep.join([str(_FOLDER), str(_FOLDER.parent)]),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TF_NUM_INTRAOP_THREADS": threads,
            "TF_NUM_INTEROP_THREADS": threads,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TORCHINDUCTOR_CACHE_DIR": self.cache,
        }
        if self.device == "cpu":
            variables |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        if self.has_steady_memory:
            variables |= _STEADY_MEMORY
        if threads == "1":
            variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        return variables


def missing(contender: Contender) -> list[str]:
    """Return the modules that a contender needs and this Python has not."""
    needed = dict.fromkeys((*contender.modules, *contender.packages))
    sys.path.append(str(_FOLDER.parent))  # torchseq from its checkout
    try:
        return [name for name in needed if importlib.util.find_spec(name) is None]
    finally:
        sys.path.pop()


def start(command: list[str], contender: Contender, place: Place, **options: Any) -> Any:
    """Start a process on a place's cores."""
    cores = set(place.cores)
    return subprocess.Popen(
        command,
        env=place.environment(contender),
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        **options,
    )


class WorkerError(Exception):
    """A worker ended, or was ended because it took too long."""


class Worker:
    """The process of a contender.

    Args:
        contender: who trains there.
        place: where it runs.

    Raises:
        WorkerError: if it does not start.
    """

    def __init__(self, contender: Contender, place: Place):
        self.name = contender.name
        command = [sys.executable, "-m", "comparison.worker", contender.name, place.device]
        with Path(place.log).open("ab") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self._process = start(command, contender, place, **pipes)
        answer = self.ask(do="start", threads=len(place.cores))
        if "error" in answer:
            self.close()
            raise WorkerError(answer["error"])
        self.versions: Mapping[str, str] = answer["versions"]
        self.has_device: bool = answer["has_device"]

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            WorkerError: if the process ended or is not done in ten minutes.
        """
        process = self._process
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], _TIMEOUT_SECONDS)[0]:
            process.kill()
            raise WorkerError(f"not done after {_TIMEOUT_SECONDS} s")
        line = process.stdout.readline()
        if not line:
            raise WorkerError(f"ended with status {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
