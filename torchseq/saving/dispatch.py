"""`save_model`, `load_model`, `save_weights`, `load_weights`: which format does it.

Saving goes by the file's suffix, loading by its contents.

Source: keras.saving. Known differences: `.safetensors`, the format to prefer; `overwrite=False`
raises where Keras asks at a prompt; weights go to and from `.h5` in Keras 2's layout.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchseq.base.errors import FileFormatError, UnsupportedFeatureError
from torchseq.saving import detection, legacy_h5, native

_H5_SUFFIXES = (".h5", ".hdf5")
_SAVE_FORMATS = {None: "", "h5": ".h5", "keras": ".keras", "safetensors": ".safetensors"}
_USE_NOW = "Use .safetensors, which holds all of a model, or .h5, which Keras reads too."

PathLike = str | os.PathLike[str]


def save_model(model: Any, filepath: PathLike, overwrite: bool = True, **options: Any) -> None:
    """Save architecture, weights, compile arguments and optimizer state in one file.

    Args:
        model: the model.
        filepath: ends in `.safetensors` or `.h5`; the folder must exist.
        overwrite: replace a file that is there.
        **options: `include_optimizer` (True), and Keras's older `save_format` (`"h5"`, ...),
            which chooses the format where the path has no suffix.

    Raises:
        ValueError: no format has this suffix, or the model cannot be written.
        FileExistsError: the file exists and `overwrite` is False.
        FileNotFoundError: the folder does not exist.
        UnsupportedFeatureError: a Keras format that is not offered yet.

    Source: keras.saving.save_model.
    """
    include_optimizer = bool(options.pop("include_optimizer", True))
    save_format = options.pop("save_format", None)
    options.pop("zipped", None)
    if options:
        raise ValueError(
            f"save_model: options must be `include_optimizer` or `save_format`; got "
            f"{sorted(options)}."
        )
    suffix = _suffix_to_write("save_model", filepath, save_format)
    _check_target(filepath, overwrite)
    if suffix == ".safetensors":
        native.save_model(model, filepath, include_optimizer)
    else:
        _must_be_built(model, "save_model")
        legacy_h5.save_model(model, filepath, include_optimizer)


def save_weights(model: Any, filepath: PathLike, overwrite: bool = True, **options: Any) -> None:
    """Save the weights alone.

    Args:
        model: a built model.
        filepath: ends in `.safetensors` or `.h5`; the folder must exist.
        overwrite: replace a file that is there.
        **options: Keras's older `save_format`, as in `save_model`.

    Raises:
        ValueError: no format has this suffix, or the model is not built.
        FileExistsError: the file exists and `overwrite` is False.
        FileNotFoundError: the folder does not exist.
        UnsupportedFeatureError: a Keras format that is not offered yet.

    Source: keras.saving.save_weights, which writes `.weights.h5` alone.
    """
    save_format = options.pop("save_format", None)
    if options:
        raise ValueError(f"save_weights: no such options: {sorted(options)}.")
    suffix = _suffix_to_write("save_weights", filepath, save_format)
    _must_be_built(model, "save_weights")
    _check_target(filepath, overwrite)
    if suffix == ".safetensors":
        native.save_weights(model, filepath)
    else:
        legacy_h5.save_weights(model, filepath)


def load_model(
    filepath: PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Return the model in a file, compiled as it was and with its optimizer's state.

    Args:
        filepath: what `save_model` wrote, here or in Keras (`.h5`).
        custom_objects: name in the file -> class or function of yours.
        compile: compile it as it was.
        safe_mode: accepted for Keras's sake; no file can run code here, with or without it.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is damaged, something else, or holds what torchseq does not know.
        UnsupportedFeatureError: it holds code, or a Keras format that is not offered yet.

    Source: keras.saving.load_model.
    """
    kind = detection.kind_of_file(filepath)
    if kind == detection.SAFETENSORS:
        return native.load_model(filepath, custom_objects, compile)
    if kind == detection.HDF5:
        return legacy_h5.load_model(filepath, custom_objects, compile)
    raise _zip_file(filepath)


def load_weights(
    model: Any,
    filepath: PathLike,
    skip_mismatch: bool = False,
    by_name: bool = False,
) -> None:
    """Load weights into a model; either all of them change, or an error says why none did.

    Args:
        model: a built model.
        filepath: what `save_weights` or `save_model` wrote, here or in Keras (`.h5`).
        skip_mismatch: leave out what does not fit, with a warning.
        by_name: match layers by name instead of by order (`.h5`).

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is damaged or something else, or names or shapes do not fit.
        ValueError: the model is not built; `by_name` with another format.
        UnsupportedFeatureError: a Keras format that is not offered yet.

    Source: keras.saving.load_weights.
    """
    _must_be_built(model, "load_weights")
    kind = detection.kind_of_file(filepath)
    if kind == detection.HDF5:
        legacy_h5.load_weights(model, filepath, skip_mismatch, by_name)
    elif kind == detection.ZIP:
        raise _zip_file(filepath)
    elif by_name:
        raise ValueError(
            "load_weights: `by_name` must be False for a .safetensors file, whose weights always "
            "go by name; got by_name=True. Leave it out."
        )
    else:
        native.load_weights(model, filepath, skip_mismatch)


def _suffix_to_write(owner: str, filepath: PathLike, save_format: str | None) -> str:
    name = os.fspath(filepath).lower()
    if save_format not in _SAVE_FORMATS:
        raise UnsupportedFeatureError(
            f"{owner}: `save_format` must be one of {[k for k in _SAVE_FORMATS if k]}; got "
            f"save_format={save_format!r}. {_USE_NOW}"
        )
    suffix = Path(name).suffix or _SAVE_FORMATS[save_format]
    if name.endswith(".weights.h5") or suffix == ".keras":
        ending = ".keras" if suffix == ".keras" else ".weights.h5"
        raise UnsupportedFeatureError(
            f"{owner}: Keras 3's {ending} format is not offered yet; got "
            f"{os.fspath(filepath)!r}. {_USE_NOW}"
        )
    if suffix != ".safetensors" and suffix not in _H5_SUFFIXES:
        raise ValueError(
            f"{owner}: the path must end in .safetensors or .h5; got {os.fspath(filepath)!r}. "
            f"{_USE_NOW}"
        )
    return suffix


def _check_target(filepath: PathLike, overwrite: bool) -> None:
    path = Path(filepath)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path}: the folder to save into must exist; {path.parent} does not. Make it first."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path}: with overwrite=False the file must not exist; it does. Choose another name, "
            "or pass overwrite=True."
        )


def _must_be_built(model: Any, owner: str) -> None:
    if not model.built:
        raise ValueError(
            f"{owner}: the model must be built, since it has no weights before; {model.name!r} is "
            "not. Call it on data, call model.build(input_shape), or give its first layer an "
            "`input_shape`."
        )


def _zip_file(filepath: PathLike) -> Exception:
    name = os.fspath(filepath)
    if name.endswith(".keras"):
        return UnsupportedFeatureError(
            f"{name}: Keras 3's .keras format is not offered yet. In Keras, save the model with "
            "model.save('m.h5') and load that here."
        )
    return FileFormatError(
        f"{name}: the file must hold a model or weights (.safetensors, .keras, .h5); found a zip "
        "archive. Give the path of a file that model.save or model.save_weights wrote."
    )
