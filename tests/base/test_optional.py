import json.decoder
import re
import sys
from pathlib import Path

import pytest

from torchseq.base.optional import require


def test_gives_the_module_itself_also_for_a_dotted_name() -> None:
    assert require("json.decoder", "plot", "feature") is json.decoder


def test_missing_package_says_what_to_install() -> None:
    message = (
        "`model.save('m.h5')` needs the package no_such_package, which is not installed. "
        'Install it with: pip install "torchseq[keras-files]"'
    )
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$") as caught:
        require("no_such_package.part", "keras-files", "model.save('m.h5')")
    assert caught.value.name == "no_such_package"


def test_blocked_package_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="needs the package h5py"):
        require("h5py", "keras-files", "load_model")


def test_package_that_fails_inside_keeps_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package_with_a_hole.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="^No module named 'no_such_dependency'$"):
        require("package_with_a_hole", "plot", "feature")
