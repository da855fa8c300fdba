"""The comparison of `benchmarks/compare.py` runs; speed itself is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

COMPARE = Path(__file__).parents[1] / "benchmarks" / "compare.py"


def test_loop_and_torchseq_are_compared(tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(COMPARE), "--tasks", "tiny,row", "--rounds", "2"),
        *("--contenders", "in-memory loop,torchseq", "--scale", "0.02"),
        *("--devices", "cpu", "--out", str(tmp_path), "--name", "small"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (figures,) = tmp_path.glob("*-small.json")
    tiny, row = json.loads(figures.read_text())["runs"][0]["results"]
    for result in (tiny, row):
        assert not result["failures"]
        assert set(result["figures"]) == {"in-memory loop", "torchseq"}
        rounds = [seconds for each in result["figures"].values() for seconds in each]
        assert len(rounds) == 4
        assert all(seconds > 0 for (seconds,) in rounds)
    assert all(len(losses) == 3 for losses in tiny["losses"].values())  # a warm-up and two rounds
    (page,) = tmp_path.glob("*-small.md")
    assert "| tiny 20-64-64-1, batch 32 | CPU | 1 (" in page.read_text()


def test_a_contender_that_is_not_known_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(COMPARE), "--contenders", "hand", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "compare: no contender ['hand']; there are ['in-memory loop', " in done.stderr
