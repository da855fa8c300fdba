"""Losses for sequences whose targets are shorter and not aligned.

Source: keras.losses.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base.variable import as_tensor
from torchseq.losses.loss import NamedLoss, takes_labels

_BLANK = 0


@takes_labels
def ctc(y_true: Any, y_pred: Any) -> Tensor:
    """Connectionist temporal classification: `-log` of all alignments' probability.

    Args:
        y_true: class numbers, `(batch, length)`; 0 is the blank and fills up short sequences.
        y_pred: logits, `(batch, steps, classes)`.

    Raises:
        ValueError: if the shapes have other numbers of axes.

    Source: keras.losses.ctc. On a GPU torch copies the lengths to the host.
    """
    y_pred, y_true = as_tensor(y_pred), as_tensor(y_true)
    if y_true.ndim != 2 or y_pred.ndim != 3:
        raise ValueError(
            "ctc: y_true must have shape (batch, length) and y_pred (batch, steps, classes); got "
            f"shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}."
        )
    labels = y_true.long()
    batch, steps = y_pred.shape[:2]
    dtype = torch.promote_types(y_pred.dtype, torch.float32)
    return F.ctc_loss(
        F.log_softmax(y_pred.to(dtype), -1).transpose(0, 1),
        labels,
        input_lengths=torch.full((batch,), steps, dtype=torch.int64, device=labels.device),
        target_lengths=(labels != _BLANK).sum(-1),
        blank=_BLANK,
        reduction="none",
    )


class CTC(NamedLoss):
    """Connectionist temporal classification, see `ctc`.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.CTC.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        dtype: Any = None,
    ):
        super().__init__(ctc, reduction, name, dtype)
