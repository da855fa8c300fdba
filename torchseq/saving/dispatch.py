"""`save_model`, `load_model`, `save_weights`, `load_weights`: which format does it.

Saving goes by the file's suffix, loading by its contents.

Source: keras.saving. Known differences: `.safetensors`, the format to prefer; `overwrite=False`
raises where Keras asks at a prompt; `save_weights` writes Keras 2's layout to a plain `.h5`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torchseq.base import process
from torchseq.base.errors import UnsupportedFeatureError
from torchseq.base.suffixes import ADVICE, MODEL_SUFFIXES, WEIGHT_SUFFIXES, suffix_of
from torchseq.saving import detection, keras_weights, keras_zip, legacy_h5, native

_SAVE_FORMATS = {None: "", "h5": ".h5", "keras": ".keras", "safetensors": ".safetensors"}

PathLike = str | os.PathLike[str]


def save_model(
    model: Any,
    filepath: PathLike,
    overwrite: bool = True,
    zipped: bool | None = None,
    **options: Any,
) -> None:
    """Save architecture, weights, compile arguments and optimizer state in one file.

    Args:
        model: the model.
        filepath: ends in `.safetensors`, `.keras` or `.h5`; the folder must exist.
        overwrite: replace a file that is there.
        zipped: only None and True are possible: one file.
        **options: `include_optimizer` (True), and Keras's older `save_format` (`"h5"`, ...),
            which chooses the format where the path has no suffix.

    Raises:
        ValueError: no format has this suffix, or the model cannot be written.
        FileExistsError: the file exists and `overwrite` is False.
        FileNotFoundError: the folder does not exist.
        UnsupportedFeatureError: `save_format` names a format that is not offered.

    Source: keras.saving.save_model.
    """
    include_optimizer = bool(options.pop("include_optimizer", True))
    save_format = options.pop("save_format", None)
    if zipped is False:
        raise UnsupportedFeatureError(
            "save_model: a model is saved in one file; got zipped=False, which asks for a folder. "
            "Leave it out."
        )
    if options:
        raise ValueError(
            f"save_model: options must be `include_optimizer` or `save_format`; got "
            f"{sorted(options)}."
        )
    suffix = _suffix_to_write("save_model", filepath, save_format, MODEL_SUFFIXES)
    if suffix == ".h5":
        _must_be_built(model, "save_model")
    with _written_once(model, filepath) as is_writer:
        if not is_writer:
            return
        _check_target(filepath, overwrite)
        if suffix == ".safetensors":
            native.save_model(model, filepath, include_optimizer)
        elif suffix == ".keras":
            keras_zip.save_model(model, filepath, include_optimizer)
        else:
            legacy_h5.save_model(model, filepath, include_optimizer)


def save_weights(model: Any, filepath: PathLike, overwrite: bool = True, **options: Any) -> None:
    """Save the weights alone.

    Args:
        model: a built model.
        filepath: ends in `.safetensors`, `.weights.h5` or `.h5`; the folder must exist.
        overwrite: replace a file that is there.
        **options: Keras's older `save_format`, as in `save_model`.

    Raises:
        ValueError: no format has this suffix, or the model is not built.
        FileExistsError: the file exists and `overwrite` is False.
        FileNotFoundError: the folder does not exist.
        UnsupportedFeatureError: `save_format` names a format that is not offered.

    Source: keras.saving.save_weights, which writes `.weights.h5` alone.
    """
    save_format = options.pop("save_format", None)
    if options:
        raise ValueError(f"save_weights: no such options: {sorted(options)}.")
    suffix = _suffix_to_write("save_weights", filepath, save_format, WEIGHT_SUFFIXES)
    _must_be_built(model, "save_weights")
    with _written_once(model, filepath) as is_writer:
        if not is_writer:
            return
        _check_target(filepath, overwrite)
        if suffix == ".safetensors":
            native.save_weights(model, filepath)
        elif suffix == ".weights.h5":
            keras_weights.save_weights(model, filepath)
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
        filepath: what `save_model` wrote, here or in Keras (`.keras`, `.h5`).
        custom_objects: name in the file -> class or function of yours.
        compile: compile it as it was.
        safe_mode: accepted for Keras's sake; no file can run code here, with or without it.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is damaged, something else, or holds what torchseq does not know.
        UnsupportedFeatureError: it holds code.

    Source: keras.saving.load_model.
    """
    kind = detection.kind_of_file(filepath)
    if kind == detection.SAFETENSORS:
        return native.load_model(filepath, custom_objects, compile)
    if kind == detection.HDF5:
        return legacy_h5.load_model(filepath, custom_objects, compile)
    return keras_zip.load_model(filepath, custom_objects, compile)


def load_weights(
    model: Any,
    filepath: PathLike,
    skip_mismatch: bool = False,
    by_name: bool = False,
) -> None:
    """Load weights into a model; either all of them change, or an error says why none did.

    Args:
        model: a built model.
        filepath: what `save_weights` or `save_model` wrote, here or in Keras.
        skip_mismatch: leave out what does not fit, with a warning.
        by_name: match layers by name instead of by order (the older `.h5` layout).

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: it is damaged or something else, or names or shapes do not fit.
        ValueError: the model is not built; `by_name` with another format.

    Source: keras.saving.load_weights.
    """
    _must_be_built(model, "load_weights")
    kind = detection.kind_of_file(filepath)
    is_legacy = kind == detection.HDF5 and legacy_h5.is_legacy(filepath)
    if by_name and not is_legacy:
        raise ValueError(
            f"load_weights: `by_name` must be False for {os.fspath(filepath)!r}, since only the "
            "older .h5 layout has layers' names; got by_name=True. Leave it out."
        )
    if is_legacy:
        legacy_h5.load_weights(model, filepath, skip_mismatch, by_name)
    elif kind == detection.HDF5:
        keras_weights.load_weights(model, filepath, skip_mismatch)
    elif kind == detection.ZIP:
        keras_zip.load_weights(model, filepath, skip_mismatch)
    else:
        native.load_weights(model, filepath, skip_mismatch)


@contextmanager
def _written_once(model: Any, filepath: PathLike) -> Iterator[bool]:
    """Tell whether this process is to write; of several, the first one, which others wait for."""
    with model.whole_state() if hasattr(model, "whole_state") else nullcontext():
        yield process.is_first()
    process.wait_for_first(f"save {os.path.abspath(filepath)}")


def _suffix_to_write(
    owner: str, filepath: PathLike, save_format: str | None, suffixes: tuple[str, ...]
) -> str:
    if save_format not in _SAVE_FORMATS:
        raise UnsupportedFeatureError(
            f"{owner}: `save_format` must be one of {[k for k in _SAVE_FORMATS if k]}; got "
            f"save_format={save_format!r}. {ADVICE}"
        )
    suffix = suffix_of(os.fspath(filepath)) or _SAVE_FORMATS[save_format]
    if suffix not in suffixes:
        raise ValueError(
            f"{owner}: the path must end in one of {list(suffixes)}; got "
            f"{os.fspath(filepath)!r}. {ADVICE}"
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
