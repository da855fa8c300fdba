"""Initializers: what `get` takes, and errors."""

import numpy as np
import pytest
import torch

from torchseq import initializers
from torchseq.base.errors import UnsupportedFeatureError


def test_none_is_none() -> None:
    assert initializers.get(None) is None


def test_lower_case_names_are_the_classes() -> None:
    assert initializers.glorot_uniform is initializers.GlorotUniform
    assert initializers.constant is initializers.Constant


def test_class_is_made_an_object() -> None:
    assert isinstance(initializers.get(initializers.HeNormal), initializers.HeNormal)


def test_clone_of_an_unseeded_one_draws_another_seed() -> None:
    first = initializers.HeNormal()
    assert first.clone().seed != first.seed
    assert initializers.HeNormal(seed=3).clone().seed == 3


@pytest.mark.parametrize("values", [np.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3)])
def test_arrays_initialize_weights_of_their_shape(values: object) -> None:
    initialize = initializers.get(values)
    assert initialize((2, 3)).dtype == torch.float32
    assert initialize((2, 3), "float64").tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match=r"weight's shape, \(3, 2\); got an array of shape \(2, 3"):
        initialize((3, 2))


def test_arrays_are_constants_and_saved() -> None:
    constant = initializers.Constant(np.array([1.0, 2.0]))
    again = initializers.deserialize(initializers.serialize(constant))
    assert again((2, 2)).tolist() == [[1, 2], [1, 2]]


def test_values_do_not_depend_on_torch_s_generator() -> None:
    initializer = initializers.get("glorot_uniform")
    torch.manual_seed(1)
    first = initializer((3, 3))
    assert torch.equal(first, initializer((3, 3)))
    state = torch.get_rng_state()
    initializer((3, 3))
    assert torch.equal(state, torch.get_rng_state())


def test_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="initializer: 'glorot_unifrom'.*'glorot_uniform'"):
        initializers.get("glorot_unifrom")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.VarianceScaling(scale=0), "VarianceScaling: `scale` must be a pos"),
        (lambda: initializers.VarianceScaling(mode="fan"), "`mode` must be one of .*'fan_avg'"),
        (lambda: initializers.VarianceScaling(distribution="x"), "`distribution` must be one of"),
        (lambda: initializers.RandomNormal(seed="a"), "RandomNormal: `seed` must be an integer"),
        (lambda: initializers.Identity()((2, 2, 2)), r"Identity: the shape must have 2 axes"),
        (lambda: initializers.Orthogonal()((2,)), r"Orthogonal: the shape must have at least 2"),
        (lambda: initializers.Zeros()((2, None)), r"Zeros: all sizes of a shape must be integers"),
        (lambda: initializers.STFT(side="left"), "STFT: `side` must be one of"),
        (lambda: initializers.STFT(window=np.ones(3))((4, 1, 3)), "frame's length, 4; got shape"),
    ],
)
def test_errors(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_unknown_window_says_what_to_do() -> None:
    with pytest.raises(UnsupportedFeatureError, match=r"scipy.signal.get_window\('triang'"):
        initializers.STFT(window="triang")


def test_base_class_must_be_subclassed() -> None:
    with pytest.raises(NotImplementedError, match="Initializer: an initializer must write"):
        initializers.Initializer()((2,))


def test_orthogonal_in_16_bits() -> None:
    made = initializers.Orthogonal(seed=1)((4, 4), "bfloat16")
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(made.float() @ made.float().T, torch.eye(4), atol=0.02, rtol=0)


def test_named_window() -> None:
    kernel = initializers.STFT("real", "hann", None, periodic=True)((4, 1, 3))
    assert kernel[:, 0, 0].tolist() == pytest.approx([0, 0.5, 1, 0.5])
