"""How targets encode classes, read off their shape and the predictions'."""

from __future__ import annotations

from torchseq.base.types import Shape


def kind_of_targets(y_true_shape: Shape, y_pred_shape: Shape) -> str:
    """Return `"binary"`, `"sparse"` (class numbers) or `"categorical"` (one-hot rows).

    Args:
        y_true_shape: shape of the targets, batch first.
        y_pred_shape: shape of the predictions, batch first.

    Source: the rule by which Keras's compile chooses among losses and metrics of one name.

    Examples:
        >>> kind_of_targets((32,), (32, 10))
        'sparse'
    """
    if y_pred_shape[-1] == 1:
        return "binary"
    if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1:
        return "sparse"
    return "categorical"
