import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def

import torchseq
from torchseq import callbacks


def fitted(folder: Path, embeds: bool = False, **options: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    front = (
        [torchseq.layers.Embedding(5, 3, name="words"), torchseq.layers.Flatten()]
        if embeds
        else [torchseq.layers.Dense(3, name="first")]
    )
    x = rng.integers(0, 5, (24, 2)) if embeds else rng.normal(size=(24, 2)).astype("float32")
    model = torchseq.Sequential([torchseq.Input((2,)), *front, torchseq.layers.Dense(1)])
    optimizer = torchseq.optimizers.SGD(0.0625)
    # Eagerly, whatever the environment says: profiles are searched for the names of operations.
    model.compile(optimizer, "mse", metrics=["mae"], jit_compile=False)
    board = callbacks.TensorBoard(folder, **options)
    history = model.fit(
        x, rng.normal(size=(24, 1)), 6, 2, verbose=0, validation_split=0.25, callbacks=[board]
    )
    return model, history


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0, "images": 0})
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = events(folder)
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_scalars_have_the_names_and_steps_of_keras(tmp_path: Path) -> None:
    _, history = fitted(tmp_path)
    train, validation = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    assert sorted(train) == ["epoch_learning_rate", "epoch_loss", "epoch_mae"]
    assert sorted(validation) == [
        "epoch_loss",
        "epoch_mae",
        "evaluation_loss_vs_iterations",
        "evaluation_mae_vs_iterations",
    ]
    for tag, name in (("epoch_loss", "loss"), ("epoch_mae", "mae")):
        expected = list(enumerate(np.float32(history.history[name]).tolist()))
        assert train[tag] == expected
        assert [value for _, value in validation[tag]] == np.float32(
            history.history[f"val_{name}"]
        ).tolist()
    assert train["epoch_learning_rate"] == [(0, 0.0625), (1, 0.0625)]
    assert [step for step, _ in validation["evaluation_loss_vs_iterations"]] == [3, 6]


@pytest.mark.parametrize(("freq", "steps"), [("batch", [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6])])
def test_batches_are_written_as_often_as_told(freq: Any, steps: list[int], tmp_path: Path) -> None:
    fitted(tmp_path, update_freq=freq, write_steps_per_second=True)
    train = scalars(tmp_path / "train")
    for tag in ("batch_loss", "batch_mae", "batch_steps_per_second"):
        assert [step for step, _ in train[tag]] == steps
    assert all(value > 0 for _, value in train["epoch_steps_per_second"])


def test_no_hook_of_batches_without_need() -> None:
    def wants(**options: Any) -> bool:
        board = callbacks.TensorBoard(**options)
        return callbacks.CallbackList([board]).wants("on_train_batch_end")

    assert not wants()
    assert not wants(histogram_freq=1)
    assert wants(update_freq=100)
    assert wants(profile_batch=2)


def test_evaluate_writes_against_the_iterations(tmp_path: Path) -> None:
    model, _ = fitted(tmp_path / "fit")
    board = callbacks.TensorBoard(tmp_path / "evaluated", write_graph=False)
    loss, _ = model.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[board])
    found = scalars(tmp_path / "evaluated" / "validation")
    assert found["evaluation_loss_vs_iterations"] == [(6, pytest.approx(loss))]


def test_graph_is_one_that_tensorboard_draws(tmp_path: Path) -> None:
    model, _ = fitted(tmp_path)
    event = events(tmp_path / "train").Tensors("keras")[0]
    config = json.loads(event.tensor_proto.string_val[0])
    assert config == json.loads(model.to_json())
    names = [node.name.split("/")[-1] for node in keras_model_to_graph_def(config).node]
    assert "first" in names


def test_histograms_and_images_of_the_weights(tmp_path: Path) -> None:
    model, _ = fitted(tmp_path, histogram_freq=1, write_images=True, write_graph=False)
    found = events(tmp_path / "train")
    kernel, bias = model.layers[0].weights
    assert {f"{w.path}/histogram" for w in (kernel, bias)} <= set(found.Tags()["histograms"])
    assert f"{kernel.path}/image" in found.Tags()["images"]
    last = found.Histograms(f"{kernel.path}/histogram")[-1]
    assert last.step == 1
    assert last.histogram_value.max == pytest.approx(float(kernel.numpy().max()))
    image = found.Images(f"{kernel.path}/image")[0]
    assert (image.height, image.width) == (2, 3)


def test_weights_with_nan_do_not_end_training(tmp_path: Path) -> None:
    model, _ = fitted(tmp_path / "a")
    model.layers[0].set_weights([np.full((2, 3), np.nan), np.array([1.0, np.nan, 2.0])])
    board = callbacks.TensorBoard(tmp_path / "b", histogram_freq=1)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[board])


def test_embeddings_have_their_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    for metadata in ("labels.txt", {"words": str(tmp_path / "labels.txt")}):
        fitted(tmp_path, True, embeddings_freq=2, embeddings_metadata=metadata)
        table = next((tmp_path / "train").glob("00000/words/tensors.tsv"))
        assert np.loadtxt(table).shape == (5, 3)
        labels = table.with_name("metadata.tsv").read_text().splitlines()
        assert labels == ["a", "b", "c", "d", "e"]
        for file in (tmp_path / "train").rglob("*.tsv"):
            file.unlink()
        (tmp_path / "train" / "00000" / "words").rmdir()
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ValueError, match="a line for each of the 5 rows .* has 2"):
        fitted(tmp_path, True, embeddings_freq=1, embeddings_metadata="labels.txt")
    with pytest.raises(ValueError, match=r"names of Embedding layers; got \['x'\], .*\['words'\]"):
        fitted(tmp_path, True, embeddings_freq=1, embeddings_metadata={"x": "labels.txt"})


@pytest.mark.parametrize("given", [2, (2, 3), "2,3", "2"])
def test_profiles_are_traces_that_can_be_read(given: Any, tmp_path: Path) -> None:
    fitted(tmp_path, profile_batch=given)
    traces = list((tmp_path / "train").glob("*.pt.trace.json"))
    assert len(traces) == 1
    names = {event.get("name") for event in json.loads(traces[0].read_text())["traceEvents"]}
    assert "aten::addmm" in names


def test_a_profile_ends_with_training(tmp_path: Path) -> None:
    fitted(tmp_path, profile_batch=(5, 100))
    assert len(list((tmp_path / "train").glob("*.pt.trace.json"))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"histogram_freq": -1}, "`histogram_freq` must be a number of epochs, 0 for never"),
        ({"embeddings_freq": 0.5}, "`embeddings_freq` must be a number of epochs"),
        ({"update_freq": "step"}, "`update_freq` must be 'epoch', 'batch' or a positive number"),
        ({"update_freq": 0}, "`update_freq` must be 'epoch', 'batch' or a positive number"),
        ({"profile_batch": -1}, "`profile_batch` must be a non-negative integer, or a pair"),
        ({"profile_batch": (5, 3)}, "`profile_batch` must be a non-negative integer, or a pair"),
        ({"profile_batch": "a,b"}, "`profile_batch` must be a non-negative integer, or a pair"),
        ({"profile_batch": (0, 3)}, "`profile_batch` must be a non-negative integer, or a pair"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"TensorBoard: {message}"):
        callbacks.TensorBoard(**options)


def test_a_missing_package_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r'pip install "torchseq\[tensorboard\]"'):
        callbacks.TensorBoard()
