import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from torchseq import callbacks

# --- CSVLogger ----------------------------------------------------------------------------------


def test_lines_are_in_the_file_before_the_next_epoch(tmp_path: Path) -> None:
    logger = callbacks.CSVLogger(tmp_path / "new" / "log.csv")
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 0.5})
    text = (tmp_path / "new" / "log.csv").read_bytes()
    assert text == b"epoch,loss,val_loss\r\n0,0.5,NA\r\n"
    logger.on_train_end()


def test_a_fit_that_goes_on_writes_no_line_twice(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss\n0,9.0\n")
    logger = callbacks.CSVLogger(path, append=True)
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 0.5, "val_loss": 1.0})
    state = logger.state_dict()
    logger.on_epoch_end(1, {"loss": 0.25, "val_loss": 1.0})  # and then it is killed
    logger.on_train_end()
    for append in (True, False):
        again = callbacks.CSVLogger(path, append=append)
        again.on_train_begin()
        if append:
            again.load_state_dict(state)
        else:
            again.load_state_dict({**state, "start": 0})
        again.on_epoch_end(1, {"loss": 0.125, "val_loss": 1.0})
        again.on_train_end()
        lines = path.read_text().splitlines()
        assert lines[-2:] == ["0,0.5,1.0", "1,0.125,1.0"]
        assert len(lines) == (4 if append else 2)


@pytest.mark.parametrize("separator", ["", ", ", "\n", '"', 3])
def test_a_separator_is_a_single_sign(separator: Any) -> None:
    with pytest.raises(ValueError, match="CSVLogger: `separator` must be a single sign"):
        callbacks.CSVLogger("log.csv", separator)


def test_a_filename_is_a_path() -> None:
    with pytest.raises(TypeError, match="expected str, bytes or os.PathLike"):
        callbacks.CSVLogger(3)  # type: ignore[arg-type]


# --- RemoteMonitor ------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    received: list[tuple[str, dict[str, str], bytes]]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, dict(self.headers), body))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *given: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    monkeypatch.setenv("no_proxy", "*")
    Handler.received, Handler.status = [], 200
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def root(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_results_go_as_a_form(server: HTTPServer) -> None:
    callbacks.RemoteMonitor(root(server), field="f", headers={"X-Run": "7"}).on_epoch_end(
        3, {"loss": 0.5, "acc": float("nan")}
    )
    path, headers, body = Handler.received[0]
    assert path == "/publish/epoch/end/"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["X-Run"] == "7"
    form = urllib.parse.parse_qs(body.decode())
    assert json.loads(form["f"][0]) == {"epoch": 3, "loss": 0.5, "acc": None}


def test_results_go_as_json(server: HTTPServer) -> None:
    Handler.status = 500  # it was reached, so there is nothing to warn of, as in Keras
    callbacks.RemoteMonitor(root(server), "/here", send_as_json=True).on_epoch_end(0, {"loss": 1.0})
    path, headers, body = Handler.received[0]
    assert (path, headers["Content-Type"]) == ("/here", "application/json")
    assert json.loads(body) == {"epoch": 0, "loss": 1.0}


def test_a_server_that_is_not_there_costs_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monitor = callbacks.RemoteMonitor("http://127.0.0.1:9")  # the discard port
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server at http://127"):
        monitor.on_epoch_end(0, {"loss": 1.0})


@pytest.mark.parametrize("given", ["localhost:9000", "file:///etc/passwd", None])
def test_a_root_is_a_url_of_the_web(given: Any) -> None:
    with pytest.raises(ValueError, match="`root` must be a URL that begins with http://"):
        callbacks.RemoteMonitor(given)
