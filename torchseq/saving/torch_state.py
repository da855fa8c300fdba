"""The state of a torch optimizer in torchseq's own format; no other format has a place for it.

The header's metadata has it under `torch_optimizer`: what `saved_state` of the model's optimizer
returned beside the tensors, which are among the optimizer's keys.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from torchseq.base.errors import FileFormatError
from torchseq.base.types import Config
from torchseq.saving.assignment import Source

_FACTS = "torch_optimizer"


def compile_config(model: Any, path: str | os.PathLike[str]) -> Config | None:
    """Returns a compiled model's compile arguments; None, with a warning, if no file can hold them.

    Args:
        model: a compiled model.
        path: the file, for the warning.
    """
    reason = model.optimizer.unsaved_because() if is_torch(model.optimizer) else None
    if reason is None:
        config: Config = model.get_compile_config()
        return config
    warnings.warn(
        f"{os.fspath(path)}: compile arguments and optimizer state were left out: {reason} Keep "
        "`model.optimizer.state_dict()` yourself and compile the loaded model again.",
        stacklevel=5,
    )
    return None


def left_out(model: Any, path: str | os.PathLike[str]) -> bool:
    """Tells, with a warning, whether a model trains with what Keras's formats cannot hold.

    Args:
        model: the model.
        path: the file, for the warning.
    """
    if not (model.compiled and is_torch(model.optimizer)):
        return False
    warnings.warn(
        f"{os.fspath(path)}: compile arguments and optimizer state were left out, since Keras's "
        "formats have no place for a torch optimizer. Save as `.safetensors` to keep them, or "
        "pass include_optimizer=False to silence this.",
        stacklevel=5,
    )
    return True


def is_torch(optimizer: Any) -> bool:
    """Tells whether an optimizer is one of torch's."""
    return hasattr(optimizer, "saved_state")


def take(optimizer: Any, metadata: Config) -> dict[str, Tensor]:
    """Returns the state's tensors by name, and enters the rest into the header's metadata."""
    tensors: dict[str, Tensor]
    tensors, metadata[_FACTS] = optimizer.saved_state()
    return tensors


def planned(
    optimizer: Any, metadata: Mapping[str, Any], sources: list[Source], path: str
) -> Callable[[], None]:
    """Reads the state and returns what gives it to the optimizer.

    Args:
        optimizer: the compiled model's.
        metadata: of the file's header.
        sources: the file's tensors of the optimizer.
        path: the file, for errors and warnings.
    """
    tensors = {source.path: source.read() for source in sources}

    def give() -> None:
        """Give the state, or warn that it is one of other weights.

        Raises:
            FileFormatError: if it is none.
        """
        try:
            fits = optimizer.load_saved_state(tensors, metadata[_FACTS])
        # What goes wrong with a text of any form may be of any of these types.
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{path}: {_FACTS!r} in the header must be the state of a torch optimizer; "
                f"{type(error).__name__}: {error}. The file is damaged; use another copy."
            ) from error
        if not fits:
            warnings.warn(
                f"{path}: the optimizer's state was left out, since it does not fit the model's "
                "optimizer. Training goes on with a fresh optimizer; load with compile=False to "
                "silence this.",
                stacklevel=5,
            )

    return give
