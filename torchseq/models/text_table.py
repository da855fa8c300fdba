"""Text in boxes, for a terminal: wrapping by words, alignment, cell widths.

Source: the part of the package rich that Keras's summary uses (a Table with lines and fixed column
widths, drawn as HEAVY_HEAD), so that the same text comes out without it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias


class Segment(NamedTuple):
    """A run of text in one style: `""`, or a name in `console.STYLES`."""

    text: str
    style: str = ""


Text: TypeAlias = Sequence[Segment]
Line: TypeAlias = list[Segment]
_Characters: TypeAlias = list[Segment]  # of one character each


class Column(NamedTuple):
    """A column of a table; `width` counts neither borders nor the space beside them."""

    title: str
    width: int
    align: str


class _Border(NamedTuple):
    """What one kind of line is drawn with."""

    left: str
    fill: str
    divider: str
    right: str


class _Box(NamedTuple):
    """The kinds of lines of a table, from its top to its bottom."""

    top: _Border
    head: _Border
    below_head: _Border
    row: _Border
    between_rows: _Border
    bottom: _Border


_HEAVY_HEAD = _Box(
    _Border("┏", "━", "┳", "┓"),
    _Border("┃", " ", "┃", "┃"),
    _Border("┡", "━", "╇", "┩"),
    _Border("│", " ", "│", "│"),
    _Border("├", "─", "┼", "┤"),
    _Border("└", "─", "┴", "┘"),
)
_ASCII = _Box(
    _Border("+", "-", "-", "+"),
    _Border("|", " ", "|", "|"),
    _Border("|", "-", "+", "|"),
    _Border("|", " ", "|", "|"),
    _Border("|", "-", "+", "|"),
    _Border("+", "-", "-", "+"),
)


def cell_width(text: str) -> int:
    """Return how many cells of a terminal the text takes: 2 for a wide character, 0 for marks.

    Examples:
        >>> cell_width("Dense"), cell_width("層"), cell_width("e\u0301")
        (5, 2, 1)
    """
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    category = unicodedata.category(character)
    if category in {"Mn", "Me", "Mc", "Cc", "Zl", "Zp"}:
        return 0
    if (category == "Cf" and character != "\xad") or "\u1160" <= character <= "\u11ff":
        return 0
    is_wide = unicodedata.east_asian_width(character) in {"W", "F"} and category != "Cn"
    return 2 if is_wide else 1


# --- wrapping -----------------------------------------------------------------------------------


def wrap(
    text: Text, width: int, align: str = "", fill_style: str = "", is_cell: bool = False
) -> list[Line]:
    """Break text between words into lines of at most `width` cells.

    Args:
        text: what to wrap; line breaks in it are kept.
        width: cells; below 1 there is no room and no line.
        align: `"left"`, `"right"` or `"center"` pad each line to `width`; `""` does not.
        fill_style: style of the padding.
        is_cell: a word that is too long for a line ends in an ellipsis, as in cells of tables;
            else it goes on in the next line.
    """
    if width < 1:
        return []
    lines = []
    for paragraph in _paragraphs(text):
        offsets = _break_offsets(plain(paragraph), width, folds=not is_cell)
        for start, end in zip([0, *offsets], [*offsets, len(paragraph)], strict=True):
            line = _without_overhang(paragraph[start:end], width)
            if align in {"right", "center"}:
                line = line[: len(plain(line).rstrip())]
            line = _shortened(line, width) if is_cell else cut(line, width)
            lines.append(_joined(_padded(line, width, align, fill_style)))
    return lines


def _paragraphs(text: Text) -> Iterator[_Characters]:
    characters = [Segment(one, piece.style) for piece in text for one in piece.text]
    start = 0
    for index, character in enumerate(characters):
        if character.text == "\n":
            yield characters[start:index]
            start = index + 1
    yield characters[start:]


def _break_offsets(text: str, width: int, folds: bool) -> list[int]:
    """Return where to break: before the word that no longer fits, and inside over-long ones."""
    offsets: list[int] = []
    used = 0
    for match in re.finditer(r"\s*\S+\s*", text):
        word, start = match.group(), match.start()
        needed = cell_width(word.rstrip())
        if needed <= width - used:
            used += cell_width(word)
            continue
        for part in _chopped(word, width) if folds and needed > width else [word]:
            if start:
                offsets.append(start)
            used = cell_width(part)
            start += len(part)
    return offsets


def _chopped(word: str, width: int) -> list[str]:
    """Return the word in parts of at most `width` cells, each as long as possible."""
    parts, used = [""], 0
    for character in word:
        taken = cell_width(character)
        if used + taken > width:
            parts.append("")
            used = 0
        parts[-1] += character
        used += taken
    return parts


def _without_overhang(line: _Characters, width: int) -> _Characters:
    """Drop the white space at the end that would stand outside."""
    blanks = len(line) - len(plain(line).rstrip())
    overhang = min(blanks, max(0, len(line) - width))
    return line[: len(line) - overhang]


def _padded(line: _Characters, width: int, align: str, fill_style: str) -> _Characters:
    room = width - cell_width(plain(line))
    before = {"right": room, "center": room // 2}.get(align, 0)
    after = room - before if align else 0
    blank = Segment(" ", fill_style)
    return [blank] * before + line + [blank] * after


def _shortened(line: _Characters, width: int) -> _Characters:
    """Return the line, with an ellipsis in place of what does not fit."""
    if cell_width(plain(line)) <= width:
        return line
    kept = cut(line, width - 1)
    return [*kept, Segment("…", line[len(kept)].style)]


def cut(line: _Characters, width: int) -> _Characters:
    """Return as much as fits; half a wide character at the end becomes a blank."""
    if cell_width(plain(line)) <= width:
        return line
    kept: _Characters = []
    used = 0
    for character in line:
        used += cell_width(character.text)
        if used > width:
            if used - cell_width(character.text) < width:
                kept.append(Segment(" ", character.style))
            break
        kept.append(character)
    return kept


def plain(text: Text) -> str:
    """Return a text without its styles."""
    return "".join(piece.text for piece in text)


def _joined(line: _Characters) -> Line:
    """Put characters of one style together again."""
    return [
        Segment(plain(list(run)), style) for style, run in groupby(line, lambda piece: piece.style)
    ]


# --- tables -------------------------------------------------------------------------------------


def draw_table(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int, has_unicode: bool = True
) -> list[Line]:
    """Draw a table with a heavy head and a line between any two rows.

    Args:
        columns: their widths are wishes; they shrink and grow together until the table fits.
        rows: a text for each column.
        width: cells of the whole table, borders included.
        has_unicode: borders of box characters, else of ASCII.
    """
    box = _HEAVY_HEAD if has_unicode else _ASCII
    widths = _fitted([column.width + 2 for column in columns], width - len(columns) - 1)
    head = [
        wrap([Segment(column.title, "bold")], inside - 2, column.align, "bold", is_cell=True)
        for column, inside in zip(columns, widths, strict=True)
    ]
    lines = [_rule(box.top, widths), *_draw_row(box.head, head, widths, "bold")]
    lines.append(_rule(box.below_head, widths))
    for index, row in enumerate(rows):
        cells = [
            wrap(text, inside - 2, column.align, is_cell=True)
            for text, column, inside in zip(row, columns, widths, strict=True)
        ]
        if index:
            lines.append(_rule(box.between_rows, widths))
        lines += _draw_row(box.row, cells, widths)
    return [*lines, _rule(box.bottom, widths)]


def _fitted(widths: list[int], total: int) -> list[int]:
    """Return widths that sum to `total`: all lose the same, or all grow in proportion."""
    widths = [min(width, total) if total > 0 else 1 for width in widths]
    missing = total - sum(widths)
    fitted = []
    if missing >= 0:
        of = sum(widths)
        for width in widths:
            added = math.ceil(width * missing / of) if of else missing
            fitted.append(width + added)
            missing, of = missing - added, of - width
        return fitted
    excess = -missing
    for position, width in enumerate(widths):
        removed = min(width, round(excess / (len(widths) - position)))
        fitted.append(width - removed)
        excess -= removed
    return fitted


def _rule(border: _Border, widths: Sequence[int]) -> Line:
    inside = border.divider.join(border.fill * width for width in widths)
    return [Segment(border.left + inside + border.right)]


def _draw_row(
    border: _Border, cells: Sequence[list[Line]], widths: Sequence[int], style: str = ""
) -> list[Line]:
    """Draw one row; the cells of a head stand at its foot, others at its top."""
    height = max(1, *(len(lines) for lines in cells))
    columns = []
    for lines, width in zip(cells, widths, strict=True):
        side = Segment(" ", style)
        framed = [[side, *line, side] for line in lines]
        blank = [[Segment(" " * width, style)] for _ in range(height - len(lines))]
        columns.append(blank + framed if style else framed + blank)
    drawn = []
    for pieces in zip(*columns, strict=True):
        line = [Segment(border.left)]
        for index, piece in enumerate(pieces):
            line += [Segment(border.divider), *piece] if index else piece
        drawn.append([*line, Segment(border.right)])
    return drawn
