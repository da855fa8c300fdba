"""The losses by name and config.

Source: keras.losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchseq.base import registry
from torchseq.losses.classification import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
)
from torchseq.losses.crossentropy import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from torchseq.losses.loss import Loss, LossFunctionWrapper
from torchseq.losses.margins import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from torchseq.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from torchseq.losses.segmentation import Dice, Tversky, dice, tversky
from torchseq.losses.sequence import CTC, ctc
from torchseq.losses.similarity import Circle, circle

_OBJECTS = {
    thing.__name__: thing
    for thing in (
        BinaryCrossentropy,
        BinaryFocalCrossentropy,
        CTC,
        CategoricalCrossentropy,
        CategoricalFocalCrossentropy,
        CategoricalGeneralizedCrossEntropy,
        CategoricalHinge,
        Circle,
        CosineSimilarity,
        Dice,
        Hinge,
        Huber,
        KLDivergence,
        LogCosh,
        Loss,
        LossFunctionWrapper,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredError,
        MeanSquaredLogarithmicError,
        Poisson,
        SparseCategoricalCrossentropy,
        SquaredHinge,
        Tversky,
        binary_crossentropy,
        binary_focal_crossentropy,
        categorical_crossentropy,
        categorical_focal_crossentropy,
        categorical_generalized_cross_entropy,
        categorical_hinge,
        circle,
        cosine_similarity,
        ctc,
        dice,
        hinge,
        huber,
        kl_divergence,
        log_cosh,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_error,
        mean_squared_logarithmic_error,
        poisson,
        sparse_categorical_crossentropy,
        squared_hinge,
        tversky,
    )
}
_ALIASES = {
    "BCE": binary_crossentropy,
    "KLD": kl_divergence,
    "MAE": mean_absolute_error,
    "MAPE": mean_absolute_percentage_error,
    "MSE": mean_squared_error,
    "MSLE": mean_squared_logarithmic_error,
    "bce": binary_crossentropy,
    "kld": kl_divergence,
    "mae": mean_absolute_error,
    "mape": mean_absolute_percentage_error,
    "mse": mean_squared_error,
    "msle": mean_squared_logarithmic_error,
}
_FAMILY = registry.Family("loss", "keras.losses", {**_OBJECTS, **_ALIASES})
registry.register_builtin("keras.losses", {**_OBJECTS, **_ALIASES})


def get(identifier: Any) -> Any:
    """Return the loss for a name, config, class or callable; None is None.

    A lower-case name gives the function, a class name an object.

    Raises:
        ValueError: if the name is not known.
        TypeError: if it is none of these.

    Source: keras.losses.get.

    Examples:
        >>> get("mse").__name__
        'mean_squared_error'
    """
    return _FAMILY.get(identifier)


def serialize(loss: Any) -> Any:
    """Return the config of a loss object or function."""
    return registry.serialize(loss)


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the loss that a name or config describes."""
    return _FAMILY.deserialize(name, custom_objects)
