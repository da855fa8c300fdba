"""What the figures were measured on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def name() -> str:
    """Return the processor and the number of cores."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores"


def devices() -> list[str]:
    """Return "cpu", and "cuda" where there is a GPU."""
    return ["cpu", "cuda"] if _gpu() else ["cpu"]


def device_name(device: str) -> str:
    """Return what tables call a device."""
    return _gpu() or "cuda" if device == "cuda" else "CPU"


def _gpu() -> str:
    """Return the first GPU's name, without importing anything heavy; "" if there is none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""
