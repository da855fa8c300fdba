"""Losses for class probabilities; their formulas are in `crossentropy.py`.

Source: keras.losses.
"""

from __future__ import annotations

from typing import Any

from torchseq.losses import crossentropy as functions
from torchseq.losses.loss import NamedLoss


class BinaryCrossentropy(NamedLoss):
    """Cross-entropy of a yes-or-no target, or of several.

    Args:
        from_logits, label_smoothing, axis: see `binary_crossentropy`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.BinaryCrossentropy.

    Examples:
        >>> BinaryCrossentropy()([[1.0]], [[0.0]])
        tensor(16.1181)
    """

    _saved = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class BinaryFocalCrossentropy(NamedLoss):
    """Binary cross-entropy in which entries that are predicted well count less.

    Args:
        apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis: see
            `binary_focal_crossentropy`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.BinaryFocalCrossentropy.
    """

    _saved = ("from_logits", "label_smoothing", "axis", "apply_class_balancing", "alpha", "gamma")

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalCrossentropy(NamedLoss):
    """Cross-entropy of one class among several, given as one-hot rows or probabilities.

    Args:
        from_logits, label_smoothing, axis: see `categorical_crossentropy`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.CategoricalCrossentropy.
    """

    _saved = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class CategoricalFocalCrossentropy(NamedLoss):
    """Categorical cross-entropy in which entries that are predicted well count less.

    Args:
        alpha, gamma, from_logits, label_smoothing, axis: see `categorical_focal_crossentropy`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.CategoricalFocalCrossentropy.
    """

    _saved = ("from_logits", "label_smoothing", "axis", "alpha", "gamma")

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )


class SparseCategoricalCrossentropy(NamedLoss):
    """Cross-entropy of one class among several, given by its number.

    Args:
        from_logits, ignore_class, axis: see `sparse_categorical_crossentropy`.
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.SparseCategoricalCrossentropy. Keras's config lacks `axis`; ours has it if
        it is not -1.
    """

    _saved = ("from_logits", "ignore_class")
    _unsaved = (("axis", -1),)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            functions.sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )


class CategoricalGeneralizedCrossEntropy(NamedLoss):
    """Between cross-entropy and absolute error: wrong labels do less harm.

    Args:
        q: in (0, 1); near 0 it is the cross-entropy, at 1 the absolute error.
        reduction, name, dtype: see `Loss`.

    Raises:
        ValueError: if `q` is not between 0 and 1.

    Source: keras.losses.CategoricalGeneralizedCrossEntropy.
    """

    _saved = ("q",)

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        if not 0 < q < 1:
            raise ValueError(
                f"CategoricalGeneralizedCrossEntropy: `q` must be between 0 and 1; got q={q!r}."
            )
        super().__init__(
            functions.categorical_generalized_cross_entropy,
            reduction,
            name,
            dtype,
            q=q,
        )


class KLDivergence(NamedLoss):
    """Kullback-Leibler divergence of the predicted distribution from the target.

    Args:
        reduction, name, dtype: see `Loss`.

    Source: keras.losses.KLDivergence.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: Any = None,
    ):
        super().__init__(functions.kl_divergence, reduction, name, dtype)
