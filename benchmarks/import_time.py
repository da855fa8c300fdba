"""What does `import torchseq` cost over `import torch`?

Starts fresh interpreters in turn and takes medians. Run `python benchmarks/import_time.py`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

_CODE = """
import time
import torch
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def seconds(module: str) -> float:
    """Return how long importing `module` takes after torch, in a fresh interpreter."""
    command = [sys.executable, "-c", _CODE.format(module=module)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Print the median and the spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    seconds("torchseq")  # compiles the byte code
    times = [seconds("torchseq") for _ in range(rounds)]
    print(
        f"import torchseq after import torch: median {statistics.median(times):.3f} s "
        f"({min(times):.3f} to {max(times):.3f} s, {rounds} rounds)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
