"""Random layers: rate, scale, seeds and their state, noise shapes, errors."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchseq import layers, utils


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.5}, r"Dropout: `rate` must be in \[0, 1\]; got rate=1.5"),
        ({"rate": -0.1}, r"`rate` must be in \[0, 1\]; got rate=-0.1"),
        ({"rate": "half"}, "`rate` must be a number; got rate='half'"),
        ({"rate": 0.5, "noise_shape": (0, 1)}, r"positive integers and None; got noise_shape=\(0"),
        ({"rate": 0.5, "noise_shape": 3}, "positive integers and None; got noise_shape=3"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Dropout(**options)


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"noise_shape": (None, None)}])
def test_rate_and_scale(options: Any) -> None:
    layer, x = layers.Dropout(0.25, **options), torch.ones(400, 500)
    outputs = layer(x, training=True)
    assert set(outputs.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((outputs == 0).float().mean().item() - 0.25) < 0.01
    assert abs(outputs.mean().item() - 1) < 0.01
    assert layer(x) is x


def test_a_seed_fixes_the_sequence_of_masks() -> None:
    x = torch.ones(50)
    first, second, other = (layers.Dropout(0.5, seed=seed) for seed in (1, 1, 2))
    one, two = first(x, training=True), first(x, training=True)
    assert not torch.equal(one, two)
    assert torch.equal(second(x, training=True), one)
    for again in (copy.deepcopy(second), pickle.loads(pickle.dumps(second)), second):
        assert torch.equal(again(x, training=True), two)
    assert not torch.equal(other(x, training=True), one)
    assert list(layers.Dropout(0.5).state_dict()) == []


def test_the_global_seed_fixes_unseeded_masks() -> None:
    def mask() -> torch.Tensor:
        utils.set_random_seed(3)
        return layers.Dropout(0.5)(torch.ones(50), training=True)  # type: ignore[no-any-return]

    assert torch.equal(mask(), mask())


def test_noise_shapes_share_entries() -> None:
    outputs = layers.Dropout(0.5, noise_shape=(None, 1, 7))(torch.ones(4, 5, 7), training=True)
    assert torch.equal(outputs, outputs[:, :1].expand(4, 5, 7))
    assert len(outputs.unique()) == 2


def test_the_ends_of_the_rate() -> None:
    x = torch.ones(20)
    assert torch.equal(layers.Dropout(0)(x, training=True), x)
    for options in ({}, {"seed": 1}):
        assert layers.Dropout(1.0, **options)(x, training=True).sum() == 0


NOISES: dict[str, Callable[..., Any]] = {
    "Dropout": lambda **o: layers.Dropout(0.4, **o),
    "SpatialDropout1D": lambda **o: layers.SpatialDropout1D(0.4, **o),
    "GaussianDropout": lambda **o: layers.GaussianDropout(0.4, **o),
    "GaussianNoise": lambda **o: layers.GaussianNoise(0.4, **o),
    "AlphaDropout": lambda **o: layers.AlphaDropout(0.4, **o),
}
EACH_NOISE = pytest.mark.parametrize("make", NOISES.values(), ids=NOISES)


@EACH_NOISE
def test_a_saved_layer_goes_on_with_the_same_noise(make: Callable[..., Any]) -> None:
    x = torch.randn(5, 6, 70)
    layer, other = make(seed=7), make(seed=7)
    layer(x, training=True)
    state = layer.state_dict()
    assert list(state) == ["stream.position"]
    expected = [layer(x, training=True) for _ in range(2)]
    assert state["stream.position"] == 1  # a copy, that stays
    assert not torch.equal(other(x, training=True), expected[0])
    other.load_state_dict(state)
    for output in expected:
        assert torch.equal(other(x, training=True), output)
    with pytest.raises(RuntimeError, match="Missing key.*stream.position"):
        other.load_state_dict({})
    assert list(make().state_dict()) == []


@EACH_NOISE
def test_the_global_seed_fixes_unseeded_noise(make: Callable[..., Any]) -> None:
    def output() -> torch.Tensor:
        utils.set_random_seed(3)
        return make()(torch.ones(2, 3, 50), training=True)  # type: ignore[no-any-return]

    assert torch.equal(output(), output())


@EACH_NOISE
def test_neighboring_seeds_share_nothing(make: Callable[..., Any]) -> None:
    x = torch.randn(5, 6, 70)
    first, second = make(seed=1), make(seed=2)
    outputs = [layer(x, training=True) for layer in (first, second) for _ in range(5)]
    for index, output in enumerate(outputs):
        assert not any(torch.equal(output, other) for other in outputs[:index])


@EACH_NOISE
def test_inference_returns_the_input(make: Callable[..., Any]) -> None:
    x = torch.randn(5, 6, 70)
    for layer in (make(), make(seed=1)):
        assert layer(x) is x
        assert layer.built
        assert layer.supports_masking


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_spatial_dropout_drops_whole_channels(data_format: str) -> None:
    for rank, name in ((2, "SpatialDropout2D"), (3, "SpatialDropout3D")):
        layer = getattr(layers, name)(0.5, data_format)
        shape = (8, *[3] * rank, 40) if data_format == "channels_last" else (8, 40, *[3] * rank)
        outputs = layer(torch.ones(shape), training=True)
        if data_format == "channels_first":
            outputs = outputs.movedim(1, -1)
        rows = outputs.reshape(8, -1, 40)
        assert torch.equal(rows, rows[:, :1].expand_as(rows))
        assert set(rows.unique().tolist()) == {0.0, 2.0}


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = torch.randn(1000, 500)
    for options in ({}, {"seed": 3}):
        outputs = layers.AlphaDropout(0.3, **options)(x, training=True)
        assert abs(outputs.mean().item()) < 0.02
        assert abs(outputs.var().item() - 1) < 0.02
    assert layers.AlphaDropout(1.0)(x, training=True).abs().sum() == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Dropout", {"rate": 0.5, "seed": 1.5}, "Dropout: `seed` must be an integer or None; got"),
        ("GaussianDropout", {"rate": 1.0}, "GaussianDropout: `rate` must be below 1; got rate=1.0"),
        ("GaussianDropout", {"rate": 2}, r"`rate` must be in \[0, 1\]; got rate=2"),
        ("GaussianNoise", {"stddev": -1}, r"GaussianNoise: `stddev` must be in \[0, 1\]; got"),
        ("AlphaDropout", {"rate": -1}, r"AlphaDropout: `rate` must be in \[0, 1\]; got rate=-1"),
        ("AlphaDropout", {"rate": 0.5, "noise_shape": "a"}, "positive integers and None; got"),
        ("SpatialDropout1D", {"rate": 7}, r"SpatialDropout1D: `rate` must be in \[0, 1\]"),
        ("SpatialDropout2D", {"rate": 0.1, "data_format": "x"}, "`data_format` must be one of"),
        ("ActivityRegularization", {"l1": "a"}, "l1"),
    ],
)
def test_wrong_arguments_of_the_others_are_refused(name: str, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(layers, name)(**options)


def test_wrong_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="its input must have 4 axes"):
        layers.SpatialDropout2D(0.5)(torch.ones(2, 3, 4))


def test_activity_regularization_adds_to_the_losses() -> None:
    layer = layers.ActivityRegularization(l1=0.5, l2=0.25)
    x = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
    assert layer(x) is x
    assert [loss.item() for loss in layer.losses] == [(0.5 * 6 + 0.25 * 14) / 2]


def test_a_noise_shape_may_have_fewer_axes_than_the_input() -> None:
    outputs = layers.Dropout(0.5, noise_shape=(4,), seed=1)(torch.ones(100, 4), training=True)
    assert bool((outputs == outputs[0]).all())
