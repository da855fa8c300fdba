import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import callbacks
from torchseq.callbacks.callback import HOOKS
from torchseq.engine import logs as engine_logs


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


# --- in a fit -----------------------------------------------------------------------------------


def small_model(**options: Any) -> Any:
    model = torchseq.Sequential([torchseq.Input((3,)), torchseq.layers.Dense(1)])
    model.compile(torchseq.optimizers.SGD(0.1, **options), "mse", metrics=["mae", "mse"])
    return model


@pytest.mark.parametrize("batch_size", [8, 2, 1])
def test_logs_that_nobody_reads_cost_no_device_read(
    batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    reads: list[int] = []
    read = engine_logs._numbers
    monkeypatch.setattr(engine_logs, "_numbers", lambda tensors: reads.append(1) or read(tensors))

    class Watcher(callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            assert "loss" in logs
            assert len(logs) == 3
            self.batches += 1

    watcher = Watcher()
    used = [
        watcher,
        callbacks.EarlyStopping(patience=9, restore_best_weights=True),
        callbacks.ReduceLROnPlateau(),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ModelCheckpoint(tmp_path / "{epoch}.safetensors"),
        callbacks.ModelCheckpoint(tmp_path / "b{epoch}.safetensors", save_freq=4),
        callbacks.SwapEMAWeights(),
        callbacks.BackupAndRestore(tmp_path / "backup", save_freq=5),
        callbacks.TensorBoard(tmp_path / "board", update_freq=1000),
    ]
    x = rng.normal(size=(16, 3)).astype("float32")
    model = small_model(use_ema=True)
    model.fit(x, x[:, :1], batch_size, 3, verbose=0, validation_split=0.5, callbacks=used)
    assert watcher.batches == 3 * 8 // batch_size
    assert len(reads) == 2 * 3  # training and validation, each epoch


class Unknown(callbacks.Callback):
    """Counts epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1


@pytest.mark.parametrize(
    ("monitor", "options"),
    [
        ("val_loss", {}),
        ("val_loss", {"validation_freq": 2}),
        ("val_nope", {"validation_split": 0.5}),
        ("val_nope", {"validation_split": 0.5, "validation_freq": 3}),
        ("nope", {"validation_split": 0.5, "validation_freq": [4]}),
    ],
)
@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau", "ModelCheckpoint"])
def test_a_monitor_that_is_not_there_ends_the_first_epoch(
    kind: str, monitor: str, options: dict[str, Any], tmp_path: Path
) -> None:
    callback = (
        callbacks.ModelCheckpoint(tmp_path / "m.safetensors", monitor, save_best_only=True)
        if kind == "ModelCheckpoint"
        else getattr(callbacks, kind)(monitor)
    )
    counter, x = Unknown(), np.ones((8, 3), "float32")
    with pytest.raises(ValueError, match=f"{kind}: `monitor` .*={monitor!r}, .* 'loss', 'mae'"):
        small_model().fit(
            x, x[:, :1], epochs=5, verbose=0, callbacks=[counter, callback], **options
        )
    assert counter.epochs == 1


def test_rare_validation_is_waited_for() -> None:
    x = np.ones((8, 3), "float32")
    stopping = callbacks.EarlyStopping("val_mae", patience=1, min_delta=9.0, mode="min")
    history = small_model().fit(
        x,
        x[:, :1],
        epochs=9,
        verbose=0,
        callbacks=stopping,
        validation_split=0.5,
        validation_freq=2,
    )
    assert len(history.epoch) == 4  # the first value is the best, the second is not better


@pytest.mark.parametrize("entry", [3, "EarlyStopping", callbacks.EarlyStopping, print])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_methods_refuse_what_is_no_callback(method: str, entry: Any) -> None:
    x = np.ones((8, 3), "float32")
    given = (x,) if method == "predict" else (x, x[:, :1])
    with pytest.raises(TypeError, match="callbacks: each entry must be a Callback object; got"):
        getattr(small_model(), method)(*given, verbose=0, callbacks=[entry])


def test_a_callback_reads_and_writes_model_and_params() -> None:
    class Nosy(callbacks.Callback):
        def set_params(self, params: Any) -> None:
            super().set_params({**params, "mine": 1})

        def set_model(self, model: Any) -> None:
            super().set_model(model)
            self.model.noted = 7

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.params["seen"] = epoch
            self.model.stop_training = epoch == 1

    nosy, model, x = Nosy(), small_model(), np.ones((8, 3), "float32")
    history = model.fit(x, x[:, :1], 4, 5, verbose=0, callbacks=nosy)
    assert nosy.params == {"verbose": 0, "epochs": 5, "steps": 2, "mine": 1, "seen": 1}
    assert (model.noted, history.epoch) == (7, [0, 1])


def test_instances_decide_in_a_second_fit_as_fresh_ones(tmp_path: Path) -> None:
    def run(stopping: Any, plateau: Any, checkpoint: Any, folder: Path) -> Any:
        torchseq.utils.set_random_seed(1)
        model, x = small_model(), np.ones((8, 3), "float32")
        checkpoint.filepath = str(folder / "{epoch}.safetensors")
        history = model.fit(x, x[:, :1], 4, 9, verbose=0, callbacks=[stopping, plateau, checkpoint])
        return history.history, sorted(path.name for path in folder.iterdir())

    def fresh() -> list[Any]:
        return [
            callbacks.EarlyStopping("loss", patience=1, min_delta=0.01),
            callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.5),
            callbacks.ModelCheckpoint("m.safetensors", "loss", save_best_only=True),
        ]

    used, found = fresh(), []
    for index, given in enumerate((used, used, fresh())):
        folder = tmp_path / str(index)
        folder.mkdir()
        found.append(run(*given, folder))
    assert found[0] == found[1] == found[2]
