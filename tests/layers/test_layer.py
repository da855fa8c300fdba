"""Layers that users write, in Keras's way and in torch's."""

import copy
import pickle
import traceback
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchseq
from torchseq import Input, Sequential, layers


class Linear(layers.Layer):
    """Keras style: build, add_weight, call, get_config."""

    def __init__(self, units: int, **options: Any):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="ones",
            regularizer="l2",
            constraint="non_neg",
            name="w",
        )
        self.count = self.add_weight(
            shape=(), initializer="zeros", dtype="int64", trainable=False, name="count"
        )
        self.b = self.add_weight((self.units,), "zeros", name="b")

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if training:
            self.count.assign_add(1)
        return inputs @ self.w + self.b

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class Block(layers.Layer):
    """Torch style: __init__ with modules, forward."""

    def __init__(self, width: int, **options: Any):
        super().__init__(**options)
        self.width = width
        self.inner = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.drop = layers.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = x + self.drop(torch.relu(self.inner(self.norm(x))))
        return outputs


class Built(layers.Layer):
    """Sublayers made in build."""

    def build(self, input_shape: Any) -> None:
        self.first = layers.Dense(input_shape[-1] * 2)
        self.second = layers.Dense(3)
        self.first.build(input_shape)

    def call(self, inputs: Tensor) -> Any:
        return self.second(self.first(inputs))


# --- Keras style --------------------------------------------------------------------------------


def test_weights_of_add_weight() -> None:
    layer = Linear(3, name="linear")
    assert layer.weights == []
    assert torch.equal(layer(torch.ones(2, 4)), torch.full((2, 3), 4.0))
    assert [weight.path for weight in layer.weights] == ["linear/w", "linear/b", "linear/count"]
    assert [weight.path for weight in layer.trainable_weights] == ["linear/w", "linear/b"]
    assert list(layer.state_dict()) == ["w", "b", "count"]
    assert layer.w.constraint is not None
    assert layer.losses[0].item() == pytest.approx(0.01 * 12)
    assert layer.count.dtype == "int64"
    layer(torch.ones(2, 4), training=True)
    layer(torch.ones(2, 4))
    assert int(layer.count) == 1
    assert layer.count_params() == 12 + 3 + 1


def test_their_shapes_are_found_without_compute_output_shape() -> None:
    model = Sequential([Input((5, 4)), Linear(3), Built()])
    assert model.layers[0].output_shape == (None, 5, 3)
    assert model.output_shape == (None, 5, 3)
    assert Linear(7).compute_output_shape((None, None, 2)) == (None, None, 7)
    assert int(model.layers[0].count) == 0


def test_weights_made_in_the_constructor_have_the_layer_in_their_path() -> None:
    class Early(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="early")
            self.k = self.add_weight((2,), "ones", name="k")

        def call(self, inputs: Tensor) -> Any:
            return inputs * self.k

    assert Early().k.path == "early/k"
    assert Sequential([Input((2,)), Early()]).output_shape == (None, 2)


def test_several_arguments_and_results() -> None:
    class Two(layers.Layer):
        def call(self, a: Tensor, b: Tensor) -> Any:
            return a + b, {"difference": a - b}

    total, rest = Two()(np.ones(2), np.ones(2))
    assert total.dtype == rest["difference"].dtype == torch.float32

    class Split(layers.Layer):
        def call(self, inputs: Tensor) -> Any:
            return inputs[:, :2], [inputs[:, 2:], inputs]

    model = Sequential([Input((5,)), Split()])
    assert [tensor.shape for tensor in model.outputs] == [(None, 2), (None, 3), (None, 5)]
    with pytest.raises(ValueError, match="'two_1': it must be called on data; got None"):
        Two()(None)


def test_sublayers_made_in_build() -> None:
    layer = Built(name="built")
    assert layer(torch.ones(2, 4)).shape == (2, 3)
    assert [weight.path for weight in layer.weights] == [
        f"built/{name}" for name in ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    ]
    assert list(layer.state_dict())[::2] == ["first.linear.weight", "second.linear.weight"]


def test_configs_go_round() -> None:
    model = Sequential([Input((4,)), Linear(3, name="mine"), Block(3)])
    config = model.get_config()
    classes = {"Linear": Linear, "Block": Block}
    again = Sequential.from_config(config, custom_objects=classes)
    assert again.get_config() == config
    assert [type(layer) for layer in again.layers] == [Linear, Block]
    with pytest.raises(ValueError, match=r"names 'Linear'.*Pass custom_objects=\{'Linear'"):
        Sequential.from_config(config)


def test_an_argument_that_is_not_kept_has_no_config() -> None:
    class Forgetful(layers.Layer):
        def __init__(self, units: int):
            super().__init__()
            self.inner = layers.Dense(units)

    with pytest.raises(NotImplementedError, match="'units' is not. Add `self.units = units`"):
        Forgetful(3).get_config()


def test_training_and_mask_are_passed_to_those_who_take_them() -> None:
    seen: dict[str, Any] = {}

    class Spy(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.supports_masking = True

        def call(self, inputs: Tensor, training: Any = None, mask: Any = None) -> Tensor:
            seen.update(training=training, mask=mask)
            return inputs

    layer, x = Spy(), torch.ones(2, 3)
    layer(x)
    assert seen == {"training": False, "mask": None}
    mask = torch.tensor([[True, False, True]] * 2)
    x._keras_mask = mask  # type: ignore[attr-defined]
    layer(x, training=True)
    assert seen["training"] is True
    assert seen["mask"] is mask
    layer(x, training=None, mask=None)
    assert seen == {"training": False, "mask": None}
    Sequential([Spy()])(x, training=True)
    assert seen["training"] is True


def test_masks_pass_through_layers_that_support_them() -> None:
    x = torch.ones(2, 3)
    x._keras_mask = torch.ones(2, 3, dtype=torch.bool)  # type: ignore[attr-defined]
    for layer in (layers.Dense(3), layers.Dropout(0.5), layers.Activation("tanh")):
        assert layer(x)._keras_mask is x._keras_mask
    with pytest.warns(UserWarning, match="Flatten.* does not support masking"):
        layers.Flatten()(x)

    class Shift(layers.Layer):
        def call(self, inputs: Tensor) -> Tensor:
            return inputs + 1

        def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Any:
            return ~previous_mask

    assert not Shift()(x)._keras_mask.any()


def test_own_losses_are_of_the_last_call() -> None:
    class Penalty(layers.Layer):
        def call(self, inputs: Tensor) -> Tensor:
            self.add_loss(inputs.sum())
            self.add_loss([inputs.mean(), inputs.max()])
            return inputs

    layer, outer = Penalty(), nn.Sequential(Penalty(), layers.Dense(1))
    for _ in range(3):
        layer(torch.ones(2, 3))
        outer(torch.ones(2, 3))
    assert [loss.item() for loss in layer.losses] == [6, 1, 1]
    assert len(outer[0].losses) == 3
    model = Sequential([Penalty(), Sequential([Penalty(), layers.Dense(2)])])
    for _ in range(2):
        model(torch.ones(2, 3))
    assert len(model.losses) == 6
    model.layers[0](torch.ones(1, 3))
    assert len(model.losses) == 6
    assert copy.deepcopy(model).losses == []


def test_own_losses_are_trained() -> None:
    class Shrink(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((3,), "ones")

        def call(self, inputs: Tensor) -> Tensor:
            self.add_loss(torch.sum(self.w**2))
            return inputs * 1.0

    model = Sequential([Shrink()])
    model.compile(torchseq.optimizers.SGD(0.25), "mse")
    x = np.ones((4, 3), "float32")
    history = model.fit(x, x, verbose=0).history
    assert history["loss"] == [3.0]
    np.testing.assert_allclose(model.get_weights()[0], [0.5] * 3)


def test_variables_as_attributes_are_weights() -> None:
    class Scale(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torchseq.Variable([2.0, 3.0], name="factor")
            self.shift = torchseq.Variable([1.0, 1.0], trainable=False)

        def call(self, inputs: Tensor) -> Any:
            return inputs * self.factor + self.shift

    layer = Scale()
    assert torch.equal(layer(torch.ones(1, 2)), torch.tensor([[3.0, 4.0]]))
    assert list(layer.state_dict()) == ["factor", "shift"]
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (1, 1)
    assert layer.double().factor.dtype == "float64"
    layer(torch.ones(1, 2)).sum().backward()
    assert layer.factor.grad is not None


def test_weights_made_too_late_are_refused() -> None:
    class Late(layers.Layer):
        def call(self, inputs: Tensor) -> Any:
            return inputs * self.add_weight((1,), name="late")

    with pytest.raises(
        ValueError, match=r"made in __init__ or in build; add_weight\(name='late'\)"
    ):
        Late()(torch.ones(2, 2))


def test_a_constructor_that_forgets_its_parent_is_told() -> None:
    class Forgetful(layers.Layer):
        def __init__(self) -> None:
            self.units = 3

        def call(self, inputs: Tensor) -> Tensor:
            return inputs

    class ForgetfulOwner(Forgetful):
        def __init__(self) -> None:
            self.inner = layers.Dense(3)

    class ForgetfulListOwner(Forgetful):
        def __init__(self) -> None:
            self.inner = [layers.Dense(3)]

    message = r"`super\(\).__init__\(\)` must be the first statement"
    with pytest.raises(RuntimeError, match=message):
        Forgetful()(torch.ones(2))
    with pytest.raises(RuntimeError, match=message):
        Sequential([Forgetful()])
    with pytest.raises(RuntimeError, match=message):
        ForgetfulOwner()
    with pytest.raises(RuntimeError, match=message):
        ForgetfulListOwner()


def test_a_layer_without_call_is_told() -> None:
    class Empty(layers.Layer):
        pass

    with pytest.raises(NotImplementedError, match="Empty: a layer must have a `call"):
        Empty()(torch.ones(2, 2))


def test_errors_in_a_users_call_end_in_its_line() -> None:
    class Wrong(layers.Layer):
        def call(self, inputs: Tensor) -> Any:
            return inputs.undefined

    for target in (Wrong(), Sequential([layers.Dense(2), Wrong()])):
        with pytest.raises(AttributeError) as caught:
            target(torch.ones(2, 2))
        last = traceback.extract_tb(caught.value.__traceback__)[-1]
        assert last.line == "return inputs.undefined"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": 3}, r"Dense: unrecognized arguments \['unit'\]. It takes \['units', 'activ"),
        ({"name": 3}, "Dense: `name` must be a string; got name=3"),
    ],
)
def test_wrong_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Dense(2, **options)


def test_shapes_are_not_defined_before_building() -> None:
    layer = layers.Dense(3, name="d")
    with pytest.raises(AttributeError, match="Dense 'd' has no defined `output_shape` yet"):
        layer.output_shape  # noqa: B018
    with pytest.raises(
        ValueError, match=r"'d' \(Dense\): it must be built before its parameters can be"
    ):
        layer.count_params()
    layer(torch.ones(2, 5))
    assert (layer.input_shape, layer.output_shape) == ((2, 5), (2, 3))


def test_set_weights_refuses_what_does_not_fit_and_changes_nothing() -> None:
    layer = layers.Dense(3, name="d")
    layer.build((None, 2))
    before = layer.get_weights()
    with pytest.raises(
        ValueError, match=r"'d' \(Dense\): set_weights needs one array per weight, 2; got 1"
    ):
        layer.set_weights([np.zeros((2, 3))])
    with pytest.raises(ValueError, match=r"'d/bias' must have shape \(3,\); got \(4,\)"):
        layer.set_weights([np.zeros((2, 3)), np.zeros(4)])
    for one, other in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# --- torch style --------------------------------------------------------------------------------


def test_torch_style_layers_train_copy_and_compile() -> None:
    model = Sequential([Input((4,)), Block(4, name="block"), layers.Dense(1)])
    assert model.output_shape == (None, 1)
    assert list(model.state_dict())[:2] == ["block.inner.weight", "block.inner.bias"]
    block = model.layers[0]
    assert [weight.path for weight in block.weights] == [
        f"block/{path}" for path in ("inner/weight", "inner/bias", "norm/weight", "norm/bias")
    ]
    x = torch.rand(3, 4)
    assert torch.equal(model(x), model(x))
    many = torch.rand(100, 4)
    assert not torch.equal(block(many, training=True), block(many, training=True))
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), model(x))
    assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(x), model(x))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(many.numpy(), np.ones((100, 1), "float32"), verbose=0)  # dropout spares some
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed)


def test_keras_style_layers_compile_and_take_other_parameters() -> None:
    layer = Linear(3)
    x = torch.rand(2, 4)
    expected = layer(x)
    assert torch.equal(torch.compile(layer, fullgraph=True, backend="eager")(x), expected)
    zeros = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    assert torch.func.functional_call(layer, zeros, (x,)).sum() == 0
    assert torch.equal(torch.export.export(layer, (x,)).module()(x), expected)


def test_lazy_modules_inside_layers_are_built_with_the_model() -> None:
    class Lazy(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.LazyLinear(3)

        def forward(self, x: Tensor) -> Any:
            return self.inner(x)

    model = Sequential([Input((None, 5)), Lazy(), layers.Dense(2)])
    assert model.output_shape == (None, None, 2)
    assert model.count_params() == 18 + 8


def test_trainable_reaches_torch_modules() -> None:
    block = Block(4)
    block.trainable = False
    assert not any(parameter.requires_grad for parameter in block.parameters())
    assert block.trainable_weights == []
    assert len(block.non_trainable_weights) == 4
    block.trainable = True
    assert all(parameter.requires_grad for parameter in block.parameters())


@pytest.mark.parametrize("make", [lambda: Linear(3), lambda: layers.Dense(3), lambda: Block(4)])
def test_a_layer_in_float64_and_bfloat16(make: Any) -> None:
    for dtype in (torch.float64, torch.bfloat16):
        layer = make()
        layer(torch.ones(2, 4))
        layer.to(dtype)
        assert layer.compute_dtype == str(dtype).removeprefix("torch.")
        assert layer(torch.ones(2, 4)).dtype == dtype


def test_training_arrives_beside_positional_arguments() -> None:
    class Switch(torchseq.Layer):
        def call(self, inputs: Tensor, scale: float = 1.0, training: bool | None = None) -> Tensor:
            return inputs * scale if training else inputs

    layer = Switch()
    x = torch.ones(2)
    assert torch.equal(layer(x, 3.0, training=True), 3 * x)
    assert torch.equal(layer(x, 3.0, training=False), x)
    assert torch.equal(layer(x, 3.0), x)
    assert torch.equal(layer.train()(x), x)
