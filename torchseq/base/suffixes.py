"""Which file suffix means which format; known to those who write files and to those who plan to."""

from __future__ import annotations

from pathlib import PurePath

# A whole model goes to `.weights.h5` in the layout of `.h5`, as in Keras.
MODEL_SUFFIXES = (".safetensors", ".keras", ".h5", ".hdf5", ".weights.h5")
WEIGHT_SUFFIXES = (".safetensors", ".weights.h5", ".h5", ".hdf5")
ADVICE = "Prefer .safetensors; Keras reads the others."


def suffix_of(path: str) -> str:
    """Return a path's suffix in lower case; `.weights.h5` is one.

    Examples:
        >>> suffix_of("runs/Best.H5"), suffix_of("w.weights.h5"), suffix_of("model")
        ('.h5', '.weights.h5', '')
    """
    name = path.lower()
    return ".weights.h5" if name.endswith(".weights.h5") else PurePath(name).suffix


def needs_h5py(suffix: str) -> bool:
    """Tell whether files of this suffix are read and written by h5py."""
    return suffix in (".keras", ".weights.h5", ".h5", ".hdf5")
