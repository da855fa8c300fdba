"""What the packages offer: `__all__` sorted, complete and importable; importing is quiet."""

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "torchseq"
# Parts of the inside: used by full name from within, never by a user.
INSIDE = {"torchseq.base", "torchseq.cli", "torchseq.data", "torchseq.engine"}


def file_of(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_modules() -> list[str]:
    """Returns torchseq, its packages at any depth, and the modules directly under it."""
    found = pkgutil.walk_packages([str(PACKAGE)], "torchseq.")
    names = ["torchseq"] + [
        module.name
        for module in found
        if (module.ispkg or module.name.count(".") == 1) and module.name != "torchseq.__main__"
    ]
    return [name for name in names if not is_inside(name)]


def is_inside(name: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in INSIDE)


def bound_names(tree: ast.Module) -> set[str]:
    """Returns the public names that a file makes: what it re-exports, assigns and defines."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torchseq"):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


MODULES = public_modules()


@pytest.mark.parametrize("name", MODULES)
def test_all_is_importable_and_names_nothing_twice(name: str) -> None:
    module = importlib.import_module(name)
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    assert not missing
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", [name for name in MODULES if file_of(name).stem == "__init__"])
def test_all_of_a_package_is_complete(name: str) -> None:
    module = importlib.import_module(name)
    bound = bound_names(ast.parse(file_of(name).read_text(encoding="utf-8")))
    assert bound <= set(module.__all__), sorted(bound - set(module.__all__))


def test_all_is_sorted() -> None:
    # The same rule and order as in scripts/check, which also sorts by `ruff check --fix`.
    command = ["ruff", "check", "--isolated", "--select", "RUF022", str(PACKAGE)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_is_quiet_and_changes_nothing() -> None:
    script = """
import json, os, sys
before = dict(os.environ)
import torchseq
import torch
print(json.dumps({
    "modules": sorted(sys.modules),
    "environment": dict(os.environ) == before,
    "device": torch.cuda.is_initialized(),
}))
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KERAS")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
        env=environment,
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1, done.stdout  # the script's own line
    facts = json.loads(done.stdout)
    assert facts["environment"]
    assert not facts["device"]
    optional = {"keras", "h5py", "matplotlib", "tensorboard", "tensorflow", "onnx", "PIL"}
    assert not optional & set(facts["modules"])


@pytest.mark.parametrize("name", ["py.typed", "datasets/digits.npz"])
def test_package_data_is_there(name: str) -> None:
    assert (PACKAGE / name).is_file()
