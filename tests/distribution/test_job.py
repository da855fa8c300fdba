"""Two processes, over gloo, train as one process does on the joined batches."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
JOB = Path(__file__).with_name("job.py")
KILLED_JOB = Path(__file__).with_name("killed_job.py")
NAMES = re.findall(r"@scenario\ndef (\w+)", JOB.read_text())

pytestmark = pytest.mark.distributed


def free_port() -> int:
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            return int(server.getsockname()[1])
    except OSError as error:
        pytest.skip(f"no sockets here: {error}")


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def start(script: Path, processes: int, **given: str) -> list[subprocess.Popen[str]]:
    """Start the processes as torchrun does, but nobody ends the others when one dies."""
    command = [sys.executable, str(script)]
    if processes == 1:
        places: list[dict[str, str]] = [{}]
    else:
        port = free_port()
        places = [
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            for rank in range(processes)
        ]
    return [
        subprocess.Popen(
            command,
            env=environment(**given, **place),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for place in places
    ]


def finish(jobs: list[subprocess.Popen[str]], seconds: float = 120) -> list[str]:
    try:
        outputs = [job.communicate(timeout=seconds)[0] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    for job, output in zip(jobs, outputs, strict=True):
        assert job.returncode == 0, output
    return outputs


class Ran:
    """Folders and outputs of a run by one process and of one by two."""

    def __init__(self, folder: Path, seed: int):
        self.one, self.two = folder / "one", folder / "two"
        for path in (self.one, self.two):
            path.mkdir()
        finish(start(JOB, 1, JOB_FOLDER=str(self.one), JOB_SEED=str(seed)))
        self.outputs = finish(start(JOB, 2, JOB_FOLDER=str(self.two), JOB_SEED=str(seed)))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("job"), int(time.time()) % 10**6)


def load(path: Path) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_reach_what_one_reaches(name: str, ran: Ran) -> None:
    expected = load(ran.one / f"{name}-0.npz")
    first, second = (load(ran.two / f"{name}-{rank}.npz") for rank in (0, 1))
    assert expected.keys() == first.keys() == second.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(first[key], value, rtol=1e-6, atol=1e-6, err_msg=key)
        np.testing.assert_array_equal(second[key], first[key], err_msg=key)


def test_there_is_a_scenario_for_each_kind_of_data() -> None:
    assert {"arrays", "dataset", "loader", "py_dataset", "generator"} <= set(NAMES)


def test_only_the_first_process_prints_and_writes(ran: Ran) -> None:
    first, second = (output.splitlines() for output in ran.outputs)
    assert any("accuracy:" in line for line in first)
    assert any("Restoring model weights" in line for line in first)
    assert len(second) == 1, second
    assert {line.split()[1] for line in (ran.two / "own.txt").read_text().splitlines()} == {"0"}
    files = [sorted(path.name for path in folder.glob("*.keras")) for folder in (ran.one, ran.two)]
    assert [name[0] for name in files[0]] == [name[0] for name in files[1]]
    assert not list(ran.two.glob(".*"))


def test_one_process_ends_soon_after_another_was_killed(tmp_path: Path) -> None:
    jobs = start(KILLED_JOB, 2, JOB_FOLDER=str(tmp_path), JOB_KIND="stays")
    marker = tmp_path / "training"
    deadline = time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marker.exists()
    begun = time.monotonic()
    jobs[1].send_signal(signal.SIGKILL)
    output = jobs[0].communicate(timeout=60)[0]
    jobs[1].communicate()
    assert jobs[0].returncode not in (0, None)
    assert time.monotonic() - begun < 60
    assert "Error" in output, output


@pytest.mark.slow
def test_torchrun_restarts_a_job_that_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    finish(start(KILLED_JOB, 1, JOB_FOLDER=str(whole), JOB_KIND="never"))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    # More than the one restart that is meant: gloo is now and then refused while it connects anew.
    command += ["--max-restarts", "6", "--master-port", str(free_port()), "--monitor-interval", "1"]
    done = subprocess.run(
        [*command, str(KILLED_JOB)],
        env=environment(JOB_FOLDER=str(killed), JOB_KIND="once"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (killed / "killed").exists()
    expected, found = load(whole / "result.npz"), load(killed / "result.npz")
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-6, atol=1e-6, err_msg=key)
