"""Recording what Python does with tensors as a graph, and compiling the graph.

The graph has no guards: it holds for the sizes and dtypes of the tensors that it was recorded with,
and whoever calls it must see to that.
"""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torchseq.base import islands, optional
from torchseq.engine import kernels

Compiled: TypeAlias = Callable[[list[Tensor]], Sequence[Tensor]]
"""Takes the tensors, writes to those that the recorded function wrote to, returns its outputs."""


def record(function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor]) -> Any:
    """Call a function and return what it did, as a graph over all tensors it was given.

    The call is an ordinary one: it computes and changes what it would without the recording.

    Raises:
        Exception: what the function raises, or torch does where it looks at a tensor's values.
    """
    # On a GPU the backward pass runs in a thread of its own, which would not know of the recording.
    with _quiet(), torch.autograd.set_multithreading_enabled(False), islands.tracing() as found:
        proxies = optional.late("torch.fx.experimental.proxy_tensor")
        graph = proxies.make_fx(function, tracing_mode="real")(*tensors)
    graph.islands = found
    return graph


def compiled(graph: Any, tensors: Sequence[Tensor], options: Mapping[str, Any]) -> Compiled:
    """Compile a recorded graph.

    Args:
        graph: what `record` returned.
        tensors: of the sizes and dtypes it was recorded with; they are not changed.
        options: `backend`, `"inductor"` by default; `mode` and `options` as of `torch.compile`.

    Raises:
        Exception: what torch's compiler raises.
    """
    with _quiet(), torch.no_grad():
        functional = _functional(graph, tensors, options)
        if options.get("backend", "inductor") == "inductor":
            run = _by_inductor(functional, tensors, options)
        else:
            run = lambda given: functional(*given)  # noqa: E731
    run.islands = graph.islands  # type: ignore[attr-defined] # live as long as what calls them
    return run


def _by_inductor(graph: Any, tensors: Sequence[Tensor], options: Mapping[str, Any]) -> Compiled:
    kernels.choose(graph)
    settings = _settings(options)
    in_cpp = settings.pop("cpp_wrapper", kernels.calls_go_by_cpp(graph))
    if in_cpp:
        with suppress(Exception):  # what cannot be called from C++ is called from Python
            return _compiled_by_inductor(copy.deepcopy(graph), tensors, settings, True)
    return _compiled_by_inductor(graph, tensors, settings, False)


def _compiled_by_inductor(
    graph: Any, tensors: Sequence[Tensor], settings: Mapping[str, Any], in_cpp: bool
) -> Compiled:
    config = optional.late("torch._inductor.config")
    inductor = optional.late("torch._inductor.compile_fx")
    fake_mode, fakes = _fakes(tensors)
    with fake_mode, config.patch({**settings, "cpp_wrapper": in_cpp}):
        compiled = inductor.compile_fx_inner(graph, fakes, cpp_wrapper=in_cpp)

    def run(given: list[Tensor], call: Any = compiled.current_callable) -> Sequence[Tensor]:
        return call(given)  # type: ignore[no-any-return] # past what `compiled` counts and notes

    run.compiled = compiled  # type: ignore[attr-defined] # which clears up when it is dropped
    return run


_compiling = threading.RLock()  # what `_quiet` changes, all threads share


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what torch's compiler says of torch's own code, but to who asks for it."""
    with _compiling, _quiet_here():
        yield


@contextmanager
def _quiet_here() -> Iterator[None]:
    logger = logging.getLogger("torch._inductor")
    level = logger.level
    if logger.getEffectiveLevel() == logging.WARNING:  # what `TORCH_LOGS` has not changed
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # see docs/speed.md
            yield
    finally:
        logger.setLevel(level)


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return Inductor's settings for the `mode` and `options` of `torch.compile`."""
    mode = options.get("mode")
    of_mode = optional.late("torch._inductor").list_mode_options(mode) if mode else {}
    config = optional.late("torch._inductor.config")
    rounding = "emulate_precision_casts"  # to 16 bits after each operation, as in eager steps
    # The engine knows that sizes are right: no check of them in the hot loop.
    return {
        "size_asserts": False,
        "alignment_asserts": False,
        **({rounding: True} if hasattr(config, rounding) else {}),  # torch 2.4 has not
        **of_mode,
        **(options.get("options") or {}),
        "triton.cudagraphs": False,  # `engine/captured.py` does it, and knows what stays in place
    }


def _functional(graph: Any, tensors: Sequence[Tensor], options: Mapping[str, Any]) -> Any:
    """Return the graph without writes, but those to the given tensors at its end."""
    _allow_copies(graph)
    is_for_inductor = options.get("backend", "inductor") == "inductor"
    return optional.late("torch.fx.experimental.proxy_tensor").make_fx(
        torch.func.functionalize(graph, remove="mutations"),
        decomposition_table=kernels.decompositions() if is_for_inductor else None,
        tracing_mode="fake",
        _allow_non_fake_inputs=True,
    )(*tensors)


def _allow_copies(graph: Any) -> None:
    """Let views become copies where torch thinks, when it compiles, that memory lies otherwise.

    Of some convolutions it does. Views of memory that something writes to stay, or fail.
    """
    view, reshape = torch.ops.aten.view.default, torch.ops.aten.reshape.default
    owners: dict[Any, Any] = {}  # whose memory each result is
    written: set[Any] = set()
    for node in graph.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        is_alias = schema is None or any(given.alias_info for given in schema.returns)
        inputs = node.all_input_nodes
        owners[node] = owners[inputs[0]] if is_alias and inputs else node
        if schema is not None and schema.is_mutable:
            written.update(owners[given] for given in inputs)
    for node in graph.graph.nodes:
        if node.target is view and owners[node] not in written:
            node.target = reshape
    graph.recompile()


def _fakes(tensors: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
    mode = optional.late("torch._subclasses").FakeTensorMode()
    return mode, [mode.from_tensor(tensor.detach()) for tensor in tensors]
