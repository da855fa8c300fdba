"""The place that a summary is printed to: its width, colors and characters, and writing to it.

Source: rich.console.Console, which Keras prints through; the same environment variables count.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from torchseq.models import text_table
from torchseq.models.text_table import Segment

# Style -> is it bold; its color in 256-color terminals; in terminals of 16 colors.
STYLES = {
    "bold": (True, "", ""),
    "class": (False, "38;5;33", "94"),
    "number": (False, "38;5;34", "32"),
    "unknown": (False, "38;5;45", "96"),
    "yes": (True, "38;5;34", "32"),
    "no": (True, "91", "91"),
}

# rich drops these from what it prints: bell, backspace, vertical tab, form feed, return.
_DROPPED_CONTROLS = dict.fromkeys((7, 8, 11, 12, 13))

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


def as_printed(name: str) -> str:
    r"""Return a name as it comes out of rich's markup, in which Keras puts it escaped.

    Brackets come through, but a backslash before one that starts no tag is lost, and a single one
    at the end is doubled.

    Examples:
        >>> print(as_printed(r"block[a]"), as_printed(r"\[0]"), as_printed("end\\"))
        block[a] [0] end\\
    """
    if name.endswith("\\") and not name.endswith("\\\\"):
        name += "\\"
    parts = re.split(r"(\\*\[[a-z#/@][^[]*?])", name)  # odd ones look like tags
    parts[::2] = [part.replace("\\[", "[") for part in parts[::2]]
    return "".join(parts).translate(_DROPPED_CONTROLS).expandtabs(8)


def render(lines: Sequence[text_table.Line], target: Console) -> str:
    """Return lines as a console is sent them, the last one ended too; what is too long is cut."""
    shown = ""
    for line in lines:
        room = target.width
        for piece in line:
            text = text_table.plain(text_table.cut([Segment(one) for one in piece.text], room))
            room -= text_table.cell_width(text)
            shown += _styled(text, piece.style, target)
        shown += "\n"
    return shown


def _styled(text: str, style: str, target: Console) -> str:
    if not text or not style:
        return text
    is_bold, of_256, of_16 = STYLES[style]
    color = {256: of_256, 16: of_16}.get(target.colors, "")
    codes = ";".join(code for code in ("1" if is_bold and target.is_bold else "", color) if code)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def write(text: str) -> None:
    """Write text to standard output, with `?` for what its encoding lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()
