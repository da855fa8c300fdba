"""Sequential as a module among torch's modules, and its errors; Keras's part is in tests/parity."""

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchseq
from torchseq import Input, Sequential, layers


def make_model() -> Sequential:
    return Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(3, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4, activation="tanh", kernel_regularizer="l2"),
            Sequential([layers.Dense(3), layers.Dense(2, activation="softmax")]),
        ]
    )


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 8, 8, 1)


def double(x: Tensor) -> Tensor:
    return x * 2


# --- what can be a layer ------------------------------------------------------------------------


def test_any_module_or_function_is_a_layer() -> None:
    model = Sequential(
        [Input((4,)), nn.Linear(4, 6), torch.relu, double, nn.BatchNorm1d(6), layers.Dense(2)]
    )
    assert model.built
    assert [layer.output_shape for layer in model.layers] == [(None, 6)] * 4 + [(None, 2)]
    assert [weight.name for weight in model.layers[0].weights] == ["weight", "bias"]
    # Keras's order: a layer's trainable weights before the others.
    names = [weight.name for weight in model.layers[3].weights]
    assert names == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert len(model.trainable_weights) == 6
    assert model(torch.ones(3, 4)).shape == (3, 2)
    before = model.layers[3].module.running_mean.clone()
    model(torch.ones(3, 4), training=True)
    assert not torch.equal(before, model.layers[3].module.running_mean)


def test_lazy_modules_get_their_weights_with_the_model() -> None:
    model = Sequential([Input((5,)), nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(2)])
    assert model.count_params() == 5 * 3 + 3 + 3 * 2 + 2
    assert model.output_shape == (None, 2)
    deferred = Sequential([nn.LazyLinear(3), layers.Dense(2)])
    assert deferred.weights == []
    deferred(torch.ones(2, 7))
    assert deferred.count_params() == 7 * 3 + 3 + 3 * 2 + 2


def test_an_embedding_module_takes_integers() -> None:
    model = Sequential([Input((6,), dtype="int32"), nn.Embedding(9, 4), layers.Flatten()])
    assert model.output_shape == (None, 24)
    assert model(np.arange(6)[None]).shape == (1, 24)


def test_modules_train_with_the_model() -> None:
    model = Sequential([Input((4,)), nn.Linear(4, 3), nn.Tanh(), layers.Dense(1)])
    model.compile(torchseq.optimizers.SGD(0.1), "mse")
    before = model.get_weights()
    model.fit(np.ones((8, 4), "float32"), np.ones((8, 1), "float32"), verbose=0)
    changes = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changes)
    model.trainable = False
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (layers.Dense, "It is a class: add an instance"),
        (nn.ReLU, "It is a class: add an instance"),
        ("relu", "only layers, torch modules and functions can be added; got 'relu' of type str"),
        (None, "got None of type NoneType"),
    ],
)
def test_what_is_no_layer_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sequential([wrong])


def test_two_layers_of_one_name_are_refused() -> None:
    model = Sequential([layers.Dense(2, name="twin")])
    with pytest.raises(ValueError, match="must have unique names; 'twin' is the name of a layer"):
        model.add(layers.Dense(2, name="twin"))


def test_the_input_is_declared_once_and_first() -> None:
    model = Sequential([Input((2,))])
    with pytest.raises(ValueError, match=r"declared once; it has shape \(None, 2\).*\(None, 3\)"):
        model.add(Input((3,)))
    model = Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match="an input must come first; it came after 1 layers"):
        model.add(Input((3,)))


def test_a_model_declares_no_shapes_before_it_is_built() -> None:
    model = Sequential([layers.Dense(2)], name="later")
    for name in ("input_shape", "output_shape", "inputs", "outputs"):
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=f"Sequential 'later' has no defined `{name}` yet"):
            getattr(model, name)
    with pytest.raises(AttributeError, match="has no attribute 'shape'"):
        model.shape  # noqa: B018


def test_an_empty_model_cannot_be_built_or_popped() -> None:
    with pytest.raises(ValueError, match="must have a layer before it can be built"):
        Sequential().build((None, 2))
    with pytest.raises(IndexError, match="pop needs a layer; the model has none"):
        Sequential().pop()


def test_another_input_shape_is_refused() -> None:
    model = Sequential([Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"inputs of shape \(None, 3\); .* for \(None, 4\)"):
        model.build((None, 4))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4), r"Layer 'head' \(Dense\): its input must have 3 entries on axis -1; .* \(2, 4\)"),
        ((2, 5, 3), r"its input must have 2 axes, as in \(None, 3\); .* shape \(2, 5, 3\)"),
        ((2,), r"its input must have 2 axes, as in \(None, 3\); .* shape \(2,\)"),
    ],
)
def test_a_wrong_shape_names_layer_expected_and_got(shape: Any, message: str) -> None:
    model = Sequential([Input((3,)), layers.Dense(2, name="head")])
    model(torch.ones(2, 3))
    with pytest.raises(ValueError, match=message):
        model(torch.ones(shape))
    assert model(torch.ones(1, 3)).shape == (1, 2)


def test_layers_that_do_not_fit_each_other_are_refused_when_built() -> None:
    built = layers.Dense(2, name="built")
    built.build((None, 7))
    with pytest.raises(ValueError, match=r"'built' \(Dense\): its input must have 7 entries"):
        Sequential([Input((3,)), layers.Dense(4), built])


# --- calling ------------------------------------------------------------------------------------


def test_all_kinds_of_inputs_give_the_same() -> None:
    model = Sequential([Input((2,)), layers.Dense(3)])
    expected = model(torch.tensor([[1.0, 2.0]]))
    for inputs in (
        [[1, 2]],
        ((1.0, 2.0),),
        np.array([[1, 2]]),
        np.array([[1.0, 2.0]]),
        torch.tensor([[1, 2]]),
        torch.tensor([[1.0, 2.0]], dtype=torch.float64),
        nn.Parameter(torch.tensor([[1.0, 2.0]])),
        torchseq.Variable([[1.0, 2.0]]),
    ):
        outputs = model(inputs)
        assert torch.equal(outputs, expected)
        assert outputs.dtype == torch.float32


def test_symbolic_inputs_are_refused_with_the_way_out() -> None:
    with pytest.raises(NotImplementedError, match="There is no Functional API: put the layers"):
        layers.Dense(2)(Input((3,)))


def test_inputs_in_a_list_or_dict_go_to_layers_that_take_them() -> None:
    class Sum(layers.Layer):
        def call(self, inputs: Any) -> Tensor:
            return inputs["a"] + inputs["b"]

    model = Sequential([Sum(), layers.Dense(2)])
    outputs = model({"a": np.ones((3, 4), "float32"), "b": torch.ones(3, 4)})
    assert outputs.shape == (3, 2)
    assert not hasattr(model, "input_shape")


# --- as a torch module --------------------------------------------------------------------------


def test_state_dict_keys_are_readable_and_do_not_depend_on_other_models() -> None:
    expected = [
        "conv2d.convolution.weight", "conv2d.convolution.bias",
        "dense.linear.weight", "dense.linear.bias",
        "sequential.dense.linear.weight", "sequential.dense.linear.bias",
        "sequential.dense_1.linear.weight", "sequential.dense_1.linear.bias",
    ]  # fmt: skip
    first, second = make_model(), make_model()
    assert list(first.state_dict()) == list(second.state_dict()) == expected
    assert first.layers[0].name != second.layers[0].name
    second.load_state_dict(first.state_dict())
    x = images()
    assert torch.equal(first(x), second(x))


def test_a_layer_that_comes_twice_is_one_module() -> None:
    shared = layers.Dense(3)
    model = Sequential([Input((3,)), shared, layers.Flatten(), shared])
    assert len(model.state_dict()) == len(model.weights) == 2
    model.pop()
    assert len(model.state_dict()) == 2


def test_hooks_fire() -> None:
    model = make_model()
    seen: list[str] = []
    for layer in (model, *model.layers):
        layer.register_forward_hook(lambda module, *_: seen.append(module.name))
    model.layers[0].convolution.register_forward_hook(lambda *_: seen.append("convolution"))
    model(images())
    assert seen == ["convolution", *(layer.name for layer in model.layers), model.name]


def test_gradients_reach_the_inputs() -> None:
    x = images().requires_grad_()
    make_model()(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_models_start_in_evaluation_mode_and_follow_train_and_eval() -> None:
    model, x = make_model(), images(64)
    assert not any(part.training for part in model.modules())
    assert torch.equal(model(x), model(x))
    model.train()
    assert all(part.training for part in model.modules())
    assert not torch.equal(model(x), model(x))
    assert torch.equal(model(x, training=False), model(x, training=False))
    assert all(part.training for part in model.modules())
    model.eval()
    assert not torch.equal(model(x, training=True), model(x, training=True))
    assert not any(part.training for part in model.modules())
    model.train()
    model.add(layers.Dropout(0.5))
    assert model.layers[-1].training


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_independent(make_copy: Any) -> None:
    model, x = make_model(), images()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, np.eye(2, dtype="float32"), verbose=0)
    again = make_copy(model)
    before = model(x)
    assert torch.equal(again(x), before)
    assert [w.path for w in again.weights] == [w.path for w in model.weights]
    assert again.get_config() == model.get_config()
    again.layers[0].kernel.assign_add(np.ones((3, 3, 1, 3), "float32"))
    assert not torch.equal(again(x), before)
    assert torch.equal(model(x), before)
    again.fit(x, np.eye(2, dtype="float32"), verbose=0)
    assert torch.equal(model(x), before)


def test_unbuilt_models_can_be_copied() -> None:
    again = copy.deepcopy(Sequential([layers.Dense(3), layers.Dense(2)]))
    assert again(torch.ones(2, 4)).shape == (2, 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_move_to_a_dtype(dtype: torch.dtype) -> None:
    model = make_model().to(dtype)
    assert {weight.dtype for weight in model.weights} == {str(dtype).removeprefix("torch.")}
    x = torch.rand(2, 8, 8, 1, dtype=torch.float64)
    assert model(x).dtype == dtype
    if dtype is torch.float64:  # no detour over float32
        assert not torch.equal(model(x), model(x.float()))
        again = Sequential.from_config(model.get_config())
        assert again.weights[0].dtype == "float64"
        model.add(layers.Dense(1, dtype="float64"))
        assert not torch.equal(model(x), model(x.float()))


def test_models_are_made_and_run_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = make_model()
    assert {weight.value.device.type for weight in model.weights} == {"meta"}
    assert model(torch.empty(2, 8, 8, 1, device="meta")).shape == (2, 2)
    assert make_model().to("meta").count_params() == model.count_params()
    filled = model.to_empty(device="cpu")
    filled.set_weights(make_model().get_weights())
    assert filled(images()).shape == (2, 2)


def test_models_are_parts_of_torch_modules() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = make_model()
            self.head = nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(self.body(x))
            return result

    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    before = [parameter.clone() for parameter in net.parameters()]
    net.train()
    assert net.body.training
    net(images()).sum().backward()
    optimizer.step()
    assert len(before) == 10
    assert not any(map(torch.equal, before, net.parameters()))
    stack = nn.Sequential(make_model(), nn.Softmax(1))
    assert stack(images()).shape == (2, 2)
    assert next(iter(stack.state_dict())) == "0.conv2d.convolution.weight"


def test_compiled_exported_and_functional_calls_equal_the_plain_one() -> None:
    model, x = make_model(), images()
    expected = model(x)
    assert torch.equal(torch.compile(model, fullgraph=True, backend="eager")(x), expected)
    assert torch.equal(torch.export.export(model, (x,)).module()(x), expected)
    parameters = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    zeros = torch.func.functional_call(model, parameters, (x,))
    assert torch.equal(zeros, torch.full((2, 2), 0.5))
    assert torch.equal(model(x), expected)


def test_compiled_models_train() -> None:
    model = make_model()
    model.train()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    compiled(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_gradients_per_sample_by_vmap() -> None:
    model = Sequential([Input((3,)), layers.Dense(2, "tanh"), layers.Dense(1)])
    parameters = dict(model.named_parameters())

    def loss(values: Any, x: Tensor) -> Tensor:
        outputs: Tensor = torch.func.functional_call(model, values, (x[None],))
        return outputs.sum()

    grads = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, torch.rand(5, 3))
    assert grads["dense.linear.weight"].shape == (5, 2, 3)


def test_autocast_rules_where_the_user_says_so() -> None:
    model, x = make_model(), images()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(x)
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), model(x), atol=0.02, rtol=0.02)
    assert model(x).dtype == torch.float32


def test_mixed_policies_keep_float32_weights() -> None:
    model = Sequential(
        [
            Input((4,)),
            layers.Dense(3, dtype="mixed_bfloat16"),
            layers.Dense(3, "softmax", dtype="mixed_bfloat16"),
            layers.Dense(2),
        ]
    )
    hidden: list[torch.dtype] = []
    for layer in model.layers:
        layer.register_forward_hook(lambda *args: hidden.append(args[2].dtype))
    model(torch.rand(2, 4)).sum().backward()
    assert hidden == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_no_graph_outlives_a_call() -> None:
    model, x = make_model(), images()
    alive: list[Any] = []
    for layer in model.layers:
        layer.register_forward_hook(lambda *args: alive.append(weakref.ref(args[2])))
    gc.collect()
    gc.disable()  # references alone must do
    try:
        model(x)
        assert [reference() for reference in alive] == [None] * 6
    finally:
        gc.enable()


def test_trainable_sets_what_gradients_reach() -> None:
    model = make_model()
    model.layers[0].trainable = False
    model(images()).sum().backward()
    assert model.layers[0].kernel.grad is None
    assert model.layers[4].kernel.grad is not None
    assert len(model.trainable_weights) == 6
    assert len(model.non_trainable_weights) == 2
    model.trainable = True
    assert len(model.trainable_weights) == 8


# --- looks --------------------------------------------------------------------------------------


def test_repr_and_html() -> None:
    model = make_model()
    assert repr(model) == "<Sequential name=sequential_1, built=True>"
    assert repr(model.layers[0]) == "<Conv2D name=conv2d, built=True>"
    html = model._repr_html_()
    for text in ("sequential_1", "max_pooling2d (MaxPooling2D)", "(None, 3, 3, 3)", "Total params"):
        assert text in html
    assert "?" in Sequential([layers.Dense(2)])._repr_html_()


def test_old_configs_are_a_list() -> None:
    config = make_model().get_config()
    assert Sequential.from_config(config["layers"]).count_params() == make_model().count_params()
    with pytest.raises(ValueError, match="must have the key 'layers'; got the keys"):
        Sequential.from_config({"name": "none"})


def test_reset_states_reaches_stateful_layers() -> None:
    inner = Sequential([layers.LSTM(3, stateful=True)])
    model = Sequential([Input(batch_shape=(2, 4, 5)), inner])
    x = torch.randn(2, 4, 5)
    first = model(x)
    assert not torch.equal(model(x), first)
    model.reset_states()
    assert torch.equal(model(x), first)
