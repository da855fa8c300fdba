"""Reads HDF5 files from strangers: plain groups, plain datasets, names and texts; nothing else.

HDF5 can point to other files, make up arrays from other datasets, declare arrays that it does not
hold, and load filter plug-ins. None of that is in a file of weights, so none of it is followed.

Source: https://support.hdfgroup.org/documentation/hdf5/latest/ (links, storage, filters).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from torchseq.base.errors import FileFormatError
from torchseq.base.optional import require
from torchseq.saving import h5_heaps, limits
from torchseq.saving.assignment import Source

_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}  # HDF5's registered numbers
_FLOATING = ("float16", "float32", "float64")
_INTEGER = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DTYPES = frozenset({"bool", *_FLOATING, *_INTEGER})
_OPAQUE = np.dtype("V2")  # how Keras writes bfloat16, which HDF5 has no type for
_NAME_DEPTH = 64  # folders in a weight's path; each nested model adds one


class H5Reader:
    """An open HDF5 file and what may be asked of it.

    Args:
        file: what h5py opened.
        path: its path, for errors.
        file_bytes: its size.
    """

    def __init__(self, file: Any, path: str, file_bytes: int):
        self.root = file
        self.path = path
        self._file_bytes = file_bytes
        self._array_bytes: dict[str, int] = {}  # entry -> bytes; each counts once

    def group(self, parent: Any, name: str) -> Any:
        """Returns the group `name` below `parent`.

        Raises:
            FileFormatError: there is none, or it is reached by a link.
        """
        return self._child(parent, name, is_group=True)

    def find_group(self, parent: Any, name: str) -> Any:
        """Returns the group `name` below `parent`, None if there is none.

        Raises:
            FileFormatError: it is reached by a link.
        """
        with self._readable(name):
            is_there = name in parent
        return self.group(parent, name) if is_there else None

    def entries(self, group: Any) -> list[str]:
        """Returns the names of what a group holds.

        Raises:
            FileFormatError: the file is damaged there.
        """
        with self._readable(group.name):
            return list(group)

    def has_attribute(self, group: Any, name: str) -> bool:
        """Tells whether a group has an attribute.

        Raises:
            FileFormatError: the file is damaged there.
        """
        with self._readable(f"{group.name}@{name}"):
            return name in group.attrs

    def text(self, group: Any, name: str) -> str | None:
        """Returns a text attribute, None if there is none.

        Raises:
            FileFormatError: it is no single text.
        """
        value = self._attribute(group, name)
        if value is None:
            return None
        if isinstance(value, bytes):
            return value.decode("utf-8", errors="replace")
        if isinstance(value, str):
            return value
        raise self._error(group, name, "must be a text", f"a value of type {type(value).__name__}")

    def names(self, group: Any, name: str) -> list[str]:
        """Returns a list of texts, which long lists have in attributes `name0`, `name1`, ...

        Raises:
            FileFormatError: there is none, or it holds something else.
        """
        parts = [self._attribute(group, name)]
        if parts[0] is None:
            parts = []
            while len(parts) < limits.NAME_LIST_PARTS:
                part = self._attribute(group, f"{name}{len(parts)}")
                if part is None:
                    break
                parts.append(part)
            if not parts:
                raise self._error(group, name, "must be a list of names", "nothing")
        found: list[str] = []
        for part in parts:
            if not isinstance(part, np.ndarray):
                raise self._error(group, name, "must be a list of names", type(part).__name__)
            for entry in part.ravel():
                if not isinstance(entry, bytes | str):
                    raise self._error(group, name, "must hold names", type(entry).__name__)
                found.append(entry.decode("utf-8") if isinstance(entry, bytes) else str(entry))
        return found

    def array(self, group: Any, name: str) -> Source:
        """Returns the dataset `name` below `group`, checked and not read.

        Raises:
            FileFormatError: there is none, or it is more than a plain array of numbers.
        """
        dataset = self._child(group, name, is_group=False)
        entry = f"{group.name.rstrip('/')}/{name}"
        with self._readable(entry):
            shape, dtype = dataset.shape, dataset.dtype
            is_bfloat16 = dtype == _OPAQUE and self._attribute(dataset, "dtype") == "bfloat16"
            offence = _offence(dataset, is_bfloat16)
        if offence is not None:
            raise FileFormatError(
                f"{self.path}: entry {entry!r} must be a plain array of numbers; got {offence}. "
                "Such a file can reach beyond itself, so torchseq does not read it."
            )
        self._array_bytes[entry] = math.prod(shape) * dtype.itemsize
        limits.check_total(sum(self._array_bytes.values()), self._file_bytes, self.path)

        def read() -> Any:
            with self._readable(entry):
                if is_bfloat16:
                    bits = np.array(dataset[()]).view(np.int16)
                    return torch.from_numpy(bits).view(torch.bfloat16)
                return np.asarray(dataset[()]).astype(dtype.newbyteorder("="))

        name_of_dtype = "bfloat16" if is_bfloat16 else dtype.name
        return Source(entry, tuple(shape), name_of_dtype, read, path=name)

    def _child(self, parent: Any, name: str, is_group: bool) -> Any:
        h5py = require("h5py", "keras-files", "load_model('m.h5')")
        parts = name.split("/")
        current, entry = parent, f"{parent.name.rstrip('/')}/{name}"
        if not all(parts) or "." in parts or ".." in parts or len(parts) > _NAME_DEPTH:
            raise FileFormatError(
                f"{self.path}: an entry's name must be words joined by slashes; got {name!r}. "
                "The file is damaged or was not written by Keras or torchseq."
            )
        with self._readable(entry):
            for part in parts:
                if not isinstance(current, h5py.Group):
                    raise KeyError(f"{current.name} is no group")
                link = current.get(part, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise FileFormatError(
                        f"{self.path}: entry {entry!r} must lie in the file itself; got a link "
                        f"({type(link).__name__}). torchseq follows none, since it can lead to "
                        "any other file."
                    )
                current = current[part]
        wanted = h5py.Group if is_group else h5py.Dataset
        if not isinstance(current, wanted):
            raise FileFormatError(
                f"{self.path}: entry {entry!r} must be a {wanted.__name__.lower()}; got a "
                f"{type(current).__name__.lower()}. The file is damaged; use another copy."
            )
        return current

    def _attribute(self, group: Any, name: str) -> Any:
        h5py = require("h5py", "keras-files", "load_model('m.h5')")
        with self._readable(f"{group.name}@{name}"):
            if name not in group.attrs:
                return None
            attribute = group.attrs.get_id(name)
            num_entries, kind = math.prod(attribute.shape), attribute.get_type()
            # A list of nothing has a number's type. Any other type is no text, and HDF5 crashes
            # on some that damage makes (h5py 3.16).
            if num_entries and not isinstance(kind, h5py.h5t.TypeStringID):
                raise self._error(group, name, "must hold text", type(kind).__name__)
            # A single text is stored by reference and may be long.
            if attribute.shape and num_entries * kind.get_size() > limits.NAME_LIST_BYTES:
                must = f"must have at most {limits.NAME_LIST_BYTES} bytes"
                raise self._error(group, name, must, f"{num_entries} entries")
            return group.attrs[name]

    def _error(self, group: Any, name: str, must: str, got: object) -> FileFormatError:
        return FileFormatError(
            f"{self.path}: attribute {name!r} of {group.name!r} {must}; got {got}. "
            "The file is damaged or was not written by Keras or torchseq."
        )

    @contextmanager
    def _readable(self, entry: str) -> Iterator[None]:
        try:
            yield
        except FileFormatError:
            raise
        # HDF5 reports damage by whichever of these its C code ends in.
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise FileFormatError(
                f"{self.path}: entry {entry!r} must be there and readable; {error}. "
                "The file is damaged or incomplete; use another copy."
            ) from error


@contextmanager
def open_h5(
    path: str | os.PathLike[str], feature: str, contents: io.BytesIO | None = None
) -> Iterator[H5Reader]:
    """Yields a reader of an HDF5 file.

    Args:
        path: the file, which must exist.
        feature: who needs h5py, for the error without it.
        contents: the HDF5 file itself, where `path` is an archive around it.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: HDF5 cannot open the file.
    """
    h5py = require("h5py", "keras-files", feature)
    name = os.fspath(path)
    h5_heaps.refuse_endless_heaps(name, None if contents is None else contents.getvalue())
    try:
        file = h5py.File(name if contents is None else contents, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise FileFormatError(
            f"{name}: the file must be a whole HDF5 file; HDF5 says: {error}. "
            "It is damaged or incomplete; use another copy."
        ) from error
    with file:
        yield H5Reader(file, name, os.path.getsize(name))


def _offence(dataset: Any, is_bfloat16: bool) -> str | None:
    """Says what about a dataset is more than a plain array that lies in the file."""
    if dataset.shape is None or (dataset.dtype.name not in _DTYPES and not is_bfloat16):
        return f"dtype {dataset.dtype}"
    if dataset.is_virtual:
        return "a virtual dataset, which is put together from other files"
    if dataset.external:
        return "a dataset whose values lie in another file"
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    unknown = [number for number in filters if number not in _FILTERS]
    if unknown:
        return f"filter {unknown[0]}, where {sorted(_FILTERS.values())} are known"
    declared_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored_bytes = dataset.id.get_storage_size()
    if declared_bytes and (stored_bytes == 0 or (not filters and stored_bytes < declared_bytes)):
        return f"shape {dataset.shape}, {declared_bytes} bytes, of which it holds {stored_bytes}"
    return None
