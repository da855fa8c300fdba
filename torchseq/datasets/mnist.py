"""MNIST: 70000 handwritten digits of 28x28 pixels, downloaded once."""

import hashlib
import math
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchseq.base.downloads import get_file
from torchseq.base.errors import FileFormatError

__all__ = ["load_data"]

Samples = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class Expected(NamedTuple):
    """What an array of the file must be: its shape, and the sha256 of its bytes in C order."""

    shape: tuple[int, ...]
    sha256: str


ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
# Of the file at ORIGIN. A copy zipped elsewhere has other bytes and the same arrays.
ORIGIN_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
ARRAYS = {
    "x_train": Expected(
        (60000, 28, 28), "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
    ),
    "y_train": Expected(
        (60000,), "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"
    ),
    "x_test": Expected(
        (10000, 28, 28), "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161"
    ),
    "y_test": Expected(
        (10000,), "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"
    ),
}
# An entry is its array and a header; numpy writes headers of 128 bytes and reads up to 10000.
_HEADER_BYTES = 16384


def load_data(path: str = "mnist.npz") -> tuple[Samples, Samples]:
    """Loads MNIST, from the cache folder or, the first time, from the network.

    A file that is in the cache folder already is accepted by its contents: the four arrays with
    their shapes, types and values, however it was zipped.

    Args:
        path: file name in the cache folder, `$KERAS_HOME/datasets` or `~/.keras/datasets`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, images `(samples, 28, 28)` with values from 0 to
        255 and labels `(samples,)` from 0 to 9, all uint8; 60000 to train on and 10000 to test.

    Raises:
        OSError: there is no such file and it cannot be downloaded.
        FileFormatError: the file is not MNIST; the message says what differs.

    Source: keras.datasets.mnist.load_data. The data is by Y. LeCun and C. Cortes, licensed
        CC BY-SA 3.0. Keras compares the checksum of the file, not of the arrays in it.
    """
    file = get_file(
        path,
        ORIGIN,
        ORIGIN_SHA256,
        advice="Or use torchseq.datasets.digits, a smaller set that needs no download.",
    )
    arrays = _read(file)
    for name, array in arrays.items():
        _check_values(file, name, array)
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


def _read(file: Path) -> dict[str, NDArray[np.uint8]]:
    """Reads the four arrays and nothing else; a file from a stranger can do no harm here."""
    try:
        with zipfile.ZipFile(file) as archive:
            _check_entries(file, archive)
        # Pickled objects run code when they are read, so they are never read.
        with np.load(file, allow_pickle=False) as entries:
            return {name: entries[name] for name in ARRAYS}
    except FileFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, MemoryError) as error:
        raise _wrong(
            file, "the file must be a whole .npz of plain arrays", f"reading it failed: {error}"
        ) from error


def _check_entries(file: Path, archive: zipfile.ZipFile) -> None:
    """Checks names and unpacked sizes before unpacking: a small zip can hold endless zeros."""
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    for name, expected in ARRAYS.items():
        size_bytes = sizes.get(f"{name}.npy")
        if size_bytes is None:
            held = ", ".join(sorted(entry.removesuffix(".npy") for entry in sizes)) or "nothing"
            raise _wrong(file, f"the file must hold {', '.join(ARRAYS)}", f"it holds {held}")
        # Eight bytes a value: room for a wrong dtype, which has a better message of its own.
        if size_bytes > math.prod(expected.shape) * 8 + _HEADER_BYTES:
            raise _wrong(file, _describe(name), f"got an entry of {size_bytes} bytes")


def _check_values(file: Path, name: str, array: NDArray[np.uint8]) -> None:
    """Checks one array's type, shape and values."""
    expected = ARRAYS[name]
    if array.dtype != np.uint8 or array.shape != expected.shape:
        raise _wrong(file, _describe(name), f"got {array.dtype} of shape {array.shape}")
    sha256 = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    if sha256 != expected.sha256:
        must = f"the values of {name} must have sha256 {expected.sha256}"
        raise _wrong(file, must, f"got {sha256}")


def _describe(name: str) -> str:
    return f"{name} must be uint8 of shape {ARRAYS[name].shape}"


def _wrong(file: Path, must: str, came: str) -> FileFormatError:
    return FileFormatError(
        f"{file}: {must}; {came}. "
        "Delete the file to download it again, or put a right copy in its place."
    )
