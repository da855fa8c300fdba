import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from torchseq.base import downloads
from torchseq.base.downloads import cache_folder, download, get_file
from torchseq.base.errors import FileFormatError

CONTENTS = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENTS).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers by path: /good, /short (the connection ends early), /corrupt, /silent."""

    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/silent":
            return
        body = CONTENTS[::-1] if self.path == "/corrupt" else CONTENTS
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if self.path == "/short" else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def requests() -> list[str]:
    return []


@pytest.fixture
def address(requests: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("RecordingHandler", (Handler,), {"requests": requests})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "datasets"


def test_cache_folder_is_that_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", "/some/where")
    assert cache_folder() == Path("/some/where/datasets")
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder("models") == Path("/home/me/.keras/models")


def test_downloads_once_and_shows_progress(
    address: str, cache: Path, requests: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        path = get_file("data.bin", f"{address}/good", SHA256)
    assert path == cache / "data.bin"
    assert path.read_bytes() == CONTENTS
    assert requests == ["/good"]
    assert os.listdir(cache) == ["data.bin"]
    shown = capfd.readouterr()
    assert "Downloading data.bin: 100%" in shown.err
    assert shown.out == ""


def test_length_may_be_unknown(address: str, cache: Path) -> None:
    assert get_file("data.bin", f"{address}/unsized", SHA256.upper()).read_bytes() == CONTENTS


def test_file_that_is_there_needs_no_network(cache: Path) -> None:
    cache.mkdir()
    (cache / "data.bin").write_text("a copy made elsewhere")
    path = get_file("data.bin", "http://127.0.0.1:9/nobody-listens", SHA256)
    assert path.read_text() == "a copy made elsewhere"


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("short", "the connection ended after 1000 of 256000 bytes"),
        ("missing", "HTTP Error 404"),
        ("silent", "Remote end closed connection without response"),
    ],
)
def test_failed_download_leaves_nothing(address: str, cache: Path, case: str, reason: str) -> None:
    with pytest.raises(OSError, match=reason) as caught:
        get_file("data.bin", f"{address}/{case}", SHA256, advice="Or do without.")
    message = str(caught.value)
    assert message.startswith("data.bin: the file must be in the cache or come from the network; ")
    assert f"Put a copy of data.bin at {cache / 'data.bin'}. Or do without." in message
    assert os.listdir(cache) == []


def test_corrupt_download_leaves_nothing(address: str, cache: Path) -> None:
    with pytest.raises(FileFormatError, match=f"data.bin: .* must have sha256 {SHA256}; got "):
        get_file("data.bin", f"{address}/corrupt", SHA256)
    assert os.listdir(cache) == []


def test_failed_download_leaves_the_old_file(address: str, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_text("old")
    with pytest.raises(ConnectionError):
        download(f"{address}/short", path, SHA256)
    assert path.read_text() == "old"


def test_no_network_is_an_os_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(downloads.urllib.request, "urlopen", unreachable)
    with pytest.raises(OSError, match=r"http://nowhere\.invalid/data failed: TimeoutError\."):
        get_file("data.bin", "http://nowhere.invalid/data", SHA256)
    assert os.listdir(cache) == []


def test_cache_that_cannot_be_made_is_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a_file"))
    with pytest.raises(OSError, match="Put a copy of data.bin at "):
        get_file("data.bin", "http://127.0.0.1:9/nobody-listens", SHA256)


@pytest.mark.parametrize("name", ["", "..", "/etc/passwd", "folder/data.bin", "../data.bin"])
def test_name_must_be_a_plain_file_name(name: str) -> None:
    with pytest.raises(ValueError, match="must be a plain file name; got .*KERAS_HOME"):
        get_file(name, "http://127.0.0.1:9/nobody-listens", SHA256)
