"""How much a file may ask for: caps for files that come from strangers.

A file says how large things are, and whoever wrote it may lie. Each cap is far above what real
models need and low enough that reaching it does no harm.
"""

from __future__ import annotations

import json
import os
from typing import Any

from torchseq.base.errors import FileFormatError

JSON_BYTES = 16 << 20
"""Largest configuration in a file. A model of 1,000 layers needs less than 2 MiB."""

JSON_DEPTH = 100
"""Deepest nesting of lists and mappings in it. A nested Sequential adds 4."""

NAME_LIST_BYTES = 1 << 16
"""Largest list of names in one HDF5 attribute; longer lists are split, as HDF5 demands."""

NAME_LIST_PARTS = 10_000
"""Most attributes that one list is split into."""

EXPANSION = 20
"""Most bytes of arrays for a byte of file: weights hardly compress, and Keras does not try."""

EXPANSION_FREE_BYTES = 64 << 20
"""Bytes of arrays that any file may unpack to, so that zeros, which do compress, are fine."""


def parse_json(text: str | bytes, path: str | os.PathLike[str], entry: str) -> Any:
    """Returns what a JSON text in a file says.

    Args:
        text: the JSON; bytes are UTF-8.
        path: the file, for errors.
        entry: where in the file it stands, for errors.

    Raises:
        FileFormatError: it is no JSON, is larger than `JSON_BYTES`, or deeper than `JSON_DEPTH`.
    """
    check_json_size(len(text), path, entry)
    try:
        value = json.loads(text)
    # A digit string can be too long for an int (ValueError), nesting too deep for the parser.
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: entry {entry!r} must be JSON; got text that is none ({error}). "
            "The file is damaged; use another copy."
        ) from error
    if not is_within_depth(value, JSON_DEPTH):
        raise FileFormatError(
            f"{path}: entry {entry!r} must be nested at most {JSON_DEPTH} deep; it is deeper. "
            "The file is damaged or was not written by Keras or torchseq."
        )
    return value


def check_json_size(json_bytes: int, path: str | os.PathLike[str], entry: str) -> None:
    """Checks that a JSON text may be read.

    Raises:
        FileFormatError: it is larger than `JSON_BYTES`.
    """
    if json_bytes > JSON_BYTES:
        raise FileFormatError(
            f"{path}: entry {entry!r} must have at most {JSON_BYTES} bytes; got {json_bytes}. "
            "The file is damaged or was not written by Keras or torchseq."
        )


def is_within_depth(value: Any, depth: int) -> bool:
    """Tells whether lists and mappings are nested at most `depth` deep.

    Examples:
        >>> is_within_depth({"a": [1]}, 2), is_within_depth({"a": [[1]]}, 2)
        (True, False)
    """
    level = [value]
    for _ in range(depth + 1):
        level = [entry for entry in level if isinstance(entry, dict | list)]
        if not level:
            return True
        level = [
            child
            for entry in level
            for child in (entry.values() if isinstance(entry, dict) else entry)
        ]
    return False


def check_total(array_bytes: int, file_bytes: int, path: str | os.PathLike[str]) -> None:
    """Checks that the arrays that a file declares can be what it holds.

    Raises:
        FileFormatError: they would unpack to far more than the file's size explains.
    """
    allowed = max(EXPANSION_FREE_BYTES, EXPANSION * file_bytes)
    if array_bytes > allowed:
        raise FileFormatError(
            f"{path}: the arrays in a file of {file_bytes} bytes must unpack to at most {allowed} "
            f"bytes; they declare {array_bytes}. The file is damaged or made to fill the memory."
        )
