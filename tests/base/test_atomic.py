import contextlib
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from torchseq.base.atomic import atomic_path

OLD, NEW = "the old contents", "the new contents, which are longer"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_text(OLD)
    return path


def save(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text(NEW)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def disk_full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_replaces_the_whole_file_and_leaves_nothing_else(target: Path) -> None:
    save(target)
    assert target.read_text() == NEW
    assert os.listdir(target.parent) == [target.name]


def test_makes_a_new_file_with_the_permissions_of_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("made by open()")
    save(tmp_path / "new")
    assert permissions(tmp_path / "new") == permissions(plain)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_keeps_the_permissions_of_the_old_file(target: Path, mode: int) -> None:
    target.chmod(mode)
    save(target)
    assert permissions(target) == mode


def test_private_file_is_never_readable_by_others_while_written(target: Path) -> None:
    target.chmod(0o600)
    with atomic_path(target) as temporary:
        assert permissions(temporary) & 0o077 == 0


def test_temporary_file_lies_beside_the_target_with_its_suffix(target: Path) -> None:
    with atomic_path(target) as temporary:
        assert (temporary.parent, temporary.suffix) == (target.parent, ".safetensors")
        assert temporary.exists()


def test_accepts_strings_relative_paths_and_the_longest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("short", "long" * 61 + ".weights.h5", "ü" * 120 + ".h5"):
        with atomic_path(name) as temporary:
            temporary.write_text(NEW)
        assert Path(name).read_text() == NEW


def test_link_stays_and_its_file_is_replaced(target: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(target)
    save(link)
    assert link.is_symlink()
    assert target.read_text() == NEW


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_fault_while_writing_leaves_the_old_file(target: Path, error: type[BaseException]) -> None:
    def write_half(temporary: Path) -> None:
        temporary.write_text(NEW[:3])
        raise error

    with pytest.raises(error), atomic_path(target) as temporary:
        write_half(temporary)
    assert target.read_text() == OLD
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("step", ["open", "chmod", "fsync", "replace"])
def test_fault_of_the_system_leaves_the_old_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, step, disk_full)
        with pytest.raises(OSError, match="No space left"):
            save(target)
    assert target.read_text() == OLD
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_fault_with_a_new_name_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(os, step, disk_full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "new")
    assert os.listdir(tmp_path) == []


def test_contents_are_on_the_disk_before_the_rename(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    replace, fsync = os.replace, os.fsync

    def recorded_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def recorded_replace(source: Path, destination: Path) -> None:
        steps.append("rename")
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    save(target)
    assert steps == ["file", "rename", "folder"]


def test_folder_that_cannot_be_synced_is_no_error(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def fsync_of_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync_of_files_only)
    save(target)
    assert target.read_text() == NEW


def test_kill_while_writing_leaves_the_old_file(target: Path) -> None:
    script = f"""
import os, signal
from torchseq.base.atomic import atomic_path
with atomic_path({str(target)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    assert done.returncode < 0
    assert target.read_text() == OLD


def test_first_error_is_the_one_reported(target: Path) -> None:
    def lose(temporary: Path) -> None:
        temporary.unlink()  # now removing it fails as well
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"), atomic_path(target) as temporary:
        lose(temporary)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "model.h5"
    with pytest.raises(FileNotFoundError, match="the folder to write into must exist; .*nowhere"):
        save(target)


def test_folder_as_target_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="must be a file; got a folder"):
        save(tmp_path)


def test_write_protected_file_stays(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The superuser may write anything, so the system's answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match="it is write-protected"):
        save(target)
    assert target.read_text() == OLD


def test_two_writers_do_not_mix(target: Path) -> None:
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(atomic_path(target))
        second = stack.enter_context(atomic_path(target))
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # entered first, so left and renamed last
