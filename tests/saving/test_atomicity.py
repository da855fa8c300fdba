"""Faults while saving: the file that was there stays, and nothing else appears."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.saving import samples


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Lets no file of this process grow beyond `size` bytes; writes then fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def failing(error: BaseException) -> Any:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    return fail


@pytest.fixture
def model(rng: np.random.Generator) -> Any:
    made = samples.mlp()
    return samples.trained(made, *samples.data(made, rng))


@pytest.mark.parametrize(("saver", "suffix"), samples.FILES)
def test_a_full_disk_at_any_byte(saver: str, suffix: str, model: Any, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    getattr(model, saver)(path)
    size = path.stat().st_size
    before = samples.contents(tmp_path)
    for limit in [*range(0, size, max(1, size // 12)), size - 1]:
        with pytest.raises(OSError, match="(?i)file too large|cannot be written"):  # noqa: SIM117
            with disk_full_after(limit):
                getattr(model, saver)(path)
        assert samples.contents(tmp_path) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(("saver", "suffix"), samples.FILES)
def test_a_fault_at_sync_and_rename(
    suffix: str,
    saver: str,
    step: str,
    error: BaseException,
    model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(os, step, failing(error))
    with pytest.raises(type(error)):
        getattr(model, saver)(path)
    assert samples.contents(tmp_path) == {path.name: b"what was there"}


@pytest.mark.parametrize("suffix", samples.MODELS)
def test_a_model_that_cannot_be_written_leaves_the_file(
    suffix: str, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"what was there")
    monkeypatch.setattr(type(model), "get_config", failing(TypeError("no config")))
    with pytest.raises(TypeError, match="no config"):
        model.save(path)
    assert samples.contents(tmp_path) == {path.name: b"what was there"}
