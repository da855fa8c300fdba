"""BatchNormalization: stability, moving averages, freezing, masks, ranks, errors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing

from torchseq import layers


@pytest.mark.parametrize("form", ["plain", "masked", "renormalized", "channels second"])
def test_it_is_stable_far_from_zero(form: str) -> None:
    x = 1e4 + torch.randn(256, 10, 8)
    axis = 1 if form == "channels second" else -1
    layer = layers.BatchNormalization(axis=axis, momentum=0.0, renorm=form == "renormalized")
    options = {"mask": torch.ones(256, 10, dtype=torch.bool)} if form == "masked" else {}
    layer.build(x.shape)
    if form == "renormalized":
        layer.renorm_mean.assign([1e4] * 8)
    outputs = layer(x, training=True, **options)
    axes = (0, 2) if axis == 1 else (0, 1)
    variance, mean = torch.var_mean(x.double(), axes, correction=0, keepdim=True)
    expected = (x.double() - mean) / (variance + 1e-3).sqrt()
    assert outputs.isfinite().all()
    if form != "renormalized":
        torch.testing.assert_close(outputs.double(), expected, rtol=0, atol=1e-2)
        torch.testing.assert_close(layer(x).double(), expected, rtol=0, atol=1e-2)
    torch.testing.assert_close(
        layer.moving_variance.value.double(), variance.flatten(), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_gradients_of_sequences_do_not_depend_on_the_order_in_memory(
    axis: int, is_transposed: bool
) -> None:
    layer = layers.BatchNormalization(axis=axis)
    layer.build((4, 3, 5))
    x, slopes = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    if is_transposed:  # as the outputs of convolutions are
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    else:
        slopes = slopes.transpose(1, 2).contiguous().transpose(1, 2)
    x.requires_grad_()
    layer(x, training=True).backward(slopes)
    plain = x.detach().contiguous().requires_grad_()
    axes = [0, 3 - axis]
    variance, mean = torch.var_mean(plain, axes, correction=0, keepdim=True)
    ((plain - mean) / (variance + 1e-3).sqrt()).backward(slopes.contiguous())
    torch.testing.assert_close(x.grad, plain.grad)
    torch.testing.assert_close(layer.beta.grad, slopes.sum(axes))


def test_the_moving_variance_is_the_populations_and_momentum_weighs_the_old() -> None:
    layer = layers.BatchNormalization(momentum=0.75)
    layer(torch.tensor([[0.0], [2.0]]), training=True)
    assert layer.moving_mean.value.item() == pytest.approx(0.25)
    assert layer.moving_variance.value.item() == pytest.approx(0.75 * 1 + 0.25 * 1.0)


def test_one_value_per_channel_gives_the_offset() -> None:
    layer = layers.BatchNormalization(beta_initializer="ones")
    assert layer(torch.randn(1, 3), training=True).tolist() == [[1.0, 1.0, 1.0]]
    assert layer.moving_variance.value.tolist() == pytest.approx([0.99] * 3)


@pytest.mark.parametrize("order", [(False, True), (True, False, True), (True, True)])
@pytest.mark.parametrize("form", ["plain", "masked", "renormalized"])
def test_calls_before_one_backward_have_their_own_statistics(form: str, order: Any) -> None:
    layer = layers.BatchNormalization(renorm=form == "renormalized", momentum=0.5)
    other = layers.BatchNormalization(renorm=form == "renormalized", momentum=0.5)
    options = {"mask": torch.rand(8, 2) > 0.3} if form == "masked" else {}
    inputs = [torch.randn(8, 2, 3, requires_grad=True) for _ in order]
    layer.build((8, 2, 3))
    other.build((8, 2, 3))
    buffers = list(map(id, layer.buffers()))
    total = torch.zeros(())
    for x, training in zip(inputs, order, strict=True):
        total = total + layer(x, training=training, **options).pow(3).sum()
    total.backward()
    for x, training in zip(inputs, order, strict=True):  # the same, one by one
        alone = x.detach().requires_grad_()
        other(alone, training=training, **options).pow(3).sum().backward()
        torch.testing.assert_close(x.grad, alone.grad)
    torch.testing.assert_close(layer.gamma.grad, other.gamma.grad)
    torch.testing.assert_close(layer.state_dict(), other.state_dict())
    assert buffers == list(map(id, layer.buffers()))


@pytest.mark.parametrize("shape", [(32, 6), (4, 5, 6), (4, 6, 5)])
def test_the_averages_are_those_of_the_population(shape: tuple[int, ...]) -> None:
    axis = shape.index(6)
    layer = layers.BatchNormalization(axis=axis, momentum=0.0)
    x = 1e4 + torch.randn(shape) * torch.logspace(-2, 1, 6).reshape(
        [6 if i == axis else 1 for i in range(len(shape))]
    )
    layer(x, training=True)
    axes = [i for i in range(len(shape)) if i != axis]
    variance, mean = torch.var_mean(x.double(), axes, correction=0)
    near = (
        2 * torch.finfo(torch.float32).eps
    )  # rounded twice: deviations' mean, and its sum with 1e4
    torch.testing.assert_close(layer.moving_mean.value.double(), mean, rtol=near, atol=0)
    found = layer.moving_variance.value.double()
    torch.testing.assert_close(found, variance, rtol=1e-5, atol=1e-6)  # a mean's rounding, squared


def test_a_frozen_layer_infers() -> None:
    layer = layers.BatchNormalization(trainable=False)
    x = torch.randn(8, 3)
    torch.testing.assert_close(layer(x, training=True), x / (1 + 1e-3) ** 0.5)
    assert layer.moving_mean.value.tolist() == [0.0] * 3
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (0, 4)
    layer.trainable = True
    layer(x, training=True)
    assert layer.moving_mean.value.abs().sum() > 0
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (2, 2)


def test_a_wholly_masked_batch_is_finite() -> None:
    layer = layers.BatchNormalization()
    outputs = layer(torch.zeros(2, 3, 4), training=True, mask=torch.zeros(2, 3, dtype=torch.bool))
    assert outputs.abs().sum() == 0
    x = torch.full((2, 3, 4), float("nan"))
    x[:, 0] = torch.randn(2, 4)
    mask = torch.tensor([[True, False, False]] * 2)
    outputs = layer(x, training=True, mask=mask)
    assert outputs[:, 0].isfinite().all()
    assert layer.moving_mean.value.isfinite().all()
    with pytest.raises(ValueError, match=r"a mask must have one axis less.*\(2,\) and \(2, 3, 4\)"):
        layer(x, training=True, mask=torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"momentum": 1.5},
            r"BatchNormalization: `momentum` must be in \[0, 1\]; got momentum=1.5",
        ),
        ({"renorm": True, "renorm_clipping": {"min": 1}}, r"'rmin', 'rmax' and 'dmax'; got \['min"),
        ({"renorm": True, "renorm_clipping": {"rmin": 2, "rmax": 1}}, "`rmax` must be at least"),
        ({"renorm": True, "renorm_clipping": {"dmax": -1}}, "`dmax` must not be negative"),
    ],
)
def test_wrong_arguments_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.BatchNormalization(**options)


def test_wrong_axes_are_refused() -> None:
    with pytest.raises(
        TypeError, match="BatchNormalization: `axis` must be an integer; got axis=No"
    ):
        layers.BatchNormalization(axis=None)
    with pytest.raises(ValueError, match=r"Layer 'b' \(BatchNormalization\): `axis`.*axis=\[3\]"):
        layers.BatchNormalization(axis=3, name="b").build((2, 3))
    with pytest.raises(ValueError, match=r"the size on axis \[-1\] of the input must be known"):
        layers.BatchNormalization().build((2, None))
    assert layers.BatchNormalization(axis=[3]).axis == 3  # as files of Keras 2 have it


def _train_on_part(rank: int, folder: str, x: torch.Tensor, mask: torch.Tensor | None) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    part = slice(0, 5) if rank == 0 else slice(5, 8)  # unequal
    outputs, gradient, layer = _trained(x[part], None if mask is None else mask[part], part)
    torch.save((outputs, gradient, layer.state_dict()), Path(folder, f"{rank}.pt"))
    distributed.destroy_process_group()


def _trained(x: torch.Tensor, mask: torch.Tensor | None, part: slice) -> Any:
    layer = layers.BatchNormalization(synchronized=True, momentum=0.5)
    inputs = x.clone().requires_grad_()
    outputs = layer(inputs, training=True, **({} if mask is None else {"mask": mask}))
    slopes = torch.linspace(-1, 1, 8 * 6 * 3).reshape(8, 6, 3)[part]
    (outputs * slopes).sum().backward()
    return outputs.detach(), inputs.grad, layer


@pytest.mark.distributed
@pytest.mark.parametrize("is_masked", [False, True])
def test_synchronized_ranks_do_as_one(is_masked: bool, tmp_path: Path) -> None:
    x = 3 + torch.randn(8, 6, 3)
    mask = torch.rand(8, 6) > 0.3 if is_masked else None
    multiprocessing.spawn(_train_on_part, (str(tmp_path), x, mask), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    outputs, gradient, layer = _trained(x, mask, slice(None))
    torch.testing.assert_close(torch.cat([part[0] for part in found]), outputs)
    torch.testing.assert_close(torch.cat([part[1] for part in found]), gradient)
    for _, _, state in found:
        torch.testing.assert_close(state, layer.state_dict())
