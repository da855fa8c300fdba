"""`.keras`: Keras 3's own format of whole models, both ways.

A zip of `config.json` (architecture and compile arguments), `metadata.json` and
`model.weights.h5`. Members are read into memory by these names; nothing is unpacked to the disk.

Source: keras.src.saving.saving_lib, Keras 3.15.1. Not offered: `assets/` (vocabularies),
unzipped folders, addresses on the Hugging Face Hub.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torchseq.base import registry
from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError
from torchseq.base.optional import require
from torchseq.base.types import Config
from torchseq.saving import keras_weights, limits, reconstruction, torch_state
from torchseq.saving.assignment import Plan
from torchseq.saving.h5_reading import H5Reader, open_h5

_CONFIG = "config.json"
_METADATA = "metadata.json"
_WEIGHTS = "model.weights.h5"
_KERAS_VERSION = "3.15.1"  # the layout that is written
# What zipfile and zlib raise for damaged members, or encrypted ones (RuntimeError).
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, OSError)


def save_model(model: Any, path: str | os.PathLike[str], include_optimizer: bool = True) -> None:
    """Writes a whole model that real Keras loads too.

    Args:
        model: built or not.
        path: the file; replaced in one step.
        include_optimizer: write compile arguments and the optimizer's variables.

    Raises:
        ImportError: h5py is not installed.
        ValueError, TypeError: the architecture or the compile arguments cannot be written.
        OSError: the file cannot be written; the one that was there is as before.
    """
    is_left_out = include_optimizer and torch_state.left_out(model, path)
    include_optimizer = include_optimizer and not is_left_out
    weights = keras_weights.written(model, "model.save('m.keras')", include_optimizer)
    config = registry.serialize(model)
    if torch_state.is_torch(model.optimizer):
        config.pop("compile_config", None)
    if include_optimizer and model.compiled:
        config["compile_config"] = model.get_compile_config()
    now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    metadata = {"keras_version": _KERAS_VERSION, "date_saved": now}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_METADATA, json.dumps(metadata))
        archive.writestr(_CONFIG, json.dumps(config))
        archive.writestr(_WEIGHTS, weights.getbuffer())


def load_model(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
) -> Any:
    """Returns the model that this module or Keras 3 wrote as `.keras`.

    Args:
        path: the file.
        custom_objects: name in the file -> class or function of yours.
        compile: compile it as it was, with the optimizer's variables.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: the file is damaged, has no model, or holds what must not be in it.
        UnsupportedFeatureError: the model has code in it.
    """
    name = os.fspath(path)
    with _opened(name, "load_model('m.keras')") as (config_text, reader):
        config = limits.parse_json(config_text, name, _CONFIG)
        if not isinstance(config, dict):
            raise FileFormatError(
                f"{name}: entry {_CONFIG!r} must describe a model; got {type(config).__name__}. "
                "The file is damaged; use another copy."
            )
        compiled = config.pop("compile_config", None)
        model = reconstruction.rebuild(
            config,
            name,
            custom_objects,
            lambda sketch: keras_weights.plan_weights(reader, sketch, Plan(name)),
        )
        plan = Plan(name)
        keras_weights.plan_weights(reader, model, plan)
        if compile and compiled:
            with registry.custom_object_scope(custom_objects or {}):
                reconstruction.compile_model(model, compiled, name)
            keras_weights.plan_optimizer_state(reader, model, plan)
        plan.apply()
    return model


def load_weights(model: Any, path: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
    """Loads the weights of a `.keras` file.

    Args:
        model: a built model.
        path: the file.
        skip_mismatch: leave out what does not fit, with a warning.

    Raises:
        ImportError: h5py is not installed.
        FileFormatError: the file is damaged or does not fit; no weight has changed then.
    """
    name = os.fspath(path)
    with _opened(name, "model.load_weights('m.keras')") as (_, reader):
        plan = Plan(name, skip_mismatch)
        keras_weights.plan_weights(reader, model, plan)
        plan.apply()


@contextmanager
def _opened(name: str, feature: str) -> Iterator[tuple[bytes, H5Reader]]:
    """Yields the configuration's text and a reader of the weights."""
    require("h5py", "keras-files", feature)
    config, weights = _members(name)
    with open_h5(name, feature, weights) as reader:
        yield config, reader


def _members(name: str) -> tuple[bytes, io.BytesIO]:
    try:
        with zipfile.ZipFile(name) as archive:
            members: Config = {info.filename: info for info in archive.infolist()}
            missing = [member for member in (_CONFIG, _WEIGHTS) if member not in members]
            if missing:
                raise FileFormatError(
                    f"{name}: a .keras file must hold {_CONFIG!r} and {_WEIGHTS!r}; this zip "
                    f"archive lacks {missing}. Give the path of a file that model.save wrote."
                )
            # Checked before a byte is unpacked; zipfile stops at the size that it declares.
            declared = [members[member].file_size for member in (_CONFIG, _WEIGHTS)]
            limits.check_json_size(declared[0], name, _CONFIG)
            limits.check_total(sum(declared), os.path.getsize(name), name)
            return archive.read(_CONFIG), io.BytesIO(archive.read(_WEIGHTS))
    except _ZIP_ERRORS as error:
        raise FileFormatError(
            f"{name}: the file must be a whole .keras file; it is damaged or incomplete: {error}. "
            "Use another copy."
        ) from error
