"""What a file is, by its first bytes: its name may say anything."""

from __future__ import annotations

import os

from torchseq.base.errors import FileFormatError

SAFETENSORS = "safetensors"
HDF5 = "HDF5"
ZIP = "zip"

_HEADER_BYTES = 32
_LENGTH_BYTES = 8  # a safetensors file begins with its header's length, then the header's brace
# First bytes -> what such a file is. The first two are read, the others only named in errors.
_SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": HDF5,
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": "an empty zip archive",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a Python pickle",
    b"version https://git": "a Git LFS pointer; the file itself was not downloaded",
    b"<": "an HTML or XML page",
}


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """Returns `SAFETENSORS`, `HDF5` or `ZIP`.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is something else; says what.
    """
    name = os.fspath(path)
    if not os.path.exists(name):
        raise FileNotFoundError(
            f"{name}: the file to load must exist; it does not. The current folder is {os.getcwd()}"
        )
    if os.path.isdir(name):
        raise _foreign(name, "a folder")
    with open(name, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        raise _foreign(name, "an empty file")
    size = os.path.getsize(name)
    header_bytes = int.from_bytes(header[:_LENGTH_BYTES], "little")
    if header[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{":
        if header_bytes + _LENGTH_BYTES <= size:
            return SAFETENSORS
        raise _foreign(
            name, f"the first {size} bytes of a safetensors file; the rest of it is missing"
        )
    for signature, kind in _SIGNATURES.items():
        if header.startswith(signature):
            if kind in (HDF5, ZIP):
                return kind
            raise _foreign(name, kind)
    is_text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in header)
    raise _foreign(name, f"text that begins with {header.decode()!r}" if is_text else "other bytes")


def _foreign(name: str, found: str) -> FileFormatError:
    return FileFormatError(
        f"{name}: the file must hold a model or weights (.safetensors, .keras, .h5); found "
        f"{found}. Give the path of a file that model.save or model.save_weights wrote."
    )
