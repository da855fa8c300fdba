"""What training does, as TensorBoard shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from torchseq.base import arguments, optional
from torchseq.callbacks import tensorboard_weights
from torchseq.callbacks.callback import Callback
from torchseq.callbacks.learning_rate import add_learning_rates
from torchseq.callbacks.tensorboard_graph import write_layers


class TensorBoard(Callback):
    """Writes losses, metrics, learning rate, weights and profiles for TensorBoard.

    Training goes to `log_dir/train`, validation and `evaluate` to `log_dir/validation`. Look at
    them by `tensorboard --logdir=log_dir`.

    Args:
        log_dir: folder for the files, of this callback alone.
        histogram_freq: epochs between histograms of the weights; 0 for none.
        write_graph: show the model's layers under "Graphs", "Conceptual Graph".
        write_images: show weights as images, too, where there are histograms.
        write_steps_per_second: write how fast training goes.
        update_freq: `"epoch"`, `"batch"`, or a number of batches after which losses and metrics
            are written. Each time they are read from the device.
        profile_batch: number of a batch, from 1, or the first and last one of a range, to record
            with torch's profiler; a pair or text, `"10,20"`. 0 for none.
        embeddings_freq: epochs between the tables of Embedding layers for the projector; 0 for
            none.
        embeddings_metadata: file with a label for each row of an embedding's table, or a dict of
            layer name -> file.

    Raises:
        ImportError: if the package tensorboard, or pillow for images, is not installed.
        ValueError: for an option out of its range; if `embeddings_metadata` names no layer.

    Source: keras.callbacks.TensorBoard, with the same folders, names and steps. There it needs
    TensorFlow; this writes through `torch.utils.tensorboard`. Embeddings go to the projector by
    `add_embedding`, and profiles to torch's format, where Keras on torch has none.
    """

    only_shows = True

    _kept = ("_train_batch",)

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: str | Mapping[str, str] | None = None,
    ):
        super().__init__()
        optional.require("tensorboard", "tensorboard", "callbacks.TensorBoard")
        self._torch_writer = optional.require(
            "torch.utils.tensorboard", "tensorboard", "callbacks.TensorBoard"
        ).SummaryWriter
        if write_images:
            optional.require("PIL.Image", "image", "callbacks.TensorBoard(write_images=True)")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = _frequency("histogram_freq", histogram_freq)
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = _update_frequency(update_freq)
        self.embeddings_freq = _frequency("embeddings_freq", embeddings_freq)
        self.embeddings_metadata = embeddings_metadata
        self._first_profiled, self._last_profiled = _profiled_range(profile_batch)
        self._writers: dict[str, Any] = {}
        self._profiler: Any = None
        self._is_fitting = False
        self._train_batch = 0  # in this fit, from 1
        self._batch_began = 0.0
        self._epoch_began = 0.0
        self._batches_before = 0
        if self.update_freq != "epoch" or write_steps_per_second or self._last_profiled:
            # Only then: a loop that no hook of batches waits for is quicker.
            self.on_train_batch_begin = self._begin_batch  # type: ignore[method-assign]
            self.on_train_batch_end = self._end_batch  # type: ignore[method-assign]

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._close_writers()
        if self.embeddings_freq:
            tensorboard_weights.check_metadata(self.model, self.embeddings_metadata)
        if self.write_graph:
            write_layers(self._writer("train"), self.model)

    def _writer(self, kind: str) -> Any:
        if kind not in self._writers:
            self._writers[kind] = self._torch_writer(os.path.join(self.log_dir, kind))
        return self._writers[kind]

    def _close_writers(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    # --- Training ------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        self._is_fitting = True
        self._train_batch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_began = time.perf_counter()
        self._batches_before = self._train_batch

    def _begin_batch(self, batch: int, logs: Any = None) -> None:
        self._train_batch += 1
        self._batch_began = time.perf_counter()
        if self._first_profiled and self._train_batch == self._first_profiled:
            self._start_profiler()

    def _end_batch(self, batch: int, logs: Any = None) -> None:
        if self.update_freq != "epoch" and self._train_batch % int(self.update_freq) == 0:
            writer = self._writer("train")
            if self.write_steps_per_second:
                seconds = max(time.perf_counter() - self._batch_began, 1e-9)
                writer.add_scalar("batch_steps_per_second", 1 / seconds, self._train_batch)
            self._write_scalars("train", "batch_", logs or {}, self._train_batch)
        if self._profiler is not None and self._train_batch >= self._last_profiled:
            self._stop_profiler()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs:
            self._write_epoch(epoch, dict(logs))
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            writer = self._writer("train")
            tensorboard_weights.write_weights(writer, self.model, epoch, self.write_images)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            tensorboard_weights.write_embeddings(
                self._writer("train"), self.model, epoch, self.embeddings_metadata, self.log_dir
            )
        for writer in self._writers.values():
            writer.flush()

    def _write_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
        trained = {name: value for name, value in logs.items() if not name.startswith("val_")}
        validated = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        add_learning_rates(self.model, trained)
        if self.write_steps_per_second:
            seconds = max(time.perf_counter() - self._epoch_began, 1e-9)
            trained["steps_per_second"] = (self._train_batch - self._batches_before) / seconds
        self._write_scalars("train", "epoch_", trained, epoch)
        self._write_scalars("validation", "epoch_", validated, epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self._is_fitting = False
        self._stop_profiler()
        self._close_writers()

    def _write_scalars(self, kind: str, prefix: str, values: Mapping[str, Any], step: int) -> None:
        for name, value in values.items():
            if getattr(value, "ndim", 0) == 0:  # TensorBoard has no scalars of several numbers
                self._writer(kind).add_scalar(prefix + name, value, step)

    # --- Evaluating ----------------------------------------------------------------------------

    def on_test_end(self, logs: Any = None) -> None:
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is None:
            return
        named = {f"{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._write_scalars("validation", "evaluation_", named, int(optimizer.iterations))
        if not self._is_fitting and "validation" in self._writers:
            self._writers["validation"].flush()

    # --- Profiling -----------------------------------------------------------------------------

    def _start_profiler(self) -> None:
        folder = str(Path(self.log_dir, "train"))
        self._profiler = torch.profiler.profile(
            on_trace_ready=torch.profiler.tensorboard_trace_handler(folder), record_shapes=True
        )
        self._profiler.start()

    def _stop_profiler(self) -> None:
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None


def _frequency(name: str, value: Any) -> int:
    if not arguments.is_integer(value) or value < 0:
        raise ValueError(
            f"TensorBoard: `{name}` must be a number of epochs, 0 for never; got {name}={value!r}."
        )
    return int(value)


def _update_frequency(value: Any) -> str | int:
    if value == "epoch":
        return "epoch"
    if value == "batch":
        return 1
    if not arguments.is_integer(value) or value <= 0:
        raise ValueError(
            "TensorBoard: `update_freq` must be 'epoch', 'batch' or a positive number of batches; "
            f"got update_freq={value!r}."
        )
    return int(value)


def _profiled_range(given: Any) -> tuple[int, int]:
    """Return the first and the last batch to profile, (0, 0) for none."""
    entries = given
    if isinstance(given, str):
        entries = [int(part) if part.strip().isdecimal() else -1 for part in given.split(",")]
    if arguments.is_integer(entries):
        entries = (entries, entries)
    if isinstance(entries, list | tuple) and len(entries) == 1:
        entries = (*entries, *entries)
    if (
        isinstance(entries, list | tuple)
        and len(entries) == 2
        and all(map(arguments.is_integer, entries))
        and 0 <= entries[0] <= entries[1]
        and (entries[0] > 0 or entries[1] == 0)
    ):
        return int(entries[0]), int(entries[1])
    raise ValueError(
        "TensorBoard: `profile_batch` must be a non-negative integer, or a pair of positive "
        f"integers, the first and the last batch; got profile_batch={given!r}."
    )
