"""The documentation has every layer."""

import inspect
import re
from pathlib import Path

import torchseq
from torchseq import (
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)

DOCS = Path(__file__).parents[1] / "docs"
ELSEWHERE = {"InputSpec", "serialize", "deserialize"}


def test_every_layer_is_on_a_page_of_its_family() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "layers").glob("*.md")]
    shown = set(re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE))
    wanted = {
        f"{thing.__module__}.{thing.__name__}"
        for name in layers.__all__
        if name not in ELSEWHERE
        for thing in [getattr(layers, name)]
    }
    assert wanted <= shown, sorted(wanted - shown)


def test_every_optimizer_is_on_its_page() -> None:
    page = (DOCS / "optimizers.md").read_text(encoding="utf-8")
    things = [getattr(optimizers, name) for name in optimizers.__all__]
    classes = [thing for thing in things if isinstance(thing, type)]
    lines = [f"::: {thing.__module__}.{thing.__name__}" for thing in classes]
    assert [line for line in lines if line not in page.splitlines()] == []


PARTS = {
    "activations.md": [activations],
    "initializers.md": [initializers, regularizers, constraints],
    "losses.md": [losses],
    "metrics.md": [metrics],
}
INSIDE = {"RandomInitializer"}  # a base that users do not make


def test_every_part_is_on_its_page() -> None:
    for page, packages in PARTS.items():
        text = (DOCS / page).read_text(encoding="utf-8")
        shown = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))
        things = [getattr(package, name) for package in packages for name in package.__all__]
        is_part = inspect.isfunction if page == "activations.md" else inspect.isclass
        wanted = {
            f"{thing.__module__}.{thing.__name__}"
            for thing in things
            if is_part(thing) and thing.__name__ not in {*ELSEWHERE, *INSIDE}
        }
        assert wanted == shown, page


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []


def test_the_layers_all_have_a_source() -> None:
    classes = {getattr(layers, name) for name in layers.__all__ if name not in ELSEWHERE}
    missing = [thing.__name__ for thing in classes if "Source" not in (thing.__doc__ or "")]
    assert missing == []
    assert torchseq.Sequential.__doc__ is not None
