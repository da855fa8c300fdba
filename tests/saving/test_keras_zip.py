import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import torchseq as keras
from tests.saving import samples
from torchseq import layers
from torchseq.base.errors import FileFormatError, UnsupportedFeatureError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def rewritten(path: Path, **members: Any) -> Path:
    """Writes a copy in which members are changed by functions of their bytes; None leaves out."""
    copy = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            change = members.get(name.partition(".")[0], bytes)
            if change is not None:
                target.writestr(name, change(source.read(name)))
    return copy


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("make", [samples.mlp, samples.convnet])
def test_a_loaded_model_goes_on_as_if_never_saved(
    make: Any, optimizer: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = make()
    x, y = samples.data(model, rng)
    samples.trained(model, x, y, optimizer)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    samples.assert_equal_arrays(samples.values(loaded), samples.values(model))
    assert samples.train(loaded, x, y) == samples.train(model, x, y)


def test_weights_load_from_weights_files_and_whole_models(tmp_path: Path) -> None:
    model = samples.convnet()
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    for name in ("m.keras", "m.weights.h5"):
        other = samples.convnet()
        other.load_weights(tmp_path / name)
        samples.assert_equal_arrays(other.get_weights(), model.get_weights())
    with pytest.raises(FileFormatError, match="must hold a model's architecture"):
        keras.models.load_model(tmp_path / "m.weights.h5")


class Block(layers.Layer):
    """Holds layers by attribute and in a list, and a weight of its own."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.last = layers.Dense(3)
        self.stack = torch.nn.ModuleList([layers.Dense(4), layers.Dense(4)])

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")
        for layer in (*self.stack, self.last):
            layer.build((None, 4))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        for layer in self.stack:
            inputs = layer(inputs)
        return self.last(inputs) * self.scale


def test_layers_within_layers_go_round(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), Block(), layers.Dense(3)])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Block": Block})
    samples.assert_equal_arrays(loaded.get_weights(), model.get_weights())
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        archive.extract(WEIGHTS, tmp_path)
    names: list[str] = []
    with h5py.File(tmp_path / WEIGHTS) as file:
        file.visit(names.append)
    expected = ["vars/0", "last/vars/1", "stack/dense/vars/0", "stack/dense_1/vars/1"]
    assert {f"layers/block/{name}" for name in expected} <= set(names)


def test_weights_that_do_not_fit_change_nothing(tmp_path: Path) -> None:
    samples.mlp().save_weights(tmp_path / "w.weights.h5")
    cases = {
        r"shape \(4, 6\), dtype float32; got shape \(4, 5\)": [layers.Dense(6), layers.Dense(3)],
        "as many weights": [layers.Dense(5), layers.Dense(3, use_bias=False)],
        "layers/dense_2.*as many weights": [layers.Dense(5), layers.Dense(3), layers.Dense(2)],
    }
    for message, parts in cases.items():
        model = keras.Sequential([keras.Input((4,)), *parts])
        before = model.get_weights()
        with pytest.raises(FileFormatError, match=rf"w\.weights\.h5: .*{message}"):
            model.load_weights(tmp_path / "w.weights.h5")
        samples.assert_equal_arrays(model.get_weights(), before)


def test_damaged_members_are_named(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "m.keras"
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    model.save(path)

    def unknown(text: bytes) -> bytes:
        return text.replace(b'"Dense"', b'"NoSuchLayer"')

    def giant(text: bytes) -> bytes:
        return text.replace(b'"units": 5', b'"units": 500000000000')

    def with_lambda(text: bytes) -> bytes:
        config = json.loads(text)
        code = {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}
        config["config"]["layers"].append({"class_name": "Lambda", "config": {"function": code}})
        return json.dumps(config).encode()

    cases: dict[str, dict[str, Any]] = {
        r"lacks \['config.json'\]": {"config": None},
        r"lacks \['model.weights.h5'\]": {"model": None},
        "must be JSON": {"config": lambda text: text[:-1]},
        "'NoSuchLayer'": {"config": unknown},
        "500000000000": {"config": giant},
        "at most 16777216 bytes": {"config": lambda text: text + b" " * (17 << 20)},
        "whole HDF5 file": {"model": lambda contents: contents[: len(contents) // 2]},
        "must describe a model": {"config": lambda text: b"[]"},
    }
    for message, members in cases.items():
        with pytest.raises(FileFormatError, match=rf"changed\.keras: .*{message}"):
            keras.models.load_model(rewritten(path, **members))
    with pytest.raises(UnsupportedFeatureError, match="bytecode of a lambda"):
        keras.models.load_model(rewritten(path, config=with_lambda))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONFIG, "{}")
        archive.writestr(WEIGHTS, bytes(80 << 20))
    with pytest.raises(FileFormatError, match=f"declare {(80 << 20) + 2}"):
        keras.models.load_model(tmp_path / "m.keras")


def test_links_and_strange_numbers_in_the_weights_are_refused(tmp_path: Path) -> None:
    model = samples.mlp()
    model.save_weights(tmp_path / "w.weights.h5")
    before = model.get_weights()

    def link(group: Any) -> None:
        del group["0"]
        group["0"] = h5py.ExternalLink(str(tmp_path / "w.weights.h5"), "/layers/dense_1/vars/0")

    def number(group: Any) -> None:
        group.move("0", "7")

    for change, message in ((link, "ExternalLink"), (number, "must number its arrays")):
        path = tmp_path / "changed.weights.h5"
        shutil.copy(tmp_path / "w.weights.h5", path)
        with h5py.File(path, "a") as file:
            change(file["layers/dense/vars"])
        with pytest.raises(FileFormatError, match=message):
            model.load_weights(path)
        samples.assert_equal_arrays(model.get_weights(), before)
