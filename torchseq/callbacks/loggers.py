"""Callbacks that write the results of each epoch: to a file, or to a server."""

from __future__ import annotations

import csv
import json
import math
import os
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np

from torchseq.callbacks.callback import Callback

_TIMEOUT_SECONDS = 10.0


class CSVLogger(Callback):
    """Writes the results of each epoch as a line of a CSV file.

    The columns are `epoch` and the names in the logs of the first epoch, sorted. If that epoch had
    no validation, there are columns for it all the same. A value that is missing is `NA`. Each
    line is in the file before the next epoch begins.

    Args:
        filename: the file; its folder is made.
        separator: the sign between values.
        append: go on at the end of a file that is there, instead of replacing it.

    Raises:
        TypeError: if `filename` is no path.
        ValueError: if `separator` is not a single sign.

    Source: keras.callbacks.CSVLogger; the files are the same to the byte.
    """

    only_shows = True

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ):
        super().__init__()
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(
                "CSVLogger: `separator` must be a single sign, and neither a quote nor an end of "
                f"line; got separator={separator!r}."
            )
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self.append_header = True
        self._start = 0  # where in the file this fit's lines begin, in bytes
        self._file: IO[str] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._close()
        self.keys = None
        folder = os.path.dirname(self.filename)
        if folder:
            os.makedirs(folder, exist_ok=True)
        is_continued = self.append and os.path.exists(self.filename)
        self._start = os.path.getsize(self.filename) if is_continued else 0
        self.append_header = self._start == 0
        self._open("a" if self.append else "w")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        is_first = self.keys is None
        if self.keys is None:
            self.keys = _columns(logs)
        writer = csv.writer(self._open("a"), delimiter=self.sep)
        if is_first and self.append_header:
            writer.writerow(["epoch", *self.keys])
        writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self._open("a").flush()

    def on_train_end(self, logs: Any = None) -> None:
        self._close()

    def _open(self, mode: str) -> IO[str]:
        if self._file is None:
            # It is open until training ends. The csv module ends the lines itself.
            self._file = open(self.filename, mode, encoding="utf-8", newline="")  # noqa: SIM115
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # A fit that was killed after it wrote a line and before it made a backup writes the line again
    # when it goes on. So the backup has this fit's lines, and the file is set to them.

    def state_dict(self) -> dict[str, Any]:
        with open(self.filename, "rb") as file:
            file.seek(self._start)
            lines = file.read().decode("utf-8")
        return {
            "start": self._start,
            "lines": lines,
            "keys": self.keys,
            "append_header": self.append_header,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._close()
        self._start = state["start"]
        self.keys = state["keys"]
        self.append_header = state["append_header"]
        with open(self.filename, "r+b") as file:
            file.truncate(self._start)
            file.seek(self._start)
            file.write(state["lines"].encode("utf-8"))


def _columns(logs: Mapping[str, Any]) -> list[str]:
    names = sorted(logs)
    if any(name.startswith("val_") for name in names):
        return names
    return [*names, *(f"val_{name}" for name in names)]


def _cell(value: Any) -> Any:
    is_list = isinstance(value, Iterable) and not isinstance(value, str)
    if is_list and np.ndim(value):
        return '"[' + ", ".join(map(str, value)) + ']"'
    return value


class RemoteMonitor(Callback):
    """Sends the results of each epoch to a server, by an HTTP POST.

    A server that is not there costs a warning in each epoch, and no more.

    Args:
        root: URL of the server.
        path: where on the server, added to `root`.
        field: name of the form's field that has the results as JSON.
        headers: name -> value of further HTTP headers.
        send_as_json: send JSON instead of a form.

    Raises:
        ValueError: if `root` is no URL that begins with `http://` or `https://`.

    Source: keras.callbacks.RemoteMonitor, which needs the package `requests` where this needs
    none, and waits for a server without end where this gives up after 10 seconds. Not sent: NaN
    and infinite values, which JSON lacks; they are sent as null.
    """

    only_shows = True

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ):
        super().__init__()
        if not str(root).startswith(("http://", "https://")):
            raise ValueError(
                "RemoteMonitor: `root` must be a URL that begins with http:// or https://; got "
                f"root={root!r}."
            )
        self.root = root
        self.path = path
        self.field = field
        self.headers = headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        results = {name: _in_json(value) for name, value in (logs or {}).items()}
        text = json.dumps({"epoch": epoch, **results}, default=float)
        if self.send_as_json:
            kind, body = "application/json", text
        else:
            kind = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode({self.field: text})
        headers = {"Content-Type": kind, **(self.headers or {})}
        request = urllib.request.Request(
            self.root + self.path, body.encode(), headers, method="POST"
        )
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError as answer:  # it was reached, and that is all Keras asks
            answer.close()
        except OSError as error:
            warnings.warn(
                f"Could not reach RemoteMonitor root server at {self.root}: {error}", stacklevel=2
            )


def _in_json(value: Any) -> Any:
    is_number = isinstance(value, float)
    return None if is_number and not math.isfinite(value) else value
