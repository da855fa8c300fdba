import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torchseq
from torchseq import callbacks


class Model:
    def __init__(self) -> None:
        self.metrics: list[Any] = []
        self.saved: list[str] = []

    def save(self, path: str, overwrite: bool) -> None:
        assert Path(path).parent.is_dir()
        self.saved.append(f"model {Path(path).name}")

    def save_weights(self, path: str, overwrite: bool) -> None:
        self.saved.append(f"weights {Path(path).name}")


class Logs(dict):
    """Counts what is read."""

    def __init__(self, **values: float) -> None:
        super().__init__(values)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> float:
        self.read.append(name)
        return super().__getitem__(name)


def checkpoint(path: Any, **options: Any) -> tuple[callbacks.ModelCheckpoint, Model]:
    callback, model = callbacks.ModelCheckpoint(path, **options), Model()
    callback.set_model(model)
    return callback, model


@pytest.mark.parametrize(
    ("suffix", "weights_only"),
    [
        *((suffix, False) for suffix in ("safetensors", "h5", "hdf5", "keras", "weights.h5")),
        *((suffix, True) for suffix in ("safetensors", "h5", "hdf5", "weights.h5")),
    ],
)
def test_any_suffix_is_handed_to_the_model(suffix: str, weights_only: bool, tmp_path: Path) -> None:
    callback, model = checkpoint(tmp_path / f"a/b/m.{suffix}", save_weights_only=weights_only)
    callback.on_epoch_end(0, {"loss": 1.0})
    assert model.saved == [f"{'weights' if weights_only else 'model'} m.{suffix}"]


def test_logs_are_read_only_as_far_as_the_name_needs(tmp_path: Path) -> None:
    callback, model = checkpoint(tmp_path / "{epoch:03d}-{val_loss:.2f}.h5")
    logs = Logs(loss=1.0, val_loss=0.25)
    callback.on_epoch_end(4, logs)
    assert logs.read == ["val_loss"]
    assert model.saved == ["model 005-0.25.h5"]


def test_batches_are_counted_over_epochs_and_named_from_one(tmp_path: Path) -> None:
    callback, model = checkpoint(tmp_path / "{epoch}-{batch}.h5", save_freq=4)
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        for batch in (1, 3, 5):  # two batches a step
            callback.on_train_batch_end(batch, {})
    assert model.saved == ["model 1-4.h5", "model 2-2.h5", "model 2-6.h5"]


def test_nan_is_not_saved_as_the_best(tmp_path: Path) -> None:
    callback, model = checkpoint(tmp_path / "m.h5", save_best_only=True, monitor="loss")
    for epoch, loss in enumerate([float("nan"), 0.5, float("nan"), 0.7]):
        callback.on_epoch_end(epoch, {"loss": loss})
    assert model.saved == ["model m.h5"]


def test_missing_names_raise_and_list_those_that_exist(tmp_path: Path) -> None:
    callback, _ = checkpoint(tmp_path / "{epoch}-{acc:.2f}.h5")
    with pytest.raises(ValueError, match=r"'acc' in filepath=.*there are epoch, loss, mae\."):
        callback.on_epoch_end(0, {"loss": 1.0, "mae": 2.0})
    callback, _ = checkpoint(tmp_path / "m.h5", save_best_only=True)
    with pytest.raises(ValueError, match="monitor='val_loss', and there are 'loss'"):
        callback.on_epoch_end(0, {"loss": 1.0})


def test_monitor_does_not_matter_unless_it_is_used(tmp_path: Path) -> None:
    callback, model = checkpoint(tmp_path / "m.h5", monitor="whatever")
    callback.on_epoch_end(0, {"loss": 1.0})
    assert model.saved


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("m.h5", {"save_freq": "batch"}, "`save_freq` must be 'epoch' or a positive"),
        ("m.h5", {"save_freq": 0}, "`save_freq` must be 'epoch' or a positive"),
        ("m.h5", {"mode": "best"}, "`mode` must be one of"),
        ("{epoch", {}, "each field of `filepath` must look like"),
    ],
)
def test_bad_arguments_are_refused(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        callbacks.ModelCheckpoint(path, **options)


@pytest.mark.parametrize(
    ("path", "weights_only"), [("best.ckpt", False), ("best.pt", True), ("best.keras", True)]
)
def test_a_suffix_of_no_format_is_known_before_training(path: str, weights_only: bool) -> None:
    with pytest.raises(ValueError, match=r"`filepath` must end in one of \['.safetensors'"):
        callbacks.ModelCheckpoint(path, save_weights_only=weights_only)


@pytest.mark.parametrize("path", ["best.h5", "{epoch}.keras", "best.hdf5"])
def test_a_missing_h5py_is_known_before_training(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'pip install "torchseq\[keras-files\]"'):
        callbacks.ModelCheckpoint(path)
    callbacks.ModelCheckpoint("best.safetensors")


def model_of_one_layer() -> Any:
    model = torchseq.Sequential([torchseq.Input((3,)), torchseq.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("suffix", "weights_only"),
    [
        *((suffix, False) for suffix in ("keras", "h5", "weights.h5", "safetensors")),
        *((suffix, True) for suffix in ("h5", "weights.h5", "safetensors")),
    ],
)
def test_files_of_a_fit_have_the_format_of_their_suffix(
    suffix: str, weights_only: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"{{epoch}}-{{loss:.3f}}.{suffix}"
    callback = callbacks.ModelCheckpoint(path, save_weights_only=weights_only)
    model, x = model_of_one_layer(), np.ones((8, 3), "float32")
    history = model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=[callback])
    names = [f"{i + 1}-{loss:.3f}.{suffix}" for i, loss in enumerate(history.history["loss"])]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names)
    last = tmp_path / names[-1]
    start = {"keras": b"PK", "safetensors": b""}.get(suffix, b"\x89HDF")
    assert last.read_bytes().startswith(start)
    if weights_only:
        again = model_of_one_layer()
        again.load_weights(last)
    else:
        again = torchseq.models.load_model(last)
        assert int(again.optimizer.iterations) == 2
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])
