"""Run an unmodified Keras script on torchseq."""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import runpy
import sys
import zipfile
from types import ModuleType, TracebackType

from torchseq import porting
from torchseq.base import optional

_CANNOT_START = 2  # what python returns for a script that it cannot open


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what stands after `run`."""
    parser.add_argument(
        "-m", dest="is_module", action="store_true", help="the script is the name of a module"
    )
    parser.add_argument("script", help="a file, or a folder or zip file with a __main__.py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script is given")


def run(arguments: argparse.Namespace) -> int:
    """Run the script as python would, with `keras` and `tensorflow` meaning torchseq.

    Returns:
        The exit status: 0, or 1 after an error in the script, whose traceback is printed. 2 if
        there is no such script.

    Raises:
        SystemExit: the script's own.
    """
    porting.install()
    sys.argv[:] = [arguments.script, *arguments.arguments]
    try:
        problem = _problem(arguments.script, arguments.is_module)
        if problem:
            print(f"torchseq run: {problem}", file=sys.stderr)
            return _CANNOT_START
        if arguments.is_module:
            runpy.run_module(arguments.script, run_name="__main__", alter_sys=True)
        else:
            _run_path(arguments.script)
    except Exception as error:
        # As python shows it: from the script's first line on, by the script's own hook if any.
        error = error.with_traceback(_without_our_frames(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _problem(script: str, is_module: bool) -> str:
    """Return why the script cannot be run, `""` if it can."""
    if not is_module:
        if os.path.exists(script):
            return ""
        return f"the script must be a file; {script!r} does not exist. Check its path."
    try:
        found = importlib.util.find_spec(script) is not None  # imports the packages in front
    except ModuleNotFoundError as error:
        if error.name is None or not optional.is_part_of(script, error.name):
            raise  # one of those packages lacks another
        found = False
    if found:
        return ""
    return f"the module must be importable; {script!r} is not found. Check its name and PYTHONPATH."


def _run_path(script: str) -> None:
    if os.path.isdir(script) or zipfile.is_zipfile(script):
        runpy.run_path(script, run_name="__main__")
        return
    path = os.path.abspath(script)
    if not getattr(sys.flags, "safe_path", False):  # Python 3.11's -P leaves the folder out
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    # runpy would take the module away at the end, from under threads and exit handlers.
    main = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=__builtins__, __cached__=None)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None:
        file_name = traceback.tb_frame.f_code.co_filename
        if file_name != __file__ and "runpy" not in os.path.basename(file_name):
            break
        traceback = traceback.tb_next
    return traceback
