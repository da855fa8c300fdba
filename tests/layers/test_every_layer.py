"""What holds for every layer: it compiles, copies, exports, and works in each dtype.

To add a layer, add a row to `ROWS`: a constructor that takes layer options, and an input's shape.
"""

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from torchseq import layers


class Row(NamedTuple):
    """A layer to test.

    `integers` is the bound of an integer input; None for a floating one. `own_dtype` says that the
    layer follows no dtype policy.
    """

    make: Callable[..., Any]
    shape: tuple[int, ...]
    integers: int | None = None
    own_dtype: bool = False
    exports: bool = True


def plus_training(x: Tensor, training: bool = False) -> Tensor:
    return x + 1 if training else x


ROWS = {
    # Dense family
    "Dense": Row(lambda **o: layers.Dense(3, activation="relu", **o), (2, 5)),
    "EinsumDense": Row(
        lambda **o: layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", **o), (2, 3, 4)
    ),
    "Embedding": Row(lambda **o: layers.Embedding(7, 3, mask_zero=True, **o), (2, 4), integers=7),
    "Masking": Row(lambda **o: layers.Masking(**o), (2, 3, 4)),
    "Identity": Row(lambda **o: layers.Identity(**o), (2, 3)),
    "Lambda": Row(lambda **o: layers.Lambda(plus_training, **o), (2, 3)),
    "TorchModuleWrapper": Row(
        lambda **o: layers.TorchModuleWrapper(nn.Linear(4, 3), **o), (2, 4), own_dtype=True
    ),
    "TorchModuleWrapper of a lazy module": Row(
        lambda **o: layers.TorchModuleWrapper(nn.LazyLinear(3), **o), (2, 4), own_dtype=True
    ),
    # Activations
    "Activation": Row(lambda **o: layers.Activation("tanh", **o), (2, 3)),
    "ReLU": Row(lambda **o: layers.ReLU(6, 0.1, 0.5, **o), (2, 3)),
    "LeakyReLU": Row(lambda **o: layers.LeakyReLU(**o), (2, 3)),
    "ELU": Row(lambda **o: layers.ELU(**o), (2, 3)),
    "Softmax": Row(lambda **o: layers.Softmax(**o), (2, 3)),
    "PReLU": Row(lambda **o: layers.PReLU("ones", shared_axes=[1], **o), (2, 3, 4)),
    # Convolution, pooling, shape
    "Conv1D": Row(lambda **o: layers.Conv1D(3, 2, padding="causal", **o), (2, 5, 2)),
    "Conv2D": Row(lambda **o: layers.Conv2D(3, 2, **o), (2, 5, 5, 2)),
    "Conv2D with channels first": Row(
        lambda **o: layers.Conv2D(4, 3, 2, "same", "channels_first", groups=2, **o), (2, 2, 5, 5)
    ),
    "Conv3D": Row(lambda **o: layers.Conv3D(3, 2, padding="same", **o), (2, 3, 4, 5, 2)),
    "Conv1DTranspose": Row(lambda **o: layers.Conv1DTranspose(3, 3, 2, "same", **o), (2, 5, 2)),
    "Conv2DTranspose": Row(lambda **o: layers.Conv2DTranspose(3, 3, 2, "same", **o), (2, 5, 5, 2)),
    "Conv3DTranspose": Row(
        lambda **o: layers.Conv3DTranspose(3, 3, 2, "same", **o), (2, 3, 4, 5, 2)
    ),
    "DepthwiseConv1D": Row(lambda **o: layers.DepthwiseConv1D(3, 2, "same", 2, **o), (2, 5, 2)),
    "DepthwiseConv2D": Row(lambda **o: layers.DepthwiseConv2D(3, 2, "same", 2, **o), (2, 5, 5, 2)),
    "SeparableConv1D": Row(
        lambda **o: layers.SeparableConv1D(3, 2, padding="same", depth_multiplier=2, **o), (2, 5, 2)
    ),
    "SeparableConv2D": Row(
        lambda **o: layers.SeparableConv2D(3, 2, padding="same", depth_multiplier=2, **o),
        (2, 5, 5, 2),
    ),
    "MaxPooling1D": Row(lambda **o: layers.MaxPooling1D(2, padding="same", **o), (2, 5, 2)),
    "MaxPooling2D": Row(lambda **o: layers.MaxPooling2D(2, padding="same", **o), (2, 5, 5, 2)),
    "MaxPooling3D": Row(lambda **o: layers.MaxPooling3D(2, padding="same", **o), (2, 3, 4, 5, 2)),
    "AveragePooling1D": Row(lambda **o: layers.AveragePooling1D(2, padding="same", **o), (2, 5, 2)),
    "AveragePooling2D": Row(
        lambda **o: layers.AveragePooling2D(2, padding="same", **o), (2, 5, 5, 2)
    ),
    "AveragePooling3D": Row(
        lambda **o: layers.AveragePooling3D(2, padding="same", **o), (2, 3, 4, 5, 2)
    ),
    "AveragePooling2D with channels first": Row(
        lambda **o: layers.AveragePooling2D(2, 1, "same", "channels_first", **o), (2, 5, 5, 2)
    ),
    "GlobalMaxPooling1D": Row(lambda **o: layers.GlobalMaxPooling1D(**o), (2, 5, 2)),
    "GlobalMaxPooling2D": Row(
        lambda **o: layers.GlobalMaxPooling2D(keepdims=True, **o), (2, 5, 5, 2)
    ),
    "GlobalMaxPooling3D": Row(lambda **o: layers.GlobalMaxPooling3D(**o), (2, 3, 4, 5, 2)),
    "GlobalAveragePooling1D": Row(lambda **o: layers.GlobalAveragePooling1D(**o), (2, 5, 2)),
    "GlobalAveragePooling2D": Row(
        lambda **o: layers.GlobalAveragePooling2D(keepdims=True, **o), (2, 5, 5, 2)
    ),
    "GlobalAveragePooling3D": Row(lambda **o: layers.GlobalAveragePooling3D(**o), (2, 3, 4, 5, 2)),
    "AdaptiveMaxPooling1D": Row(lambda **o: layers.AdaptiveMaxPooling1D(2, **o), (2, 5, 2)),
    "AdaptiveMaxPooling2D": Row(lambda **o: layers.AdaptiveMaxPooling2D(2, **o), (2, 5, 5, 2)),
    "AdaptiveMaxPooling3D": Row(lambda **o: layers.AdaptiveMaxPooling3D(2, **o), (2, 3, 4, 5, 2)),
    "AdaptiveAveragePooling1D": Row(lambda **o: layers.AdaptiveAveragePooling1D(2, **o), (2, 5, 2)),
    "AdaptiveAveragePooling2D": Row(
        lambda **o: layers.AdaptiveAveragePooling2D(2, **o), (2, 5, 5, 2)
    ),
    "AdaptiveAveragePooling3D": Row(
        lambda **o: layers.AdaptiveAveragePooling3D(2, **o), (2, 3, 4, 5, 2)
    ),
    "Permute": Row(lambda **o: layers.Permute((2, 1), **o), (2, 3, 4)),
    "RepeatVector": Row(lambda **o: layers.RepeatVector(3, **o), (2, 4)),
    "UpSampling1D": Row(lambda **o: layers.UpSampling1D(**o), (2, 5, 2)),
    "UpSampling2D": Row(lambda **o: layers.UpSampling2D(**o), (2, 5, 5, 2)),
    "UpSampling3D": Row(lambda **o: layers.UpSampling3D(**o), (2, 3, 4, 5, 2)),
    "UpSampling2D, bilinear": Row(
        lambda **o: layers.UpSampling2D((2, 3), interpolation="bilinear", **o), (2, 5, 5, 2)
    ),
    "UpSampling2D, bicubic": Row(
        lambda **o: layers.UpSampling2D((2, 3), interpolation="bicubic", **o), (2, 5, 5, 2)
    ),
    "UpSampling2D, lanczos3": Row(
        lambda **o: layers.UpSampling2D((2, 3), interpolation="lanczos3", **o), (2, 5, 5, 2)
    ),
    "ZeroPadding1D": Row(lambda **o: layers.ZeroPadding1D(**o), (2, 5, 2)),
    "ZeroPadding2D": Row(lambda **o: layers.ZeroPadding2D(**o), (2, 5, 5, 2)),
    "ZeroPadding3D": Row(lambda **o: layers.ZeroPadding3D(**o), (2, 3, 4, 5, 2)),
    "Cropping1D": Row(lambda **o: layers.Cropping1D((0, 2), **o), (2, 5, 2)),
    "Cropping2D": Row(lambda **o: layers.Cropping2D(((0, 1), (2, 0)), **o), (2, 5, 5, 2)),
    "Cropping3D": Row(lambda **o: layers.Cropping3D(**o), (2, 3, 4, 5, 2)),
    "Flatten": Row(lambda **o: layers.Flatten(**o), (2, 3, 4)),
    "Reshape": Row(lambda **o: layers.Reshape((-1, 2), **o), (2, 3, 4)),
    # Normalization
    "BatchNormalization": Row(lambda **o: layers.BatchNormalization(**o), (4, 5, 6, 3)),
    "BatchNormalization of sequences": Row(lambda **o: layers.BatchNormalization(**o), (4, 5, 3)),
    "BatchNormalization of one sample": Row(lambda **o: layers.BatchNormalization(**o), (1, 3)),
    "BatchNormalization renormalized": Row(
        lambda **o: layers.BatchNormalization(renorm=True, **o), (4, 3)
    ),
    "LayerNormalization": Row(lambda **o: layers.LayerNormalization(**o), (4, 3)),
    "LayerNormalization of axis 1": Row(lambda **o: layers.LayerNormalization(1, **o), (4, 3, 5)),
    "GroupNormalization": Row(lambda **o: layers.GroupNormalization(2, **o), (2, 3, 3, 4)),
    "RMSNormalization": Row(lambda **o: layers.RMSNormalization(**o), (4, 3, 5)),
    "UnitNormalization": Row(lambda **o: layers.UnitNormalization(**o), (4, 3)),
    "SpectralNormalization": Row(
        lambda **o: layers.SpectralNormalization(layers.Dense(3, **o), **o), (4, 5)
    ),
    # Recurrent
    "SimpleRNN": Row(lambda **o: layers.SimpleRNN(3, **o), (2, 4, 5)),
    "SimpleRNN step by step": Row(
        lambda **o: layers.SimpleRNN(3, activation="relu", recurrent_dropout=0.5, seed=3, **o),
        (2, 4, 5),
    ),
    "GRU": Row(lambda **o: layers.GRU(3, return_sequences=True, **o), (2, 4, 5)),
    "GRU, reset before": Row(
        lambda **o: layers.GRU(3, reset_after=False, go_backwards=True, **o), (2, 4, 5)
    ),
    "GRU step by step": Row(lambda **o: layers.GRU(3, activation="relu", **o), (2, 4, 5)),
    "LSTM": Row(lambda **o: layers.LSTM(3, **o), (2, 4, 5)),
    "LSTM with dropout": Row(
        lambda **o: layers.LSTM(3, dropout=0.5, return_sequences=True, **o), (2, 4, 5)
    ),
    "LSTM step by step": Row(
        lambda **o: layers.LSTM(3, dropout=0.5, recurrent_dropout=0.5, **o), (2, 4, 5)
    ),
    "LSTM with states": Row(lambda **o: layers.LSTM(3, stateful=True, **o), (2, 4, 5)),
    "RNN of two cells": Row(
        lambda **o: layers.RNN([layers.GRUCell(3, **o), layers.LSTMCell(4, **o)], **o), (2, 4, 5)
    ),
    "Bidirectional": Row(
        lambda **o: layers.Bidirectional(layers.LSTM(3, return_sequences=True, **o), **o), (2, 4, 5)
    ),
    "Bidirectional, both summed": Row(
        lambda **o: layers.Bidirectional(layers.GRU(3, **o), merge_mode="sum", **o), (2, 4, 5)
    ),
    "TimeDistributed": Row(
        lambda **o: layers.TimeDistributed(layers.Dense(3, **o), **o), (2, 4, 5)
    ),
    "TimeDistributed step by step": Row(
        lambda **o: layers.TimeDistributed(layers.BatchNormalization(**o), **o), (3, 4, 5)
    ),
    "ConvLSTM1D": Row(lambda **o: layers.ConvLSTM1D(3, 2, **o), (2, 3, 5, 2)),
    "ConvLSTM2D": Row(
        lambda **o: layers.ConvLSTM2D(3, 2, padding="same", return_sequences=True, **o),
        (2, 3, 4, 5, 2),
    ),
    "ConvLSTM3D": Row(lambda **o: layers.ConvLSTM3D(2, 2, **o), (2, 2, 3, 3, 3, 2)),
    # Regularization
    "Dropout": Row(lambda **o: layers.Dropout(0.5, **o), (4, 5)),
    "Dropout with a seed": Row(lambda **o: layers.Dropout(0.5, seed=3, **o), (4, 5)),
    "SpatialDropout1D": Row(lambda **o: layers.SpatialDropout1D(0.5, **o), (2, 3, 4)),
    "SpatialDropout2D": Row(lambda **o: layers.SpatialDropout2D(0.5, seed=3, **o), (2, 3, 4, 5)),
    "SpatialDropout3D": Row(lambda **o: layers.SpatialDropout3D(0.5, **o), (2, 3, 4, 5, 2)),
    "GaussianDropout": Row(lambda **o: layers.GaussianDropout(0.5, **o), (4, 5)),
    "GaussianNoise": Row(lambda **o: layers.GaussianNoise(0.5, seed=3, **o), (4, 5)),
    "AlphaDropout": Row(lambda **o: layers.AlphaDropout(0.5, **o), (4, 5)),
    "AlphaDropout with a seed": Row(
        lambda **o: layers.AlphaDropout(0.5, noise_shape=(None, 1), seed=3, **o), (4, 5)
    ),
    "ActivityRegularization": Row(lambda **o: layers.ActivityRegularization(0.1, **o), (4, 5)),
    # Preprocessing
    "Normalization": Row(lambda **o: layers.Normalization(**o), (4, 5)),
    "Normalization of given mean": Row(
        lambda **o: layers.Normalization(mean=1.0, variance=2.0, **o), (4, 5)
    ),
    "Rescaling": Row(lambda **o: layers.Rescaling(2.0, offset=1, **o), (4, 5)),
    "Rescaling by channel": Row(lambda **o: layers.Rescaling([1.0, 2.0], **o), (4, 2)),
}
EACH = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
# Layers that keep the dtype of what they are given, where Keras's do as well.
POLICIES = ("float64", "bfloat16", "float16", "mixed_bfloat16", "mixed_float16")


def input_of(row: Row) -> Tensor:
    return torch.randint(0, row.integers, row.shape) if row.integers else torch.randn(row.shape)


def built(row: Row) -> tuple[Any, Tensor]:
    layer, x = row.make(), input_of(row)
    layer(x)
    return layer, x


def from_the_start(layer: Any) -> Any:
    """Return the layer, in its first states if it keeps states."""
    if getattr(layer, "stateful", False):
        layer.reset_state()
    return layer


@contextmanager
def compiled_afresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@EACH
@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_as_one_graph(row: Row, training: bool) -> None:
    layer, x = built(row)
    plain = copy.deepcopy(layer)
    with compiled_afresh():
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        for step in range(3):  # state goes on, and draws do
            outputs = []
            for each in (compiled, plain):
                torch.manual_seed(step)
                outputs.append(each(x, training=training))
            torch.testing.assert_close(*outputs)
    torch.testing.assert_close(layer.state_dict(), plain.state_dict())


@EACH
def test_it_copies_and_pickles(row: Row) -> None:
    layer, x = built(row)
    layer(x, training=True)
    expected = from_the_start(copy.deepcopy(layer))(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(from_the_start(copied)(x), expected)
        assert [w.path for w in copied.weights] == [w.path for w in layer.weights]
        own = {id(weight.tensor) for weight in layer.weights}
        assert not own & {id(weight.tensor) for weight in copied.weights}
        state = layer.state_dict()
        copied.load_state_dict(state)
        torch.testing.assert_close(copied.state_dict(), state)


@EACH
def test_several_calls_have_one_backward(row: Row) -> None:
    layer, x = built(row)
    inputs = x.requires_grad_() if x.is_floating_point() else x
    outputs = [layer(inputs, training=training) for training in (False, True, True, False)]
    total = torch.stack([output.square().sum() for output in outputs]).sum()
    if total.requires_grad:
        total.backward()
        tensors = [inputs, *layer.parameters()]
        assert all(t.grad.isfinite().all() for t in tensors if t.grad is not None)
        assert any(t.grad is not None for t in tensors)


@EACH
@pytest.mark.filterwarnings("ignore:The tensor attribute self._losses:UserWarning")
def test_it_exports(row: Row) -> None:
    if not row.exports:
        pytest.skip("its shapes are not static")
    layer, x = built(row)
    expected = from_the_start(layer)(x)
    exported = torch.export.export(from_the_start(layer), (x,)).module()
    torch.testing.assert_close(exported(x), expected)


@EACH
@pytest.mark.parametrize("training", [False, True])
def test_it_works_under_autocast(row: Row, training: bool) -> None:
    layer, x = built(row)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = from_the_start(layer)(x, training=training)
    assert outputs.dtype in (torch.float32, torch.bfloat16)
    assert outputs.isfinite().all()
    if not training:
        expected = from_the_start(layer)(x)
        torch.testing.assert_close(outputs.float(), expected, rtol=0.05, atol=0.05)


@EACH
@pytest.mark.parametrize("policy", POLICIES)
def test_it_follows_dtype_policies(row: Row, policy: str) -> None:
    if row.own_dtype:
        pytest.skip("its module decides")
    layer, x = row.make(dtype=policy), input_of(row)
    plain = row.make()
    plain.build(row.shape)
    for training in (False, True):
        outputs = layer(x, training=training)
        assert outputs.dtype is layer._compute_dtype
        assert outputs.isfinite().all()
    assert {w.dtype for w in layer.weights} <= {layer.variable_dtype, "int32"}
    layer.set_weights(plain.get_weights())
    tolerance = 1e-5 if policy == "float64" else 0.05
    outputs = from_the_start(layer)(x).to(torch.float32)
    torch.testing.assert_close(outputs, plain(x), rtol=tolerance, atol=tolerance)


@EACH
@pytest.mark.parametrize("training", [False, True])
def test_it_runs_on_the_meta_device(row: Row, training: bool) -> None:
    with torch.device("meta"):
        layer, x = built(row)
        outputs = layer(x, training=training)
    assert outputs.is_meta
    told = built(row)[0].compute_output_shape(row.shape)
    assert all(size in (None, known) for size, known in zip(told, outputs.shape, strict=True))


@EACH
def test_its_config_goes_round(row: Row) -> None:
    layer, _ = built(row)
    if row.own_dtype:
        return
    config = layer.get_config()
    if isinstance(layer, layers.Lambda):
        again = type(layer).from_config(config, custom_objects={"plus_training": plus_training})
    else:
        again = type(layer).from_config(config)
    assert again.get_config() == config


@EACH
def test_another_number_of_features_is_refused_by_name(row: Row) -> None:
    layer, x = built(row)
    if row.integers or row.own_dtype or not layer.weights:
        return
    axes = [axis for axis in range(1, x.ndim) if _refuses(layer, x, axis)]
    assert axes, "the weights are of one size, so an axis has that size"


def _refuses(layer: Any, x: Tensor, axis: int) -> bool:
    """Try an input with one entry more on an axis; an error must say layer, rule and shape."""
    shape = [size + (i == axis) for i, size in enumerate(x.shape)]
    try:
        layer(torch.zeros(shape))
    except ValueError as error:
        told = str(error)
    else:
        return False
    assert re.match(rf"Layer '{layer.name}' \({type(layer).__name__}\): .* must .*; got", told)
    return True


@EACH
@pytest.mark.gpu
def test_it_is_equal_on_the_gpu(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    with torch.device("cpu"):
        layer, x = built(row)
        expected = from_the_start(layer)(x)
    outputs = from_the_start(layer.cuda())(x.cuda())
    assert outputs.is_cuda
    torch.testing.assert_close(outputs.cpu(), expected, rtol=1e-4, atol=1e-4)
    assert layer(x.cuda(), training=True).isfinite().all()
