"""A fit with backups, of which one process is killed; run by test_job.py.

JOB_KIND in the environment is `never`, `once` or `stays`: with `once` the second process kills
itself the first time, with `stays` it trains until it is killed from outside.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import torchseq as keras
from torchseq import callbacks, layers

FOLDER = Path(os.environ.get("JOB_FOLDER", "."))
KIND = os.environ.get("JOB_KIND", "never")
RANK = int(os.environ.get("RANK", "0"))


class Killer(callbacks.Callback):
    runs_in_all = True

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        if KIND == "stays":
            (FOLDER / "training").touch()
            time.sleep(0.05)
        if KIND == "once" and RANK == 1 and self.batches == 6 and not (FOLDER / "killed").exists():
            (FOLDER / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    torch.set_num_threads(1)
    keras.utils.set_random_seed(3)
    generator = np.random.default_rng(3)
    x = generator.normal(size=(17, 5)).astype("float32")
    y = generator.integers(0, 3, 17)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x,
        y,
        batch_size=4,
        epochs=1000 if KIND == "stays" else 3,
        verbose=0,
        callbacks=[callbacks.BackupAndRestore(FOLDER / "backup", save_freq=2), Killer()],
    )
    weights = model.get_weights()
    if RANK == 0:
        np.savez(FOLDER / "result.npz", *weights, **history.history)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads now and then abort a process that ends in the usual way
