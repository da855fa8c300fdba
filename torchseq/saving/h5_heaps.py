"""Finds damage in an HDF5 file on which the HDF5 library would never return.

HDF5 keeps texts in "global heaps": a header, then objects, each with its length. The library
(2.0, in h5py 3.16) steps from object to object without looking whether a step is of no length.

Source: HDF5 File Format Specification, II.A (superblock), III.E (global heap).
"""

from __future__ import annotations

import mmap
import os

from torchseq.base.errors import FileFormatError

_SIGNATURE = b"GCOL"
_HEADER_BYTES = 16  # of a heap, and of each object in it
_SIZES_AT = {0: 13, 1: 13, 2: 9, 3: 9}  # superblock's version -> where it has the sizes' sizes
_VERSION_AT = 8
_WORD_BYTES = 8  # what every file has that Keras, h5py or torchseq wrote


def refuse_endless_heaps(path: str | os.PathLike[str], contents: bytes | None = None) -> None:
    """Checks that all heaps come to an end.

    Args:
        path: the file, for errors.
        contents: the HDF5 file itself, where `path` is an archive around it.

    Raises:
        FileFormatError: one does not, or the file's numbers are not of 8 bytes.
    """
    if contents is not None:
        _check(contents, path)
        return
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _check(data, path)


def _check(data: bytes | mmap.mmap, path: str | os.PathLike[str]) -> None:
    sizes_at = _SIZES_AT.get(data[_VERSION_AT], 0) if len(data) > _HEADER_BYTES else 0
    if not sizes_at or set(data[sizes_at : sizes_at + 2]) != {_WORD_BYTES}:
        raise FileFormatError(
            f"{os.fspath(path)}: an HDF5 file must have numbers of 8 bytes; this one has not. "
            "It is damaged or was not written by Keras or torchseq."
        )
    position = data.find(_SIGNATURE)
    while position >= 0:
        if _is_endless(data, position):
            raise FileFormatError(
                f"{os.fspath(path)}: the heap at byte {position} must come to an end; it does not. "
                "The file is damaged; use another copy."
            )
        position = data.find(_SIGNATURE, position + len(_SIGNATURE))


def _is_endless(data: bytes | mmap.mmap, start: int) -> bool:
    end = min(start + _number(data, start + _WORD_BYTES), len(data))
    position = start + _HEADER_BYTES
    while position + _HEADER_BYTES <= end:
        is_free_space = data[position : position + 2] == b"\0\0"
        length = _number(data, position + _WORD_BYTES)
        padded = _HEADER_BYTES + (length + _WORD_BYTES - 1) // _WORD_BYTES * _WORD_BYTES
        step = (length if is_free_space else padded) % (1 << 64)  # as the library's C computes
        if step == 0:
            return True
        position += step
    return False


def _number(data: bytes | mmap.mmap, position: int) -> int:
    return int.from_bytes(data[position : position + _WORD_BYTES], "little")
