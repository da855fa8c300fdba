"""Lets a loss find the logits behind probabilities.

`-log(softmax(x))` from the probabilities overflows and takes more kernels than from the logits.
The activation writes its input onto its output; the cross-entropy of the same name reads it there.
Any operation in between makes a new tensor, without the note, and one in place changes the
tensor's version, so a stale note is not read.

What torch hides: inside `torch.compile` the version cannot be read, so there an operation in place
between the activation and the loss goes unseen; tensors of `torch.inference_mode` have no version
and get no note.
"""

from __future__ import annotations

from typing import Any

import torch


def remember(output: torch.Tensor, logits: torch.Tensor, activation: str) -> torch.Tensor:
    """Note on `output` that it is `activation` of `logits`, and return it."""
    if torch.compiler.is_compiling():
        output._torchseq_logits = (activation, logits, 0)  # type: ignore[attr-defined]
    elif not output.is_inference():
        output._torchseq_logits = (activation, logits, output._version)  # type: ignore[attr-defined]
    return output


def recall(output: torch.Tensor, activation: str) -> torch.Tensor | None:
    """Return the logits of `output` if it is `activation` of some, unchanged since; else None."""
    note = getattr(output, "_torchseq_logits", None)
    if note is None or note[0] != activation:
        return None
    if not torch.compiler.is_compiling() and (output.is_inference() or note[2] != output._version):
        return None
    logits: torch.Tensor = note[1]
    return logits


def rows_of(output: Any, rows: slice) -> Any:
    """Return some rows of outputs, with what is noted on them: logits, and the mask of steps."""
    if isinstance(output, dict):
        return {key: rows_of(each, rows) for key, each in output.items()}
    if isinstance(output, tuple | list):
        return type(output)([rows_of(each, rows) for each in output])
    part = output[rows]
    note = getattr(output, "_torchseq_logits", None)
    if note is not None and recall(output, note[0]) is not None:
        remember(part, note[1][rows], note[0])
    mask = getattr(output, "_keras_mask", None)
    if mask is not None:
        part._keras_mask = mask[rows]
    return part
