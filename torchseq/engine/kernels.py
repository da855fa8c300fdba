"""Which kernels take the place of Inductor's own choice in a compiled step."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import Tensor

from torchseq.base import optional, products

# Inductor's own kernels for these take several times as long on a CPU as torch's.
_OPAQUE = (
    "max_pool2d_with_indices",
    "max_pool2d_with_indices_backward",
    "max_pool3d_with_indices",
    "max_pool3d_with_indices_backward",
    "avg_pool2d_backward",
    "avg_pool3d_backward",
)

_IN_PYTHON = {
    f"torchseq.{name}" for name in ("island", "island_backward", "recurrent", "recurrent_backward")
}


def stays(operation: Any) -> bool:
    """Tell whether an operation is not to be taken apart."""
    return _name(operation) in _OPAQUE


def choose(graph: Any) -> None:
    """Put operations that Inductor does not look into where their kernels are faster."""
    for node in graph.graph.nodes:
        if node.op != "call_function" or not _is_on_cpu(node):
            continue
        if stays(node.target):
            node.target = _opaque(_name(node.target))
        elif node.target in _PRODUCTS and products.is_faster_by_onednn():
            _choose_product(graph.graph, node)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def calls_go_by_cpp(graph: Any) -> bool:
    """Tell whether kernels are best called from C++, not from Python.

    That takes a fourth off a step of small layers. Operations that are written in Python and take
    lists of tensors lose by it, and code with one that Inductor does not know and that returns a
    list of one tensor ends the process (torch 2.13 takes the list for the tensor).
    """
    nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
    names = {str(node.target).removesuffix(".default") for node in nodes}
    listed = [node.target for node in nodes if _returns_list(node.target)]
    return (
        all(map(_is_on_cpu, nodes)) and names.isdisjoint(_IN_PYTHON) and all(map(_is_known, listed))
    )


def _is_known(operation: Any) -> bool:
    """Tell whether Inductor makes code for an operation instead of calling torch's kernel."""
    lowering = optional.late("torch._inductor.lowering")
    # A fallback is added to both when it is first met.
    return operation in lowering.lowerings and operation not in lowering.fallbacks


def _returns_list(operation: Any) -> bool:
    schema = getattr(operation, "_schema", None)  # `operator.getitem` has none
    return schema is not None and any(
        isinstance(returned.type, torch.ListType) for returned in schema.returns
    )


def decompositions() -> dict[Any, Any]:
    """Return what the compiler is to take operations apart into: Inductor's own, and ours."""
    optional.late("torch._inductor.lowering")  # which the table takes for imported
    table = optional.late("torch._inductor.decomposition").select_decomp_table()
    aten = torch.ops.aten
    ours = {
        aten._foreach_norm.Scalar: _norms,
        aten._foreach_zero.default: lambda tensors: [torch.zeros_like(t) for t in tensors],
        aten._foreach_div.ScalarList: lambda tensors, numbers: [
            tensor / number for tensor, number in zip(tensors, numbers, strict=True)
        ],
    }
    return {op: taken for op, taken in {**table, **ours}.items() if not stays(op)}


def _norms(
    tensors: list[Tensor], order: float = 2, dtype: torch.dtype | None = None
) -> list[Tensor]:
    return [torch.linalg.vector_norm(tensor, order, dtype=dtype) for tensor in tensors]


def _name(operation: Any) -> str:
    return str(getattr(operation, "__name__", "")).removesuffix(".default")


def _is_on_cpu(node: Any) -> bool:
    value = node.meta.get("val")
    first = value[0] if isinstance(value, tuple | list) and value else value
    return isinstance(first, Tensor) and first.device.type == "cpu"


def _opaque(name: str) -> Any:
    """Return the operation as one that Inductor does not look into."""
    original = operator.attrgetter(f"{name}.default")(torch.ops.aten)
    schema = str(original._schema).removeprefix(f"aten::{name}")
    return _operation(name, schema, original, original)


def _operation(name: str, schema: str, kernel: Any, sketch: Any) -> Any:
    """Return an operation of ours on the CPU, made when first asked for."""
    if not hasattr(torch.ops.torchseq, name):
        torch.library.define(f"torchseq::{name}", schema)
        torch.library.impl(f"torchseq::{name}", "CPU", kernel)
        torch.library.register_fake(f"torchseq::{name}", sketch)
    return getattr(torch.ops.torchseq, name).default


# --- Matrix products -----------------------------------------------------------------------------

_PRODUCT = "(Tensor left, Tensor right, Tensor? bias) -> Tensor"
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def _choose_product(graph: Any, node: Any) -> None:
    """Let oneDNN compute a product, if it is large enough."""
    *bias, left, right = node.args
    if node.kwargs or not _is_large(left, right) or not all(_is_row(each, right) for each in bias):
        return
    with graph.inserting_before(node):
        transposed = graph.call_function(torch.ops.aten.permute.default, (right, [1, 0]))
        transposed.meta["val"] = right.meta["val"].t()
    node.target = _operation("product", _PRODUCT, products.product, _sketched_product)
    node.args = (left, transposed, bias[0] if bias else None)


def _is_large(left: Any, right: Any) -> bool:
    first, second = left.meta["val"], right.meta["val"]
    return (
        first.dtype is torch.float32
        and 0 not in second.stride()
        and math.prod(first.shape) * second.shape[1] >= products.LEAST
    )


def _is_row(bias: Any, right: Any) -> bool:
    return tuple(bias.meta["val"].shape) == (right.meta["val"].shape[1],)


def _sketched_product(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    return left.new_empty(left.shape[0], right.shape[0])
