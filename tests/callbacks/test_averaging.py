from typing import Any

import numpy as np
import pytest

import torchseq
from torchseq import callbacks, optimizers


class Watcher(callbacks.Callback):
    """Notes the weights at some hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Any]] = {"epoch": [], "test": [], "batch": []}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen["epoch"].append(self.model.get_weights()[0])

    def on_test_begin(self, logs: Any = None) -> None:
        self.seen["test"].append(self.model.get_weights()[0])

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.seen["batch"].append(self.model.get_weights()[0])


def trained(
    seed: int, used: list[Any] | None = None, use_ema: bool = True, **options: Any
) -> tuple[Any, Watcher]:
    rng = np.random.default_rng(seed)
    torchseq.utils.set_random_seed(seed)
    x = rng.normal(size=(24, 3)).astype("float32")
    model = torchseq.Sequential([torchseq.Input((3,)), torchseq.layers.Dense(1)])
    model.compile(optimizers.SGD(0.1, use_ema=use_ema, ema_momentum=0.8), "mse")
    watcher = Watcher()
    used = [*([callbacks.SwapEMAWeights(**options)] if used is None else used), watcher]
    model.fit(x, x[:, :1], 8, 3, verbose=0, validation_split=0.25, callbacks=used)
    return model, watcher


def test_validation_sees_the_averages_and_training_does_not(seed: int) -> None:
    swapped, watched = trained(seed % 2**31)
    plain, watched_plainly = trained(seed % 2**31, used=[])
    for own, other in zip(watched.seen["batch"], watched_plainly.seen["batch"], strict=True):
        np.testing.assert_array_equal(own, other)
    for own, other in zip(watched.seen["test"], watched_plainly.seen["test"], strict=True):
        assert not np.array_equal(own, other)
    np.testing.assert_array_equal(swapped.get_weights()[0], plain.get_weights()[0])


def test_later_callbacks_see_the_averages_with_swap_on_epoch(seed: int) -> None:
    model, watched = trained(seed % 2**31, swap_on_epoch=True)
    plain, watched_plainly = trained(seed % 2**31, used=[])
    for own, validated in zip(watched.seen["epoch"], watched.seen["test"], strict=True):
        np.testing.assert_array_equal(own, validated)
    for own, other in zip(watched.seen["batch"], watched_plainly.seen["batch"], strict=True):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(model.get_weights()[0], plain.get_weights()[0])


class Stopper(callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = epoch == 1


def test_averages_stay_when_training_ends_early(seed: int) -> None:
    swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
    model, watched = trained(seed % 2**31, used=[Stopper(), swap])
    plain, _ = trained(seed % 2**31, used=[Stopper()])
    assert len(watched.seen["epoch"]) == 2
    np.testing.assert_array_equal(model.get_weights()[0], plain.get_weights()[0])


def test_weights_are_back_after_predict(seed: int) -> None:
    model, _ = trained(seed % 2**31)
    model.optimizer.variables[-1].assign([7.0])
    before = model.get_weights()
    swap = callbacks.SwapEMAWeights()
    outputs = model.predict(np.zeros((2, 3), "float32"), verbose=0, callbacks=[swap])
    np.testing.assert_array_equal(outputs, np.full((2, 1), 7.0))
    for own, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, other)


def test_an_optimizer_without_averages_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="when `use_ema=True` is set .* Received: use_ema=False"):
        trained(seed % 2**31, use_ema=False)
