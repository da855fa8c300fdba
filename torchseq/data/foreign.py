"""Tells objects of other libraries by their class, without importing these libraries."""

from __future__ import annotations

from typing import Any

import numpy as np


def comes_from(value: Any, package: str, *names: str) -> bool:
    """Tell whether a class of `value`, or one it derives from, is one of a package's `names`."""
    return any(
        kind.__name__ in names and kind.__module__.partition(".")[0] == package
        for kind in type(value).__mro__
    )


def is_sparse_matrix(value: Any) -> bool:
    """Tell whether `value` is a scipy sparse matrix or array."""
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "tocsr")


def is_table(value: Any) -> bool:
    """Tell whether `value` is a pandas DataFrame or Series."""
    return comes_from(value, "pandas", "DataFrame", "Series")


def is_keras_dataset(value: Any) -> bool:
    """Tell whether `value` is a PyDataset or Sequence of a Keras that is installed."""
    return any(
        comes_from(value, package, "PyDataset", "Sequence")
        for package in ("keras", "tf_keras", "tensorflow")
    )


def table_values(table: Any) -> np.ndarray[Any, Any]:
    """Return a DataFrame's values, or a Series's as one column, as Keras does."""
    kinds = table.dtypes if comes_from(table, "pandas", "DataFrame") else [table.dtype]
    values = table.to_numpy()
    if values.dtype == object and all(kind.kind in "biuf" for kind in kinds):
        values = table.to_numpy(dtype="float64", na_value=np.nan)  # columns of several dtypes
    return values[:, None] if values.ndim == 1 else values  # type: ignore[no-any-return]
