import contextlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torchseq as keras
from tests.saving import samples
from torchseq.base.errors import FileFormatError, UnsupportedFeatureError

FOREIGN = {
    "a PNG image": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "text that begins with": b"hello, these are no weights",
    "an empty file": b"",
    "a Python pickle": b"\x80\x04\x95" + bytes(50),
    "an HTML or XML page": b"<!doctype html><html></html>",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
    "other bytes": bytes(range(7, 107)),
}


@pytest.mark.parametrize("found", FOREIGN)
@pytest.mark.parametrize("name", ["m.h5", "m.safetensors", "m.keras", "m"])
def test_foreign_files_are_named(found: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(FOREIGN[found])
    model = samples.mlp()
    before = model.get_weights()
    with pytest.raises(FileFormatError, match=rf"{name}: .*{found}"):
        keras.models.load_model(path)
    with pytest.raises(FileFormatError, match=rf"{name}: .*{found}"):
        model.load_weights(path)
    samples.assert_equal_arrays(model.get_weights(), before)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="found a folder"):
        keras.models.load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5: the file to load must exist"):
        keras.models.load_model(tmp_path / "nowhere.h5")


def test_a_zip_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(FileFormatError, match="zip archive"):
        keras.models.load_model(path)


@pytest.mark.parametrize("suffix", samples.MODELS)
def test_truncated_files_change_nothing(
    suffix: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    path = tmp_path / f"m{suffix}"
    model.save(path)
    whole = path.read_bytes()
    before = samples.values(model)
    lengths = {0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1}
    lengths |= {int(length) for length in rng.integers(1, len(whole), 40)}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=rf"m\{suffix}: "):
            keras.models.load_model(path)
        with pytest.raises(FileFormatError, match=rf"m\{suffix}: "):
            model.load_weights(path)
        samples.assert_equal_arrays(samples.values(model), before)


@pytest.mark.parametrize("suffix", [".safetensors", ".keras"])  # HDF5's own C code may crash
def test_spoiled_bytes_end_in_an_error_or_a_model(
    suffix: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = samples.mlp()
    samples.trained(model, *samples.data(model, rng))
    path = tmp_path / f"m{suffix}"
    model.save(path)
    whole = np.fromfile(path, "uint8")
    for _ in range(60):
        spoiled = whole.copy()
        spoiled[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
        spoiled.tofile(path)
        for load in (keras.models.load_model, samples.mlp().load_weights):
            with contextlib.suppress(FileFormatError, UnsupportedFeatureError):
                load(path)


def test_contents_decide_how_a_file_is_read(tmp_path: Path) -> None:
    model = samples.mlp()
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").rename(tmp_path / "m.h5")
    loaded = keras.models.load_model(tmp_path / "m.h5")
    samples.assert_equal_arrays(loaded.get_weights(), model.get_weights())


@pytest.mark.parametrize("suffix", samples.MODELS)
def test_overwrite_false_keeps_the_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    model = samples.mlp()
    model.save(str(path), overwrite=False)
    with pytest.raises(FileExistsError, match=rf"m\{suffix}: with overwrite=False"):
        model.save(str(path), overwrite=False)
    model.save(path)


def test_overwrite_false_keeps_a_file_of_weights(tmp_path: Path) -> None:
    model = samples.mlp()
    for suffix in samples.WEIGHTS:
        model.save_weights(tmp_path / f"w{suffix}", overwrite=False)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            model.save_weights(tmp_path / f"w{suffix}", overwrite=False)


@pytest.mark.parametrize("saver", ["save", "save_weights"])
def test_a_missing_folder_is_named(saver: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder to save into must exist; .*nowhere"):
        getattr(samples.mlp(), saver)(tmp_path / "nowhere" / "m.h5")


def test_suffixes_without_a_format(tmp_path: Path) -> None:
    model = samples.mlp()
    with pytest.raises(ValueError, match=r"must end in one of \['\.safetensors', .*got '.*m\.pt'"):
        model.save(tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"'\.weights\.h5', .*got '.*m\.keras'"):
        model.save_weights(tmp_path / "m.keras")
    with pytest.raises(UnsupportedFeatureError, match="`save_format` must be one of"):
        model.save(tmp_path / "m", save_format="tf")
    model.save(tmp_path / "m", save_format="h5")
    assert keras.models.load_model(tmp_path / "m").get_config() == model.get_config()
    with pytest.raises(ValueError, match="options must be"):
        model.save(tmp_path / "m.h5", no_such_option=True)


def test_models_without_weights_are_not_saved_as_such(tmp_path: Path) -> None:
    unbuilt: Any = keras.Sequential([keras.layers.Dense(2)])
    model = samples.mlp()
    model.save_weights(tmp_path / "w.h5")
    for action in (unbuilt.save_weights, unbuilt.load_weights, unbuilt.save):
        with pytest.raises(ValueError, match="must be built"):
            action(tmp_path / "w.h5")


def test_by_name_goes_with_the_older_h5_alone(tmp_path: Path) -> None:
    model = samples.mlp()
    for suffix in (".safetensors", ".weights.h5"):
        model.save_weights(tmp_path / f"w{suffix}")
        with pytest.raises(ValueError, match="`by_name` must be False"):
            model.load_weights(tmp_path / f"w{suffix}", by_name=True)
