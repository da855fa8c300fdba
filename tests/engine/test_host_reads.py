"""Training does not wait for the device: what it reads there does not grow with the steps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import torchseq
from torchseq import callbacks, layers, metrics

_aten = torch.ops.aten
# Operations whose result, or its shape, the host must know before it can go on.
_WAITING = {
    _aten._local_scalar_dense,  # item(), float(), int(), bool(), f"{tensor}"
    _aten.is_nonzero,
    _aten.equal,
    _aten.nonzero,
    _aten.masked_select,
    _aten.bincount,
    _aten._unique2,
    _aten.unique_dim,
    _aten.unique_consecutive,
}
_BY_INDEX = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
_METHODS = ("tolist", "numpy", "cpu", "__array__")  # which on a CPU dispatch nothing


class HostReads(TorchDispatchMode):
    """Counts reads of tensors, other than those that live on the host on purpose."""

    def __init__(self, host_tensors: list[Tensor]):
        super().__init__()
        self.count = 0
        self._host = {tensor.data_ptr() for tensor in host_tensors}

    def note(self, tensor: Any) -> None:
        if not isinstance(tensor, Tensor) or tensor.data_ptr() not in self._host:
            self.count += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        if packet in _WAITING or (packet in _BY_INDEX and _has_mask(args[1])):
            self.note(args[0])
        return func(*args, **(kwargs or {}))


def _has_mask(indices: Any) -> bool:
    return any(index is not None and index.dtype is torch.bool for index in indices)


@contextmanager
def counting(host_tensors: list[Tensor]) -> Iterator[HostReads]:
    reads = HostReads(host_tensors)
    patch = pytest.MonkeyPatch()
    for name in _METHODS:
        original = getattr(Tensor, name)

        def method(self: Tensor, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            reads.note(self)
            return _original(self, *args, **kwargs)

        patch.setattr(Tensor, name, method)
    with reads:
        yield reads
    patch.undo()


def rate() -> float:
    return 0.01


def compiled(optimizer: Any, outputs: int = 3) -> Any:
    model = torchseq.Sequential(
        [
            torchseq.Input((4,)),
            layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            layers.Dropout(0.2),
            layers.Dense(outputs, activation="softmax"),
        ]
    )
    model.compile(
        optimizer,
        "categorical_crossentropy",
        metrics=["accuracy", metrics.Precision(), metrics.Recall(), "mse"],
        weighted_metrics=["accuracy"],
    )
    return model


def sample(steps: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 8 * steps)
    return rng.normal(size=(8 * steps, 4)).astype("float32"), np.eye(3, dtype="float32")[labels]


def reads_of_fit(steps: int, optimizer: Any, folder: Path, **options: Any) -> int:
    model = compiled(optimizer)
    x, y = sample(steps)
    model.fit(*sample(1), verbose=0)  # builds all, and warms up what is made once
    standard = [
        callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True),
        callbacks.ModelCheckpoint(str(folder / "{epoch}.safetensors")),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs["loss"]),
    ]
    with counting([variable.tensor for variable in model.optimizer.variables[:2]]) as reads:
        model.fit(
            x,
            y,
            batch_size=8,
            epochs=2,
            verbose=0,
            validation_data=(x, y),
            callbacks=standard,
            sample_weight=np.ones(len(x)),
            **options,
        )
    return reads.count


@pytest.mark.parametrize(
    "make",
    [
        lambda: torchseq.optimizers.Adam(),
        lambda: torchseq.optimizers.Adam(amsgrad=True, clipnorm=1.0, weight_decay=0.01),
        lambda: torchseq.optimizers.SGD(momentum=0.9, global_clipnorm=1.0),
        lambda: torchseq.optimizers.RMSprop(use_ema=True, clipvalue=1.0),
        lambda: torchseq.optimizers.SGD(gradient_accumulation_steps=3, loss_scale_factor=8.0),
        lambda: torchseq.optimizers.Adam(rate, use_ema=True, ema_overwrite_frequency=2),
    ],
)
def test_reads_per_epoch_do_not_grow_with_the_steps(make: Any, tmp_path: Path) -> None:
    few = reads_of_fit(3, make(), tmp_path)
    many = reads_of_fit(40, make(), tmp_path)
    assert few == many
    assert few > 0  # the logs of an epoch's end, the checkpoints: the counter counts


def test_evaluate_and_predict_read_as_little(tmp_path: Path) -> None:
    counts = []
    for steps in (3, 40):
        model = compiled("adam")
        x, y = sample(steps)
        model.evaluate(*sample(1), verbose=0)
        with counting([]) as reads:
            model.evaluate(x, y, batch_size=8, verbose=0)
        counts.append(reads.count)
    assert counts[0] == counts[1] > 0


def test_a_callback_that_reads_each_batch_costs_one_read_a_batch(tmp_path: Path) -> None:
    model = compiled("sgd")
    x, y = sample(10)
    model.fit(*sample(1), verbose=0)
    host = [variable.tensor for variable in model.optimizer.variables[:2]]
    counts = []
    for hook in (lambda batch, logs: None, lambda batch, logs: logs["loss"] + logs["accuracy"]):
        with counting(host) as reads:
            reader = callbacks.LambdaCallback(on_train_batch_end=hook)
            model.fit(x, y, batch_size=8, verbose=0, callbacks=[reader])
        counts.append(reads.count)
    assert counts[1] - counts[0] == 10


@pytest.mark.gpu
def test_steps_do_not_synchronize_with_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchseq.data.arrays._CHUNK_BYTES", 300)  # several in an epoch
    model = compiled("adam")
    x, y = sample(20)
    model.fit(x, y, batch_size=8, verbose=0)

    class Watch(callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            torch.cuda.set_sync_debug_mode("error" if batch < 19 else "default")

    try:
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[Watch()])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_training_leaves_no_tensors_behind() -> None:
    model = compiled("adam")
    x, y = sample(60)
    counts: list[int] = []

    class Counter(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch in (5, 55):
                alive = gc.get_objects()
                counts.append(sum(issubclass(type(thing), Tensor) for thing in alive))

    model.fit(*sample(1), verbose=0)
    gc.collect()
    gc.disable()
    try:
        model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[Counter()])
    finally:
        gc.enable()
    assert len(set(counts)) == 1, counts


def test_logs_that_a_callback_keeps_hold_no_graph() -> None:
    model = compiled("adam")
    x, y = sample(10)
    kept: list[Any] = []

    class Keeper(callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            kept.append(dict(logs))

    model.fit(x, y, batch_size=8, verbose=0, callbacks=[Keeper()])
    assert len(kept) == 10
    assert all(type(value) is float for logs in kept for value in logs.values())
    assert list(kept[0]) == sorted(kept[0])
