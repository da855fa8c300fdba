import pytest

from torchseq.base.errors import FileFormatError, UnsupportedFeatureError


@pytest.mark.parametrize(
    ("error", "caught_as"),
    [(FileFormatError, ValueError), (UnsupportedFeatureError, NotImplementedError)],
)
def test_scripts_that_catch_python_errors_catch_ours(
    error: type[Exception], caught_as: type[Exception]
) -> None:
    with pytest.raises(caught_as, match="what is wrong"):
        raise error("what is wrong")
