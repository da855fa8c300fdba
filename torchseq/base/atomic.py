"""Files that are either the old one or the whole new one, whatever happens while writing."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

# Part of the name that the temporary file takes over; the rest of the 255 bytes that a file
# system allows is room for the token and the suffix, at four bytes a character.
_KEPT_CHARACTERS = 40
_NEW_FILE = 0o666  # as open() asks for; the umask takes away what it must
_OWNER = stat.S_IRUSR | stat.S_IWUSR  # needed while writing, whatever the old file's mode


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields the path of an empty file to write; it takes the target's place on success.

    The temporary file lies in the target's folder and has the target's suffix. When the block
    ends, it is flushed to the disk and renamed over the target in one step. When the block, the
    flush or the rename fails, it is removed and the target is what it was. A link is followed:
    the file it points to is replaced, and the link stays.

    Permissions are those of the file that is replaced, or what the umask allows for a new one.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: the folder is missing, the disk is full, the target is write-protected, ...

    Examples:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp(), "notes.txt")
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("all or nothing")
        >>> target.read_text()
        'all or nothing'
    """
    target = Path(os.path.realpath(path))
    old_mode = _mode_to_keep(target)
    temporary = _create_beside(target, _NEW_FILE if old_mode is None else old_mode | _OWNER)
    try:
        yield temporary
        _flush(temporary, old_mode)
        os.replace(temporary, target)
    except BaseException:  # an interrupt must not leave half a file behind either
        with contextlib.suppress(OSError):  # what went wrong first is what the user must see
            temporary.unlink()
        raise
    _flush_folder(target.parent)


def _mode_to_keep(target: Path) -> int | None:
    """Returns the permission bits of the file that will be replaced, None if there is none."""
    if not target.exists():
        return None
    if target.is_dir():
        raise IsADirectoryError(
            f"{target}: the path to write must be a file; got a folder. Choose another name."
        )
    # A rename needs no right to write the file it replaces, so ask for it here as open() would.
    if not os.access(target, os.W_OK):
        raise PermissionError(
            f"{target}: the file to replace must be writable; it is write-protected. "
            "Choose another name or allow writing to it."
        )
    return stat.S_IMODE(target.stat().st_mode)


def _create_beside(target: Path, mode: int) -> Path:
    """Creates an empty file in the target's folder under a name that nobody has."""
    token = secrets.token_hex(8)
    temporary = target.with_name(f".{target.stem[:_KEPT_CHARACTERS]}-{token}{target.suffix}")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{target}: the folder to write into must exist; {target.parent} does not. "
            "Make it first."
        ) from error
    os.close(descriptor)
    return temporary


def _flush(path: Path, mode: int | None) -> None:
    """Gives the file its permission bits and waits until its contents are on the disk."""
    if mode is not None:
        path.chmod(mode)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Waits until the rename is on the disk too, where the system offers that."""
    # By now the new file is in place. A folder that cannot be flushed (Windows, some network
    # file systems) only means that after a power cut the old file may be back, whole.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
