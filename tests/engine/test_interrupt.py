"""Ctrl-C during fit: the callbacks hear of the end, and weights and history stay."""

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import callbacks, layers


def compiled() -> Any:
    model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


class Recorder(callbacks.Callback):
    """Interrupts in a hook of the third epoch, and notes how training ends."""

    def __init__(self, hook: str):
        super().__init__()
        self.ends: list[dict[str, float]] = []
        self.hook = hook

    def interrupt(self, hook: str) -> None:
        if hook == self.hook and len(self.model.history.epoch) == 2:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.interrupt("on_epoch_begin")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.interrupt("on_train_batch_end")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.interrupt("on_test_batch_end")

    def on_train_end(self, logs: Any = None) -> None:
        self.ends.append(dict(logs))


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_end", "on_test_batch_end"])
def test_interrupted_fit_ends_as_one_that_is_over(hook: str) -> None:
    model = compiled()
    before = model.get_weights()[0]
    recorder = Recorder(hook)
    x = np.random.default_rng(0).normal(size=(20, 4))
    y = np.zeros((20, 3))
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, 4, 9, 0, [recorder], validation_data=(x, y))
    assert model.history.epoch == [0, 1]
    assert list(model.history.history) == ["loss", "mae", "val_loss", "val_mae"]
    last = {name: values[-1] for name, values in model.history.history.items()}
    assert recorder.ends == [last]
    assert np.abs(model.get_weights()[0] - before).max() > 0
    assert not model.training
    assert len(model.fit(x, y, verbose=0).epoch) == 1


def test_other_exceptions_do_not_end_training_for_callbacks() -> None:
    model = compiled()
    ends: list[Any] = []

    def fail(epoch: int, logs: Any) -> None:
        raise ZeroDivisionError

    hooks = callbacks.LambdaCallback(on_epoch_end=fail, on_train_end=ends.append)
    with pytest.raises(ZeroDivisionError):
        model.fit(np.zeros((8, 4)), np.zeros((8, 3)), verbose=0, callbacks=[hooks])
    assert ends == []


def test_signal_from_the_keyboard() -> None:
    script = """
        import os, signal
        import numpy as np
        import torchseq
        from torchseq import callbacks, layers

        model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3)])
        model.compile("sgd", "mse")

        class Watch(callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 3:
                    os.kill(os.getpid(), signal.SIGINT)

            def on_train_end(self, logs=None):
                print("ended", sorted(logs))

        x, y = np.ones((64, 4)), np.ones((64, 3))
        before = model.get_weights()[0]
        try:
            model.fit(x, y, epochs=10**9, verbose=0, callbacks=[Watch()])
        except KeyboardInterrupt:
            epochs = len(model.history.history["loss"])
            print("interrupted", 3 <= epochs <= 5, (model.get_weights()[0] != before).any())
        print(model.predict(x[:1], verbose=0).shape)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["ended ['loss']", "interrupted True True", "(1, 3)"]


class Signals(torch.nn.Module):
    """Sends Ctrl-C to the process while a step runs."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times
        self.num_calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.num_calls += 1
            if self.num_calls == 3:
                for _ in range(self.times):
                    os.kill(os.getpid(), signal.SIGINT)
        return inputs


@pytest.mark.parametrize(("times", "steps"), [(1, 3), (2, 2)], ids=["waits", "at once"])
def test_the_step_ends_before_the_first_interrupt(times: int, steps: int) -> None:
    model = torchseq.Sequential([torchseq.Input((4,)), layers.Dense(3), Signals(times)])
    model.compile("adam", "mse", run_eagerly=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(np.ones((20, 4)), np.ones((20, 3)), 4, verbose=0)
    assert int(model.optimizer.iterations) == steps
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_outside_of_steps_is_not_lost() -> None:
    model = compiled()

    def send(logs: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    late = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: send(logs))
    with pytest.raises(KeyboardInterrupt):
        model.fit(np.ones((8, 4)), np.ones((8, 3)), 4, 1, 0, [late])
