"""Training that survives being killed."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchseq.base import arguments, process
from torchseq.base.atomic import atomic_path
from torchseq.base.errors import FileFormatError
from torchseq.callbacks import packing
from torchseq.callbacks.callback import Callback

_LATEST = "latest.safetensors"
_PREVIOUS = "previous.safetensors"


class BackupAndRestore(Callback):
    """Backs up a fit while it runs, and lets the same fit go on if it was killed.

    Run the same program again: `fit` then goes on after the last backup and ends with the same
    weights and the same history, to the bit, as if it had not been killed. A backup holds weights,
    optimizer state, the place in the data, the random generators, the metrics' state in the
    middle of an epoch, the history, and what the other callbacks return from `state_dict`.

    It is called after all other callbacks, wherever it stands in the list.

    Args:
        backup_dir: folder of the backup, for this fit alone; it is made.
        save_freq: `"epoch"`, or a number of batches after which to back up; False never does.
        double_checkpoint: keep the backup before the last one, too, for when that one is damaged.
        delete_checkpoint: remove the backup when training has ended.

    Raises:
        ValueError: for an empty `backup_dir` or another `save_freq`; when training begins, if the
            backup is of another model, or of other data in the middle of an epoch.
        FileFormatError: when training begins, if the backup is damaged and there is no other.

    Source: keras.callbacks.BackupAndRestore, which keeps the weights, the optimizer and the epoch,
    starts an interrupted epoch anew, and returns the history of the rest. It removes all of
    `backup_dir`; this removes its own files, and the folder if nothing else is in it.
    """

    runs_last = True

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int | bool = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if not backup_dir or not os.fspath(backup_dir):
            raise ValueError(
                "BackupAndRestore: `backup_dir` must name a folder; got an empty "
                f"`backup_dir` argument, {backup_dir!r}."
            )
        is_count = arguments.is_integer(save_freq) and int(save_freq) > 0
        if not (save_freq == "epoch" or save_freq is False or is_count):
            raise ValueError(
                "BackupAndRestore: `save_freq` must be 'epoch', a positive number of batches, or "
                f"False; got save_freq={save_freq!r}."
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.companions: Sequence[Callback] = ()  # the other callbacks; the list says them
        self._folder = Path(self.backup_dir)
        self._forget()

    def _forget(self) -> None:
        self._epoch = 0
        self._epochs_done = 0
        self._logs: dict[str, Any] = {}  # of the last whole epoch
        self._batches_since_save = 0
        self._last_batch = -1
        self._pending: dict[str, Any] | None = None  # a state in the middle of an epoch

    # --- Going on ------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        self._forget()
        if process.is_first():
            for path in self._leftovers():
                path.unlink(missing_ok=True)
        state = process.from_first(self._read)
        if state is None:
            return
        self._check(state)
        self._restore(state)
        if state["fit"]["step"]:
            self._pending = state

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        if self._pending is not None:
            # In the killed fit this hook ran long before. What callbacks did in it now is undone.
            self._restore(self._pending, has_begun=True)
            self._pending = None
        else:
            self._last_batch = -1

    def _read(self) -> dict[str, Any] | None:
        latest, previous = self._folder / _LATEST, self._folder / _PREVIOUS
        try:
            state: dict[str, Any] | None = packing.read(latest) if latest.exists() else None
        except (FileFormatError, OSError) as error:
            if not previous.exists():
                raise
            warnings.warn(
                f"BackupAndRestore: the last backup cannot be read, so training goes on from the "
                f"one before: {error}",
                stacklevel=2,
            )
            return packing.read(previous)  # type: ignore[no-any-return]
        if state is None and previous.exists():
            return packing.read(previous)  # type: ignore[no-any-return]
        return state

    def _check(self, state: dict[str, Any]) -> None:
        steps = (self.params or {}).get("steps")
        if state["fit"]["step"] and steps != state["steps"]:
            raise ValueError(
                "BackupAndRestore: the data and the batch size must be those of the fit that was "
                f"backed up in {self.backup_dir!r}; an epoch has {steps} batches, and had "
                f"{state['steps']}. Use the same, or remove the backup."
            )

    def _restore(self, state: dict[str, Any], has_begun: bool = False) -> None:
        left = list(self.companions)
        for name, saved in state["callbacks"]:
            left = self._from(name, left)
            left.pop(0).load_state_dict(saved)
        self._logs = state["fit"]["logs"]
        self._epochs_done = state["fit"]["epoch"]
        self._batches_since_save, self._last_batch = state["counts"]
        self.model.set_fit_state(state["fit"], has_begun)  # last: it sets the random generators

    def _from(self, name: str, callbacks: list[Callback]) -> list[Callback]:
        """Return the callbacks from the first of this class on."""
        for index, callback in enumerate(callbacks):
            if type(callback).__name__ == name:
                return callbacks[index:]
        raise ValueError(
            "BackupAndRestore: the callbacks must be those of the fit that was backed up in "
            f"{self.backup_dir!r}, in the same order; {name} is missing. Pass it, or remove the "
            "backup."
        )

    # --- Backing up ----------------------------------------------------------------------------

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.save_freq == "epoch" or self.save_freq is False:
            return
        # A step may run several batches, of which only the last is told.
        self._batches_since_save += batch - self._last_batch
        self._last_batch = batch
        if self._batches_since_save >= int(self.save_freq):
            self._batches_since_save = 0
            self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._logs = dict(logs or {})
        self._epochs_done = epoch + 1
        self._last_batch = -1
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: Any = None) -> None:
        # Ctrl-C ends training too, and then it must be possible to go on.
        epochs = (self.params or {}).get("epochs", 0)
        is_finished = self._epochs_done >= epochs or self.model.stop_training
        if not (is_finished and self.delete_checkpoint and self._folder.is_dir()):
            return
        if not process.is_first():
            return
        # The older one first: a kill in between must not leave it as the only one.
        for path in (self._folder / _PREVIOUS, self._folder / _LATEST):
            path.unlink(missing_ok=True)
        if not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _save(self, epoch: int, step: int) -> None:
        state = {
            "fit": self.model.get_fit_state(epoch, step, self._logs),
            "callbacks": [
                (type(callback).__name__, saved)
                for callback in self.companions
                if (saved := callback.state_dict())
            ],
            "counts": (self._batches_since_save, self._last_batch),
            "steps": (self.params or {}).get("steps"),
        }
        if not process.is_first():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        latest = self._folder / _LATEST
        if self.double_checkpoint and latest.exists():
            with atomic_path(self._folder / _PREVIOUS) as temporary:
                shutil.copyfile(latest, temporary)
        packing.write(latest, state)

    def _leftovers(self) -> list[Path]:
        """Return the unfinished files of writers that were killed."""
        names = (Path(_LATEST), Path(_PREVIOUS))
        return [path for n in names for path in self._folder.glob(f".{n.stem}-*{n.suffix}")]
