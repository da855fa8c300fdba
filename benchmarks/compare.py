"""How fast is torchseq beside what people would use instead? One command for the whole table.

Runs torchseq, by default and compiled, beside a hand-written loop over tensors in memory, the usual
DataLoader loop, Keras on each backend, Lightning, skorch and Poutyne, as far as they are installed,
and writes a table, a picture and all figures to `benchmarks/results/`. See README.md for the
method. Run `python benchmarks/compare.py` on a quiet machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from comparison import machine, picture, report
from comparison.contenders import CONTENDERS
from comparison.processes import Place
from comparison.running import Runner, say
from comparison.tasks import chosen

_RESULTS = Path(__file__).parent / "results"
_README = Path(__file__).parents[1] / "README.md"


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default="", help="keys or their beginnings, by commas")
    parser.add_argument("--contenders", default="", help="names, by commas; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1, help="share of the samples")
    parser.add_argument("--cores", choices=("one", "all", "both"), default="one")
    parser.add_argument("--devices", default="", help="cpu, cuda; by default all there are")
    parser.add_argument("--memory", choices=("steady", "system"), default="steady")
    parser.add_argument("--cache", default="", help="folder of compiled code; empty by default")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="folder of the results")
    parser.add_argument("--name", default="compare", help="of the results, after the date")
    parser.add_argument("--readme", action="store_true", help="write the speeds into README.md")
    return parser.parse_args()


def run(settings: argparse.Namespace, device: str, cores: tuple[int, ...]) -> dict[str, Any]:
    """Return all figures of one place."""
    names = [name for name in settings.contenders.split(",") if name] or list(CONTENDERS)
    unknown = sorted(set(names) - set(CONTENDERS))
    if unknown:
        raise SystemExit(f"compare: no contender {unknown}; there are {list(CONTENDERS)}.")
    tasks = chosen([start for start in settings.tasks.split(",") if start])
    folder = tempfile.mkdtemp(prefix="torchseq-compare-")
    cache = settings.cache or f"{folder}/cache"
    place = Place(device, cores, cache, f"{folder}/log", settings.memory == "steady")
    say(f"{device}, core {cores}; what the libraries print is in {place.log}")
    runner = Runner(names, place, settings.rounds, settings.scale)
    start = time.perf_counter()
    try:
        runner.start()
        results = [runner.run(task) for task in tasks if device in task.on_devices]
    finally:
        runner.close()
    return {
        "device": machine.device_name(device),
        "cores": list(cores),
        "seconds": time.perf_counter() - start,
        "absent": runner.absent,
        "versions": runner.versions,
        "results": [result.as_config() | {"title": result.task.title} for result in results],
    }


def main() -> int:
    """Run, and write the results."""
    settings = options()
    available = tuple(sorted(os.sched_getaffinity(0)))
    counts = {"one": [available[-1:]], "all": [available], "both": [available[-1:], available]}
    devices = settings.devices.split(",") if settings.devices else machine.devices()
    runs = [run(settings, device, cores) for device in devices for cores in counts[settings.cores]]
    date = datetime.date.today().isoformat()
    found = {
        "date": date,
        "stem": f"{date}-{settings.name}",
        "machine": machine.name(),
        "python": sys.version.split()[0],
        "command": " ".join(["python", "benchmarks/compare.py", *sys.argv[1:]]),
        "rounds": settings.rounds,
        "load": os.getloadavg()[1],
        "runs": runs,
    }
    settings.out.mkdir(exist_ok=True, parents=True)
    stem = settings.out / found["stem"]
    stem.with_suffix(".json").write_text(json.dumps(found) + "\n")
    text = report.text(found, picture.draw(found, stem.with_suffix(".png")))
    stem.with_suffix(".md").write_text(text)
    print(text)
    if settings.readme:
        _README.write_text(report.with_speeds(_README.read_text(), found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
