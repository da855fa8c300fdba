import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torchseq
from torchseq import callbacks
from torchseq.base.errors import FileFormatError
from torchseq.callbacks import packing

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 4)).astype("float32")
Y = RNG.integers(0, 3, 40)


class Killed(Exception):
    pass


class Killer(callbacks.Callback):
    """Ends a fit by an exception, after a batch of an epoch or at the epoch's end."""

    def __init__(self, epoch: int, batch: int | None) -> None:
        super().__init__()
        self.at = (epoch, batch)
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == self.at:
            self.end()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch, None) == self.at:
            self.end()

    def end(self) -> None:
        raise Killed


class Order:
    """A PyDataset-like list of batches."""

    def __init__(self) -> None:
        self.batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)]

    def __iter__(self) -> Any:
        order = torch.randperm(len(self.batches))  # as a sampler draws
        return iter([self.batches[index] for index in order])


def loader() -> Any:
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)


def endless() -> Any:
    while True:
        index = np.arange(8) + np.random.randint(0, 32)
        yield X[index], Y[index]


DATA: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "arrays": (lambda: X, {"y": Y, "batch_size": 8}),
    "arrays in pieces": (lambda: X, {"y": Y, "batch_size": 4, "steps_per_epoch": 4}),
    "loader": (loader, {}),
    "iterable": (Order, {}),
}


def fit(
    data: str,
    folder: Path | None = None,
    used: list[Any] | None = None,
    optimizer: Any = "adam",
    **options: Any,
) -> tuple[Any, Any]:
    """Trains from a fixed seed, as a program that is started again does."""
    torchseq.utils.set_random_seed(3)
    model = torchseq.Sequential(
        [
            torchseq.Input((4,)),
            torchseq.layers.Dense(8, activation="relu"),
            torchseq.layers.Dropout(0.4),
            torchseq.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    used = list(used or [])
    if folder is not None:
        used.insert(0, callbacks.BackupAndRestore(folder, **options))
    make, given = DATA[data]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*ran out of data")
        history = model.fit(make(), epochs=4, verbose=0, callbacks=used, **given)
    return model, history


@cache
def uninterrupted(data: str) -> tuple[Any, Any]:
    return fit(data)


def assert_same(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    assert found[1].history == expected[1].history
    assert found[1].epoch == expected[1].epoch
    values = [
        [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]
        for model, _ in (found, expected)
    ]
    for own, other in zip(*values, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("at", [(0, 1), (2, 1), (3, None)], ids=str)
@pytest.mark.parametrize("save_freq", ["epoch", 2])
@pytest.mark.parametrize("data", DATA)
def test_a_fit_goes_on_to_the_same_bits(
    data: str, save_freq: Any, at: tuple[int, int | None], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        fit(data, tmp_path / "killed", [Killer(*at)], save_freq=save_freq)
    if save_freq == "epoch" and at[0] > 0:
        assert (tmp_path / "killed").is_dir()
    assert_same(fit(data, tmp_path / "killed", save_freq=save_freq), uninterrupted(data))
    assert not (tmp_path / "killed").exists()


@pytest.mark.parametrize("data", DATA)
def test_a_backup_changes_nothing(data: str, tmp_path: Path) -> None:
    assert_same(fit(data, tmp_path / "b", save_freq=3), uninterrupted(data))


def test_a_fit_that_is_killed_by_the_system_goes_on(seed: int, tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("killed_fit.py")), str(tmp_path)]
    done = subprocess.run(
        [*command, str(seed), "1"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"
    kills = [int(count) for count in re.findall(r"(\d+) kills", done.stdout)]
    assert len(kills) == 3
    assert sum(kills) > 0


def test_a_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    DATA["generator"] = (endless, {"steps_per_epoch": 5})
    try:
        expected = fit("generator")
        for save_freq in ("epoch", 1):
            folder = tmp_path / str(save_freq)
            with pytest.raises(Killed):
                fit("generator", folder, [Killer(2, 2)], save_freq=save_freq)
            again = fit("generator", folder, save_freq=save_freq)
            assert_same(again, expected)
    finally:
        del DATA["generator"]


def scheduled() -> Any:
    cyclic = partial(torch.optim.lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=3)
    return (partial(torch.optim.SGD, lr=0.01, momentum=0.9), cyclic, "step")


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "averages": lambda: torchseq.optimizers.SGD(0.1, use_ema=True, ema_overwrite_frequency=3),
    "accumulated": lambda: torchseq.optimizers.Adam(gradient_accumulation_steps=3),
    "schedule": lambda: torchseq.optimizers.Nadam(lambda: 0.1),
    "torch": lambda: torch.optim.AdamW,
    "torch with a scheduler": scheduled,
    "torch with steps of epochs": lambda: (
        partial(torch.optim.SGD, lr=0.1),
        partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[1, 3], gamma=0.5),
        "epoch",
    ),
}


@pytest.mark.parametrize("at", [(2, 1), (2, None)], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_goes_on(name: str, at: tuple[int, int | None], tmp_path: Path) -> None:
    make = OPTIMIZERS[name]
    expected = fit("arrays", optimizer=make())
    with pytest.raises(Killed):
        fit("arrays", tmp_path / "b", [Killer(*at)], make(), save_freq=1)
    assert_same(fit("arrays", tmp_path / "b", optimizer=make(), save_freq=1), expected)


class Stopper(Killer):
    """Stops training there instead."""

    def end(self) -> None:
        self.model.stop_training = True


@pytest.mark.parametrize("data", ["arrays", "arrays in pieces"])
@pytest.mark.parametrize("at", [(1, 2), (1, None)], ids=str)
@pytest.mark.parametrize("save_freq", ["epoch", 1])
def test_training_that_had_stopped_does_not_begin_again(
    at: tuple[int, int | None], save_freq: Any, data: str, tmp_path: Path
) -> None:
    expected = fit(data, used=[Stopper(*at)])

    class Late(callbacks.Callback):
        runs_last = True  # after the backup

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if self.model.stop_training:
                raise Killed

    with pytest.raises(Killed):
        fit(data, tmp_path / "b", [Stopper(*at), Late()], save_freq=save_freq)
    again = fit(data, tmp_path / "b", [Stopper(*at)], save_freq=save_freq)
    assert_same(again, expected)


def test_the_state_of_users_callbacks_is_kept(tmp_path: Path) -> None:
    class Counter(callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.batches = np.zeros((), "int64")

        def state_dict(self) -> dict[str, Any]:
            return {"batches": self.batches.copy()}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.batches = state["batches"]

        def on_train_begin(self, logs: Any = None) -> None:
            self.batches = np.zeros((), "int64")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches = self.batches + 1

    with pytest.raises(Killed):
        fit("arrays", tmp_path / "b", [Counter(), Killer(2, 2)], save_freq=2)
    counter = Counter()
    fit("arrays", tmp_path / "b", [counter, callbacks.TerminateOnNaN()], save_freq=2)
    assert counter.batches == 20
    with pytest.raises(Killed):
        fit("arrays", tmp_path / "b", [Counter(), Killer(2, 2)], save_freq=2)
    with pytest.raises(ValueError, match="callbacks must be those .* Counter is missing"):
        fit("arrays", tmp_path / "b", save_freq=2)


def test_what_a_callback_keeps_must_be_data(tmp_path: Path) -> None:
    class Keeper(callbacks.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"file": [sys.stdout]}

    with pytest.raises(TypeError, match=r"a backup: each value must .* at 'callbacks.0.1.file.0'"):
        fit("arrays", tmp_path / "b", [Keeper()])


def test_the_backup_of_another_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit("arrays", tmp_path / "b", [Killer(2, 2)], save_freq=2)
    with pytest.raises(ValueError, match="an epoch has 4 batches, and had 5"):
        fit("arrays in pieces", tmp_path / "b", save_freq=2)
    model = torchseq.Sequential([torchseq.Input((4,)), torchseq.layers.Dense(3)])
    model.compile("adam", "mse")
    backup = callbacks.BackupAndRestore(tmp_path / "b")
    with pytest.raises(ValueError, match="set_fit_state: the state must be of the same model"):
        model.fit(X, X[:, :3], batch_size=8, verbose=0, callbacks=[backup])


def test_the_backup_before_serves_when_the_last_is_damaged(tmp_path: Path) -> None:
    expected = uninterrupted("arrays")
    with pytest.raises(Killed):
        fit("arrays", tmp_path / "b", [Killer(2, 2)], save_freq=1, double_checkpoint=True)
    (tmp_path / "b" / "latest.safetensors").write_bytes(b"half a fi")
    with pytest.warns(UserWarning, match="last backup cannot be read, so .* the one before"):
        again = fit("arrays", tmp_path / "b", save_freq=1, double_checkpoint=True)
    assert_same(again, expected)


def test_a_damaged_backup_without_another_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "latest.safetensors").write_bytes(b"half a fi")
    with pytest.raises(FileFormatError, match="must be a whole backup; it is damaged"):
        fit("arrays", tmp_path / "b")


def test_deleting_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".latest-0123.safetensors").write_text("of a killed writer")
    fit("arrays", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_backup_can_be_kept(tmp_path: Path) -> None:
    expected = fit("arrays", tmp_path / "b", delete_checkpoint=False)
    assert (tmp_path / "b" / "latest.safetensors").exists()
    assert_same(fit("arrays", tmp_path / "b"), expected)  # nothing is left to do


def test_ctrl_c_keeps_the_backup(tmp_path: Path) -> None:
    class Interrupter(Killer):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    expected = uninterrupted("arrays")
    with pytest.raises(KeyboardInterrupt):
        fit("arrays", tmp_path / "b", [Interrupter(9, 9)])
    assert (tmp_path / "b" / "latest.safetensors").exists()
    assert_same(fit("arrays", tmp_path / "b"), expected)


def test_a_model_can_be_copied_in_a_hook() -> None:
    import copy
    import pickle

    class Copier(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            copies.append(copy.deepcopy(self.model))
            pickle.dumps(self.model)

    copies: list[Any] = []
    model, _ = fit("arrays", used=[Copier()])
    np.testing.assert_array_equal(copies[-1].get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backup_dir": ""}, "`backup_dir` must name a folder"),
        ({"backup_dir": "b", "save_freq": "batch"}, "`save_freq` must be 'epoch', a positive"),
        ({"backup_dir": "b", "save_freq": 0}, "`save_freq` must be 'epoch', a positive"),
        ({"backup_dir": "b", "save_freq": True}, "`save_freq` must be 'epoch', a positive"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"BackupAndRestore: {message}"):
        callbacks.BackupAndRestore(**options)


def test_any_nested_data_goes_round(tmp_path: Path, rng: np.random.Generator) -> None:
    tensor = torch.tensor(rng.normal(size=(2, 3)))
    value = {
        "a.b": [1, (2.5, None, True), "text", float("inf")],
        "a": {"b": [np.arange(3, dtype="uint32"), np.float32(0.1)]},
        3: tensor.T,
        "~kind": {"twice": [tensor, tensor], "half": tensor.bfloat16()},
        "empty": [[], {}, torch.empty(0)],
    }
    packing.write(tmp_path / "f.safetensors", value)
    found = packing.read(tmp_path / "f.safetensors")
    assert found["a.b"] == value["a.b"]
    assert found["a"]["b"][0].dtype == np.uint32
    assert found["a"]["b"][1] == np.float32(0.1)
    torch.testing.assert_close(found[3], tensor.T, rtol=0, atol=0)
    torch.testing.assert_close(found["~kind"]["twice"][1], tensor, rtol=0, atol=0)
    assert found["~kind"]["half"].dtype == torch.bfloat16
    assert found["empty"][:2] == [[], {}]
