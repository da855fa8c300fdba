import copy
from typing import Any

import pytest
import torch

from torchseq import callbacks
from torchseq.callbacks.callback import HOOKS


class Recorder(callbacks.Callback):
    """Does something in every hook. It does not call `super().__init__`: users often do not."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []


def recording(hook: str) -> Any:
    def record(self: Recorder, *arguments: Any, **named: Any) -> None:
        self.calls.append((hook, *arguments, named))

    return record


for each in HOOKS:
    setattr(Recorder, each, recording(each))


class Model:
    history = None


def test_list_calls_every_hook_and_hands_on_model_and_params() -> None:
    recorder, model = Recorder(), Model()
    together = callbacks.CallbackList([recorder], model=model, epochs=3, steps=None)
    assert recorder.model is model
    assert recorder.params == {"epochs": 3, "steps": None}
    for hook in HOOKS:
        assert together.wants(hook)
        if "batch" in hook:
            getattr(together, hook)(7, {"a": 1.0})
            assert recorder.calls[-1] == (hook, 7, {"logs": {"a": 1.0}})
        elif "epoch" in hook:
            getattr(together, hook)(2)
            assert recorder.calls[-1] == (hook, 2, {}, {})
        else:
            getattr(together, hook)()
            assert recorder.calls[-1] == (hook, {}, {})


def test_hooks_that_nobody_overrides_are_not_wanted() -> None:
    class Older(callbacks.Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append((batch, logs))

    seen: list[tuple] = []
    together = callbacks.CallbackList(
        [Older(), callbacks.LambdaCallback(on_test_begin=seen.append)], add_history=True
    )
    wanted = {hook for hook in HOOKS if together.wants(hook)}
    assert wanted == {
        "on_batch_end",
        "on_train_batch_end",
        "on_test_begin",
        "on_train_begin",
        "on_epoch_end",
    }
    together.on_train_batch_end(4, {"loss": 1.0})
    together.on_test_begin()
    assert seen == [(4, {"loss": 1.0}), {}]


def test_list_takes_one_callback_none_or_nested_lists() -> None:
    first, second = callbacks.Callback(), callbacks.Callback()
    assert callbacks.CallbackList(first).callbacks == [first]
    assert callbacks.CallbackList().callbacks == []
    assert callbacks.CallbackList([first, [[second], ()]]).callbacks == [first, second]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "got 3 of type int at index 1"),
        (
            callbacks.EarlyStopping,
            r"the class EarlyStopping at index 1. Write EarlyStopping\(...\)",
        ),
    ],
)
def test_list_refuses_what_is_no_callback(entry: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        callbacks.CallbackList([callbacks.Callback(), entry])


def test_list_keeps_a_history_that_is_there() -> None:
    history, model = callbacks.History(), Model()
    together = callbacks.CallbackList([history], add_history=True, model=model)
    assert together.callbacks == [history]
    assert model.history is history


def test_logs_of_a_hand_written_loop_become_sorted_floats() -> None:
    recorder = Recorder()
    together = callbacks.CallbackList([recorder])
    together.on_train_batch_end(0, {"loss": torch.tensor(0.5), "acc": torch.tensor([1.0, 2.0])})
    logs = recorder.calls[-1][-1]["logs"]
    assert list(logs) == ["acc", "loss"]
    assert type(logs["loss"]) is float


def test_logs_of_the_engine_are_handed_on_unread() -> None:
    class Unreadable(dict):
        def __getitem__(self, name: str) -> float:
            raise AssertionError("read")

        items = values = get = __getitem__

    logs, recorder = Unreadable(loss=1.0), Recorder()
    together = callbacks.CallbackList([recorder], add_progbar=True, verbose=1, epochs=2, steps=9)
    together.on_train_begin()
    together.on_train_batch_end(0, logs)
    assert recorder.calls[-1][-1]["logs"] is logs


def test_history_collects_floats_per_epoch() -> None:
    model = Model()
    history = callbacks.History()
    history.set_model(model)
    history.on_train_begin()
    history.on_epoch_end(2, {"loss": 0.5})
    history.on_epoch_end(3, {"loss": 0.25, "val_loss": 1.0})
    assert history.history == {"loss": [0.5, 0.25], "val_loss": [1.0]}
    assert history.epoch == [2, 3]
    assert model.history is history


def test_lambda_callback_takes_any_hook_and_refuses_other_names() -> None:
    seen: list[Any] = []
    callback = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(epoch),
        on_predict_end=lambda logs: seen.append("predicted"),
    )
    together = callbacks.CallbackList([callback])
    together.on_epoch_begin(5)
    together.on_predict_end()
    assert seen == [5, "predicted"]
    with pytest.raises(TypeError, match="'on_epoch_ends'. Nearest: 'on_epoch_end'"):
        callbacks.LambdaCallback(on_epoch_ends=print)


def test_model_is_unwrapped_from_data_parallel() -> None:
    wrapped = torch.nn.parallel.DistributedDataParallel.__new__(
        torch.nn.parallel.DistributedDataParallel
    )
    torch.nn.Module.__init__(wrapped)
    wrapped.module = torch.nn.Linear(1, 1)
    callback = callbacks.Callback()
    callback.set_model(wrapped)
    assert callback.model is wrapped.module


def test_callbacks_can_be_copied() -> None:
    copied = copy.deepcopy(callbacks.EarlyStopping(patience=3))
    assert copied.patience == 3
