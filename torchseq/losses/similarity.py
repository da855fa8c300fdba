"""Losses for embeddings: near for equal labels, far for different ones.

Source: keras.losses.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchseq.base.variable import as_tensor
from torchseq.losses.loss import NamedLoss, takes_labels


@takes_labels
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Tensor:
    """Circle loss of each embedding against all others; those without loss are masked.

    Args:
        y_true: labels, `(batch,)`.
        y_pred: embeddings of length 1, `(batch, features)`.
        ref_labels, ref_embeddings: what to compare with; the batch itself by default.
        remove_diagonal: leave out the pair of an embedding with itself.
        gamma: scale.
        margin: how much nearer equal labels should be.

    Source: keras.losses.circle; Sun et al., 2020, arXiv:2002.10857.
    """
    y_pred = as_tensor(y_pred)
    labels = as_tensor(y_true).to(y_pred.device, torch.int32)
    others = y_pred if ref_embeddings is None else as_tensor(ref_embeddings)
    other_labels = labels if ref_labels is None else as_tensor(ref_labels).to(labels)
    distances = torch.relu(1 - y_pred @ others.T)
    is_equal = labels.reshape(-1, 1) == other_labels.reshape(1, -1)
    is_different = ~is_equal
    if remove_diagonal:
        is_equal = is_equal & ~torch.eye(*is_equal.shape, dtype=torch.bool, device=is_equal.device)
    near = -gamma * torch.relu(margin + distances) * (margin - distances)
    far = gamma * torch.relu(1 + margin - distances) * (1 - margin - distances)
    values = F.softplus(_log_sum(near, is_equal) + _log_sum(far, is_different))
    values._keras_mask = values > 0  # type: ignore[attr-defined]
    return values


def _log_sum(x: Tensor, is_counted: Tensor) -> Tensor:
    return x.masked_fill(~is_counted, float("-inf")).logsumexp(1)


class Circle(NamedLoss):
    """Circle loss of embeddings, see `circle`.

    Args:
        gamma, margin, remove_diagonal: see `circle`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.Circle.
    """

    _saved = ("gamma", "margin", "remove_diagonal")

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ):
        super().__init__(
            circle,
            reduction,
            name,
            dtype,
            gamma=gamma,
            margin=margin,
            remove_diagonal=remove_diagonal,
        )
