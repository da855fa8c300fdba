"""Runs one fit in processes that are killed at random instants, until one of them ends.

Run by test_backup.py as `python killed_fit.py FOLDER SEED TRIALS`. The processes are forks of this
one, so that torch is imported once.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import torchseq as keras
from torchseq import callbacks

EPOCHS = 3
SETTINGS: list[dict[str, Any]] = [
    {"save_freq": "epoch"},
    {"save_freq": 1},
    {"save_freq": 3, "steps_per_epoch": 4, "double_checkpoint": True, "shuffle": "batch"},
]


class Noise(callbacks.Callback):
    """Draws from the generators, as a user's callback may."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        random.random(), np.random.rand(), torch.rand(3)


def make_model() -> Any:
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2, seed=3),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def run(folder: Path, save_freq: Any, double_checkpoint: bool = False, **options: Any) -> None:
    """Train from a fixed seed, and write what came out."""
    keras.utils.set_random_seed(7)
    generator = np.random.default_rng(5)
    x = generator.normal(size=(80, 6)).astype("float32")
    y = generator.integers(0, 3, 80)
    model = make_model()
    used = [
        callbacks.BackupAndRestore(folder / "backup", save_freq, double_checkpoint),
        Noise(),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.LearningRateScheduler(lambda epoch, lr: lr * 0.9),
        callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5),
        callbacks.ModelCheckpoint(folder / "{epoch}.safetensors", save_freq=8),
    ]
    history = model.fit(
        x,
        y,
        batch_size=8,
        epochs=EPOCHS,
        validation_split=0.2,
        verbose=0,
        callbacks=used,
        **options,
    )
    result = {
        "history": history.history,
        "epoch": history.epoch,
        "iterations": int(model.optimizer.iterations),
        "rate": float(model.optimizer.learning_rate),
        "csv": (folder / "log.csv").read_text(),
        "files": sorted(path.name for path in folder.glob("[0-9]*.safetensors")),
        "next": [random.random(), np.random.rand(), float(torch.rand(()))],
        "weights": [
            value.tobytes().hex() for value in (*model.get_weights(), *weights_of(model.optimizer))
        ],
    }
    unfinished = folder / "unfinished.json"
    unfinished.write_text(json.dumps(result))
    unfinished.rename(folder / "result.json")


def weights_of(optimizer: Any) -> list[Any]:
    return [np.asarray(variable.numpy()) for variable in optimizer.variables]


def start(folder: Path, setting: dict[str, Any]) -> int:
    process = os.fork()
    if process == 0:
        try:
            run(folder, **setting)
            os._exit(0)
        except BaseException as error:
            print("failed", repr(error), flush=True)
            os._exit(1)
    return process


def run_killed(folder: Path, setting: dict[str, Any], seconds: float, rng: random.Random) -> int:
    """Return how often it was killed before it ended."""
    for kills in range(40):
        process = start(folder, setting)
        if kills < 4:
            # The first one early, so that there is something left to do.
            time.sleep(rng.uniform(0, seconds * (0.7 if kills == 0 else 1)))
            os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        if not os.WIFSIGNALED(status):
            if os.waitstatus_to_exitcode(status):
                raise SystemExit(f"a fit of {setting} failed")
            return kills
    raise SystemExit("never ended")


def main(folder: Path, seed: int, trials: int) -> None:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    for index, setting in enumerate(SETTINGS):
        whole = folder / f"{index}-whole"
        whole.mkdir()
        begun = time.perf_counter()
        os.waitpid(start(whole, setting), 0)
        seconds = time.perf_counter() - begun
        expected = json.loads((whole / "result.json").read_text())
        for trial in range(trials):
            killed = folder / f"{index}-{trial}"
            killed.mkdir()
            kills = run_killed(killed, setting, seconds, rng)
            found = json.loads((killed / "result.json").read_text())
            differing = [name for name in expected if found[name] != expected[name]]
            if differing:
                raise SystemExit(f"{setting}, trial {trial}, {kills} kills: {differing} differ")
            if (killed / "backup").exists():
                raise SystemExit(f"{setting}: the backup was left behind")
            print(f"{setting}: {kills} kills, {seconds:.2f} s uninterrupted")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
