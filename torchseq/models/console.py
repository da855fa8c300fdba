"""What the place that a summary is printed to can show: width, colors, characters.

Source: rich.console.Console, which Keras prints through; the same environment variables count.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

_DEFAULT_WIDTH = 80
_NOTEBOOK_WIDTH = 115


class Console(NamedTuple):
    """What a console can show.

    `width` is in cells, `colors` is 256, 16 or 0. `has_unicode` is whether its encoding has box
    characters.
    """

    width: int
    colors: int
    is_bold: bool
    has_unicode: bool


def detect(is_captured: bool) -> Console:
    """Describe the console that standard output goes to.

    Args:
        is_captured: the text is handed to a function: no colors, and the console's width.
    """
    is_terminal = not is_captured and _is_terminal()
    is_dumb = is_terminal and _variable("TERM").lower() in {"dumb", "unknown"}
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    shows_codes = is_terminal and not is_dumb
    return Console(
        width=_width(is_dumb),
        colors=0 if not shows_codes or _variable("NO_COLOR") else _color_count(),
        is_bold=shows_codes,
        has_unicode=encoding.startswith("utf"),
    )


def _variable(name: str) -> str:
    return os.environ.get(name, "")


def _is_terminal() -> bool:
    if _is_notebook():
        return False
    if _variable("TTY_COMPATIBLE") in {"0", "1"}:
        return _variable("TTY_COMPATIBLE") == "1"
    if "FORCE_COLOR" in os.environ:
        return _variable("FORCE_COLOR") != ""
    try:
        return bool(sys.stdout.isatty())
    except (AttributeError, ValueError):  # a stand-in without it, or closed
        return False


def _is_notebook() -> bool:
    # Whoever runs in a notebook has imported IPython; no one else needs to.
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and type(get_shell()).__name__ == "ZMQInteractiveShell"


def _width(is_dumb: bool) -> int:
    if _is_notebook():
        columns = _variable("JUPYTER_COLUMNS")
        return int(columns) if columns.isdigit() else _NOTEBOOK_WIDTH
    columns = _variable("COLUMNS")
    if columns.isdigit() and int(columns) > 0 and (not is_dumb or _variable("LINES").isdigit()):
        return int(columns)
    return _DEFAULT_WIDTH if is_dumb else _terminal_width()


def _terminal_width() -> int:
    # The keyboard's terminal counts too: a summary sent to a file is as wide as the window.
    for descriptor in range(3):
        try:
            return os.get_terminal_size(descriptor).columns or _DEFAULT_WIDTH
        except (OSError, ValueError):
            continue
    return _DEFAULT_WIDTH


def _color_count() -> int:
    if _variable("COLORTERM").strip().lower() in {"truecolor", "24bit"}:
        return 256
    kind = _variable("TERM").strip().lower().rpartition("-")[2]
    return 256 if kind in {"256color", "kitty"} else 16
