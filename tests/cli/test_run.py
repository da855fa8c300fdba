"""`python -m torchseq run` against what python itself does with the same script."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from torchseq import porting
from torchseq.cli import main

ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    """What came of a command; a status that is a text is one that python prints."""

    status: Any
    stdout: str
    stderr: str


Command = Callable[..., Done]


def execute(*words: str, cwd: Path) -> Done:
    """Runs plain python, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs `torchseq run` in this process, which looks afterwards as before."""

    def call(*words: str, cwd: Path) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "path", [str(cwd), *sys.path])  # as `python -m` has it
        try:
            status: Any = main(["run", *words])
        except SystemExit as ended:
            status = ended.code
        return Done(status, *capsys.readouterr())

    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    modules = dict(sys.modules)
    porting.install(replace=True)  # the tests beside this one have imported Keras
    yield call
    porting.uninstall()
    for name in sys.modules.keys() - modules.keys():
        if name.partition(".")[0] in {"helper", "package"}:
            del sys.modules[name]
    sys.modules["__main__"] = modules["__main__"]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_keras_script_trains(tmp_path: Path) -> None:
    script = """
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras.layers import Dense
from keras.models import Sequential

tf.random.set_seed(1)
model = Sequential([keras.Input((4,)), Dense(3, activation="relu"), Dense(1)])
model.compile("sgd", "mse")
history = model.fit(np.ones((8, 4)), np.ones(8), epochs=3, verbose=0)
losses = history.history["loss"]
assert losses[-1] < losses[0]
model.summary()
print(type(model).__module__.split(".")[0], keras.__version__)
"""
    write(tmp_path, "train.py", script)
    done = execute("-m", "torchseq", "run", "train.py", cwd=tmp_path)
    assert done.stderr == ""
    assert done.status == 0
    assert " Trainable params: 19 (76.00 B)" in done.stdout
    assert done.stdout.splitlines()[-1] == "torchseq 3.15.1"


FACTS = """
import os, pickle, sys
import helper
class Local:
    pass
pickle.loads(pickle.dumps(Local()))
print(sys.argv, __name__, __file__, sys.path[0], __package__, helper.NAME, os.getcwd())
print(sys.modules["__main__"].__dict__ is globals(), __spec__ is None, __doc__)
"""


@pytest.mark.parametrize("words", [("facts.py",), ("facts.py", "--epochs", "3", "-m", "x")])
def test_a_script_sees_what_it_sees_under_python(
    run_command: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    write(tmp_path, "facts.py", FACTS)
    write(tmp_path, "helper.py", "NAME = __name__")
    assert run_command(*words, cwd=tmp_path).stdout == execute(*words, cwd=tmp_path).stdout != ""


def test_a_script_elsewhere_finds_its_neighbors(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path, "below/facts.py", FACTS)
    write(tmp_path, "below/helper.py", "NAME = __name__")
    words = (os.path.join("below", "facts.py"), "1")
    assert run_command(*words, cwd=tmp_path).stdout == execute(*words, cwd=tmp_path).stdout != ""


def test_a_module_is_run_by_its_name(run_command: Command, tmp_path: Path) -> None:
    write(tmp_path, "package/__init__.py", "import keras")
    write(tmp_path, "package/tool.py", "import sys\nprint(__name__, __package__, sys.argv[1:])")
    done = run_command("-m", "package.tool", "--flag", "a", cwd=tmp_path)
    assert done.stdout == "__main__ package ['--flag', 'a']\n", done.stderr


def test_a_zip_file_is_run_by_its_main(run_command: Command, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", "import keras; print(keras.__version__)")
    assert run_command("app.zip", cwd=tmp_path).stdout == "3.15.1\n"


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit",
        "1 / 0",
        "def broken():\n    raise KeyError('x')\nbroken()",
        "x = = 1",
        "import sys\nsys.excepthook = lambda *error: print('own hook')\nint('a')",
    ],
)
def test_exit_status_and_traceback_are_those_of_python(
    run_command: Command, tmp_path: Path, text: str
) -> None:
    write(tmp_path, "script.py", text)
    ours, expected = (call("script.py", cwd=tmp_path) for call in (run_command, execute))
    assert ours._replace(status=ours.status or 0) == expected


def test_the_status_of_the_script_is_that_of_the_process(tmp_path: Path) -> None:
    write(tmp_path, "script.py", "import sys; sys.exit('in words' if len(sys.argv) > 1 else 7)")
    assert execute("-m", "torchseq", "run", "script.py", cwd=tmp_path) == Done(7, "", "")
    done = execute("-m", "torchseq", "run", "script.py", "word", cwd=tmp_path)
    assert done == Done(1, "", "in words\n")


def test_a_name_that_is_not_offered_points_to_the_line(
    run_command: Command, tmp_path: Path
) -> None:
    write(tmp_path, "script.py", "import os\nimport tensorflow as tf\nx = tf.constant(1)\n")
    done = run_command("script.py", cwd=tmp_path)
    assert done.status == 1
    assert 'script.py", line 3, in <module>' in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "AttributeError: tensorflow.constant: torchseq does not offer it: tensors are torch's. "
        "Use torch.as_tensor."
    )
    assert "cli" + os.sep + "run.py" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "the script must be a file; 'nowhere.py' does not exist."),
        (["-m", "nowhere"], "the module must be importable; 'nowhere' is not found."),
        (["-m", "nowhere.below"], "the module must be importable; 'nowhere.below' is not found."),
    ],
)
def test_what_is_not_there_is_one_line_and_status_2(
    run_command: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    done = run_command(*words, cwd=tmp_path)
    assert done.status == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"torchseq run: {message}")


def test_a_package_that_lacks_another_is_not_a_missing_module(
    run_command: Command, tmp_path: Path
) -> None:
    write(tmp_path, "package/__init__.py", "import not_installed_at_all")
    write(tmp_path, "package/tool.py", "")
    done = run_command("-m", "package.tool", cwd=tmp_path)
    assert done.status == 1
    assert "ModuleNotFoundError: No module named 'not_installed_at_all'" in done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("torchseq ")


@pytest.mark.parametrize("words", [[], ["run"], ["fly"]])
def test_wrong_words_show_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: python -m torchseq" in capsys.readouterr().err
