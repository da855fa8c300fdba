"""Constructors copied with other default values."""

import inspect

import pytest

from torchseq.layers.defaults import with_defaults


class Base:
    def __init__(self, first: int, second: int = 2, *, third: int = 3) -> None:
        self.values = (first, second, third)


class Derived(Base):
    __init__ = with_defaults(Base.__init__, first=7, second=8)


def test_the_copy_has_the_new_defaults_and_the_original_its_own() -> None:
    assert Derived().values == (7, 8, 3)
    assert Derived(1, third=4).values == (1, 8, 4)
    assert str(inspect.signature(Derived)).startswith("(first: int = 7, second: int = 8, *, third")
    assert str(inspect.signature(Base)).startswith("(first: int, second: int = 2, *, third")


def test_arguments_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Base.__init__: no argument is called \['fourth'\]"):
        with_defaults(Base.__init__, fourth=4)


def test_a_default_before_an_argument_without_one_is_refused() -> None:
    def function(first: int, second: int) -> None: ...

    with pytest.raises(ValueError, match="non-default argument follows default argument"):
        with_defaults(function, first=1)
