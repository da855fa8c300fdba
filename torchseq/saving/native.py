"""`.safetensors`: torchseq's own format, one file with all of a model.

The tensors are the model's `state_dict` under its own keys, in torch's layout and dtype, so that
anything that reads safetensors reads the weights; and the optimizer's variables under
`optimizer.` and their path, in Keras's layout. The header's metadata has a JSON text under
`torchseq`:

- `format`: 1; a reader refuses higher numbers.
- `version`: of the torchseq that wrote it.
- `model`: the architecture, as `registry.serialize` returns it; none in a file of weights alone.
- `compile`: what `get_compile_config` returned, or null.
- `optimizer`: keys of the optimizer's variables, in the order of `optimizer.variables`.
- `torch_optimizer`: the state of a torch optimizer, as far as it is not in those tensors.

Source: the format page of the safetensors library's documentation.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from torchseq.base import dtypes, registry
from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError
from torchseq.base.types import Config
from torchseq.saving import limits, reconstruction, torch_state
from torchseq.saving.assignment import Plan, Source, kind_of, plan_optimizer

_FORMAT = 1
_METADATA = "torchseq"
_OPTIMIZER = "optimizer."

# How the header writes dtypes -> their names.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}


# --- Saving -------------------------------------------------------------------------------------


def save_model(model: Any, path: str | os.PathLike[str], include_optimizer: bool = True) -> None:
    """Writes a whole model.

    Args:
        model: built or not.
        path: the file; replaced in one step.
        include_optimizer: write compile arguments and the optimizer's variables.

    Raises:
        ValueError, TypeError: the architecture or the compile arguments cannot be written.
        OSError: the file cannot be written; the one that was there is as before.
    """
    tensors = _state(model)
    metadata: Config = {"model": registry.serialize(model), "compile": None, "optimizer": []}
    if include_optimizer and model.compiled:
        metadata["compile"] = torch_state.compile_config(model, path)
    if metadata["compile"] and torch_state.is_torch(model.optimizer):
        _add_optimizer(tensors, metadata, torch_state.take(model.optimizer, metadata).items())
    elif metadata["compile"] and model.optimizer is not None:
        variables = model.optimizer.variables
        named = [(str(variable.path), variable.value.detach()) for variable in variables]
        _add_optimizer(tensors, metadata, named)
    _write(path, tensors, metadata)


def _add_optimizer(
    tensors: dict[str, Tensor], metadata: Config, named: Iterable[tuple[str, Tensor]]
) -> None:
    for name, tensor in named:
        key = _OPTIMIZER + name
        while key in tensors:  # a layer may be called `optimizer`, too
            key += "_"
        tensors[key] = tensor
        metadata["optimizer"].append(key)


def save_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Writes the `state_dict` alone.

    Args:
        model: a built model.
        path: the file; replaced in one step.

    Raises:
        OSError: the file cannot be written; the one that was there is as before.
    """
    _write(path, _state(model), {})


def _state(model: Any) -> dict[str, Tensor]:
    state = model.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"save: an entry of the model's state_dict must be a tensor; {key!r} is a "
                f"{type(value).__name__}. Keep it out of the module's extra state."
            )
    return {key: value.detach() for key, value in state.items()}


def _write(path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: Config) -> None:
    try:
        version = importlib.metadata.version("torchseq")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        version = "unknown"
    text = json.dumps({"format": _FORMAT, "version": version, **metadata})
    plain = _plain(tensors)
    with atomic_path(path) as temporary:
        try:
            # "format" is what other readers of safetensors look for.
            safetensors.torch.save_file(plain, temporary, {"format": "pt", _METADATA: text})
        except safetensors.SafetensorError as error:
            raise OSError(f"{os.fspath(path)}: the file cannot be written: {error}") from error


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors on the host, contiguous, no two in the same memory."""
    made: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, tensor in tensors.items():
        plain = tensor.to("cpu").contiguous()
        storage = plain.untyped_storage()
        # Tied weights are written once for each key: both sides then load as they were.
        if storage.data_ptr() in seen or storage.nbytes() != plain.nbytes:
            plain = plain.clone(memory_format=torch.contiguous_format)
        seen.add(plain.untyped_storage().data_ptr())
        made[key] = plain
    return made


# --- Loading ------------------------------------------------------------------------------------


def load_model(
    path: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
) -> Any:
    """Returns the model that a file holds; it goes on as if it had never been saved.

    Args:
        path: the file.
        custom_objects: name in the file -> class or function of yours.
        compile: compile it as it was, with the optimizer's variables.

    Raises:
        FileFormatError: the file is damaged, holds no model, or does not fit its own model.
        UnsupportedFeatureError: the model has code in it.
    """
    with _opened(path) as reader:
        config = reader.metadata.get("model")
        if not isinstance(config, Mapping):
            raise FileFormatError(
                f"{reader.path}: the file must hold a model's architecture; it holds weights "
                "alone. Build the model in code and use model.load_weights(...)."
            )
        model = reconstruction.rebuild(
            dict(config), reader.path, custom_objects, lambda sketch: _matching(reader, sketch)
        )
        state = _matching(reader, model)
        plan, give = Plan(reader.path), None
        compiled = reader.metadata.get("compile")
        if compile and compiled:
            with registry.custom_object_scope(custom_objects or {}):
                reconstruction.compile_model(model, compiled, reader.path)
            sources = [reader.source(key) for key in reader.optimizer_keys]
            if torch_state.is_torch(model.optimizer):
                give = torch_state.planned(model.optimizer, reader.metadata, sources, reader.path)
            else:
                plan_optimizer(plan, model.optimizer, model.trainable_weights, sources)
        tensors = {key: source.read() for key, source in state.items()}
        plan.apply()
        model.load_state_dict(tensors)
        if give is not None:
            give()
    return model


def load_weights(model: Any, path: str | os.PathLike[str], skip_mismatch: bool = False) -> None:
    """Loads the weights of a file of weights, of a whole model, or of any `nn.Module`'s state.

    Args:
        model: a built model.
        path: the file.
        skip_mismatch: leave out what does not fit, with a warning.

    Raises:
        FileFormatError: the file is damaged or does not fit; no weight has changed then.
    """
    with _opened(path) as reader:
        state = _matching(reader, model, skip_mismatch)
        tensors = {key: source.read() for key, source in state.items()}
        model.load_state_dict(tensors, strict=not skip_mismatch)


class _Reader:
    """An open safetensors file; the library has checked header, offsets and sizes."""

    def __init__(self, file: Any, path: str):
        self.path = path
        self._file = file
        self.keys = set(file.keys())
        self.metadata = self._read_metadata()
        self.optimizer_keys = self._read_optimizer_keys()
        self.state_keys = self.keys - set(self.optimizer_keys)

    def _read_metadata(self) -> Config:
        text = (self._file.metadata() or {}).get(_METADATA)
        if text is None:  # tensors that another program wrote
            return {}
        metadata = limits.parse_json(text, self.path, f"__metadata__.{_METADATA}")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("format"), int):
            raise FileFormatError(
                f"{self.path}: entry '__metadata__.{_METADATA}' must be a mapping with a number "
                "under 'format'. The file is damaged; use another copy."
            )
        if metadata["format"] > _FORMAT:
            raise FileFormatError(
                f"{self.path}: the file's format must be {_FORMAT} or lower; it is "
                f"{metadata['format']}, written by torchseq {metadata.get('version')}. "
                "Install that version to read it."
            )
        return metadata

    def _read_optimizer_keys(self) -> list[str]:
        keys = self.metadata.get("optimizer") or []
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise FileFormatError(
                f"{self.path}: 'optimizer' in the header must be a list of keys. "
                "The file is damaged; use another copy."
            )
        missing = [key for key in keys if key not in self.keys]
        if missing:
            raise FileFormatError(
                f"{self.path}: the file must hold the optimizer's variables that its header "
                f"lists; it lacks {missing}. The file is damaged; use another copy."
            )
        return keys

    def source(self, key: str) -> Source:
        """Returns a tensor that is not read yet."""
        described = self._file.get_slice(key)
        dtype = str(described.get_dtype())
        return Source(
            entry=key,
            shape=tuple(described.get_shape()),
            dtype=_DTYPES.get(dtype, dtype),
            read=lambda: self._file.get_tensor(key),
            path=key.removeprefix(_OPTIMIZER),
        )


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[_Reader]:
    name = os.fspath(path)
    try:
        with safetensors.safe_open(name, framework="pt") as file:
            yield _Reader(file, name)
    except safetensors.SafetensorError as error:
        raise FileFormatError(
            f"{name}: the file must be a whole safetensors file; it is damaged or incomplete: "
            f"{error}. Use another copy."
        ) from error


def _matching(reader: _Reader, model: Any, skip_mismatch: bool = False) -> dict[str, Source]:
    """Returns the sources for a model's state, once all names, shapes and dtypes fit."""
    plan = Plan(reader.path, skip_mismatch)
    state = model.state_dict()
    missing = sorted(state.keys() - reader.state_keys)
    surplus = sorted(reader.state_keys - state.keys())
    if missing or surplus:
        plan.mismatch(
            "the file must hold the model's weights, no more and no fewer; it lacks "
            f"{missing or 'none'}, and has {surplus or 'none'} that the model has not."
        )
    matching: dict[str, Source] = {}
    for key, tensor in state.items():
        if key not in reader.state_keys:
            continue
        source = reader.source(key)
        dtype = dtypes.name_of(tensor.dtype)
        if source.shape == tuple(tensor.shape) and kind_of(source.dtype) == kind_of(dtype):
            matching[key] = source
        else:
            plan.mismatch(
                f"entry {key!r} must have shape {tuple(tensor.shape)}, dtype {dtype}; got shape "
                f"{source.shape}, dtype {source.dtype}."
            )
    return matching
