import io
import re
import sys
from typing import Any

import pytest

from torchseq import callbacks
from torchseq.callbacks import progress

BAR = "━" * 20
LOGS = {"accuracy": 0.9, "loss": 0.25}


class Terminal(io.StringIO):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.monkeypatch = monkeypatch

    def isatty(self) -> bool:
        return True

    def take_over(self) -> None:
        """To be called in the test, since pytest sets the streams between fixture and test."""
        self.monkeypatch.setattr(sys, "stdout", self)
        self.monkeypatch.setattr(sys, "stderr", self)

    def screen(self) -> list[str]:
        """Returns the lines that are seen in the end."""
        lines = []
        for line in self.getvalue().split("\n"):
            seen: list[str] = []
            for part in line.split("\r"):
                seen[: len(part)] = part
            lines.append("".join(seen).rstrip())
        return lines


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setattr(progress, "_REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_SHORT_SECONDS", 0.0)
    return Terminal(monkeypatch)


def progress_list(*others: callbacks.Callback, **params: Any) -> callbacks.CallbackList:
    params = {"verbose": 1, "epochs": 2, "steps": 4, **params}
    return callbacks.CallbackList(list(others), add_progbar=True, **params)


def fit(together: callbacks.CallbackList, epochs: int = 2, steps: int = 4) -> None:
    together.on_train_begin()
    for epoch in range(epochs):
        together.on_epoch_begin(epoch)
        for batch in range(steps):
            together.on_train_batch_end(batch, LOGS)
        together.on_test_begin()
        together.on_test_batch_end(0, LOGS)
        together.on_test_end(LOGS)
        together.on_epoch_end(epoch, {**LOGS, "val_loss": 1e-5})
    together.on_train_end()


def without_times(text: str) -> str:
    return re.sub(r"\d+s \d+(us|ms|s)/step", "T", text)


def test_file_gets_finished_lines_without_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit(progress_list())
    line = f"4/4 {BAR} T - accuracy: 0.9000 - loss: 0.2500 - val_loss: 1.0000e-05\n"
    assert without_times(capsys.readouterr().out) == f"Epoch 1/2\n{line}Epoch 2/2\n{line}"


def test_silent_without_verbosity(capsys: pytest.CaptureFixture[str]) -> None:
    fit(progress_list(verbose=0))
    assert capsys.readouterr().out == ""


def test_terminal_shows_bar_then_only_the_finished_line(terminal: Terminal) -> None:
    terminal.take_over()
    fit(progress_list())
    painted = terminal.getvalue()
    assert "2/4 ━━━━━      00:00 left" in painted
    assert re.search(r"2/4 ━{5} +\d\d:\d\d left +[\d.]+step/s - accuracy: 0.9000 - loss:", painted)
    line = f"4/4 {BAR} T - accuracy: 0.9000 - loss: 0.2500 - val_loss: 1.0000e-05"
    shown = [without_times(each) for each in terminal.screen()]
    assert shown == ["Epoch 1/2", line, "Epoch 2/2", line, ""]
    assert sys.stdout is terminal


@pytest.mark.parametrize("columns", [40, 60])
def test_bar_never_wraps(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    terminal.take_over()
    monkeypatch.setenv("COLUMNS", str(columns))
    together = progress_list()
    together.on_epoch_begin(0)
    for batch in range(4):
        together.on_train_batch_end(batch, {f"metric_{i}": 0.5 for i in range(9)})
    assert max(map(len, re.split(r"[\r\n]", terminal.getvalue()))) == columns - 1
    together.close()


def test_prints_of_others_stay_whole(terminal: Terminal) -> None:
    terminal.take_over()

    class Talker(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                print("a line")
            if batch == 2:
                print("no end of line", end="")
            if batch == 3:
                print("to stderr", file=sys.stderr)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            print("epoch's end")

    fit(progress_list(Talker(), epochs=1), epochs=1)
    shown = terminal.screen()
    assert shown[:4] == ["a line", "no end of line", "to stderr", "epoch's end"]
    assert shown[4].startswith(f"4/4 {BAR}")
    assert shown[5:] == [""]


def test_close_gives_the_screen_back_after_an_error(terminal: Terminal) -> None:
    terminal.take_over()
    together = progress_list()
    together.on_epoch_begin(0)
    together.on_train_batch_end(0, LOGS)
    assert sys.stdout is not terminal
    together.close()
    together.close()
    assert sys.stdout is terminal
    assert terminal.screen() == ["Epoch 1/2", ""]


def test_bar_inside_a_bar(terminal: Terminal) -> None:
    terminal.take_over()
    outer = progress_list(epochs=1)
    outer.on_train_begin()
    outer.on_epoch_begin(0)
    outer.on_train_batch_end(0, LOGS)
    inner = progress_list(epochs=1, steps=2)
    inner.on_predict_begin()
    inner.on_predict_batch_end(0, {"outputs": [1.0]})
    inner.on_predict_batch_end(1, {"outputs": [1.0]})
    inner.on_predict_end()
    outer.on_train_batch_end(1, LOGS)
    outer.on_epoch_end(0, LOGS)
    shown = [without_times(each) for each in terminal.screen()]
    assert shown == [f"2/2 {BAR} T", f"4/4 {BAR} T - accuracy: 0.9000 - loss: 0.2500", ""]
    assert sys.stdout is terminal


def test_number_of_steps_is_learned_in_the_first_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    together = progress_list(steps=None)
    fit(together, steps=3)
    assert capsys.readouterr().out.count(f"3/3 {BAR}") == 2


def test_evaluate_shows_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    together = progress_list(epochs=1, steps=2)
    together.on_test_begin()
    for batch in range(2):
        together.on_test_batch_end(batch, LOGS)
    together.on_test_end(LOGS)
    line = f"2/2 {BAR} T - accuracy: 0.9000 - loss: 0.2500\n"
    assert without_times(capsys.readouterr().out) == line


def test_logs_are_read_at_most_ten_times_a_second(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.take_over()
    monkeypatch.setattr(progress, "_REFRESH_SECONDS", 0.1)
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    reads = []

    class Logs(dict):
        def items(self) -> Any:
            reads.append(now[0])
            return super().items()

    together = progress_list(epochs=1, steps=1000)
    together.on_epoch_begin(0)
    for batch in range(1000):
        now[0] += 0.001
        together.on_train_batch_end(batch, Logs(LOGS))
    together.close()
    assert 9 <= len(reads) <= 10


def test_a_short_epoch_paints_no_bar(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.take_over()
    monkeypatch.setattr(progress, "_SHORT_SECONDS", 0.25)
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    for seconds, has_bar in ((0.24, False), (0.27, True)):
        together = progress_list(epochs=1, steps=10)
        together.on_epoch_begin(0)
        for batch in range(10):
            now[0] += seconds / 10
            together.on_train_batch_end(batch, LOGS)
        assert ("step/s" in terminal.getvalue()) == has_bar
        together.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s/step"), (3.6, "4s/step"), (0.0026, "3ms/step"), (2.6e-6, "3us/step")],
)
def test_step_times_read_as_in_keras(seconds: float, text: str) -> None:
    assert progress.format_step_time(seconds) == text


def test_output_that_lacks_the_sign_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    fit(progress_list(epochs=1), epochs=1)
    assert raw.getvalue().startswith(b"4/4 ====================")
    monkeypatch.setattr(sys, "stdout", None)
    fit(progress_list(epochs=1), epochs=1)
