"""What no layer takes: each error names the layer, the rule and the value that came.

To add a layer, add its rows to `ROWS`: what makes the error, and the expression it must match.
"""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import nn

from torchseq import layers
from torchseq.layers import (
    GRU,
    LSTM,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    LSTMCell,
    ReLU,
)

Rows: TypeAlias = list[tuple[Callable[[], Any], str]]

NOT_KNOWN = r"`{0}` is not understood: \w+: 'nope' is not a known name\. (Nearest|Known): "
OF_DTYPE = r"`dtype` is not understood: \w+: .*must be one of .*got 'nope'"
OF_ACTIVATION = NOT_KNOWN.format("activation")


def positive(name: str, value: Any) -> str:
    return rf"`{name}` must be a positive integer; got {name}={value}"


def one_of(name: str, value: Any) -> str:
    return rf"`{name}` must be one of \[.*\]; got {name}='{value}'"


def window(name: str, rank: int, value: Any, minimum: int = 1) -> str:
    return (
        rf"`{name}` must be an integer or a tuple of {rank} integers, each at least {minimum}; "
        rf"got {name}={re.escape(repr(value))}"
    )


def axes(rank: int, shape: tuple[Any, ...]) -> str:
    return rf"input must have {rank} axes.* shape {re.escape(repr(shape))}"


def spatial(rank: int, size: int | None = 5) -> tuple[int | None, ...]:
    """An input's shape with channels last."""
    return (2, *[size] * rank, 3)


def of_convolution(cls: Any, rank: int, weight: str, *filters: int) -> Rows:
    """What all convolutions refuse; `filters` come before the window where there are some."""
    return [
        (lambda: cls(*filters, 0), window("kernel_size", rank, 0)),
        (lambda: cls(*filters, (2,) * (rank + 1)), window("kernel_size", rank, (2,) * (rank + 1))),
        (lambda: cls(*filters, 2, strides=0), window("strides", rank, 0)),
        (lambda: cls(*filters, 2, dilation_rate=-1), window("dilation_rate", rank, -1)),
        (lambda: cls(*filters, 2, padding="full"), one_of("padding", "full")),
        (lambda: cls(*filters, 2, data_format="NHWC"), one_of("data_format", "nhwc")),
        (lambda: cls(*filters, 2, activation="nope"), OF_ACTIVATION),
        *[
            (
                lambda option=f"{role}_{kind}": cls(*filters, 2, **{option: "nope"}),
                NOT_KNOWN.format(f"{role}_{kind}"),
            )
            for role in (weight, "bias")
            for kind in ("initializer", "regularizer", "constraint")
        ],
        (lambda: cls(*filters, 2).build((2, 5)), axes(rank + 2, (2, 5))),
        (
            lambda: cls(*filters, 2).build((*spatial(rank)[:-1], None)),
            r"a known number of channels; got shape \(2, .*, None\)",
        ),
    ]


def of_filters(cls: Any, rank: int) -> Rows:
    return [
        (lambda: cls(0, 2), positive("filters", 0)),
        (lambda: cls(2.5, 2), positive("filters", 2.5)),
    ]


def of_strides_with_dilation(cls: Any, rank: int) -> Rows:
    both = re.escape(f"got strides={(2,) * rank}, dilation_rate={(3,) * rank}")
    return [
        (
            lambda: cls(2, 2, strides=2, dilation_rate=3),
            rf"`strides` and `dilation_rate` cannot both be above 1; {both}",
        )
    ]


def too_large(cls: Any, rank: int, *filters: int) -> Rows:
    shape = re.escape(repr(spatial(rank)))
    return [
        (
            lambda: cls(*filters, 6).build(spatial(rank)),
            rf"kernel must fit into the input; got an input of shape {shape}",
        )
    ]


def of_conv(cls: Any, rank: int) -> Rows:
    return [
        *of_filters(cls, rank),
        *of_convolution(cls, rank, "kernel", 2),
        *of_strides_with_dilation(cls, rank),
        *too_large(cls, rank, 2),
        (lambda: cls(2, 2, groups=0), positive("groups", 0)),
        (lambda: cls(3, 2, groups=2), "`groups` must divide `filters`; got groups=2, filters=3"),
        (
            lambda: cls(2, 2, groups=2).build(spatial(rank)),
            "`groups` must divide the number of input channels; got groups=2, 3 channels",
        ),
    ]


def of_conv_transpose(cls: Any, rank: int) -> Rows:
    return [
        *of_filters(cls, rank),
        *of_convolution(cls, rank, "kernel", 2),
        *of_strides_with_dilation(cls, rank),
        (
            lambda: cls(2, 2, output_padding=1),
            r"`output_padding` must be below `strides` on each axis; got output_padding=1, strides",
        ),
        (
            lambda: cls(2, 2, output_padding=-1),
            window("output_padding", rank, -1, minimum=0),
        ),
    ]


def of_depthwise(cls: Any, rank: int) -> Rows:
    return [
        *of_convolution(cls, rank, "depthwise"),
        *too_large(cls, rank),
        (lambda: cls(2, depth_multiplier=0), positive("depth_multiplier", 0)),
    ]


def of_separable(cls: Any, rank: int) -> Rows:
    return [
        *of_filters(cls, rank),
        *of_convolution(cls, rank, "depthwise", 2),
        *too_large(cls, rank, 2),
        (lambda: cls(2, 2, depth_multiplier=0), positive("depth_multiplier", 0)),
        (
            lambda: cls(2, 2, pointwise_initializer="nope"),
            NOT_KNOWN.format("pointwise_initializer"),
        ),
    ]


def of_pooling(cls: Any, rank: int) -> Rows:
    shape = re.escape(repr(spatial(rank)))
    return [
        (lambda: cls(0), window("pool_size", rank, 0)),
        (lambda: cls(2, strides=(1,) * 4), window("strides", rank, (1,) * 4)),
        (lambda: cls(2, padding="causal"), one_of("padding", "causal")),
        (lambda: cls(2, data_format="NHWC"), one_of("data_format", "nhwc")),
        (lambda: cls(2)(torch.ones(2, 5)), axes(rank + 2, (2, 5))),
        (
            lambda: cls(6)(torch.ones(spatial(rank))),
            rf"window must fit into the input; got an input of shape {shape}",
        ),
    ]


def of_global_pooling(cls: Any, rank: int) -> Rows:
    return [
        (lambda: cls(data_format="NHWC"), one_of("data_format", "nhwc")),
        (lambda: cls()(torch.ones(2, 5)), axes(rank + 2, (2, 5))),
    ]


def of_adaptive_pooling(cls: Any, rank: int) -> Rows:
    return [
        (lambda: cls("two"), r"`output_size` must be an integer or a tuple .*; got .*='two'"),
        (lambda: cls(0), window("output_size", rank, 0)),
        (lambda: cls((1,) * 4), window("output_size", rank, (1,) * 4)),
        (lambda: cls(2, data_format="NHWC"), one_of("data_format", "nhwc")),
        (lambda: cls(2)(torch.ones(2, 5)), axes(rank + 2, (2, 5))),
    ]


def of_conv_lstm(cls: Any, rank: int) -> Rows:
    frames = (2, 4, *spatial(rank)[1:])
    return [
        *of_filters(cls, rank),
        *of_convolution(cls, rank, "kernel", 2)[:7],
        *of_strides_with_dilation(cls, rank),
        (lambda: cls(2, 2, dropout=1.5), r"`dropout` must be in \[0, 1\]; got dropout=1.5"),
        (lambda: cls(2, 2, seed="one"), "`seed` must be an integer or None; got seed='one'"),
        (lambda: cls(2, 2).build((2, 4)), axes(rank + 3, (2, 4))),
        (
            lambda: cls(2, 2).build((2, 4, *spatial(rank, None)[1:])),
            r"all but the batch of known size; got shape \(2, None, ",
        ),
        (lambda: cls(2, 6).build(frames), "kernel must fit into the input; got an input of shape"),
        (
            lambda: cls(2, 2, stateful=True).build((None, *frames[1:])),
            r"with stateful=True the batch size must be known; got an input of shape \(None, ",
        ),
    ]


def of_cell(cls: Any) -> Rows:
    return [
        (lambda: cls(0), positive("units", 0)),
        (lambda: cls("two"), positive("units", "'two'")),
        (lambda: cls(2, activation="nope"), OF_ACTIVATION),
        (
            lambda: cls(2, recurrent_initializer="nope"),
            NOT_KNOWN.format("recurrent_initializer"),
        ),
        (lambda: cls(2, dropout=1.5), r"`dropout` must be in \[0, 1\]; got dropout=1.5"),
        (
            lambda: cls(2, recurrent_dropout="half"),
            "`recurrent_dropout` must be a number; got recurrent_dropout='half'",
        ),
        (lambda: cls(2, seed="one"), "`seed` must be an integer or None; got seed='one'"),
        (lambda: cls(2, dtype="nope"), OF_DTYPE),
    ]


def of_recurrent(cls: Any) -> Rows:
    return [
        *of_cell(cls),
        (lambda: cls(2, use_cudnn="yes"), one_of("use_cudnn", "yes")),
        (
            lambda: cls(2, use_cudnn=True, activation="elu"),
            "`use_cudnn=True` must go with options that torch's .*; got activation=elu",
        ),
        (lambda: cls(2).build((2, 3)), axes(3, (2, 3))),
        (lambda: cls(2).build((2, 3, None)), r"the last of a known size; got shape \(2, None\)"),
        (lambda: cls(2).build((2, 0, 3)), r"at least one time step; got .* shape \(2, 0, 3\)"),
        (
            lambda: cls(2, stateful=True).build((None, 3, 4)),
            r"with stateful=True the batch size must be known; got .* shape \(None, 3, 4\)",
        ),
        (
            lambda: cls(2)(torch.ones(2, 3, 4), initial_state=[torch.ones(2, 2)] * 3),
            r"`initial_state` must have one entry per state, \d; got 3",
        ),
    ]


def of_dropout(cls: Any) -> Rows:
    return [
        (lambda: cls(1.5), r"`rate` must be in \[0, 1\]; got rate=1.5"),
        (lambda: cls("half"), "`rate` must be a number; got rate='half'"),
        (lambda: cls(float("nan")), "`rate` must be a number; got rate=nan"),
        (lambda: cls(0.5, seed=1.5), "`seed` must be an integer or None; got seed=1.5"),
    ]


def of_noise_shape(cls: Any) -> Rows:
    rule = r"`noise_shape` must be a tuple of positive integers and None; got noise_shape="
    return [
        (lambda: cls(0.5, noise_shape=(None, 0)), rf"{rule}\(None, 0\)"),
        (lambda: cls(0.5, noise_shape=3), f"{rule}3"),
        (
            lambda: cls(0.5, noise_shape=(None, 1, 1))(torch.ones(2, 2)),
            r"input must have at least 3 axes.* shape \(2, 2\)",
        ),
    ]


def of_spatial_dropout(cls: Any, rank: int) -> Rows:
    return [*of_dropout(cls), (lambda: cls(0.5)(torch.ones(2, 2)), axes(rank + 2, (2, 2)))]


def of_scaled(cls: Any) -> Rows:
    return [
        (lambda: cls(axis="last"), "`axis` must be an integer.*; got axis='last'"),
        (lambda: cls(epsilon=-1), "`epsilon` must be at least 0; got epsilon=-1"),
        (lambda: cls(epsilon="small"), "`epsilon` must be at least 0; got epsilon='small'"),
        (lambda: cls(gamma_initializer="nope"), NOT_KNOWN.format("gamma_initializer")),
        (lambda: cls(beta_constraint="nope"), NOT_KNOWN.format("beta_constraint")),
        (
            lambda: cls(axis=3).build((2, 2)),
            r"`axis` must name different axes of the input; got axis=\[3\] .* shape \(2, 2\)",
        ),
        (lambda: cls().build((2, None)), r"size on axis \[-1\] .* known; got shape \(2, None\)"),
    ]


def of_factors(cls: Any, rank: int) -> Rows:
    return [
        (lambda: cls(0), window("size", rank, 0)),
        (lambda: cls((1,) * 4), window("size", rank, (1,) * 4)),
        (lambda: cls(data_format="NHWC"), one_of("data_format", "nhwc")),
        (lambda: cls()(torch.ones(2, 5)), axes(rank + 2, (2, 5))),
    ]


def of_margins(cls: Any, rank: int, name: str) -> Rows:
    rule = (
        rf"`{name}` must be an integer.*{rank} pairs \(before, after\), none negative; got {name}"
    )
    if rank == 1:
        rule = rf"`{name}` must be an integer or a tuple of 2 integers, each at least 0; got {name}"
    rows: Rows = [
        (lambda: cls(-1), f"{rule}=-1"),
        (lambda: cls(None), f"{rule}=None"),
        (lambda: cls((1,) * 4), rf"{rule}=\(1, 1, 1, 1\)"),
        (lambda: cls(1)(torch.ones(2, 5)), axes(rank + 2, (2, 5))),
    ]
    if name == "cropping":
        rows.append(
            (
                lambda: cls(3)(torch.ones(spatial(rank))),
                r"`cropping` must leave something of each axis; got cropping=.* size 5",
            )
        )
    return rows


def of_input(cls: Any) -> Rows:
    exactly = r"exactly one of `shape` and `batch_shape` must be given; got shape="
    size = r"each size of the shape must be None or an integer of at least 0; got "
    return [
        (lambda: cls(), f"{exactly}None, batch_shape=None"),
        (lambda: cls((2,), batch_shape=(1, 2)), exactly + re.escape("(2,), batch_shape=(1, 2)")),
        (lambda: cls(batch_shape=(1, 2), batch_size=1), "`batch_size` goes with .*batch_size=1"),
        (lambda: cls((2.5,)), size + re.escape("(None, 2.5)")),
        (lambda: cls((-2,)), size + re.escape("(None, -2)")),
        (lambda: cls((2,), dtype="nope"), OF_DTYPE),
        (lambda: cls((2,), sparse=True), "not offered; got sparse=True"),
    ]


ROWS: dict[str, Rows] = {
    "Layer": [
        (lambda: layers.Layer(name=3), "`name` must be a string; got name=3"),
        (lambda: layers.Layer(dtype="nope"), OF_DTYPE),
        (lambda: layers.Layer(units=3), r"unrecognized arguments \['units'\]"),
        (
            lambda: layers.Layer(activity_regularizer="nope"),
            NOT_KNOWN.format("activity_regularizer"),
        ),
    ],
    "Input": of_input(layers.Input),
    "InputLayer": of_input(layers.InputLayer),
    "InputSpec": [
        (lambda: layers.InputSpec(shape=3), "`shape` must be a tuple of sizes; got shape=3"),
        (lambda: layers.InputSpec(axes=[1]), r"`axes` must map axes to sizes; got axes=\[1\]"),
        (
            lambda: layers.InputSpec(ndim=2, axes={2: 5}),
            r"`axes` must name axes that the input has; got axes=\{2: 5\} for 2 axes",
        ),
        (lambda: layers.InputSpec(dtype="nope"), OF_DTYPE),
    ],
    "Identity": [(lambda: layers.Identity(units=3), r"unrecognized arguments \['units'\]")],
    "Dense": [
        (lambda: Dense(0), positive("units", 0)),
        (lambda: Dense(2.5), positive("units", 2.5)),
        (lambda: Dense(2, "nope"), OF_ACTIVATION),
        (lambda: Dense(2, kernel_initializer="nope"), NOT_KNOWN.format("kernel_initializer")),
        (lambda: Dense(2, kernel_regularizer="nope"), NOT_KNOWN.format("kernel_regularizer")),
        (lambda: Dense(2, bias_constraint="nope"), NOT_KNOWN.format("bias_constraint")),
        (lambda: Dense(2, bias_initializer=3), "`bias_initializer` is not understood: .* got 3"),
        (lambda: Dense(2, lora_rank=2), "LoRA and quantization are not offered; got lora_rank=2"),
        (lambda: Dense(2).build((2, None)), r"a known size.*; got shape \(2, None\)"),
        (lambda: Dense(2).build((2,)), r"at least two axes; got shape \(2,\)"),
        (lambda: Dense(2, input_dim=3, width=1), r"unrecognized arguments \['width'\]"),
    ],
    "EinsumDense": [
        (lambda: layers.EinsumDense("ab,bc", 3), "`equation` must have the form .*='ab,bc'"),
        (lambda: layers.EinsumDense(3, 3), "`equation` must have the form .*equation=3"),
        (lambda: layers.EinsumDense("ab,bc->ad", 3), "each output axis .*'d' is neither in"),
        (
            lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="z"),
            "`bias_axes` must be letters of the output; got bias_axes='z'",
        ),
        (
            lambda: layers.EinsumDense("ab,bc->ac", 2.5),
            "`output_shape` must be a positive integer, .*; got output_shape=2.5",
        ),
        (
            lambda: layers.EinsumDense("ab,bc->ac", 3).build((2, 3, 4)),
            r"must have the axes of the equation; got .* shape \(2, 3, 4\)",
        ),
        (
            lambda: layers.EinsumDense("ab,bc->ac", 3).build((2, None)),
            r"size on axis 'b' must be known; got .* shape \(2, None\)",
        ),
    ],
    "Embedding": [
        (lambda: Embedding(0, 2), positive("input_dim", 0)),
        (lambda: Embedding(2, -1), positive("output_dim", -1)),
        (
            lambda: Embedding(2, 2, embeddings_initializer="nope"),
            NOT_KNOWN.format("embeddings_initializer"),
        ),
        (lambda: Embedding(2, 2, lora_rank=2), "not offered; got lora_rank=2"),
        (
            lambda: Embedding(2, 2, name="Embedding", weights=np.ones((3, 2))),
            r"must have shape \(2, 2\); got \(3, 2\)",
        ),
    ],
    "Masking": [
        (
            lambda: layers.Masking("zero"),
            "`mask_value` must be a number or an array of numbers; got mask_value='zero'",
        )
    ],
    "Lambda": [(lambda: layers.Lambda(3), "`function` must be callable; got 3")],
    "TorchModuleWrapper": [
        (
            lambda: layers.TorchModuleWrapper(3),
            r"`module` must be an instance of torch\.nn\.Module; got 3",
        ),
        (
            lambda: layers.TorchModuleWrapper(nn.ReLU(), units=3),
            r"unrecognized arguments \['units'\]",
        ),
    ],
    "Wrapper": [(lambda: layers.Wrapper(3), "`layer` must be a layer; got layer=3")],
    # Activations
    "Activation": [
        (lambda: layers.Activation("nope"), OF_ACTIVATION),
        (lambda: layers.Activation(3), "`activation` is not understood: .* got 3"),
    ],
    "ReLU": [
        (lambda: ReLU(-1), "`max_value` must be at least 0; got max_value=-1"),
        (lambda: ReLU("six"), "`max_value` must be at least 0; got max_value='six'"),
        (
            lambda: ReLU(negative_slope=None),
            "`negative_slope` must be at least 0; got negative_slope=None",
        ),
        (lambda: ReLU(threshold=-1), "`threshold` must be at least 0; got threshold=-1"),
    ],
    "LeakyReLU": [
        (lambda: layers.LeakyReLU(-1), "`negative_slope` must be at least 0; got .*=-1"),
        (lambda: layers.LeakyReLU("flat"), "`negative_slope` must be at least 0; got .*='flat'"),
    ],
    "ELU": [
        (lambda: layers.ELU("one"), "`alpha` must be a number; got alpha='one'"),
        (lambda: layers.ELU(None), "`alpha` must be a number; got alpha=None"),
    ],
    "Softmax": [
        (lambda: layers.Softmax("last"), "`axis` must be an integer .*; got axis='last'"),
        (lambda: layers.Softmax(1.5), "`axis` must be an integer .*; got axis=1.5"),
        (
            lambda: layers.Softmax(2)(torch.ones(2, 2)),
            r"`axis` must name different axes of the input; got axis=\[2\] .* shape \(2, 2\)",
        ),
    ],
    "PReLU": [
        (lambda: layers.PReLU("nope"), NOT_KNOWN.format("alpha_initializer")),
        (
            lambda: layers.PReLU(shared_axes=[0]),
            r"`shared_axes` must be axes from 1 on, .*; got shared_axes=\[0\]",
        ),
        (
            lambda: layers.PReLU(shared_axes=[3]).build((2, 3)),
            r"`shared_axes` must name axes of the input.*; got shared_axes=\[3\] .* \(2, 3\)",
        ),
        (lambda: layers.PReLU().build((2, None)), r"must have known sizes; got .* \(2, None\)"),
    ],
    # Convolution, pooling, shape
    **{
        name: of_conv(getattr(layers, name), int(name[4]))
        for name in ("Conv1D", "Conv2D", "Conv3D")
    },
    **{
        f"Conv{rank}DTranspose": of_conv_transpose(getattr(layers, f"Conv{rank}DTranspose"), rank)
        for rank in (1, 2, 3)
    },
    "DepthwiseConv1D": of_depthwise(layers.DepthwiseConv1D, 1),
    "DepthwiseConv2D": of_depthwise(layers.DepthwiseConv2D, 2),
    "SeparableConv1D": of_separable(layers.SeparableConv1D, 1),
    "SeparableConv2D": of_separable(layers.SeparableConv2D, 2),
    **{
        f"{prefix}{kind}Pooling{rank}D": rows(
            getattr(layers, f"{prefix}{kind}Pooling{rank}D"), rank
        )
        for prefix, rows in (
            ("", of_pooling),
            ("Global", of_global_pooling),
            ("Adaptive", of_adaptive_pooling),
        )
        for kind in ("Max", "Average")
        for rank in (1, 2, 3)
    },
    "UpSampling1D": [
        (lambda: layers.UpSampling1D((2, 2)), r"`size` must be an integer; got size=\(2, 2\)"),
        (lambda: layers.UpSampling1D(0), positive("size", 0)),
        (lambda: layers.UpSampling1D()(torch.ones(2, 5)), axes(3, (2, 5))),
    ],
    "UpSampling2D": [
        *of_factors(layers.UpSampling2D, 2),
        (lambda: layers.UpSampling2D(interpolation="area"), one_of("interpolation", "area")),
    ],
    "UpSampling3D": of_factors(layers.UpSampling3D, 3),
    **{
        f"{kind}{rank}D": of_margins(getattr(layers, f"{kind}{rank}D"), rank, name)
        for kind, name in (("ZeroPadding", "padding"), ("Cropping", "cropping"))
        for rank in (1, 2, 3)
    },
    "Flatten": [(lambda: layers.Flatten("NHWC"), one_of("data_format", "nhwc"))],
    "Reshape": [
        (lambda: layers.Reshape((-1, -1)), r"at most one entry .*; got target_shape=\(-1, -1\)"),
        (lambda: layers.Reshape((2.5,)), r"must be a tuple of integers.*; got .*=\(2.5,\)"),
        (lambda: layers.Reshape(None), "must be a tuple of integers.*; got target_shape=None"),
        (
            lambda: layers.Reshape((3,))(torch.ones(2, 2)),
            r"must hold as many entries as a sample; got target_shape=\(3,\) .* \(2,\)",
        ),
    ],
    "Permute": [
        (lambda: layers.Permute((0, 1)), r"each number from 1 .*; got dims=\(0, 1\)"),
        (lambda: layers.Permute(3), "each number from 1 to its length once; got dims=3"),
        (lambda: layers.Permute((1, 1)), r"each number from 1 .*; got dims=\(1, 1\)"),
        (lambda: layers.Permute((2, 1))(torch.ones(2, 2)), axes(3, (2, 2))),
    ],
    "RepeatVector": [
        (lambda: layers.RepeatVector("two"), "`n` must be an integer; got n='two'"),
        (lambda: layers.RepeatVector(0), positive("n", 0)),
        (lambda: layers.RepeatVector(2)(torch.ones(2, 2, 2)), axes(2, (2, 2, 2))),
    ],
    # Normalization
    "BatchNormalization": [
        *of_scaled(layers.BatchNormalization),
        (
            lambda: layers.BatchNormalization(momentum=2),
            r"`momentum` must be in \[0, 1\]; got momentum=2",
        ),
        (
            lambda: layers.BatchNormalization(renorm_momentum=2),
            r"`renorm_momentum` must be in \[0, 1\]; got renorm_momentum=2",
        ),
        (
            lambda: layers.BatchNormalization(moving_mean_initializer="nope"),
            NOT_KNOWN.format("moving_mean_initializer"),
        ),
        (
            lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"max": 1}),
            r"`renorm_clipping` may have the keys .*; got \['max'\]",
        ),
        (
            lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"rmin": 2, "rmax": 1}),
            "`rmax` must be at least `rmin` .*; got rmin=2, rmax=1",
        ),
        (
            lambda: layers.BatchNormalization(renorm=True, renorm_clipping={"dmax": -1}),
            "`dmax` must not be negative .*; got dmax=-1",
        ),
    ],
    "LayerNormalization": of_scaled(layers.LayerNormalization),
    "GroupNormalization": [
        *of_scaled(layers.GroupNormalization),
        (
            lambda: layers.GroupNormalization(0),
            "`groups` must be a positive integer, or -1 .*; got groups=0",
        ),
        (
            lambda: layers.GroupNormalization(2).build((2, 3)),
            "`groups` must divide the number of channels; got groups=2, 3 channels",
        ),
        (
            lambda: layers.GroupNormalization(2, axis=0).build((2, 3)),
            r"`axis` must not be the batch axis; got axis=0 .* \(2, 3\)",
        ),
    ],
    "RMSNormalization": of_scaled(layers.RMSNormalization)[:3]
    + of_scaled(layers.RMSNormalization)[5:],
    "UnitNormalization": [
        (lambda: layers.UnitNormalization("last"), "`axis` must be an integer .*; got axis='last'"),
        (
            lambda: layers.UnitNormalization(2)(torch.ones(2, 2)),
            r"`axis` must name different axes of the input; got axis=\[2\] .* shape \(2, 2\)",
        ),
    ],
    "SpectralNormalization": [
        (lambda: layers.SpectralNormalization(3), "`layer` must be a layer; got layer=3"),
        (
            lambda: layers.SpectralNormalization(Dense(2), 0),
            positive("power_iterations", 0),
        ),
        (
            lambda: layers.SpectralNormalization(ReLU()).build((2, 2)),
            "must have a `kernel` or `embeddings`; got <ReLU",
        ),
    ],
    # Regularization
    "Dropout": [*of_dropout(Dropout), *of_noise_shape(Dropout)],
    "AlphaDropout": [*of_dropout(layers.AlphaDropout), *of_noise_shape(layers.AlphaDropout)],
    **{
        f"SpatialDropout{rank}D": of_spatial_dropout(
            getattr(layers, f"SpatialDropout{rank}D"), rank
        )
        for rank in (1, 2, 3)
    },
    "GaussianDropout": [
        *of_dropout(layers.GaussianDropout),
        (lambda: layers.GaussianDropout(1), "`rate` must be below 1; got rate=1"),
    ],
    "GaussianNoise": [
        (lambda: layers.GaussianNoise(2), r"`stddev` must be in \[0, 1\]; got stddev=2"),
        (lambda: layers.GaussianNoise("big"), "`stddev` must be a number; got stddev='big'"),
    ],
    "ActivityRegularization": [
        (lambda: layers.ActivityRegularization(l1="one"), "`l1` must be at least 0; got l1='one'"),
        (lambda: layers.ActivityRegularization(l2=-1), "`l2` must be at least 0; got l2=-1"),
    ],
    # Recurrent
    "SimpleRNNCell": of_cell(layers.SimpleRNNCell),
    "LSTMCell": of_cell(LSTMCell),
    "GRUCell": of_cell(layers.GRUCell),
    "SimpleRNN": of_recurrent(layers.SimpleRNN),
    "LSTM": of_recurrent(LSTM),
    "GRU": of_recurrent(GRU),
    "RNN": [
        (lambda: layers.RNN(3), "a cell must have a `call` method and a `state_size`.*; got 3"),
        (lambda: layers.RNN([]), r"`cells` must be a list of at least one cell; got cells=\[\]"),
    ],
    "StackedRNNCells": [
        (lambda: layers.StackedRNNCells(3), "`cells` must be a list .*; got cells=3"),
        (lambda: layers.StackedRNNCells([]), r"`cells` must be a list .*; got cells=\[\]"),
        (lambda: layers.StackedRNNCells([3]), "a cell must have a `call` method.*; got 3"),
    ],
    "Bidirectional": [
        (lambda: Bidirectional(3), "`layer` must be a layer; got layer=3"),
        (
            lambda: Bidirectional(Dense(2)),
            "`layer` must be a recurrent layer.*; got layer=<Dense .*, without go_backwards",
        ),
        (lambda: Bidirectional(LSTM(2), merge_mode="max"), one_of("merge_mode", "max")),
        (
            lambda: Bidirectional(LSTM(2), backward_layer=3),
            "`backward_layer` must be a layer; got backward_layer=3",
        ),
        (
            lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2)),
            "must differ in `go_backwards`; both have go_backwards=False",
        ),
        (
            lambda: Bidirectional(
                LSTM(2), backward_layer=LSTM(2, go_backwards=True, return_sequences=True)
            ),
            "must have the same `return_sequences`; got False and True",
        ),
    ],
    "TimeDistributed": [
        (lambda: layers.TimeDistributed(3), "`layer` must be a layer; got layer=3"),
        (
            lambda: layers.TimeDistributed(Dense(2)).build((2, 3)),
            r"input must have at least 3 axes.*; got shape \(2, 3\)",
        ),
    ],
    **{
        f"ConvLSTM{rank}D": of_conv_lstm(getattr(layers, f"ConvLSTM{rank}D"), rank)
        for rank in (1, 2, 3)
    },
    # Preprocessing
    "Normalization": [
        (lambda: layers.Normalization("last"), "`axis` must be an integer.*; got axis='last'"),
        (
            lambda: layers.Normalization(mean=1.0),
            r"`mean` and `variance` must be given together; got mean=array\(1\.\), variance=None",
        ),
        (
            lambda: layers.Normalization(mean=[1.0, 2.0], variance=[1.0]),
            r"must have one shape.*; got shapes \(2,\) and \(1,\)",
        ),
        (
            lambda: layers.Normalization(mean="zero", variance=1.0),
            "`mean` must be a number or an array of numbers; got mean='zero'",
        ),
        (
            lambda: layers.Normalization(mean=0.0, variance=-1.0),
            r"`variance` must not be negative; got variance=-1\.0",
        ),
        (
            lambda: layers.Normalization(axis=3).build((2, 2)),
            r"`axis` must name axes of the input; got axis=\(3,\) .* shape \(2, 2\)",
        ),
        (lambda: layers.Normalization().build((2, None)), r"must be known; got .* \(2, None\)"),
        (
            lambda: layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 2.0]).build((2, 3)),
            r"a value for each position on axis=\(-1,\), of sizes \(3,\); got shape \(2,\)",
        ),
    ],
    "Rescaling": [
        (
            lambda: layers.Rescaling("half"),
            "`scale` must be a number or an array of numbers; got scale='half'",
        ),
        (
            lambda: layers.Rescaling(1.0, None),
            "`offset` must be a number or an array of numbers; got offset=None",
        ),
    ],
}
# The class that makes the check, where it is another one than the row's.
NAMED = {
    "Input": "InputLayer",
    "RNN": "(RNN|StackedRNNCells)",
    **{name: f"{name}(Cell)?" for name in ("SimpleRNN", "LSTM", "GRU")},
    **{f"ConvLSTM{rank}D": f"(ConvLSTM{rank}D|ConvLSTMCell)" for rank in (1, 2, 3)},
}


@pytest.mark.parametrize(
    ("name", "make", "rule"),
    [(name, *row) for name, rows in ROWS.items() for row in rows],
)
def test_it_is_refused_with_layer_rule_and_value(
    name: str, make: Callable[[], Any], rule: str
) -> None:
    with pytest.raises((ValueError, TypeError, NotImplementedError)) as caught:
        make()
    message = str(caught.value)
    owner = NAMED.get(name, name)
    assert re.match(rf"({owner}: |Layer '\w+' \({owner}\): )", message)
    assert re.search(rule, message)


def test_every_layer_is_in_the_table() -> None:
    functions = {"serialize", "deserialize"}  # of configs: tests/layers/test_serialization.py
    names = set(layers.__all__) - functions
    assert set(ROWS) == {getattr(layers, name).__name__ for name in names}
