"""Handwritten digits of 8x8 pixels, real ones, inside the package: no network, no waiting."""

from importlib import resources

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_data"]

Samples = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_data() -> tuple[Samples, Samples]:
    """Loads 1797 handwritten digits, 1437 to train on and 360 to test on.

    Each image is 8x8 pixels with values from 0 to 16: the number of dark points in each 4x4
    cell of a 32x32 bitmap. The split is the same always: the original order is permuted by
    `numpy.random.RandomState(0).permutation(1797)`, and the first 1437 train. Images of one
    writer are therefore in both parts.

    Returns:
        `(x_train, y_train), (x_test, y_test)`, images `(samples, 8, 8)` and labels `(samples,)`
        from 0 to 9, all uint8 and the caller's own to change.

    Examples:
        >>> (x_train, y_train), (x_test, y_test) = load_data()
        >>> x_train.shape, y_train.shape, x_test.shape, int(x_train.max())
        ((1437, 8, 8), (1437,), (360, 8, 8), 16)

    Source: UCI Machine Learning Repository, "Optical Recognition of Handwritten Digits", by
        E. Alpaydin and C. Kaynak, 1998, licensed CC BY 4.0: its test part, as scikit-learn
        ships it; here permuted and stored as uint8.
    """
    # The folder of the package, not a path: this also works from a zip file on sys.path.
    packed = resources.files("torchseq.datasets").joinpath("digits.npz")
    with packed.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
