"""The table of a model's layers, shapes and parameters.

Source: keras.Model.summary, whose text is matched character by character. Known differences: codes
such as `:smile:` in names stay as they are, and an encoding without box characters gets `?` where
Keras stops with an error.
"""

from __future__ import annotations

import html
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from torchseq.base import registry
from torchseq.layers import Layer, tree
from torchseq.models import console, text_table
from torchseq.models.text_table import Segment

_Row: TypeAlias = list[list[Segment]]

_DEFAULT_LENGTH = 88
_TRAINABLE_LENGTH = 12  # more, for the column Trainable
_DEFAULT_POSITIONS = (0.45, 0.80, 1.0)
_COLUMNS = (("Layer (type)", "left"), ("Output Shape", "left"), ("Param #", "right"))
_TRAINABLE_COLUMN = ("Trainable", "center")
_NARROWEST_COLUMN = 4
_MEMORY_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print a table of the model's layers, and how many parameters of which size it has.

    Args:
        model: has `name`, `layers`, `trainable_weights`, `non_trainable_weights`, `compiled` and
            `optimizer`.
        line_length: characters in a line; by default 88, or what the terminal has if that is less.
        positions: where each column ends, as parts of the line.
        print_fn: called once, with the whole text; by default it goes to standard output, in
            color where that is a terminal.
        expand_nested: also show the layers of models that are layers.
        show_trainable: add a column that says whether a layer trains.
        layer_range: names, or regular expressions for them, of the first and last layer to show.

    Raises:
        ValueError: a column is narrower than 4 characters, or no layer has a name in
            `layer_range`.

    Source: keras.Model.summary.
    """
    columns, length = _layout(line_length, positions, show_trainable)
    rows = list(_rows(model, expand_nested, show_trainable, layer_range))
    target = console.detect(is_captured=print_fn is not None)
    title = [Segment(f'Model: "{console.as_printed(model.name)}"', "bold")]
    lines = text_table.wrap(title, target.width)
    lines += text_table.draw_table(columns, rows, length, target.has_unicode)
    for total in _totals(model):
        lines += text_table.wrap(total, target.width)
    text = console.render(lines, target)
    if print_fn is not None:
        print_fn(text)
    else:
        console.write(text)


def summary_html(model: Any) -> str:
    """Return the table as HTML, for notebooks; it takes its colors from the page."""
    cell = "border:1px solid rgba(128,128,128,.5);padding:.25em .75em;text-align:"
    head = "".join(f'<th style="{cell}{align}">{title}</th>' for title, align in _COLUMNS)
    body = ""
    for row in _rows(model):
        cells = (
            f'<td style="{cell}{align};white-space:pre-wrap">{_escaped(text)}</td>'
            for text, (_, align) in zip(row, _COLUMNS, strict=True)
        )
        body += f"<tr>{''.join(cells)}</tr>"
    totals = "<br>".join(
        f"<b>{_escaped([label])}</b> {_escaped(rest)}" for label, *rest in _totals(model)
    )
    return (
        f"<div><b>Model: &quot;{html.escape(model.name)}&quot;</b>"
        f'<table style="border-collapse:collapse;margin:.5em 0">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{totals}</div>"
    )


def _escaped(text: Sequence[Segment]) -> str:
    return html.escape(text_table.plain(text).strip())


# --- layout -------------------------------------------------------------------------------------


def _layout(
    line_length: int | None, positions: Sequence[float] | None, show_trainable: bool
) -> tuple[list[text_table.Column], int]:
    """Return the columns and the length of a line."""
    heads = list(_COLUMNS)
    ends = list(positions or _DEFAULT_POSITIONS)
    longest = _DEFAULT_LENGTH
    if show_trainable:
        heads.append(_TRAINABLE_COLUMN)
        ends = [end * 0.9 for end in ends] + [1.0]
        longest += _TRAINABLE_LENGTH
    if len(ends) < len(heads):
        raise ValueError(
            f"summary: `positions` must say where each of {len(_COLUMNS)} columns ends; "
            f"got positions={positions!r}."
        )
    length = line_length or min(longest, shutil.get_terminal_size().columns - 4)
    widths = _widths(ends, length)
    # Keras lets more ends than columns pass.
    columns = [
        text_table.Column(title, width, align)
        for (title, align), width in zip(heads, widths, strict=False)
    ]
    return columns, length


def _widths(ends: Sequence[float], length: int) -> list[int]:
    widths: list[int] = []
    for end in ends:
        widths.append(int(end * length) - sum(widths))
        if widths[-1] < _NARROWEST_COLUMN:
            raise ValueError(
                f"summary: each column must have {_NARROWEST_COLUMN} characters; got "
                f"{widths[-1]} for column {len(widths)} of a line of {length}. Insufficient "
                "console width to print summary. Pass a larger `line_length` or other `positions`."
            )
    return widths


def _chosen_layers(layers: Sequence[Any], layer_range: Sequence[str] | None) -> Sequence[Any]:
    """Return the layers from the first that matches the one name to the last of the other."""
    if layer_range is None:
        return layers
    if len(layer_range) != 2 or not all(isinstance(name, str) for name in layer_range):
        raise ValueError(
            "summary: `layer_range` must be two layer names or regular expressions; "
            f"got layer_range={layer_range!r}."
        )
    matches = [
        [index for index, layer in enumerate(layers) if re.match(pattern, layer.name)]
        for pattern in layer_range
    ]
    first, last = matches
    if not first or not last:
        raise ValueError(
            f"summary: `layer_range` must match names of layers; got layer_range={layer_range!r}. "
            f"The layers are {[layer.name for layer in layers]}."
        )
    if min(first) > max(last):  # the names came in the other order
        first, last = last, first
    return layers[min(first) : max(last) + 1]


# --- rows ---------------------------------------------------------------------------------------


def _rows(
    model: Any,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> Iterator[_Row]:
    for layer in _chosen_layers(model.layers, layer_range):
        yield from _layer_rows(layer, model, expand_nested, show_trainable, depth=0)


def _layer_rows(
    layer: Any, parent: Any, expand_nested: bool, show_trainable: bool, depth: int
) -> Iterator[_Row]:
    prefix = "   " * depth + "└ " if depth else ""
    row = [
        [
            Segment(f"{console.as_printed(prefix + layer.name)} ("),
            Segment(_class_name(layer), "class"),
            Segment(")"),
        ],
        list(_shape(getattr(layer, "output_shape", None) if _has_shape(layer, parent) else None)),
        list(_parameters(layer)),
    ]
    if show_trainable:
        row.append([_trainable(layer)])
    yield row
    if expand_nested:
        for inner in getattr(layer, "layers", None) or ():
            yield from _layer_rows(inner, layer, expand_nested, show_trainable, depth + 1)


def _has_shape(layer: Any, parent: Any) -> bool:
    """Tell whether Keras knows the output's shape: not for a user's class, unless it says it."""
    if getattr(parent, "is_stack", True) or registry.is_builtin(type(layer)):
        return True
    return tree.overrides(type(layer), Layer, "compute_output_shape")


def _class_name(layer: Any) -> str:
    is_part = getattr(layer, "shows_module", False)  # of a torch module that is a model
    return type(layer.module if is_part else layer).__name__


def _shape(shape: Any) -> Iterator[Segment]:
    """Yield a shape, several in a list or tuple, or `?` if none is known."""
    if shape is None:
        yield Segment("?")
    elif _is_single(shape):
        for index, size in enumerate(shape):
            yield Segment(", " if index else "(")
            yield Segment(str(size), "unknown" if size is None else "number")
        yield Segment(")" if shape else "()")
    elif len(shape) == 1:
        yield from _shape(next(iter(shape.values() if isinstance(shape, dict) else shape)))
    else:
        yield from _structure(shape)


def _is_single(shape: Any) -> bool:
    return not isinstance(shape, dict) and all(size is None or _is_size(size) for size in shape)


def _is_size(value: Any) -> bool:
    return hasattr(value, "__index__")


def _structure(shapes: Any) -> Iterator[Segment]:
    is_dict = isinstance(shapes, dict)
    brackets = "{}" if is_dict else "[]" if isinstance(shapes, list) else "()"
    yield Segment(brackets[0])
    named = shapes.items() if is_dict else enumerate(shapes)
    for index, (name, shape) in enumerate(named):
        yield Segment(", " if index else "")
        yield Segment(f"{name}: " if is_dict else "")
        yield from _shape(shape)
    yield Segment(brackets[1])


def _parameters(layer: Any) -> Iterator[Segment]:
    is_built = getattr(layer, "built", None)
    yield Segment(f"{layer.count_params():,}" if is_built else "0", "number")
    if is_built is False:
        yield Segment(" (unbuilt)")


def _trainable(layer: Any) -> Segment:
    if len(getattr(layer, "weights", ())) == 0:
        return Segment("-", "bold")
    return Segment("Y", "yes") if layer.trainable else Segment("N", "no")


# --- totals -------------------------------------------------------------------------------------


def _totals(model: Any) -> Iterator[list[Segment]]:
    """Yield the lines below the table."""
    counts = {
        "Trainable params": _count_and_bytes(model.trainable_weights),
        "Non-trainable params": _count_and_bytes(model.non_trainable_weights),
    }
    optimizer = model.optimizer
    if model.compiled and optimizer and optimizer.built:
        counts["Optimizer params"] = _count_and_bytes(optimizer.variables)
    total = (
        sum(count for count, _ in counts.values()),
        sum(num_bytes for _, num_bytes in counts.values()),
    )
    for label, (count, num_bytes) in {"Total params": total, **counts}.items():
        yield [
            Segment(f" {label}: ", "bold"),
            Segment(f"{count:,}", "number"),
            Segment(f" ({readable_size(num_bytes)})"),
        ]


def _count_and_bytes(weights: Iterable[Any]) -> tuple[int, float]:
    weights = list(weights)
    count = sum(math.prod(weight.shape) for weight in weights)
    unique = {id(weight): weight for weight in weights}.values()  # a shared one takes no more
    bits = sum(math.prod(weight.shape) * _bits(str(weight.dtype)) for weight in unique)
    return count, bits / 8


def _bits(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)  # "bfloat16", "float8_e4m3fn"
    return int(digits.group()) if digits else 1  # "bool": Keras counts a bit


def readable_size(num_bytes: float) -> str:
    """Return a number of bytes in the largest unit of which there is at least one.

    Examples:
        >>> readable_size(0), readable_size(1024), readable_size(2.5 * 2**20)
        ('0.00 B', '1.00 KB', '2.50 MB')
    """
    for unit in _MEMORY_UNITS[:-1]:
        if num_bytes < 1024:
            return f"{num_bytes:.2f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.2f} {_MEMORY_UNITS[-1]}"
