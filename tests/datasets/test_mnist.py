import hashlib
import io
import os
import pickle
import shutil
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchseq.base import downloads
from torchseq.base.errors import FileFormatError
from torchseq.datasets import mnist

SHARED_COPY = Path(__file__).parents[3] / "shared" / "data" / "mnist.npz"
SHAPES = {"x_train": (6, 28, 28), "y_train": (6,), "x_test": (2, 28, 28), "y_test": (2,)}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the place of the cached file; there is no network."""

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    path = tmp_path / "datasets" / "mnist.npz"
    path.parent.mkdir()
    return path


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> dict[str, Any]:
    """Returns a small set of arrays and lets it be what MNIST is."""
    made = {name: rng.integers(0, 256, shape, np.uint8) for name, shape in SHAPES.items()}
    expected = {
        name: mnist.Expected(array.shape, hashlib.sha256(array.tobytes()).hexdigest())
        for name, array in made.items()
    }
    monkeypatch.setattr(mnist, "ARRAYS", expected)
    return made


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_copy_made_elsewhere_is_accepted_by_its_arrays(
    file: Path, arrays: dict[str, Any], write: Any
) -> None:
    write(file, **dict(reversed(arrays.items())), comment=np.zeros(3))
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    for name, loaded in zip(SHAPES, (x_train, y_train, x_test, y_test), strict=True):
        np.testing.assert_array_equal(loaded, arrays[name])


def test_path_names_the_file_in_the_cache(file: Path, arrays: dict[str, Any]) -> None:
    np.savez(file.with_name("mine.npz"), **arrays)
    (x_train, _), _ = mnist.load_data(path="mine.npz")
    assert x_train.shape == SHAPES["x_train"]


def test_without_network_the_error_says_what_to_do(file: Path) -> None:
    with pytest.raises(OSError, match="Network is unreachable") as caught:
        mnist.load_data()
    message = str(caught.value)
    assert message.startswith("mnist.npz: the file must be in the cache or come from the network")
    assert f"Put a copy of mnist.npz at {file}." in message
    assert "torchseq.datasets.digits" in message
    assert os.listdir(file.parent) == []


def test_download_asks_for_the_file_of_keras(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(downloads, "download", lambda *given: asked.append(given))
    with pytest.raises(FileNotFoundError):
        mnist.load_data()
    source = Path(pytest.importorskip("keras.src.datasets.mnist").__file__).read_text()
    ((origin, path, sha256),) = asked
    folder, _, name = origin.rpartition("/")
    assert f'"{folder}/"' in source
    assert f"{{origin_folder}}{name}" in source
    assert f'"{sha256}"' in source
    assert path == file


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"x_test": np.zeros((2, 28, 27), np.uint8)},
            r"x_test must be uint8 of shape \(2, 28, 28\); got uint8 of shape \(2, 28, 27\)",
        ),
        (
            {"y_train": np.zeros(6, np.int64)},
            r"y_train must be uint8 of shape \(6,\); got int64 of shape \(6,\)",
        ),
        (
            {"x_train": np.zeros((6, 28, 28), np.uint8)},
            "the values of x_train must have sha256 [0-9a-f]{64}; got [0-9a-f]{64}",
        ),
        (
            {"y_test": np.zeros(1 << 20, np.uint8)},
            r"y_test must be uint8 of shape \(2,\); got an entry of 1048704 bytes",
        ),
    ],
)
def test_other_arrays_are_refused_with_the_difference(
    file: Path, arrays: dict[str, Any], changes: dict[str, Any], difference: str
) -> None:
    np.savez_compressed(file, **(arrays | changes))
    with pytest.raises(FileFormatError, match=difference) as caught:
        mnist.load_data()
    assert str(caught.value).startswith(f"{file}: ")
    assert "Delete the file to download it again" in str(caught.value)
    assert file.exists()


def test_missing_array_is_named(file: Path, arrays: dict[str, Any]) -> None:
    del arrays["y_test"]
    np.savez(file, **arrays)
    with pytest.raises(
        FileFormatError,
        match="must hold x_train, y_train, x_test, y_test; it holds x_test, x_train, y_train",
    ):
        mnist.load_data()


@pytest.mark.parametrize("contents", [b"", b"<html>Not found</html>", b"\x93NUMPY", b"PK\x03\x04"])
def test_foreign_file_is_refused(file: Path, contents: bytes) -> None:
    file.write_bytes(contents)
    with pytest.raises(FileFormatError, match="must be a whole .npz of plain arrays; reading it"):
        mnist.load_data()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_file_is_refused(file: Path, arrays: dict[str, Any], share: float) -> None:
    np.savez(file, **arrays)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FileFormatError, match="must be a whole .npz"):
        mnist.load_data()


def test_flipped_bit_is_refused(file: Path, arrays: dict[str, Any]) -> None:
    np.savez(file, **arrays)
    broken = bytearray(file.read_bytes())
    broken[1000] ^= 1
    file.write_bytes(broken)
    with pytest.raises(FileFormatError, match="Bad CRC-32"):
        mnist.load_data()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_file_that_holds_a_pickle_runs_no_code(
    file: Path, arrays: dict[str, Any], tmp_path: Path
) -> None:
    trap = tmp_path / "trapped"
    y_test = np.array([Trap(trap), None], dtype=object)
    np.savez(file, **(arrays | {"y_test": y_test}))
    with pytest.raises(FileFormatError, match="allow_pickle=False"):
        mnist.load_data()
    file.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(FileFormatError, match="must be a whole .npz"):
        mnist.load_data()
    assert not trap.exists()


def test_header_that_declares_a_giant_shape_is_refused(file: Path, arrays: dict[str, Any]) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 60,)}
    )
    np.savez(file, **arrays)
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, contents in (entries | {"y_test.npy": header.getvalue()}).items():
            archive.writestr(name, contents)
    with pytest.raises(FileFormatError, match="must be a whole .npz"):
        mnist.load_data()


@pytest.mark.skipif(not SHARED_COPY.exists(), reason=f"needs {SHARED_COPY}")
def test_real_file_loads(file: Path) -> None:
    shutil.copy(SHARED_COPY, file)
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert y_test[:5].tolist() == [7, 2, 1, 0, 4]
    assert x_train.dtype == y_train.dtype == x_test.dtype == y_test.dtype == np.uint8
