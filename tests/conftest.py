"""Fixtures of the tests: seeds that a failure report can repeat, and a report on sizes."""

import gc
import os
import random
import re
import secrets
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

SEED_VARIABLE = "TORCHSEQ_TEST_SEED"
RUN_SEED = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(31))
REPORT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs where their tests were not asked for: the others expect new weights on the CPU."""
    if not re.search(r"(?<!not )\bgpu\b", config.option.markexpr):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_report_header() -> str:
    return f"seed: {RUN_SEED} (repeat this run with {SEED_VARIABLE}={RUN_SEED})"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number that is new in each run and for each test, the same alone and among others."""
    return zlib.crc32(f"{RUN_SEED} {request.node.nodeid}".encode())


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def seeded_globals(seed: int) -> None:
    """Seeds the global generators, so that a failed test fails again with the run's seed."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections.append(("seed", f"repeat with {SEED_VARIABLE}={RUN_SEED}"))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and pytest -m gpu"))


@pytest.fixture
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are shown at the end of the run, whether tests fail or not."""
    return request.config.stash.setdefault(REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section("reports")
        terminalreporter.write_line("\n".join(lines))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what collection made from the garbage collector, which Keras calls in many tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> None:
    """Do the same with what other files' tests left: a collection would take a second at last."""
    gc.collect()
    gc.freeze()
