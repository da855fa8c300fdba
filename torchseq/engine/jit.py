"""What `jit_compile` of `compile` means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

_NAMES = ("backend", "mode", "options")
CUDAGRAPH = "cudagraph"  # torch's own kernels, captured


def options_of(jit_compile: Any) -> Mapping[str, Any] | bool:
    """Return the compiler's options, or False if steps run eagerly.

    "auto" runs eagerly, because to compile takes seconds, more than most fits on a CPU gain. The
    environment variable `TORCHSEQ_JIT` turns it on: `1`, or the name of a backend. "cudagraph"
    means that backend.

    Raises:
        ValueError: for anything but a bool, "auto", "cudagraph" or a dict with known keys.
    """
    if jit_compile == "auto" or jit_compile is None:
        wanted = os.environ.get("TORCHSEQ_JIT", "")
        jit_compile = {"": False, "0": False, "1": True}.get(wanted, {"backend": wanted})
    if jit_compile == CUDAGRAPH:
        jit_compile = {"backend": CUDAGRAPH}
    if isinstance(jit_compile, Mapping):
        unknown = sorted(set(jit_compile) - set(_NAMES))
        if unknown:
            raise ValueError(
                f"compile: `jit_compile` as a dict must have keys among {list(_NAMES)}; got "
                f"{unknown}."
            )
        return dict(jit_compile)
    if not isinstance(jit_compile, bool):
        raise ValueError(
            "compile: `jit_compile` must be True, False, 'auto', 'cudagraph' or a dict of "
            f"torch.compile's options; got jit_compile={jit_compile!r}."
        )
    return {} if jit_compile else False


def for_config(jit_compile: Any) -> bool | dict[str, Any]:
    """Return what a model's compile config says: False for "auto", as Keras's do on torch."""
    if jit_compile == CUDAGRAPH:
        return {"backend": CUDAGRAPH}
    if isinstance(jit_compile, Mapping):
        return dict(jit_compile)
    return jit_compile if isinstance(jit_compile, bool) else False


def captures(options: Mapping[str, Any]) -> bool:
    """Tell whether steps are captured as CUDA graphs, as torch's mode "reduce-overhead" asks."""
    return bool(
        options.get("backend") == CUDAGRAPH
        or options.get("mode") == "reduce-overhead"
        or (options.get("options") or {}).get("triton.cudagraphs")
    )
