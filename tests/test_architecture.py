"""The house style's rules on who imports whom, where numbers leave the device, and sizes.

All is read from the source with `ast`; nothing of torchseq is imported.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "torchseq"

BASE = {"base"}
SMALL = {"activations", "initializers", "regularizers", "constraints"}
RANK_1 = SMALL | {"data", "losses", "optimizers", "callbacks", "ops", "saving", "datasets"}
BELOW_MODELS = BASE | RANK_1 | {"layers", "metrics", "distribution", "engine"}


class Unit(NamedTuple):
    rank: float
    may_import: set[str]


# A unit is a folder or a file directly under torchseq/. One that is not listed here is one of
# Keras's public namespaces (utils.py, random.py, ...), which only re-export.
UNITS = {
    "base": Unit(0, set()),
    **{name: Unit(1, BASE) for name in RANK_1},
    "layers": Unit(2, BASE | SMALL | {"data"}),
    "metrics": Unit(2, BASE | {"losses"}),
    "distribution": Unit(2, BASE | {"data"}),
    "engine": Unit(
        3, BASE | {"data", "losses", "metrics", "optimizers", "callbacks", "distribution"}
    ),
    "models": Unit(4, BELOW_MODELS),
}
NAMESPACE = Unit(4.5, BELOW_MODELS | {"models"})

# Where a number may leave the device, or is not on one: path (a folder ends in /) -> why.
HOST_COPIES = {
    "base/process.py": "row counts of processes, which are on the host",
    "base/registry.py": "a config is text; arrays and tensors in it are written out",
    "base/variable.py": "get_weights and Variable.numpy() hand arrays to the user",
    "callbacks/packing.py": "files hold host memory",
    "data/": "reads what the user passed, before it is on the device",
    "datasets/": "numpy arrays only",
    "engine/gather.py": "predict hands arrays to the user",
    "engine/step_state.py": "the numbers of a step are made on the host",
    "engine/logs.py": "the one place where a log is read",
    "layers/weighted.py": "get_weights() hands arrays to the user",
    "layers/preprocessing/numeric.py": "a mean that the user gave is part of the config",
    "saving/": "files hold host memory",
}
HOST_CALLS = {"cpu", "item", "numpy", "tolist"}

# Where modules may be imported by a name that is only known at run time: path -> why.
DYNAMIC_IMPORTS = {
    "base/optional.py": "the one helper for optional packages and slow parts of torch",
    "cli/": "runs users' scripts",
    "porting/": "answers `import keras`",
}

FILE_LINES_AT_MOST = 500
FILE_LINES_BUDGET = 300
FUNCTION_LINES_AT_MOST = 50
FUNCTION_LINES_MEDIAN = 8


class Source(NamedTuple):
    """A file of the package: its path under torchseq/, its text and its tree."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        return self.path.parts[0].removesuffix(".py")


def read(path: str, text: str) -> Source:
    return Source(PurePosixPath(path), text, ast.parse(text))


SOURCES = [
    read(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8"))
    for file in sorted(PACKAGE.rglob("*.py"))
]
ALL_UNITS = {source.unit for source in SOURCES}
NAMESPACES = ALL_UNITS - UNITS.keys() - {"porting", "cli", "__init__", "__main__"}
RULES = {
    **UNITS,
    **dict.fromkeys(NAMESPACES, NAMESPACE),
    "porting": Unit(5, UNITS.keys() | NAMESPACES),
    "cli": Unit(6, UNITS.keys() | NAMESPACES | {"porting"}),
    "__init__": Unit(7, UNITS.keys() | NAMESPACES | {"porting"}),
    "__main__": Unit(7, {"cli"}),
}


def listed(path: PurePosixPath, table: dict[str, str]) -> bool:
    return any(
        str(path).startswith(entry) if entry.endswith("/") else str(path) == entry
        for entry in table
    )


def imported_units(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and unit of each import of ours; `torchseq` itself stands for its __init__."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "torchseq":
            names = [f"torchseq.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "torchseq":
                yield node.lineno, rest.partition(".")[0] or "torchseq"


def import_offences(source: Source) -> list[str]:
    allowed = RULES[source.unit].may_import | {source.unit}
    offences = [
        f"{source.path}:{line}: {source.unit} may not import {unit}"
        for line, unit in imported_units(source.tree)
        if unit not in allowed
    ]
    relative = [
        f"{source.path}:{node.lineno}: a relative import"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    return offences + relative


def hidden_import_offences(source: Source) -> list[str]:
    inside_functions = {
        node.lineno: "an import inside a function"
        for function in functions(source.tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    dynamic = {
        node.lineno: f"{ast.unparse(node.func)}()"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"__import__", "import_module", "importlib.import_module"}
        and not listed(source.path, DYNAMIC_IMPORTS)
    }
    found = sorted((inside_functions | dynamic).items())
    return [f"{source.path}:{line}: {what}" for line, what in found]


def namespace_offences(source: Source) -> list[str]:
    """Names statements that are more than a docstring, imports, `__all__` and other aliases."""
    return [
        f"{source.path}:{node.lineno}: {type(node).__name__} in a file that only re-exports"
        for node in source.tree.body
        if not (
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and is_alias(node))
        )
    ]


def is_alias(node: ast.Assign) -> bool:
    dunder = isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("__")
    return dunder or isinstance(node.value, ast.Name | ast.Attribute)


def host_copy_offences(source: Source) -> list[str]:
    if listed(source.path, HOST_COPIES):
        return []
    return [
        f"{source.path}:{node.lineno}: .{node.func.attr}() copies to the host"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr in HOST_CALLS or is_move_to_cpu(node))
    ]


def is_move_to_cpu(node: ast.Call) -> bool:
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "to"
        and any(isinstance(given, ast.Constant) and given.value == "cpu" for given in node.args)
    )


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def code_lines(text: str) -> set[int]:
    """Returns the numbers of the lines that hold more than a comment."""
    empty = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    return {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in empty
        for line in range(token.start[0], token.end[0] + 1)
    }


def function_sizes(source: Source) -> dict[str, int]:
    """Returns lines of code in the body of each function, without its docstring."""
    lines = code_lines(source.text)
    sizes = {}
    for function in functions(source.tree):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        first = body[0].lineno if body else function.end_lineno + 1
        name = f"{source.path}:{function.lineno} {function.name}"
        sizes[name] = len(lines & set(range(first, function.end_lineno + 1)))
    return sizes


def shown(offences: list[str]) -> str:
    return "\n".join(["", *offences])


def test_table_of_units_points_one_way() -> None:
    offences = [
        f"{name} (rank {unit.rank}) lists {other} (rank {RULES[other].rank})"
        for name, unit in RULES.items()
        for other in unit.may_import
        if RULES[other].rank >= unit.rank
    ]
    assert not offences, shown(offences)


def test_imports_point_one_way() -> None:
    offences = [offence for source in SOURCES for offence in import_offences(source)]
    assert not offences, shown(offences)


def test_no_import_hides_in_a_function() -> None:
    offences = [offence for source in SOURCES for offence in hidden_import_offences(source)]
    assert not offences, shown(offences)


def test_namespaces_only_re_export() -> None:
    offences = [
        offence
        for source in SOURCES
        if source.unit in NAMESPACES | {"__init__"}
        for offence in namespace_offences(source)
    ]
    assert not offences, shown(offences)


def test_numbers_stay_on_the_device() -> None:
    offences = [offence for source in SOURCES for offence in host_copy_offences(source)]
    assert not offences, shown(offences)


def test_files_keep_their_size(report: list[str]) -> None:
    sizes = {str(source.path): source.text.count("\n") for source in SOURCES}
    over_budget = {name: lines for name, lines in sizes.items() if lines > FILE_LINES_BUDGET}
    report.append(
        f"files: {len(sizes)}, {sum(sizes.values())} lines; "
        f"over the budget of {FILE_LINES_BUDGET} lines: {over_budget or 'none'}"
    )
    offences = [
        f"{name}: {lines} lines, at most {FILE_LINES_AT_MOST}"
        for name, lines in over_budget.items()
        if lines > FILE_LINES_AT_MOST
    ]
    assert not offences, shown(offences)


def test_functions_keep_their_size(report: list[str]) -> None:
    sizes = {name: lines for source in SOURCES for name, lines in function_sizes(source).items()}
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    longest = "; ".join(f"{name} {lines}" for name, lines in ordered[:5])
    report.append(
        f"functions: {len(sizes)}, half have at most {ordered[len(ordered) // 2][1]} lines of "
        f"code (budget {FUNCTION_LINES_MEDIAN}); longest: {longest}"
    )
    offences = [
        f"{name}: {lines} lines, at most {FUNCTION_LINES_AT_MOST}"
        for name, lines in ordered
        if lines > FUNCTION_LINES_AT_MOST
    ]
    assert not offences, shown(offences)


# The readers themselves: a check that finds nothing must be one that would find something.


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("base/naming.py", "from torchseq.data import arrays"),
        ("losses/loss.py", "from torchseq.metrics.metric import Metric"),
        ("layers/core.py", "import torchseq.engine.step"),
        ("engine/step.py", "from torchseq import layers"),
        ("engine/step.py", "import torchseq"),
        ("engine/step.py", "from torchseq import Sequential"),
        ("engine/step.py", "def run():\n    from torchseq.models import sequential"),
        ("layers/core.py", "from .layer import Layer"),
        ("__main__.py", "from torchseq.porting import shim"),
    ],
)
def test_reader_finds_imports_that_point_up(path: str, text: str) -> None:
    assert import_offences(read(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("layers/core.py", "from torchseq import activations, initializers"),
        ("layers/core.py", "from torchseq.layers.layer import Layer"),
        ("metrics/metric.py", "from torchseq.losses import regression"),
        ("models/sequential.py", "import torch\nfrom torchseq.engine.trainer import Trainer"),
        ("porting/shim.py", "from torchseq.models import Sequential"),
    ],
)
def test_reader_lets_imports_down_pass(path: str, text: str) -> None:
    assert not import_offences(read(path, text))


def test_reader_finds_hidden_imports() -> None:
    text = "def f():\n    import h5py\n\ndef g():\n    importlib.import_module('h5py')\n"
    assert len(hidden_import_offences(read("saving/native.py", text))) == 2
    assert len(hidden_import_offences(read("base/optional.py", text))) == 1


def test_reader_finds_code_in_namespaces() -> None:
    text = '"""Doc."""\nfrom a import b\n__all__ = ["b"]\nc = b.c\nd = b()\ndef e(): pass\n'
    assert len(namespace_offences(read("utils.py", text))) == 2


@pytest.mark.parametrize("text", ["loss.item()", "x.detach().cpu()", "x.to('cpu')", "x.numpy()"])
def test_reader_finds_host_copies(text: str) -> None:
    assert len(host_copy_offences(read("engine/step.py", text))) == 1
    assert not host_copy_offences(read("engine/logs.py", text))
    assert not host_copy_offences(read("saving/native.py", text))


def test_size_of_a_function_leaves_out_docstring_comments_and_blank_lines() -> None:
    text = '''
def f():
    """Doc.

    More.
    """
    # why

    a = """x
    y"""
    return a
'''
    assert function_sizes(read("base/naming.py", text)) == {"base/naming.py:2 f": 3}
