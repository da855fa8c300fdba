"""What does `import torchseq` cost over `import torch`?

Starts fresh interpreters in turn and takes medians; with byte code cached, as pip leaves it, and
without. Run `python benchmarks/import_time.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

_CODE = """
import time
import torch
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def seconds(module: str, cache: str | None) -> float:
    """Return how long importing `module` takes after torch, in a fresh interpreter.

    Args:
        module: its name.
        cache: folder for byte code; None to compile each time.
    """
    command = [sys.executable, "-c", _CODE.format(module=module)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    if cache is None:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment["PYTHONPYCACHEPREFIX"] = cache or os.devnull
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def main() -> int:
    """Print the medians and the spreads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        seconds("torchseq", folder)  # fills the cache
        for label, cache in (("cached", folder), ("compiled each time", None)):
            times = [seconds("torchseq", cache) for _ in range(rounds)]
            print(
                f"import torchseq after import torch, byte code {label}: "
                f"median {statistics.median(times):.3f} s "
                f"({min(times):.3f} to {max(times):.3f} s, {rounds} rounds)"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
