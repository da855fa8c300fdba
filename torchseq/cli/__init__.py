"""The commands behind `python -m torchseq`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from types import ModuleType

from torchseq.cli import run

__all__ = ["main"]

# Command -> its module, which has `add_arguments(parser)` and `run(arguments) -> exit status`.
_COMMANDS: dict[str, ModuleType] = {"run": run}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Args:
        argv: the words after `python -m torchseq`; those of this process by default.
    """
    parser = argparse.ArgumentParser(prog="python -m torchseq", description="Keras on PyTorch.")
    version = importlib.import_module("torchseq").__version__
    parser.add_argument("--version", action="version", version=f"torchseq {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, module in _COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
    arguments = parser.parse_args(argv)
    status: int = _COMMANDS[arguments.command].run(arguments)
    return status
