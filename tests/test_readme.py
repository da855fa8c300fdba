"""What README shows runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[0].replace("epochs=20", "epochs=1"), "README.md", "exec"), {})
    assert (tmp_path / "digits.safetensors").stat().st_size > 10_000
    assert "val_accuracy" in capsys.readouterr().out
