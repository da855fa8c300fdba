"""`get`, `serialize` and `deserialize` of the small families, for every symbol that Keras has."""

import importlib
import inspect
from typing import Any

import keras
import pytest

import torchseq

FAMILIES = [
    "activations",
    "initializers",
    "regularizers",
    "constraints",
    "losses",
    "metrics",
]
ABSTRACT = {
    "Initializer",
    "Loss",
    "Metric",
    "initializer",
    "loss",
    "metric",
}  # of which none is saved


def public(family: str) -> list[str]:
    return [name for name in dir(getattr(keras, family)) if not name.startswith("_")]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_symbol_is_there_with_its_methods(family: str) -> None:
    ours, theirs = getattr(torchseq, family), getattr(keras, family)
    assert [name for name in public(family) if not hasattr(ours, name)] == []
    for name in public(family):
        kind = getattr(theirs, name)
        if inspect.isclass(kind):
            made = getattr(ours, name)
            missing = [m for m in vars(kind) if not m.startswith("_") and not hasattr(made, m)]
            # An attribute of each AUC; Keras computes it by a property.
            assert set(missing) <= {"thresholds"}, name


def known_strings(family: str) -> list[str]:
    module = importlib.import_module(f"keras.src.{family}")
    return sorted(module.ALL_OBJECTS_DICT)


@pytest.mark.parametrize("family", FAMILIES)
def test_strings_mean_what_they_mean_in_keras(family: str) -> None:
    ours, theirs = getattr(torchseq, family), getattr(keras, family)
    compared = 0
    for string in known_strings(family):
        try:
            expected = theirs.get(string)
        except (KeyError, TypeError, ValueError, ImportError):  # needs arguments, or scipy
            continue
        found = ours.get(string)
        assert inspect.isfunction(found) == inspect.isfunction(expected), string
        kinds = [getattr(x, "__name__", type(x).__name__) for x in (found, expected)]
        assert kinds[0] == kinds[1], string
        compared += 1
    assert compared >= 5


def plain(config: Any) -> Any:
    """Return a config without what Keras rounds or names by a counter."""
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if key not in ("name", "seed")}
    return pytest.approx(config) if isinstance(config, float) else config


@pytest.mark.parametrize("family", FAMILIES)
def test_configs_of_all_that_needs_no_arguments_equal_keras(family: str) -> None:
    ours, theirs = getattr(torchseq, family), getattr(keras, family)
    compared = 0
    for string in sorted(set(known_strings(family)) - ABSTRACT):
        try:
            expected = theirs.serialize(theirs.get(string))
        except (KeyError, TypeError, ValueError, ImportError, NotImplementedError):
            continue
        found = ours.serialize(ours.get(string))
        assert plain(found) == plain(expected), string
        again = ours.deserialize(expected)
        assert plain(ours.serialize(again)) == plain(expected), string
        if isinstance(found, dict):
            old_form = {"class_name": found["class_name"], "config": found["config"]}
            assert plain(ours.serialize(ours.deserialize(old_form))) == plain(found), string
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_identifiers_are_named(family: str) -> None:
    ours = getattr(torchseq, family)
    with pytest.raises(
        ValueError, match=r"'no_such_thing' is not a known name\. (Nearest|Known): "
    ):
        ours.get("no_such_thing")
    with pytest.raises(TypeError, match="must be a name, a config, an object or a callable; got 3"):
        ours.get(3)
    with pytest.raises(ValueError, match="the config names 'NoSuchThing'"):
        ours.deserialize({"class_name": "NoSuchThing", "config": {}})
