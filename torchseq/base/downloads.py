"""Downloads into Keras's cache folder: with progress, checked, and never half done."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from tqdm.auto import tqdm

from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError

_CHUNK_BYTES = 1 << 16
_TIMEOUT_SECONDS = 30.0


def cache_folder(subfolder: str = "datasets") -> Path:
    """Returns where downloaded files are kept: `$KERAS_HOME` or `~/.keras`, as in Keras."""
    home = os.environ.get("KERAS_HOME")
    return Path(home or Path("~", ".keras")).expanduser() / subfolder


def get_file(name: str, origin: str, sha256: str, advice: str = "") -> Path:
    """Returns the cached file of that name, downloaded first if there is none.

    A file that is there is taken as it is, without a look at its bytes: whether its contents
    are right is for the caller to say, who knows what they mean.

    Args:
        name: file name in the cache folder, without any folder.
        origin: the address to download from.
        sha256: checksum of the file at `origin`, in hexadecimal digits.
        advice: what else the user can do without a network; ends the error message.

    Raises:
        ValueError: `name` is not a plain file name.
        OSError: the download failed; nothing is left behind.
        FileFormatError: what came is not the file that the checksum describes.

    Source: keras.utils.get_file. Not offered: archives, other checksums; a cache folder that
        cannot be written is an error here, where Keras goes to a shared folder under /tmp.
    """
    if name in {"", ".", ".."} or Path(name).name != name:
        raise ValueError(
            f"get_file: the name must be a plain file name; got {name!r}. "
            "Set the environment variable KERAS_HOME to keep files in another folder."
        )
    path = cache_folder() / name
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download(origin, path, sha256)
    # http.client reports a broken answer by an error of its own, which is no OSError.
    except (OSError, http.client.HTTPException) as error:
        raise OSError(
            f"{name}: the file must be in the cache or come from the network; {path} does not "
            f"exist and {origin} failed: {_reason(error)}. "
            f"Put a copy of {name} at {path}. {advice}".rstrip()
        ) from error
    return path


def download(origin: str, path: Path, sha256: str) -> None:
    """Downloads one file with a progress bar; it appears under its name only when it is right.

    Raises:
        OSError: no answer within the timeout, an answer that is no success, or a short one.
        FileFormatError: the checksum is another.
    """
    with _open(origin) as response, atomic_path(path) as temporary:
        length = response.headers.get("Content-Length")
        total_bytes = int(length) if length is not None and length.isdecimal() else None
        with temporary.open("wb") as file:
            received_bytes, received_sha256 = _copy(response, file, total_bytes, path.name)
        if total_bytes is not None and received_bytes != total_bytes:
            raise ConnectionError(
                f"the connection ended after {received_bytes} of {total_bytes} bytes"
            )
        if received_sha256 != sha256.lower():
            raise FileFormatError(
                f"{path.name}: the download from {origin} must have sha256 {sha256}; "
                f"got {received_sha256}. Try again, or put a good copy at {path}."
            )


def _open(origin: str) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            origin, timeout=_TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection, and lives as long as the traceback does
        raise
    return response


def _copy(
    source: IO[bytes], target: IO[bytes], total_bytes: int | None, title: str
) -> tuple[int, str]:
    """Copies a stream under a progress bar and returns its length and sha256."""
    checksum = hashlib.sha256()
    received_bytes = 0
    with tqdm(
        desc=f"Downloading {title}", total=total_bytes, unit="B", unit_scale=True, unit_divisor=1024
    ) as progress:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(chunk)
            checksum.update(chunk)
            received_bytes += len(chunk)
            progress.update(len(chunk))
    return received_bytes, checksum.hexdigest()


def _reason(error: Exception) -> str:
    """Returns the error in words; some errors of the network have no text of their own."""
    return str(error) or type(error).__name__
